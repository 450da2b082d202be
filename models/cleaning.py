"""Collecting what nothing refers to any more: what crashes left behind, and what is kept only for a while."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import ColumnElement, CursorResult, delete, func, select
from sqlalchemy.orm import Session

from contract.status import ACTIVE
from models import leftovers, orphans
from models.audit import AuditEvent
from models.base import Base
from models.base import now as database_now
from models.blobs import Blobs
from models.browser import BrowserSession
from models.job import Job
from models.project import RetiredSecret
from models.service import SILENCE, IdempotencyRecord, Worker
from models.session import Database
from models.settings import StoreSettings
from models.webhook import Message

GRACE = 3600.0
SILENT_SECONDS = 24 * 3600.0
DAY = 24 * 3600.0
WEEK = 7 * DAY  # how long an Idempotency-Key is remembered, and a former secret told from one that never was
MONTH = 30 * DAY  # how long it can be looked up what a webhook was told
MANY = 500  # ids in one question


@dataclass(frozen=True)
class Found:
    """One kind of thing: how many went, or would go, and their bytes."""

    what: str
    count: int
    size_bytes: int = 0
    note: str | None = None


def collect(
    database: Database,
    blobs: Blobs,
    settings: StoreSettings,
    *,
    grace: float = GRACE,
    dry_run: bool = False,
    strangers: bool = False,
    shared: bool = True,
    now: float | None = None,
) -> list[Found]:
    """Removes all there is to remove, or says what that would be. Safe while everything runs: what is in use, or may be about to be,
    stays. `grace`: seconds for which bytes without a row are left alone. `strangers`: also when the database knows no file of the
    store. `shared`: also what is not this host's alone, which one worker of many may as well do for all: rows, and the store, which is
    listed from end to end. `now`: this host's clock, for tests."""
    if not dry_run:
        leftovers.drop_empty_jobs(settings.work_folder(), now)
    here = [
        _files("folders of attempts that ended", _dead_attempts(database, settings.work_folder(), now), dry_run),
        _files("what was fetched to help with a run", leftovers.helps(settings.work_folder(), now), dry_run),
        _files("uploads cut off", leftovers.uploads(settings.uploads_path(), now), dry_run),
        _files("teacher outputs beyond cache_bytes", leftovers.beyond(settings.cache_folder(), settings.cache_bytes, now), dry_run),
        _files("lock files of outputs that are gone", leftovers.cache_locks(settings.cache_folder(), now), dry_run),
        _files("copies beyond copies_bytes", leftovers.beyond(settings.copies_folder(), settings.copies_bytes, now), dry_run),
        _workers(database, settings.run_folder(), dry_run),
        _files("lock files of dead workers", leftovers.locks(settings.run_folder(), now), dry_run),
    ]
    if not shared:
        return here
    here += [_rows(database, what, table, over, dry_run) for what, (table, over) in _kept_for_a_while(settings).items()]
    return [*_store(database, blobs, settings, grace, dry_run, strangers, now), *here]  # last, because it may be away


def eldest(database: Database, worker_id: str) -> bool:
    """Whether no living worker was there before this one: that one cleans up for all, and when it goes the next does."""
    with database.read() as session:
        first = session.scalar(select(func.min(Worker.id)).where(Worker.last_heartbeat_at > database_now(-SILENCE)))
    return first == worker_id


def _kept_for_a_while(settings: StoreSettings) -> dict[str, tuple[type[Base], ColumnElement[bool]]]:
    return {
        "kept answers older than a week": (IdempotencyRecord, IdempotencyRecord.created_at < database_now(-WEEK)),
        "sessions and login links that are over": (BrowserSession, BrowserSession.expires_at < database_now()),
        "secrets rotated away a week ago": (RetiredSecret, RetiredSecret.until < database_now(-WEEK)),
        "messages of webhooks older than a month": (Message, Message.created_at < database_now(-MONTH)),
        "audit events older than audit_days": (AuditEvent, AuditEvent.created_at < database_now(-settings.audit_days * DAY)),
    }


