"""A teacher behind an endpoint, asked by a real worker: what the operator did not allow is refused, a killed worker asks nothing twice, and
its key is nowhere to be found."""

import json
import random
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from servers import CLI, Service, until
from teacher_server import TeacherServer, teacher_server

from contract.errors import InvalidSpec
from potstill import Client

SECRET = "sk-9f2c-never-to-be-seen"
GPT: dict[str, Any] = {"arch": "gpt2", "layers": 2, "hidden": 16, "heads": 2, "positions": 64}
AT_ONCE = 2


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, TeacherServer, Path]]:
    """The server comes first, because the operator names it before the service starts."""
    folder = tmp_path_factory.mktemp("teachers")
    with teacher_server(folder) as server:
        allowed = {"POTSTILL_TEACHER_ENDPOINTS": server.url, "POTSTILL_TEACHER_KEYS": json.dumps({server.url: SECRET})}
        service = Service(tmp_path_factory.mktemp("home"), **allowed)
        yield service, server, folder
        service.stop()


def rows(folder: Path) -> Path:
    path = folder / "texts.jsonl"
    words, draw = ("the", "old", "house", "near", "garden", "is", "small", "today"), random.Random(0)
    texts = (" ".join(draw.choices(words, k=4 + row % 8)) for row in range(40))
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def told_by(client: Client, *command: str, service: Service) -> str:
    environment = {"POTSTILL_URL": service.url, "POTSTILL_KEY": service.key, "PATH": "/usr/bin:/bin", "NO_COLOR": "1"}
    done = subprocess.run([*CLI, *command], capture_output=True, text=True, env=environment, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_a_killed_worker_asks_nothing_twice_and_others_find_what_it_was_told(
    world: tuple[Service, TeacherServer, Path], tmp_path: Path
) -> None:
    service, server, folder = world
    with service.client() as client:
        data = client.datasets.upload(rows(tmp_path)).id
        spec: dict[str, Any] = {"task": "causal-lm", "data": {"train": data, "validation": 0.2, "max_length": 16}}
        trained = client.jobs.submit({"kind": "train", **spec, "student": GPT, "training": {"epochs": 1}}).wait(timeout=120)
        trained.pull(folder / "gpt")
        teacher = {"endpoint": server.url, "model": "gpt", "concurrency": AT_ONCE}
        spec |= {"kind": "distill", "teacher": teacher, "student": GPT | {"hidden": 8}, "training": {"epochs": 1}}
        spec |= {"tokenizer": {"job": trained.id}, "objective": [{"loss": "kl", "temperature": 1.0}, {"loss": "clm"}]}

        for wrong in ("http://127.0.0.1:9/v1", "https://api.openai.com/v1", server.url.replace("/v1", "/v2")):
            with pytest.raises(InvalidSpec, match=r"teacher\.endpoint: this service sends nothing to") as caught:
                client.jobs.submit(spec | {"teacher": teacher | {"endpoint": wrong}})
            assert caught.value.code == "host_not_allowed" and "POTSTILL_TEACHER_ENDPOINTS" in str(caught.value.hint)

        quoted = client.jobs.validate(spec).estimate.teacher_requests
        server.control(key=SECRET, seconds=0.1)
        job = client.jobs.submit(spec)
        until(lambda: len(server.answered()) >= 5, seconds=180, what="some answers")
        service.worker().kill()
        job.wait(timeout=120)
        paid = server.answered()
        assert job.view.attempt == 2
        assert 5 < len(set(paid)) <= len(paid) <= len(set(paid)) + AT_ONCE, "at most those on their way were asked again"
        found = client.jobs.get(job.id).view.report
        outputs = found["teacher_outputs"]
        assert outputs["requests"] == len(set(paid)) and 0 < outputs["spent"]["requests"] < outputs["requests"]
        assert 0.5 * outputs["requests"] <= quoted <= 2 * outputs["requests"]
        assert found["arms"]["teacher"]["parameters"] is None and found["arms"]["teacher"]["metrics"]["perplexity"]["mean"] > 1

        again = client.jobs.submit(spec | {"name": "again", "training": {"epochs": 1, "seed": 3}}).wait(timeout=120)
        assert len(server.answered()) == len(paid)
        assert again.view.report["teacher_outputs"]["cache"] == "hit"

        writes = {"teacher": teacher | {"max_tokens": 8}, "objective": None, "recipe": "seq_kd", "evaluation": {"control": True}}
        text = client.jobs.submit(spec | {"name": "text"} | writes).wait(timeout=120)
        assert text.view.report["arms"]["teacher"]["metrics"] == {} and text.view.report["gain"]["mean"] is not None
        for id_ in (job.id, text.id):
            shown = told_by(client, "show", id_, service=service)
            assert "teacher" in shown and "Traceback" not in shown
        events = [event.model_dump_json() for event in client.jobs.events(job.id)]
        with httpx2.Client(base_url=service.url, follow_redirects=True) as browser:
            browser.get(client.keys.login_link(), headers={"Sec-Fetch-Site": "none"})  # as of an address that somebody opened
            for id_ in (job.id, text.id):
                page = browser.get(f"/jobs/{id_}")
                assert page.status_code == 200 and f"gpt at {server.url}" in page.text

    assert any("teacher_inference" in event and server.url in event for event in events)
    for path in service.home.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert SECRET.encode() not in path.read_bytes(), path


def test_an_endpoint_that_refuses_fails_the_job_with_a_reason(world: tuple[Service, TeacherServer, Path], tmp_path: Path) -> None:
    service, server, _ = world
    server.control(key="another")
    with service.client() as client:
        data = client.datasets.upload(rows(tmp_path)).id
        job = client.jobs.submit(
            {
                "kind": "distill",
                "task": "causal-lm",
                "data": {"train": data, "validation": 0.2, "max_length": 16},
                "teacher": {"endpoint": server.url, "model": "gpt-2", "revision": "other"},
                "student": GPT,
                "recipe": "seq_kd",
            }
        )
        until(lambda: client.jobs.get(job.id).view.status.final, seconds=60)
        error = client.jobs.get(job.id).view.error
        assert error is not None and error.code == "teacher_refused" and "POTSTILL_TEACHER_KEYS" in str(error.hint)
        assert SECRET not in f"{error.message} {error.hint}"
