"""Projects own everything; keys let somebody into one, as far as their scope reaches, until they end."""

from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, ForeignKey, String, bindparam, false, func, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column, relationship

from contract.errors import Conflict, ErrorCode
from contract.scope import Scope
from models.audit import Actor, record
from models.base import Base, now
from models.ids import new_id
from models.secret import secret_hash, weak


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
    scope: Mapped[Scope] = mapped_column(String(8), default=Scope.ADMIN, server_default=Scope.ADMIN)
    expires_at: Mapped[datetime | None]
    last_used_at: Mapped[datetime | None]  # to the minute
    guessable: Mapped[bool] = mapped_column(default=False, server_default=false())  # found when it was made; a hash does not tell
    project: Mapped[Project] = relationship(lazy="joined")


class RetiredSecret(Base):
    """What a key's secret was before a rotation; it works until `until`, so that whoever holds it has time to change over."""

    __tablename__ = "retired_secrets"

    secret_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("keys.id", ondelete="CASCADE"), index=True)
    until: Mapped[datetime]


def in_force() -> ColumnElement[bool]:
    """Of a key: neither revoked nor expired."""
    return Key.revoked_at.is_(None) & (Key.expires_at.is_(None) | (Key.expires_at > now()))


class Shown(NamedTuple):
    """The key behind a secret, and what the database's clock says of it."""

    key: Key
    expired: bool
    replaced: bool  # the secret was rotated away, and its time is over


EXPIRED = func.coalesce(Key.expires_at <= now(), false())
# Made once, and asked at every request.
BY_SECRET = select(Key, EXPIRED).where(Key.secret_sha256 == bindparam("hashed"))
BY_RETIRED_SECRET = (
    select(Key, EXPIRED, RetiredSecret.until <= now())
    .join(RetiredSecret, RetiredSecret.key_id == Key.id)
    .where(RetiredSecret.secret_sha256 == bindparam("hashed"))
)


def of_secret(session: Session, secret: str) -> Shown | None:
    """None for a secret that nobody was given."""
    hashed = {"hashed": secret_hash(secret)}
    found = session.execute(BY_SECRET, hashed).one_or_none()
    if found is not None:
        return Shown(found[0], bool(found[1]), False)
    old = session.execute(BY_RETIRED_SECRET, hashed).one_or_none()
    return Shown(old[0], bool(old[1]), bool(old[2])) if old is not None else None


def rotate(session: Session, key: Key, secret: str, grace_seconds: float) -> None:
    """Gives a locked key another secret. Those from before, of earlier rotations too, work for `grace_seconds` at most."""
    end = now(grace_seconds)
    session.execute(update(RetiredSecret).where(RetiredSecret.key_id == key.id, RetiredSecret.until > end).values(until=end))
    session.add(RetiredSecret(secret_sha256=key.secret_sha256, key_id=key.id, until=end))
    key.secret_sha256, key.prefix = secret_hash(secret), secret[:8]
    session.flush()


def add_key(
    session: Session, project: Project, name: str, secret: str, scope: Scope = Scope.ADMIN, expires_in_seconds: float | None = None
) -> Key:
    key = Key(
        id=new_id("key"),
        project=project,
        name=name,
        prefix=secret[:8],
        secret_sha256=secret_hash(secret),
        scope=scope,
        guessable=weak(secret),
    )
    if expires_in_seconds is not None:
        key.expires_at = now(expires_in_seconds)
    session.add(key)
    session.flush()
    session.refresh(key)
    return key


def default_project(session: Session) -> Project:
    project = session.scalar(select(Project).where(Project.name == "default"))
    return project if project is not None else new_project(session, "default")


def new_project(session: Session, name: str) -> Project:
    """Conflict where there is one of this name already."""
    if session.scalar(select(Project.id).where(Project.name == name)) is not None:
        raise Conflict(f"name: there is a project {name!r} already", code=ErrorCode.NAME_TAKEN, param="name", hint="Choose another name.")
    project = Project(id=new_id("prj"), name=name)
    session.add(project)
    session.flush()
    return project


def ensure_key(session: Session, secret: str, name: str) -> None:
    """Makes `secret` a key of the default project unless it is known already: the bootstrap of a fresh store. One that cannot be
    guessed takes the place of those that can."""
    key = session.scalar(select(Key).where(Key.secret_sha256 == secret_hash(secret)))
    if key is None:
        key = add_key(session, default_project(session), name, secret)
    key.guessable = weak(secret)  # of a key from before nobody has looked yet
    if not key.guessable:
        replaced = Key.guessable, Key.name == name, Key.revoked_at.is_(None)
        for old in session.scalars(select(Key).where(*replaced).with_for_update(of=Key)).all():
            old.revoked_at = now()
            record(session, Actor(old.project_id), "key.revoked", old.id, name=name, why="it could be guessed")
    session.flush()
