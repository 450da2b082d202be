"""A job's checkpoints with the files each is made of. They are few: what falls out of retention is deleted."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from api.paging import _Paging, refused
from contract.wire import CheckpointView, Page
from models.results import Artifact, Checkpoint


def read(session: Session, job_ids: Sequence[str]) -> list[CheckpointView]:
    """Of a job, or of a parent's runs; newest first."""
    files: dict[tuple[str, str], list[str]] = {}
    kept = select(Artifact.id, Artifact.job_id, Artifact.path).where(Artifact.job_id.in_(job_ids), Artifact.kind == "checkpoint")
    for id_, job_id, path in session.execute(kept):
        files.setdefault((job_id, path.split("/")[1] if path.startswith("checkpoints/") else ""), []).append(id_)
    rows = session.scalars(
        select(Checkpoint).where(Checkpoint.job_id.in_(job_ids)).order_by(Checkpoint.step.desc(), Checkpoint.arm, Checkpoint.seed)
    )
    return [
        CheckpointView(
            step=row.step,
            arm=row.arm,
            seed=row.seed,
            metrics=row.metrics,
            size_bytes=row.size_bytes,
            artifacts=sorted(files.get((row.job_id, str(row.step)), [])),
            created_at=row.created_at,
        )
        for row in rows
    ]


def page(views: list[CheckpointView], paging: _Paging) -> Page[CheckpointView]:
    """Checkpoints have no ids of their own; a cursor is step, arm and seed."""
    ids = [_cursor(view) for view in views]
    start, stop = 0, len(views)
    for name, given in (("after", paging.after), ("before", paging.before)):
        if given is not None and given not in ids:
            raise refused(name, f"there is no checkpoint {given[:60]!r} to start from")
    if paging.after is not None:
        start = ids.index(paging.after) + 1
    if paging.before is not None:
        stop = ids.index(paging.before)
        start, more = max(0, stop - paging.limit), stop > paging.limit
    else:
        stop, more = min(stop, start + paging.limit), stop > start + paging.limit
    shown = slice(start, stop)
    return Page(data=views[shown], first_id=next(iter(ids[shown]), None), last_id=next(iter(ids[shown][::-1]), None), has_more=more)


def _cursor(view: CheckpointView) -> str:
    return f"{view.step}-{view.arm}-{view.seed}"
