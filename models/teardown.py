"""Storing and deleting bytes that rows refer to, with nobody waiting for anybody.

A blob may be freed by one process while another stores the same bytes, and neither knows of the other. So each looks twice:

    release    nobody refers to it → laid aside → still nobody → gone, else brought back
    storing    put → rows committed → still there? else put again

Whichever way the two interleave, either the second look of the one comes after the commit of the other and sees the row, or that
commit, and with it the second look of the other, comes after the blob was laid aside and sees that it is not there.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from contract.errors import PotstillError, StoreRefused, Unavailable
from models.blobs import Blobs
from models.dataset import Dataset
from models.job import Event, Job, JobDependency
from models.results import Artifact, Checkpoint, MetricPoint, MetricSpan, Model
from models.session import Database

log = structlog.get_logger()
BATCH = 200  # blobs looked at together
Put = Callable[..., tuple[str, int]]  # Blobs.put


@contextmanager
def storing(database: Database, blobs: Blobs) -> Iterator[Put]:
    """Gives a `put` for a block that ends with the commit of the rows; the files must stay where they are until it has ended.
    When the rows do not come about, what was put goes again."""
    stored: dict[str, tuple[Path, int]] = {}

    def put(source: Path, sha256: str | None = None) -> tuple[str, int]:
        sha256, size = blobs.put(source, sha256)
        stored[sha256] = source, size
        return sha256, size

    def look_again() -> None:
        for sha256, (source, size) in stored.items():
            if not blobs.exists(sha256, size):
                blobs.put(source, sha256)

    try:
        yield put
    except Unavailable:  # whether the commit went through nobody knows: bytes too many are the smaller evil, and are collected later
        with suppress(PotstillError, OSError):
            look_again()
        raise
    except BaseException:
        with suppress(PotstillError, OSError):
            look_again()
            release(database, blobs, stored)
        raise
    look_again()


def release(database: Database, blobs: Blobs, sha256s: Iterable[str]) -> list[str]:
    """Deletes the bytes of those blobs that nothing refers to; returns which. Call it after the commit that removed the rows."""
    wanted = sorted(set(sha256s))
    freed: list[str] = []
    for start in range(0, len(wanted), BATCH):
        with database.read() as session:
            loose = unreferenced(session, wanted[start : start + BATCH])
        freed += settle(database, blobs, {aside: sha256 for sha256 in loose if (aside := blobs.lay_aside(sha256))})
    return freed


def let_go(database: Database, blobs: Blobs, sha256s: Iterable[str]) -> None:
    """`release` for whom it is an afterthought: what does not go now, because store or database is away, is collected later."""
    try:
        release(database, blobs, sha256s)
    except (OSError, Unavailable, StoreRefused) as error:
        log.warning("bytes stay until they are collected", error=str(error))


def settle(database: Database, blobs: Blobs, aside: dict[str, str]) -> list[str]:
    """The second look at blobs that were laid aside (their name there → sha256); returns those that are gone now."""
    try:
        with database.read() as session:
            loose = set(unreferenced(session, aside.values()))
    except BaseException:
        for name in aside:
            blobs.bring_back(name)
        raise
    for name, sha256 in aside.items():
        (blobs.discard if sha256 in loose else blobs.bring_back)(name)
    return sorted(loose)


def unreferenced(session: Session, candidates: Iterable[str]) -> list[str]:
    wanted = set(candidates)
    if not wanted:
        return []
    used: set[str] = set()
    for column in (Artifact.sha256, Dataset.sha256):
        used |= set(session.scalars(select(column).where(column.in_(wanted))))
    if wanted - used:  # the files of jobs' models are artifacts too
        for files in session.scalars(select(Model.files).where(Model.job_id.is_(None))):
            used |= {file["sha256"] for file in files.values()}
    return sorted(wanted - used)


def referenced(session: Session) -> set[str]:
    """Every blob that a row refers to."""
    found = set(session.scalars(select(Artifact.sha256))) | set(session.scalars(select(Dataset.sha256)))
    for files in session.scalars(select(Model.files)):
        found |= {file["sha256"] for file in files.values()}
    return found


def job_blobs(session: Session, job_id: str) -> dict[str, int]:
    """sha256 → size of everything the job holds and nothing else does."""
    held = dict(session.execute(select(Artifact.sha256, Artifact.size_bytes).where(Artifact.job_id == job_id)).all())
    for files in session.scalars(select(Model.files).where(Model.job_id == job_id)):
        held |= {file["sha256"]: file["size_bytes"] for file in files.values()}
    shared = session.scalars(select(Artifact.sha256).where(Artifact.sha256.in_(held), Artifact.job_id != job_id)).all()
    return {sha256: size for sha256, size in held.items() if sha256 not in set(shared)}


def delete_job(session: Session, job: Job) -> list[str]:
    """Removes the job's rows; returns blobs that may now be unused."""
    loose = list(job_blobs(session, job.id))
    for table in (Model, Artifact, Checkpoint, MetricSpan, MetricPoint, Event, JobDependency):
        session.execute(delete(table).where(table.job_id == job.id))
    session.expire(job, ["needs"])
    session.delete(job)
    session.flush()
    return loose
