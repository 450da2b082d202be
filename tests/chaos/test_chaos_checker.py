"""The checker can fail: each kind of broken promise, put into a good record by hand, is found."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from chaos_checker import Rows, check

JOB = "job_1"
ENTRIES: list[dict[str, Any]] = [
    {"kind": "submission", "job": JOB, "status": 201, "key": "k"},
    {"kind": "observed", "job": JOB, "status": "running", "attempt": 1},
    {"kind": "observed", "job": JOB, "status": "succeeded", "attempt": 2},
]


def event(seq: int, attempt: int, type_: str, message: str = "", **data: Any) -> dict[str, Any]:
    return {"seq": seq, "attempt": attempt, "type": type_, "message": message or f"{type_} {data}", "data": data}


def artifact(path: str, attempt: int, kind: str) -> dict[str, Any]:
    return {"path": path, "attempt": attempt, "kind": kind, "sha256": f"hash of {path}"}


def good() -> Rows:
    """One job whose worker was lost once."""
    job = {
        "id": JOB, "status": "succeeded", "kind": "train", "attempt": 2, "event_seq": 9, "runs": [], "report": {}, "error": None,
        "model_id": "mdl_1", "lease_until": None, "worker_id": None,
    }  # fmt: skip
    events = [
        event(1, 0, "status", "accepted", to="queued"),
        event(2, 1, "status", **{"from": "queued", "to": "running"}),
        event(3, 1, "metrics", step=7),
        event(4, 1, "checkpoint", step=10),
        event(5, 1, "status", **{"from": "running", "to": "queued"}),
        event(6, 2, "status", **{"from": "queued", "to": "running"}),
        event(7, 2, "log", "resumed from the checkpoint at step 10", step=10),
        event(8, 2, "checkpoint", step=20),
        event(9, 2, "status", **{"from": "running", "to": "succeeded"}),
    ]
    events.insert(1, event(0, 0, "status", **{"from": "waiting", "to": "queued"}))
    for number, each in enumerate(events, 1):
        each["seq"] = number
    job["event_seq"] = len(events)
    artifacts = [
        artifact("checkpoints/10/manifest.json", 1, "checkpoint"),
        artifact("checkpoints/20/manifest.json", 2, "checkpoint"),
        artifact("report.json", 2, "report"),
    ]
    checkpoints = [{"step": 10, "attempt": 1}, {"step": 20, "attempt": 2}]
    models = [{"id": "mdl_1", "files": {"weights": {"sha256": "hash of weights"}}}]
    return Rows({JOB: job}, {JOB: events}, {JOB: artifacts}, {JOB: checkpoints}, {JOB: models})


def found(rows: Rows, entries: list[dict[str, Any]] = ENTRIES, missing: str = "") -> list[str]:
    return check(entries, rows, lambda sha256: None if sha256 == missing else sha256)


def test_a_good_record_has_no_violations() -> None:
    assert found(good()) == []


def renumber(rows: Rows) -> None:
    for number, each in enumerate(rows.events[JOB], 1):
        each["seq"] = number
    rows.jobs[JOB]["event_seq"] = len(rows.events[JOB])


def insert(index: int, new: dict[str, Any]) -> Callable[[Rows], None]:
    def change(rows: Rows) -> None:
        rows.events[JOB].insert(index, copy.deepcopy(new))
        renumber(rows)

    return change


def in_job(**fields: Any) -> Callable[[Rows], None]:
    return lambda rows: rows.jobs[JOB].update(fields)


def in_event(index: int, **fields: Any) -> Callable[[Rows], None]:
    return lambda rows: rows.events[JOB][index].update(fields)


ENDED = {"from": "succeeded", "to": "succeeded"}
BROKEN: dict[str, Callable[[Rows], Any]] = {
    "is lost": lambda rows: rows.jobs.clear(),
    "it never ended": in_job(status="running"),
    "these are missing": lambda rows: rows.events[JOB].pop(3),
    "its row counts": in_job(event_seq=11),
    "was completed 2 times": insert(10, event(0, 2, "status", **ENDED)),
    "was completed 0 times": lambda rows: rows.events[JOB].pop(),
    "written after its end": insert(10, event(0, 2, "log", "too late")),
    "when it was": in_event(6, data={"from": "paused", "to": "running"}),
    "its history ends": in_job(status="failed", error={}),
    "after attempt 2": insert(8, event(0, 1, "metrics", step=8)),
    "while nobody held the job": insert(6, event(0, 1, "metrics", step=8)),
    "its claims were": in_job(attempt=3),
    "was written before": insert(8, event(0, 2, "log", "resumed from the checkpoint at step 10", step=10)),
    "after one of step": insert(9, event(0, 2, "checkpoint", step=15)),
    "went on from step": in_event(7, message="resumed from the checkpoint at step 5", data={"step": 5}),
    "still held by": in_job(worker_id="wrk_1"),
    "without a report": in_job(report=None),
    "names the model": lambda rows: rows.models[JOB].append({"id": "mdl_2", "files": {}}),
    "is of attempt 1": lambda rows: rows.artifacts[JOB][2].update(attempt=1),
    "has no files": lambda rows: rows.artifacts[JOB].pop(0),
    "an older attempt's comes after": lambda rows: rows.checkpoints[JOB][0].update(attempt=2) or rows.checkpoints[JOB][1].update(attempt=1),
}


@pytest.mark.parametrize("words", BROKEN)
def test_broken_rows_are_found(words: str) -> None:
    rows = good()
    BROKEN[words](rows)
    assert any(words in violation for violation in found(rows)), found(rows)


@pytest.mark.parametrize("lost", ["report.json", "weights"])
def test_a_missing_blob_is_found(lost: str) -> None:
    assert any("missing" in violation for violation in found(good(), missing=f"hash of {lost}"))


@pytest.mark.parametrize(
    ("words", "entry"),
    [
        ("is lost", {"kind": "submission", "job": "job_2", "status": 201, "key": None}),
        ("under the key of", {"kind": "submission", "job": "job_2", "status": 200, "key": "k"}),
        ("running afterwards", {"kind": "observed", "job": JOB, "status": "running", "attempt": 2}),
        ("in 1 afterwards", {"kind": "observed", "job": JOB, "status": "succeeded", "attempt": 1}),
    ],
)
def test_broken_histories_are_found(words: str, entry: dict[str, Any]) -> None:
    assert any(words in violation for violation in found(good(), [*ENTRIES, entry]))
