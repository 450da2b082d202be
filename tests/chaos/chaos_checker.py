"""The offline checker: what was promised, held against the history and the rows. It knows no service, only their records.

`check(entries, rows, read)` returns a line for each broken promise. `rows` comes from `load`, `read` gives a blob's SHA-256.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from chaos_rows import Read, Row, Rows, load, reader

from contract.status import ACTIVE, FINAL, TRANSITIONS, JobStatus
from worker.sink import HISTORY

__all__ = ["Rows", "check", "load", "reader"]
OF_RUNS = "run"  # in an event's data: news of a run in its parent's history, written whoever holds the parent


def check(entries: Iterable[Row], rows: Rows, read: Read) -> list[str]:
    found = list(_submissions(list(entries), rows))
    for job_id, job in sorted(rows.jobs.items()):
        events = rows.events.get(job_id, [])
        for violations in (_sequence(job, events), _statuses(job, events), _fence(job, events), _twice(events), _resumes(events)):
            found += [f"{job_id}: {violation}" for violation in violations]
        if job["status"] in FINAL:
            ended = _ended(job, rows)
            found += [f"{job_id}: {violation}" for violation in (*ended, *_files(job, rows, read))]
    return found


def _submissions(entries: list[Row], rows: Rows) -> Iterator[str]:
    keys: dict[str, str] = {}
    finals: dict[str, Row] = {}
    attempts: dict[str, int] = {}
    for entry in entries:
        job_id = entry.get("job", "")
        if entry["kind"] == "submission" and 200 <= entry["status"] < 300:
            if job_id not in rows.jobs:
                yield f"{job_id}: its submission was acknowledged, but it is lost"
            elif rows.jobs[job_id]["status"] not in FINAL:
                yield f"{job_id}: it never ended, but is {rows.jobs[job_id]['status']}"
            if entry.get("key") and keys.setdefault(entry["key"], job_id) != job_id:
                yield f"{job_id}: submitted under the key of {keys[entry['key']]}"
        if entry["kind"] == "observed":
            if job_id in finals and finals[job_id]["status"] != entry["status"]:
                yield f"{job_id}: seen {finals[job_id]['status']}, and {entry['status']} afterwards"
            if entry["attempt"] < attempts.get(job_id, 0):
                yield f"{job_id}: seen in attempt {attempts[job_id]}, and in {entry['attempt']} afterwards"
            attempts[job_id] = max(entry["attempt"], attempts.get(job_id, 0))
            if entry["status"] in FINAL:
                finals.setdefault(job_id, entry)
    for job_id, seen in finals.items():
        if job_id in rows.jobs and rows.jobs[job_id]["status"] != seen["status"]:
            yield f"{job_id}: seen {seen['status']}, and is {rows.jobs[job_id]['status']} now"


def _sequence(job: Row, events: list[Row]) -> Iterator[str]:
    """Numbered without gaps, but for the old progress that is forgotten."""
    numbers, last = [event["seq"] for event in events], job["event_seq"]
    missing = [number for number in range(max(1, last - HISTORY + 1), last + 1) if number not in set(numbers)]
    if missing or numbers != sorted(set(numbers)):
        yield f"of its {last} events, these are missing: {missing}; those there are: {numbers}"
    if numbers[-1:] != [last]:
        yield f"its row counts {last} events, the last is {numbers[-1:]}"


def _statuses(job: Row, events: list[Row]) -> Iterator[str]:
    """One unbroken way from acceptance to where the row stands, and one end at most."""
    changes = [event for event in events if event["type"] == "status"]
    ends = [change["data"]["to"] for change in changes if change["data"]["to"] in FINAL]
    if len(ends) > 1 or (job["status"] in FINAL) != (len(ends) == 1):
        yield f"it is {job['status']} and was completed {len(ends)} times: {ends}"
    if ends and events[-1]["type"] != "status":
        yield f"written after its end: {events[-1]['type']} {events[-1]['message']!r}"
    at = JobStatus.WAITING
    for change in changes[1:]:
        before, after = JobStatus(change["data"]["from"]), JobStatus(change["data"]["to"])
        if before != at or after not in TRANSITIONS[before]:
            yield f"event {change['seq']} goes from {before} to {after}, when it was {at}"
        at = after
    if changes and at != job["status"]:
        yield f"its history ends {at}, its row is {job['status']}"


def _fence(job: Row, events: list[Row]) -> Iterator[str]:
    """Claims count up, and what a run writes is of the attempt that holds the job at that moment."""
    attempt, held, claims = 0, False, []
    for event in events:
        if event["attempt"] < attempt:
            yield f"event {event['seq']} ({event['message']!r}) is of attempt {event['attempt']}, after attempt {attempt}"
        attempt = max(attempt, event["attempt"])
        if event["type"] == "status":
            held = event["data"]["to"] in ACTIVE
            if event["data"]["to"] == JobStatus.RUNNING:
                claims.append(event["attempt"])
        elif not held and OF_RUNS not in event["data"] and not job["runs"]:
            yield f"event {event['seq']} ({event['message']!r}) was written while nobody held the job"
    if claims != list(range(1, len(claims) + 1)) or (not job["runs"] and len(claims) != job["attempt"]):
        yield f"its claims were attempts {claims}, its row counts {job['attempt']}"


def _twice(events: list[Row]) -> Iterator[str]:
    """Within an attempt nothing is told twice, and steps do not go back."""
    seen: set[tuple[Any, ...]] = set()
    steps: dict[tuple[str, int], int] = {}
    for event in events:
        if OF_RUNS in event["data"] or event["type"] == "status":
            continue
        step = event["data"].get("step")
        line = (event["attempt"], event["type"], event["message"], repr(event["data"]))
        if line in seen:
            yield f"event {event['seq']} ({event['message']!r}) was written before in attempt {event['attempt']}"
        seen.add(line)
        if event["type"] in ("metrics", "checkpoint") and step is not None:
            last = steps.get((event["type"], event["attempt"]), -1)
            if step < last or (step == last and event["type"] == "checkpoint"):
                yield f"event {event['seq']}: {event['type']} of step {step} after one of step {last} in attempt {event['attempt']}"
            steps[event["type"], event["attempt"]] = step


def _resumes(events: list[Row]) -> Iterator[str]:
    """A run goes on from the newest checkpoint it was told of, unless it says why not."""
    newest, refused = None, False
    for event in events:
        if event["type"] == "checkpoint":
            newest = event["data"]["step"]
        refused = refused or event["message"].startswith("checkpoint not used")
        if event["message"].startswith("resumed from") and newest is not None and not refused and event["data"]["step"] != newest:
            yield f"attempt {event['attempt']} went on from step {event['data']['step']}, its last checkpoint was {newest}"


def _ended(job: Row, rows: Rows) -> Iterator[str]:
    if job["lease_until"] is not None or job["worker_id"] is not None:
        yield f"it is {job['status']} and still held by {job['worker_id']}"
    made = [model["id"] for model in rows.models.get(job["id"], [])]
    if job["status"] == JobStatus.SUCCEEDED:
        if job["report"] is None or job["error"] is not None:
            yield "it succeeded without a report, or with an error"
        if (job["kind"] != "evaluate") != (made == [job["model_id"]]):
            yield f"it succeeded and names the model {job['model_id']}; those made are {made}"
    elif made:
        yield f"it is {job['status']} and has models {made}"
    if job["status"] == JobStatus.FAILED and job["error"] is None:
        yield "it failed without saying why"


def _files(job: Row, rows: Rows, read: Read) -> Iterator[str]:
    artifacts = rows.artifacts.get(job["id"], [])
    for artifact in artifacts:
        if artifact["kind"] in ("student", "report") and artifact["attempt"] != job["attempt"]:
            yield f"{artifact['path']} is of attempt {artifact['attempt']}, the last was {job['attempt']}"
        if (stored := read(artifact["sha256"])) != artifact["sha256"]:
            yield f"{artifact['path']}: the blob {artifact['sha256'][:12]} is {'missing' if stored is None else 'damaged'}"
    paths = {artifact["path"] for artifact in artifacts}
    checkpoints = sorted(rows.checkpoints.get(job["id"], []), key=lambda row: row["step"])
    for checkpoint in checkpoints:
        if f"checkpoints/{checkpoint['step']}/manifest.json" not in paths:
            yield f"the checkpoint of step {checkpoint['step']} has no files"
    attempts = [checkpoint["attempt"] for checkpoint in checkpoints]
    if attempts != sorted(attempts):
        yield f"of its checkpoints, in order of steps, an older attempt's comes after a newer one's: {attempts}"
    for model in rows.models.get(job["id"], []):
        for name, file in model["files"].items():
            if read(file["sha256"]) != file["sha256"]:
                yield f"file {name} of {model['id']} is missing or damaged"
