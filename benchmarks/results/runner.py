"""Runs the specs of examples folders on a real `potstill up` of two slots, and keeps each report.

What is in `data/` already is not run again (`plan`), so a broken-off run goes on where it left off. A network that others follow is
trained anew for them; training is exact, so it must end with the bytes that the kept results had.
"""

import os
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from benchmarks.results import store
from benchmarks.results.plan import EXAMPLES, Part, Plan, filled, plan, refs
from benchmarks.results.store import Record
from benchmarks.service import running
from potstill import Client
from potstill.job import Job

__all__ = ["EXAMPLES", "Part", "run"]

WEIGHTS = "student/model.safetensors"
SECONDS = 4 * 3600.0


def run(*parts: Part) -> None:
    """Each part's jobs one after another, those that follow nobody at once; several parts share the service, so that a teacher leaves
    no slot idle."""
    plans = []
    for found in map(plan, parts):
        if found.pending:
            plans.append(found)
        else:
            print(f"{found.part.name}: all there; delete files in {store.DATA} to run them again", flush=True)
    if not plans:
        return
    load_before = os.getloadavg()[0]
    failed = []
    # The service ends first: who waits for its jobs then hears so, and the pool can end as well.
    with ThreadPoolExecutor(len(plans)) as pool, running(slots=store.SLOTS) as (client, _):
        about = {"load_before": load_before, "beside": [found.part.name for found in plans]}
        for done in as_completed([pool.submit(_run, client, found, about) for found in plans]):
            if (error := done.exception()) is not None:
                print(f"{type(error).__name__}: {error}", flush=True)
                failed.append(error)
    if failed:
        raise failed[0]


def _run(client: Client, found: Plan, about: Record) -> None:
    with tempfile.TemporaryDirectory() as folder:
        ids, dataset = _uploaded(client, {name: make(Path(folder)) for name, make in found.part.uploads.items()})
    about = {**about, "beside": [name for name in about["beside"] if name != found.part.name], "dataset": dataset}
    weights: dict[str, str] = {}
    asked = {name: spec for name, spec in found.specs.items() if name in found.pending | found.again}
    first = {name: client.jobs.submit(filled(spec, ids)) for name, spec in asked.items() if not refs(spec)}  # nobody's pupils: at once
    for name, spec in asked.items():
        job = _ended(first[name] if name in first else client.jobs.submit(filled(spec, ids)))
        ids[f"@{name}"], weights[name] = job.id, _weights(job)
        if name in found.pending:
            of = {ref: weights[ref] for ref in refs(spec)}
            store.write(name, {**_record(client, spec, job), **about, "weights_sha256": weights[name], "of": of})
        elif (store.read(name) or {})["weights_sha256"] != weights[name]:
            raise SystemExit(
                f"{name} did not end with the bytes of the one the kept results had: another machine, torch or data set. "
                f"Delete {store.DATA}/{found.part.name}-*.json to run all of it here."
            )


def _uploaded(client: Client, files: Mapping[str, Path]) -> tuple[dict[str, str], Record | None]:
    """The id of each placeholder, and what the first dataset is, where there is one."""
    ids, about = {}, None
    for placeholder, path in files.items():
        if placeholder.startswith("mdl_"):
            ids[placeholder] = client.models.upload(path).id
            continue
        view = client.datasets.upload(path)
        ids[placeholder] = view.id
        rows = {name: split.rows for name, split in view.splits.items()}
        about = about or {"sha256": view.sha256, "rows": rows, "classes": view.classes}
    return ids, about


def _ended(job: Job) -> Job:
    job = job.wait(timeout=SECONDS)
    assert job.report is not None
    print(f"{job.name}: {_seconds(job):.1f} s. {job.report['verdict']}", flush=True)
    return job


def _record(client: Client, spec: Record, job: Job) -> Record:
    runs = [_run_of(child) for child in client.jobs.list(parent=job.id)] or [_run_of(job)]
    return {"spec": spec, "seconds": _seconds(job), "report": job.report, "runs": runs}


def _run_of(job: Job) -> dict[str, Any]:
    arm = "student" if job.view.kind == "distill" else "control" if job.view.parent else "model"
    seed = job.view.resolved_spec["training"]["seed"]
    return {"arm": arm, "seed": seed, "attempts": job.view.attempt, "weights_sha256": _weights(job)}


def _weights(job: Job) -> str:
    return next(artifact.sha256 for artifact in job.artifacts() if artifact.path == WEIGHTS)


def _seconds(job: Job) -> float:
    """Submitted → all runs done and put together, on the service's clock."""
    assert job.view.finished_at is not None
    return (job.view.finished_at - job.view.created_at).total_seconds()
