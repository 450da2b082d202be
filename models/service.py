"""Rows of the service itself: answers kept for repeated requests, and workers that said they are alive."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from contract.resources import Offer
from models.base import REVISION, Base, now


class IdempotencyRecord(Base):
    """The first answer to a request with an Idempotency-Key; committed together with what the request created."""

    __tablename__ = "idempotency_records"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    status_code: Mapped[int]
    headers: Mapped[dict[str, Any]] = mapped_column(JSON)
    body: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(default=now())


class Compatibility(Base):
    """Of one row, which migrations write: the oldest revision whose code works with these tables (models/schema.py)."""

    __tablename__ = "compatibility"

    oldest: Mapped[str] = mapped_column(String(32), primary_key=True)


SILENCE = 30.0  # seconds without a heartbeat: the lease of what it ran is over by then


class Worker(Base):
    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    host: Mapped[str] = mapped_column(String(255), index=True)
    version: Mapped[str] = mapped_column(String(32))
    revision: Mapped[str | None] = mapped_column(String(32), default=REVISION)  # of the tables it was made for
    devices: Mapped[list[str]]
    slots: Mapped[int]
    started_at: Mapped[datetime] = mapped_column(default=now())
    last_heartbeat_at: Mapped[datetime] = mapped_column(default=now())
    deaf_since: Mapped[datetime | None]  # since when it has not heard its own ring; it goes on by looking
    trackers: Mapped[list[str] | None]  # that it can mirror runs to; None: it did not say
    machine: Mapped[dict[str, Any] | None]  # what it measured: contract.machine.Machine
    memory_bytes: Mapped[int | None] = mapped_column(BigInteger)  # that a trainer can have there
    labels: Mapped[list[str] | None]
    preempts: Mapped[bool | None]  # whether its jobs make way for better ones

    @property
    def offer(self) -> Offer:
        gpus = sum(name.startswith("cuda") for name in self.devices)
        return Offer.of(gpus, self.slots, self.memory_bytes, tuple(self.labels or ()))
