"""Runs the specs of an examples folder on a real `potstill up` of two slots, one job after another, and keeps each report.

What is in `data/` already, for the same spec and the same teacher, is not run again, so a broken-off run goes on where it left off.
The teacher is trained anew each time; training is exact, so it must end with the bytes of the teacher the kept results had.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import store
from benchmarks.results.store import Record
from benchmarks.service import running
from potstill import Client
from potstill.job import Job
from potstill.specs import load

EXAMPLES = Path(__file__).parents[2] / "examples"
WEIGHTS = "student/model.safetensors"
SECONDS = 3600.0


Uploads = Mapping[str, Callable[[], Path]]  # what the specs call a dataset or a model → the file or folder it is uploaded from


def run(part: str, names: Sequence[str], uploads: Uploads) -> None:
    """Runs examples/<part>/<name>.yaml for each name; the first is the teacher. Uploads are asked for only if there is something to run."""
    specs = {name: load(EXAMPLES / part / f"{name}.yaml") for name in names}
    teacher, *others = names
    known = store.read(f"{part}-{teacher}")
    if known is not None and known["spec"] != specs[teacher]:
        known = None
    kept = [name for name in others if known is not None and _is_kept(f"{part}-{name}", specs[name], known)]
    pending = [name for name in others if name not in kept]
    if not pending:
        print(f"{part}: all there; delete files in {store.DATA} to run them again", flush=True)
        return
    files, load_before = {placeholder: find() for placeholder, find in uploads.items()}, os.getloadavg()[0]
    with running(slots=store.SLOTS) as (client, _):
        ids, about = _uploaded(client, files)
        taught = _submit(client, specs[teacher], ids)
        weights = _weights(taught)
        if known is not None and kept and known["weights_sha256"] != weights:
            raise SystemExit(
                "The teacher did not end with the bytes of the one the kept results had: another machine, torch or data set. "
                f"Delete {store.DATA}/{part}-*.json to run all of it here."
            )
        if not kept:
            record = _record(client, specs[teacher], taught, load_before)
            store.write(f"{part}-{teacher}", {**record, "dataset": about, "weights_sha256": weights})
        for name in pending:
            job = _submit(client, specs[name], {**ids, f"@{taught.name}": taught.id})
            store.write(f"{part}-{name}", {**_record(client, specs[name], job, load_before), "teacher_sha256": weights})


def _uploaded(client: Client, files: Mapping[str, Path]) -> tuple[dict[str, str], Record]:
    """The id of each placeholder, and what the first dataset is."""
    ids, about = {}, None
    for placeholder, path in files.items():
        if placeholder.startswith("mdl_"):
            ids[placeholder] = client.models.upload(path).id
            continue
        view = client.datasets.upload(path)
        ids[placeholder] = view.id
        rows = {name: split.rows for name, split in view.splits.items()}
        about = about or {"sha256": view.sha256, "rows": rows, "classes": view.classes}
    assert about is not None
    return ids, about


def _is_kept(name: str, spec: Record, teacher: Record) -> bool:
    found = store.read(name)
    return found is not None and found["spec"] == spec and found["teacher_sha256"] == teacher["weights_sha256"]


def _submit(client: Client, spec: Record, ids: dict[str, str]) -> Job:
    """The job of `spec` with its placeholders filled in, ended."""
    text = json.dumps(spec)
    for placeholder, found in ids.items():
        text = text.replace(json.dumps(placeholder), json.dumps(found))
    job = client.jobs.submit(json.loads(text)).wait(timeout=SECONDS)
    assert job.report is not None
    print(f"{job.name}: {_seconds(job):.1f} s. {job.report['verdict']}", flush=True)
    return job


def _record(client: Client, spec: Record, job: Job, load_before: float) -> Record:
    runs = [_run(child) for child in client.jobs.list(parent=job.id)] or [_run(job)]
    return {"spec": spec, "seconds": _seconds(job), "load_before": load_before, "report": job.report, "runs": runs}


def _run(job: Job) -> dict[str, Any]:
    arm = "student" if job.view.kind == "distill" else "control" if job.view.parent else "model"
    seed = job.view.resolved_spec["training"]["seed"]
    return {"arm": arm, "seed": seed, "attempts": job.view.attempt, "weights_sha256": _weights(job)}


def _weights(job: Job) -> str:
    return next(artifact.sha256 for artifact in job.artifacts() if artifact.path == WEIGHTS)


def _seconds(job: Job) -> float:
    """Submitted → all runs done and put together, on the service's clock."""
    assert job.view.finished_at is not None
    return (job.view.finished_at - job.view.created_at).total_seconds()