def _store(
    database: Database, blobs: Blobs, settings: StoreSettings, grace: float, dry_run: bool, strangers: bool, now: float | None
) -> list[Found]:
    found = orphans.listing(blobs)
    loose, ours = orphans.orphans(database, blobs, found, grace, now)
    what, note = "files that nothing refers to", None
    if not (ours or strangers):
        note = f"none of the {len(found.blobs):,} files in {blobs.root} is known to this database: is it the right one?"
        return [Found(what, 0, note=note)]
    kinds = {
        what: orphans.free(database, blobs, loose, dry_run),
        "deletions cut off": orphans.finish_deletions(database, blobs, found, dry_run, now),
        "half-written files": orphans.drop_halves(blobs, found, dry_run, now),
    }
    return [*(Found(name, len(sizes), sum(sizes)) for name, sizes in kinds.items()), _shelf(blobs, settings.shelf_bytes, dry_run)]


def _shelf(blobs: Blobs, limit: int, dry_run: bool) -> Found:
    """What was shelved first goes first: an object store does not tell when something was used."""
    gone = orphans.shelved_beyond(blobs, limit)
    for path in gone if not dry_run else ():
        blobs.discard(path)
    return Found("shared teacher outputs beyond shelf_bytes", len(gone), sum(gone.values()))


def _dead_attempts(database: Database, work: Path, now: float | None) -> list[Path]:
    """Looked for first, asked about then: a folder is made after its claim was committed, so an attempt that lives is known to. One
    that has just ended may still be storing what it made."""
    folders = {f: a for f, a in leftovers.attempts(work).items() if leftovers.untouched(f, leftovers.MOMENT, now)}
    ids = sorted({job_id for job_id, _ in folders.values()})
    running: dict[str, int | None] = {}
    with database.read() as session:
        for start in range(0, len(ids), MANY):
            known = select(Job.id, Job.status, Job.attempt).where(Job.id.in_(ids[start : start + MANY]))
            running |= {id_: attempt if status in ACTIVE else None for id_, status, attempt in session.execute(known)}

    def dead(folder: Path, job_id: str, attempt: int) -> bool:
        if job_id in running:
            return running[job_id] != attempt
        return leftovers.untouched(folder, leftovers.DAY, now)  # of a job that was deleted, or of another database

    return [folder for folder, (job_id, attempt) in folders.items() if dead(folder, job_id, attempt)]


def _files(what: str, paths: Iterable[Path], dry_run: bool) -> Found:
    sizes = []
    for path in paths:
        sizes.append(leftovers.size(path))
        if not dry_run:
            leftovers.remove(path)
    return Found(what, len(sizes), sum(sizes))


def _workers(database: Database, run: Path, dry_run: bool) -> Found:
    """Rows of workers that have not been heard of for a day. One of this host that holds its lock lives, whatever the row says: it
    may not have been able to write."""

    def silent(session: Session) -> list[str]:
        found = session.scalars(select(Worker.id).where(Worker.last_heartbeat_at < database_now(-SILENT_SECONDS))).all()
        return [id_ for id_ in found if not leftovers.is_held(run / f"{id_}.lock")]

    if dry_run:
        with database.read() as session:
            return Found("workers silent for a day", len(silent(session)))
    with database.write() as session:
        gone = silent(session)
        session.execute(delete(Worker).where(Worker.id.in_(gone)))
    return Found("workers silent for a day", len(gone))


def _rows(database: Database, what: str, table: type[Base], over: ColumnElement[bool], dry_run: bool) -> Found:
    """Rows that were to be kept for a while only."""
    if dry_run:
        with database.read() as session:
            return Found(what, session.scalar(select(func.count()).select_from(table).where(over)) or 0)
    with database.write() as session:
        result = session.execute(delete(table).where(over))
        assert isinstance(result, CursorResult)
        return Found(what, result.rowcount)
