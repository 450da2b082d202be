"""A store with one project, and short words for what people and workers do to its jobs."""

import itertools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from contract.errors import ErrorBody
from contract.resources import Offer
from contract.status import JobStatus
from models import claims, lifecycle, teardown
from models.base import now
from models.claims import Claim, StoredFile
from models.ids import new_id
from models.job import Event, Job
from models.project import Project
from models.results import Model
from models.session import Database
from models.tables import Base

S = JobStatus
BROKEN = ErrorBody(code="diverged", message="The loss is NaN.", hint="Lower the learning rate.")
SPEC = {"kind": "train", "training": {"seed": 42}}


def file(path: str, sha256: str = "", size: int = 10, kind: str = "checkpoint") -> StoredFile:
    return StoredFile(path, kind, sha256 or path.encode().hex().ljust(64, "0")[:64], size)


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """What each call gave or raised, all started at the same moment in threads of their own."""
    barrier = threading.Barrier(len(calls))
    results: list[Any] = [None] * len(calls)

    def run(i: int, call: Callable[[], Any]) -> None:
        barrier.wait(10)
        try:
            results[i] = call()
        except Exception as error:  # noqa: BLE001 - it is the result
            results[i] = error

    threads = [threading.Thread(target=run, args=one) for one in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "a call hangs"
    return results


class World:
    def __init__(self, database: Database, url: str) -> None:
        self.database, self.url = database, url
        self.project_id = ""
        self._rising = itertools.count(1000)

    # ---- the test's own frame

    def begin(self) -> None:
        self.project_id = new_id("prj")
        with self.database.write() as session:
            session.add(Project(id=self.project_id, name=self.project_id))

    def clear(self) -> None:
        with self.database.write() as session:
            for table in reversed(Base.metadata.sorted_tables):
                session.execute(sa.delete(table))

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Everything the database holds."""
        with self.database.read() as session:
            return {
                name: [tuple(row) for row in session.execute(sa.select(table).order_by(*table.primary_key.columns))]
                for name, table in Base.metadata.tables.items()
            }

    def set(self, job_id: str, **columns: Any) -> None:
        """Writes columns of the row directly: for what time or another machine does."""
        with self.database.write() as session:
            session.execute(sa.update(Job).where(Job.id == job_id).values(**columns))

    # ---- what people do

    def new(self, **columns: Any) -> Job:
        fields = {"project_id": self.project_id, "kind": "train", "name": "a job", "spec": SPEC, "resolved_spec": SPEC}
        return Job(id=new_id("job"), **{**fields, **columns})

    def submit(self, *needs: str, **columns: Any) -> str:
        with self.database.write() as session:
            return lifecycle.create(session, self.new(**columns), needs).id

    def do(self, action: Callable[..., Any], job_id: str, **options: Any) -> Any:
        """`lifecycle.cancel`, `pause`, `resume`, `retry` or `switch`, in a transaction of its own."""
        with self.database.write() as session:
            return action(session, lifecycle.locked(session, job_id), **options)

    def cancel(self, job_id: str) -> None:
        self.do(lifecycle.cancel, job_id)

    def pause(self, job_id: str) -> None:
        self.do(lifecycle.pause, job_id)

    def resume(self, job_id: str) -> None:
        self.do(lifecycle.resume, job_id)

    def retry(self, job_id: str, fresh: bool = False) -> str:
        return str(self.do(lifecycle.retry, job_id, fresh=fresh).id)

    def delete(self, job_id: str) -> list[str]:
        found: list[str] = self.do(teardown.delete_job, job_id)
        return found

    # ---- what workers do

    def claim(self, worker: str = "wrk_1", lease: float = 30, offer: Offer | None = None, free: int | None = None) -> Claim | None:
        with self.database.write() as session:
            return claims.claim(session, worker, lease, offer=offer, free=free)

    def take(self, worker: str = "wrk_1", lease: float = 30) -> Claim:
        claim = self.claim(worker, lease)
        assert claim is not None
        return claim

    def run(self, **columns: Any) -> Claim:
        """A new job and a claim on it."""
        job_id = self.submit(priority=next(self._rising), **columns)
        claim = self.take()
        assert claim.job_id == job_id
        return claim

    def by(self, write: Callable[..., Any], claim: Claim, *arguments: Any, **options: Any) -> Any:
        """One of the fenced writes of `models.claims`, in a transaction of its own."""
        with self.database.write() as session:
            return write(session, claim, *arguments, **options)

    def finish(self, claim: Claim, files: Sequence[StoredFile] = (), model: Model | None = None) -> None:
        with self.database.write() as session:
            claims.add_files(session, claims.fenced(session, claim), files)
        self.by(claims.finish, claim, {"verdict": "It works."}, model)

    def fail(self, claim: Claim) -> None:
        self.by(claims.fail, claim, BROKEN)

    def crash(self, claim: Claim, reason: str = "signal 9") -> JobStatus:
        status: JobStatus = self.by(claims.crashed, claim, reason)
        return status

    def checkpoint(self, claim: Claim, step: int, files: Sequence[StoredFile] = (), dropped: Sequence[int] = ()) -> list[str]:
        loose: list[str] = self.by(claims.add_checkpoint, claim, step, {"loss": 0.5}, files, dropped)
        return loose

    def renew(self, *held: Claim, worker: str = "wrk_1", lease: float = 30) -> list[JobStatus | None]:
        with self.database.write() as session:
            claims.heartbeat(session, worker)
            answers = claims.renew(session, held, lease)
        return [answers[claim] for claim in held]

    def reap(self, *dead: str) -> list[str]:
        with self.database.write() as session:
            return claims.reap(session, dead)

    # ---- what can be seen

    def job(self, job_id: str) -> Job:
        with self.database.read() as session:
            row = session.get(Job, job_id)
            assert row is not None
            return row

    def status(self, job_id: str) -> JobStatus:
        return JobStatus(self.job(job_id).status)

    def events(self, job_id: str, type_: str | None = None) -> list[Event]:
        with self.database.read() as session:
            query = sa.select(Event).where(Event.job_id == job_id).order_by(Event.seq)
            return list(session.scalars(query if type_ is None else query.where(Event.type == type_)))

    def path(self, job_id: str) -> list[str]:
        """The statuses the job went through, as its events tell."""
        return [event.data["to"] for event in self.events(job_id, "status")]

    # ---- a job in every status, by the public way

    def in_status(self, status: JobStatus) -> str:
        if status is S.WAITING:
            return self.submit(self.submit(name="teacher", priority=-1000))
        if status is S.QUEUED:
            return self.submit()
        if status in (S.PAUSED, S.CANCELLED):
            job_id = self.submit()
            (self.pause if status is S.PAUSED else self.cancel)(job_id)
            return job_id
        claim = self.run()
        if status is S.PAUSING:
            self.pause(claim.job_id)
        elif status is S.CANCELLING:
            self.cancel(claim.job_id)
        elif status is S.SUCCEEDED:
            self.finish(claim)
        elif status is S.FAILED:
            self.fail(claim)
        return claim.job_id


def clock(session: Session, seconds: float = 0) -> Any:
    """The database's own time."""
    return session.scalar(sa.select(now(seconds)))
