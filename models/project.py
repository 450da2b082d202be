"""Projects own everything; keys let somebody into one."""

import hashlib
import secrets
from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from models.base import Base, now
from models.ids import new_id


class Project(Base):
    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now())


class Key(Base):
    __tablename__ = "keys"

    id: Mapped[str] = mapped_column(String(40), primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    name: Mapped[str] = mapped_column(String(100))
    prefix: Mapped[str] = mapped_column(String(16))
    secret_sha256: Mapped[str] = mapped_column(String(64), unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now())
    revoked_at: Mapped[datetime | None]
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    project: Mapped[Project] = relationship(lazy="joined")


def new_secret() -> str:
    return "psk_" + secrets.token_urlsafe(32)


def secret_hash(secret: str) -> str:
    """Keys carry 256 random bits, so one plain SHA-256 is enough; there is nothing to guess and nothing to salt."""
    return hashlib.sha256(secret.encode()).hexdigest()


def add_key(session: Session, project: Project, name: str, secret: str) -> Key:
    key = Key(id=new_id("key"), project=project, name=name, prefix=secret[:8], secret_sha256=secret_hash(secret))
    session.add(key)
    session.flush()
    session.refresh(key)
    return key


def default_project(session: Session) -> Project:
    project = session.scalar(select(Project).where(Project.name == "default"))
    if project is None:
        project = Project(id=new_id("prj"), name="default")
        session.add(project)
        session.flush()
    return project


def ensure_key(session: Session, secret: str, name: str) -> None:
    """Makes `secret` a key of the default project unless it is known already: the bootstrap of a fresh store."""
    if session.scalar(select(Key).where(Key.secret_sha256 == secret_hash(secret))) is None:
        add_key(session, default_project(session), name, secret)
