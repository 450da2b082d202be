"""What was done to keys and to things that are gone: who, what, when. Written in the transaction of the deed, so neither is there
without the other; nothing changes a row."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, Session, mapped_column

from contract.wire import AuditAction, AuditView
from models.base import Base, now
from models.ids import new_id


@dataclass(frozen=True)
class Actor:
    """Somebody who does something in a project: with which key, in which request, from where. An operator at the store has none."""

    project_id: str
    key_id: str | None = None
    request_id: str | None = None
    address: str | None = None


class AuditEvent(Base):
    __tablename__ = "audit_events"
    __table_args__ = (Index("ix_audit_events_project", "project_id", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    action: Mapped[AuditAction] = mapped_column(String(40))
    key_id: Mapped[str | None] = mapped_column(String(40))
    subject: Mapped[str | None] = mapped_column(String(40))
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    request_id: Mapped[str | None] = mapped_column(String(128))
    address: Mapped[str | None] = mapped_column(String(64))
    created_at: Mapped[datetime] = mapped_column(default=now(), index=True)

    def view(self) -> AuditView:
        return AuditView(
            id=self.id,
            action=self.action,
            key=self.key_id,
            subject=self.subject,
            data=self.data,
            request_id=self.request_id,
            address=self.address,
            created_at=self.created_at,
        )


def record(session: Session, actor: Actor, action: AuditAction, subject: str | None, **data: Any) -> None:
    """`subject`: the id of what it was done to, or the limit that was reached."""
    session.add(
        AuditEvent(
            id=new_id("aud"),
            project_id=actor.project_id,
            action=action,
            key_id=actor.key_id,
            subject=subject,
            data=data,
            request_id=actor.request_id,
            address=actor.address,
        )
    )
