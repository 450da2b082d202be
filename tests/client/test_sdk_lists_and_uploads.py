"""Pages turn by themselves; files, specs and keys go where they should."""

import json
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import pytest
from fake_service import Service, ended, event, job, job_id

from contract.errors import Refused
from contract.spec import JobSpec
from potstill.client import Client


def test_lists_turn_their_pages_as_they_are_needed(service: Service, client: Client) -> None:
    for number in range(1, 251):
        service.add(job(number))
    assert [found.id for found in client.jobs.list()] == [job_id(number) for number in range(250, 0, -1)]
    assert len(service.asked("GET", "/v1/jobs")) == 3
    assert len(list(islice(client.jobs.list(), 5))) == 5
    assert len(service.asked("GET", "/v1/jobs")) == 4


def test_one_page_at_a_time(service: Service, client: Client) -> None:
    for number in range(1, 6):
        service.add(job(number))
    page = client.jobs.page(limit=2)
    assert page.has_more
    assert [view.id for view in client.jobs.page(limit=2, after=page.last_id).data] == [job_id(3), job_id(2)]


def test_filters_travel_as_the_contract_spells_them(service: Service, client: Client) -> None:
    since = datetime(2026, 11, 21, tzinfo=UTC)
    list(client.jobs.list(status=["queued", "running"], kind="train", metadata={"team": "a b"}, created_after=since, parent=None))
    query = service.requests[-1][2]
    assert query["status"] == ["queued", "running"]
    assert query["metadata[team]"] == ["a b"]
    assert datetime.fromisoformat(query["created_after"][0]) == since
    assert "parent" not in query


def test_events_are_read_to_the_end_and_filtered_by_type(service: Service, client: Client) -> None:
    found = client.jobs.get(service.add(job()))
    kinds = ("log", "metrics", "warning")
    service.events[found.id] = [event(seq, kinds[seq % 3], f"line {seq}") for seq in range(1, 301)]
    assert [e.seq for e in found.events()] == list(range(1, 301))
    assert [e.seq for e in found.events(after=290, types=["log", "warning"])] == [291, 293, 294, 296, 297, 299, 300]


def test_specs_may_be_files_mappings_or_models(service: Service, client: Client, tmp_path: Path) -> None:
    mapping = {"kind": "train", "task": "image-classification", "data": {"train": "digits"}, "student": {"arch": "logistic"}}
    (tmp_path / "a.json").write_text(json.dumps(mapping))
    (tmp_path / "a.yaml").write_text("kind: train\ntask: image-classification\ndata: {train: digits}\nstudent: {arch: logistic}\n")
    for spec in (mapping, tmp_path / "a.json", str(tmp_path / "a.yaml")):
        assert client.jobs.submit(spec).view.spec == mapping
    sent = client.jobs.submit(JobSpec.model_validate(mapping)).view.spec
    assert sent["student"] == {"arch": "logistic"}
    assert "training" not in sent  # as sent: defaults are the service's to add


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("broken.yaml", "a: [", "broken.yaml is not valid YAML"),
        ("broken.json", "{", "broken.json is not valid JSON"),
        ("list.yaml", "- a", "list.yaml: The YAML holds a list"),
        ("twice.yaml", "a: 1\na: 2", "given twice"),
        ("empty.yaml", "", "empty.yaml is empty"),
    ],
)
def test_a_file_that_is_no_spec_is_named(client: Client, tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Refused) as error:
        client.jobs.submit(tmp_path / name)
    assert said in str(error.value)


def test_batch_update_and_delete(service: Service, client: Client) -> None:
    queued = client.jobs.submit_batch([{"name": "assistant"}, {"name": "student"}])
    assert [one.name for one in queued] == ["assistant", "student"]
    assert queued[0].update(name="renamed", metadata={"a": "b"}).name == "renamed"
    assert json.loads(service.requests[-1][4]) == {"name": "renamed", "metadata": {"a": "b"}}
    freed = queued[0].delete(dry_run=True)
    assert freed is not None
    assert freed.files == 7
    client.jobs.delete(service.add(ended("failed", 9)))
    assert job_id(9) not in service.jobs


def test_model_folder_without_what_is_not_the_models(service: Service, client: Client, tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.json", "report.json", ".DS_Store"):
        (tmp_path / name).write_text("{}")
    model = client.models.upload(tmp_path, name="teacher")
    assert model.config["files"] == ["config.json", "model.safetensors"]
    assert [found.id for found in client.models.list()] == [model.id]


def test_keys_registry_and_workers(service: Service, client: Client) -> None:
    key = client.keys.create("ci")
    assert key.secret == "psk_abcdef"
    assert [found.secret for found in client.keys.list()] == [None]
    assert client.keys.rotate(key.id, grace_seconds=60).secret == "psk_rotated"
    assert json.loads(service.requests[-1][4]) == {"grace_seconds": 60}
    client.keys.revoke(key.id)
    assert client.registry.recipes()[0]["name"] == "hinton"
    assert [worker.slots for worker in client.workers.list()] == [2]
