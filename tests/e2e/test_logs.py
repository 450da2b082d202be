"""The logs of real processes: a submission's request id leads from the API's line to every line of the worker about the job."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from servers import TINY, Service, until


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("home"), POTSTILL_LOG_FORMAT="json")
    yield running
    assert running.stop() == 0


def lines(service: Service) -> list[dict[str, Any]]:
    """What API and worker wrote, as the machine reads it; `up` itself speaks to people."""
    return [json.loads(line) for line in service.process.said().splitlines() if line.startswith("{")]


def test_one_request_id_finds_the_whole_way_of_a_job(service: Service) -> None:
    headers = {"Authorization": f"Bearer {service.key}", "X-Request-Id": "order-4711"}
    spec = {**TINY, "evaluation": {"seeds": 2}}
    with httpx2.Client(base_url=service.url, headers=headers, trust_env=False, verify=False, timeout=60) as http:
        job = http.post("/v1/jobs", json=spec).json()["id"]
        others = http.post("/v1/jobs", json=TINY, headers={"X-Request-Id": "order-4712"}).json()["id"]
        for one in (job, others):
            until(lambda one=one: http.get(f"/v1/jobs/{one}").json()["status"] == "succeeded", 120, one)
        runs = {run["id"] for run in http.get(f"/v1/jobs?parent={job}").json()["data"]}
    until(lambda: sum(line["event"] == "succeeded" for line in lines(service)) >= 3, 30)  # a parent's end says nothing of its own
    found = [line for line in lines(service) if line.get("request_id") == "order-4711"]
    (submitted,) = [line for line in found if line["event"] == "request" and line["method"] == "POST"]
    assert submitted["path"] == "/v1/jobs" and submitted["status"] == 202 and submitted["key"].startswith("key_")
    of_worker = [line for line in found if "job" in line]
    assert {line["job"] for line in of_worker} == {job, *runs} and len(runs) == 2
    assert {line["event"] for line in of_worker} >= {"claimed", "succeeded"}
    assert all(line["attempt"] == 1 and line["level"] and line["timestamp"].endswith("Z") for line in of_worker)
    assert {line["request_id"] for line in lines(service) if line.get("job") == others} == {"order-4712"}
