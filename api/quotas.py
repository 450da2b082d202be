"""What a project may have. Asked inside the transaction that would give it more."""

from dataclasses import dataclass

from anyio import to_thread
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.requests import Request
from starlette.responses import Response

from api.errors import problem
from contract.errors import QuotaExceeded
from models import audit, quotas
from models.audit import Actor, AuditEvent
from models.base import now
from models.session import Database

NOTED_SECONDS = 60.0


@dataclass(frozen=True)
class Quotas:
    """Of each project; None: as much as it likes."""

    queued_jobs: int | None
    stored_bytes: int | None

    def room_for_jobs(self, session: Session, project_id: str, more: int) -> None:
        """Raises QuotaExceeded unless `more` jobs may wait beside those that do; a project without room for results gets no new ones."""
        if self.queued_jobs is not None:
            quotas.hold(session, project_id)
            there = quotas.waiting_jobs(session, project_id)
            if there + more > self.queued_jobs:
                cure = "Wait until some have started, or cancel some"
                raise _exceeded("queued_jobs", f"{there:,} jobs wait, {more:,} more were sent", self.queued_jobs, cure)
        self.room_for_bytes(session, project_id, 0)

    def room_for_bytes(self, session: Session, project_id: str, more: int) -> None:
        """Raises QuotaExceeded unless `more` bytes may be kept beside those that are; 0 asks whether there is room for any."""
        if self.stored_bytes is not None:
            quotas.hold(session, project_id)
            there = quotas.stored_bytes(session, project_id)
            if there + max(more, 1) > self.stored_bytes:
                said = f"{there:,} bytes are kept" + (f", {more:,} more were sent" if more else "")
                raise _exceeded("bytes", said, self.stored_bytes, "Delete datasets, models or jobs that nobody needs")


def _exceeded(name: str, present: str, limit: int, cure: str) -> QuotaExceeded:
    setting = f"POTSTILL_QUOTA_{name.upper()}"
    return QuotaExceeded(
        f"quota_{name}: {present}, and a project may have {limit:,}.", param=f"quota_{name}", hint=f"{cure}; the operator sets {setting}."
    )


async def refused(request: Request, error: Exception) -> Response:
    """The handler for QuotaExceeded."""
    assert isinstance(error, QuotaExceeded)
    await to_thread.run_sync(note, request.app.state.services.database, request.state.caller, error)
    return problem(request.scope, error)


def note(database: Database, actor: Actor, refused: QuotaExceeded) -> None:
    """A refusal leaves nothing behind but this; its own transaction is rolled back by then. One a minute tells as much as thousands, of
    a program that tries again and again."""
    same = AuditEvent.project_id == actor.project_id, AuditEvent.key_id == actor.key_id, AuditEvent.subject == refused.param
    with database.write() as session:
        if session.scalar(select(AuditEvent.id).where(*same, AuditEvent.created_at > now(-NOTED_SECONDS)).limit(1)) is None:
            audit.record(session, actor, "quota.refused", refused.param, detail=refused.detail)
