"""Two projects in one service: every route there is, called with ids of the other one, answers as it does for ids that never were."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa
from real_service import RECEIVER_PORT, Api
from starlette.routing import Route
from worker_hand import safetensors

from api import pages
from models.dataset import Dataset
from models.job import Job
from models.results import Artifact, Model
from models.sweep import Sweep

NOBODY = "0" * 32
BODIES: dict[str, Any] = {"PATCH": {"metadata": {}}, "POST": {}, "DELETE": None, "GET": None, "HEAD": None}
CONFIG = b'{"arch": "logistic", "task": "image-classification", "shape": [1, 8, 8], "classes": ["a", "b"]}'


@pytest.fixture
def theirs(other: Api, train: dict[str, Any], distill: dict[str, Any]) -> dict[str, str]:
    """One of each thing in the other project, by the name that paths have for it."""
    job = other.submit(train)["id"]
    claim = other.hand.claim(job)
    other.hand.checkpoint(claim, 10)
    other.hand.finish(claim)
    sweep = other.post(
        "/v1/sweeps",
        {
            "job": {**distill, "data": {"train": "digits", "validation": 0.1}, "teacher": {"job": job}},
            "space": {"recipe.alpha": [0.1, 0.9]},
        },
    )
    dataset = other.http.post("/v1/datasets", files={"file": ("rows.csv", b"x,label\n1,a\n2,b\n")})
    uploaded = [("file", ("model.safetensors", safetensors({"1.weight": [2, 64], "1.bias": [2]}))), ("file", ("config.json", CONFIG))]
    model = other.http.post("/v1/models", files=uploaded)
    webhook = other.post("/v1/webhooks", {"url": f"http://127.0.0.1:{RECEIVER_PORT}/theirs"})
    for answer in (sweep, dataset, model, webhook):
        assert answer.is_success, answer.text
    return {
        "job_id": job,
        "artifact_id": other.get(f"/v1/jobs/{job}/artifacts").json()["data"][0]["id"],
        "sweep_id": sweep.json()["id"],
        "dataset_id": dataset.json()["id"],
        "model_id": model.json()["id"],
        "key_id": other.key_id,
        "webhook_id": webhook.json()["id"],
    }


def never(id_: str) -> str:
    return f"{id_.partition('_')[0]}_{NOBODY}"


def operations(api: Api) -> Iterator[tuple[str, str, list[str], dict[str, Any]]]:
    """Each route: method, path, names in the path, and its description."""
    for path, methods in api.get("/openapi.json").json()["paths"].items():
        for method, operation in methods.items():
            yield method.upper(), path, re.findall(r"{(\w+)}", path), operation


def same(found: httpx2.Response, absent: httpx2.Response, ids: dict[str, str]) -> None:
    """But for the ids themselves, nothing tells the two answers apart."""

    def plain(response: httpx2.Response) -> tuple[int, str, dict[str, str]]:
        text = response.text
        for id_ in ids.values():
            text = text.replace(id_, never(id_))
        text = re.sub(r"req_[0-9a-f]{32}", "req", text)
        hidden = ("x-request-id", "date", "content-length", "ratelimit")
        return response.status_code, text, {k: v for k, v in response.headers.items() if k not in hidden}

    assert plain(found) == plain(absent), found.request.url


@contextmanager
def unread(project_id: str) -> Iterator[None]:
    """Nothing of that project is read, which would take time that can be measured."""
    loaded: list[str] = []

    def heard(row: Any, _: Any) -> None:
        if sa.inspect(row).dict.get("project_id") == project_id:
            loaded.append(repr(row))

    for table in (Job, Dataset, Model, Artifact, Sweep):
        sa.event.listen(table, "load", heard)
    try:
        yield
    finally:
        for table in (Job, Dataset, Model, Artifact, Sweep):
            sa.event.remove(table, "load", heard)
    assert not loaded


def test_every_route_with_an_id_answers_as_for_one_that_never_was(api: Api, other: Api, theirs: dict[str, str]) -> None:
    before, seen = other.rows(), 0
    everything = [
        *operations(api),
        ("HEAD", "/v1/artifacts/{artifact_id}", ["artifact_id"], {}),
        ("HEAD", "/v1/jobs/{job_id}/student", ["job_id"], {}),
    ]
    for method, path, names, _ in everything:
        if not names:
            continue
        assert set(names) <= theirs.keys(), f"{path}: what is this? Add one of the other project's above"
        with unread(other.project_id):
            found, absent = (
                api.http.request(method, path.format(**ids), json=BODIES[method])
                for ids in (theirs, {name: never(id_) for name, id_ in theirs.items()})
            )
        assert found.status_code == 404, (method, path, found.text)
        same(found, absent, theirs)
        seen += 1
    assert seen >= 25 and other.rows() == before
    assert other.get(f"/v1/jobs/{theirs['job_id']}").status_code == 200


def test_no_list_shows_or_starts_from_what_is_the_others(api: Api, theirs: dict[str, str], train: dict[str, Any]) -> None:
    mine = api.submit(train)["id"]
    for method, path, names, operation in operations(api):
        fields = {parameter["name"] for parameter in operation.get("parameters", ())}
        if method != "GET" or names or not path.startswith("/v1/"):
            continue
        assert not [id_ for id_ in theirs.values() if id_ in api.get(path).text], path
        for field in fields & {"after", "before", "parent", "sweep"}:
            for id_ in theirs.values():
                found, absent = (api.get(path, params={field: asked}) for asked in (id_, never(id_)))
                same(found, absent, theirs)
    assert [job["id"] for job in api.get("/v1/jobs").json()["data"]] == [mine]


def test_no_page_shows_or_touches_what_is_the_others(
    api: Api, other: Api, theirs: dict[str, str], make_browser: Callable[[str], httpx2.Client]
) -> None:
    browser, before, seen = make_browser(api.secret), other.rows(), 0
    of = {"jobs": theirs["job_id"], "sweeps": theirs["sweep_id"], "keys": theirs["key_id"]}
    for route in pages.create(api.running.services, dict).routes:
        if not isinstance(route, Route) or "{id}" not in route.path:
            continue
        method, id_ = ("POST" if "POST" in (route.methods or ()) else "GET"), of[route.path.split("/")[1]]
        found, absent = (browser.request(method, route.path.replace("{id}", one)) for one in (id_, never(id_)))
        assert found.status_code == 404, route.path
        same(found, absent, theirs)
        seen += 1
    assert seen >= 8 and other.rows() == before


def references(ids: dict[str, str]) -> list[dict[str, Any]]:
    """Every place of a spec that can name something of a project."""
    base = {"kind": "distill", "task": "image-classification", "data": {"train": "digits"}, "student": {"arch": "logistic"}}
    train = {**base, "kind": "train"}
    text = {**train, "task": "text-classification", "data": {"train": "docstrings"}, "student": {"arch": "tang_bilstm"}}
    return [
        *({**base, "teacher": teacher} for teacher in ({"job": ids["job_id"]}, {"model": ids["model_id"]})),
        {**base, "teacher": {"ensemble": [{"job": ids["job_id"]}, {"model": ids["model_id"]}]}},
        *({**train, "student": student} for student in ({"job": ids["job_id"]}, {"model": ids["model_id"]})),
        {**train, "kind": "evaluate", "student": {"model": ids["model_id"]}},
        *({**train, "data": data} for data in ({"train": ids["dataset_id"]}, {"train": "digits", "test": ids["dataset_id"]})),
        {**train, "data": {"train": {"dataset": ids["dataset_id"], "split": "train"}}},
        {**text, "data": {"train": ids["dataset_id"], "augment": {"words": {"model": {"model": ids["model_id"]}}}}},
    ]


def test_no_spec_reaches_what_is_the_others(api: Api, other: Api, theirs: dict[str, str]) -> None:
    before = other.rows()
    for spec, unknown in zip(references(theirs), references({name: never(id_) for name, id_ in theirs.items()}), strict=True):
        for path in ("/v1/jobs", "/v1/jobs/validate"):
            found, absent = api.post(path, spec), api.post(path, unknown)
            assert found.status_code == (422 if path == "/v1/jobs" else 200), found.text
            assert path == "/v1/jobs" or found.json()["valid"] is False, found.text
            same(found, absent, theirs)
        trial = {"job": {**spec, "data": {**spec["data"], "validation": 0.1}}, "space": {"training.epochs": [1, 2]}}
        assert api.post("/v1/sweeps", trial).status_code == 422
    assert other.rows() == before


def test_what_is_the_same_in_both_is_each_ones_own(api: Api, other: Api, theirs: dict[str, str]) -> None:
    """The same bytes, stored once: deleting them in one project takes nothing from the other, and an upload does not tell."""
    mine = api.http.post("/v1/datasets", files={"file": ("rows.csv", b"x,label\n1,a\n2,b\n")})
    assert mine.status_code == 201 and mine.json()["id"] != theirs["dataset_id"]
    assert api.http.delete(f"/v1/datasets/{mine.json()['id']}").status_code == 204
    assert other.get(f"/v1/datasets/{theirs['dataset_id']}/preview").status_code == 200


def test_an_idempotency_key_is_each_ones_own(api: Api, other: Api, train: dict[str, Any]) -> None:
    once = {"Idempotency-Key": "the same"}
    first = api.submit(train, headers=once)["id"]
    assert other.submit(train, headers=once)["id"] != first == api.submit(train, headers=once)["id"]
