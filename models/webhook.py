"""Webhooks and their outbox: who wants to be told of what, and each message with every try to deliver it."""

import base64
import secrets
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from contract.wire import DeliveryView, TryView, WebhookView
from models.base import Base, Json, now

OLD_SECRET_SECONDS = 24 * 3600.0  # a rotated secret signs as well for so long


def new_secret() -> str:
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


class Webhook(Base):
    """The secret is kept as it is: each message is signed with it."""

    __tablename__ = "webhooks"
    __table_args__ = (Index("ix_webhooks_project", "project_id", "id"),)

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[list[str]]
    enabled: Mapped[bool] = mapped_column(default=True)
    disabled_reason: Mapped[str | None] = mapped_column(Text)  # where nobody asked for it
    secret: Mapped[str] = mapped_column(String(80))
    old_secret: Mapped[str | None] = mapped_column(String(80))  # signs as well, for a while after a rotation
    old_secret_until: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now())
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)

    def secrets(self, moment: datetime) -> list[str]:
        """Those that sign at this moment."""
        old = self.old_secret if self.old_secret_until is not None and self.old_secret_until > moment else None
        return [self.secret, *([old] if old is not None else [])]

    def view(self, secret: str | None = None) -> WebhookView:
        return WebhookView(
            id=self.id,
            url=self.url,
            events=self.events,
            enabled=self.enabled,
            disabled_reason=self.disabled_reason,
            secret=secret,
            created_at=self.created_at,
            metadata=self.meta,
        )


class Message(Base):
    """One event for one webhook: the bytes that are sent in each try. While it is being sent, `due_at` is when others may take it up."""

    __tablename__ = "webhook_messages"
    __table_args__ = (Index("ix_webhook_messages_due", "status", "due_at"), Index("ix_webhook_messages_webhook", "webhook_id", "id"))

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str | None] = mapped_column(String(40))  # the job or sweep it tells of
    body: Mapped[str] = mapped_column(Text)
    status: Mapped[Literal["pending", "delivered", "failed"]] = mapped_column(String(16), default="pending")
    tries: Mapped[list[dict[str, Any]]] = mapped_column(Json, default=list)
    due_at: Mapped[datetime | None] = mapped_column(default=now())
    created_at: Mapped[datetime] = mapped_column(default=now(), index=True)

    def view(self) -> DeliveryView:
        return DeliveryView(
            id=self.id,
            webhook=self.webhook_id,
            type=self.type,
            subject=self.subject,
            status=self.status,
            tries=[TryView.model_validate(one) for one in self.tries],
            next_try_at=self.due_at if self.status == "pending" else None,
            created_at=self.created_at,
        )
