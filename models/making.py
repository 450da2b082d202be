"""From a checked spec to the rows of its job and its runs."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from contract.spec import JobSpec
from models.ids import new_id
from models.job import Job, Origin
from models.lifecycle import create


def make(
    session: Session,
    project_id: str,
    sent: dict[str, Any],
    spec: JobSpec,
    *,
    needs: Sequence[str],
    warnings: Sequence[str] = (),
    origin: Origin = Origin(),
    id_: str | None = None,
    name: str | None = None,
    sweep_id: str | None = None,
) -> Job:
    """Stores the job with its runs. needs: jobs that must succeed first; name: where the spec says none."""
    network = spec.described.arch if spec.described is not None else "model"
    job = Job(
        id=id_ or new_id("job"),
        project_id=project_id,
        kind=spec.kind.value,
        name=name or spec.name or f"{spec.kind}-{network}",
        priority=spec.priority,
        spec=sent,
        resolved_spec=spec.resolved().model_dump(mode="json"),
        **origin._asdict(),
        warnings=list(warnings),
        meta=dict(spec.metadata),
        sweep_id=sweep_id,
    )
    runs = _runs(job, spec)
    if not runs:
        _ask(job, spec)
    return create(session, job, needs, runs)


def _ask(job: Job, spec: JobSpec) -> Job:
    asked = spec.resources
    job.want_kind, job.want_memory, job.want_labels = asked.kind, asked.memory_bytes, asked.written
    job.want_devices = asked.devices if asked.devices > 1 else None
    return job


def _runs(job: Job, spec: JobSpec) -> list[Job]:
    """The runs of a job of several, as jobs of their own; none for a job of one, which is executed as it is."""
    runs = spec.runs()
    if len(runs) == 1:
        return []
    return [
        _ask(
            Job(
                project_id=job.project_id,
                kind=run.spec.kind.value,
                name=f"{job.name[:50]} · {run.arm}, seed {run.seed}",
                arm=run.arm,
                seed=run.seed,
                priority=job.priority,
                spec=run.spec.model_dump(mode="json"),
                resolved_spec=run.spec.resolved().model_dump(mode="json"),
                traceparent=job.traceparent,
                request_id=job.request_id,
                meta=job.meta,
            ),
            run.spec,
        )
        for run in runs
    ]
