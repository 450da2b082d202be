"""Browsers: a link that lets one in once, and the session its cookie stands for. Both belong to a key and end with it."""

import secrets
from datetime import datetime
from typing import Literal

from sqlalchemy import ForeignKey, String, delete, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from models.base import Base, now
from models.project import Key, in_force
from models.secret import secret_hash

LINK_SECONDS = 600.0
SESSION_SECONDS = 30 * 86_400.0


class BrowserSession(Base):
    """The secret itself is in the link or the cookie alone."""

    __tablename__ = "sessions"

    secret_sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    kind: Mapped[Literal["link", "session"]] = mapped_column(String(8))
    key_id: Mapped[str] = mapped_column(ForeignKey("keys.id", ondelete="CASCADE"))
    created_at: Mapped[datetime] = mapped_column(default=now())
    expires_at: Mapped[datetime]


def new_link(session: Session, key_id: str) -> str:
    """The secret of a link that works once, within ten minutes."""
    return _new(session, key_id, "link", LINK_SECONDS)


def new_session(session: Session, key_id: str) -> str:
    """The secret of a cookie that works for thirty days."""
    session.execute(delete(BrowserSession).where(BrowserSession.expires_at < now()))
    return _new(session, key_id, "session", SESSION_SECONDS)


def _new(session: Session, key_id: str, kind: Literal["link", "session"], seconds: float) -> str:
    secret = secrets.token_urlsafe(32)
    session.add(BrowserSession(secret_sha256=secret_hash(secret), kind=kind, key_id=key_id, expires_at=now(seconds)))
    session.flush()
    return secret


def redeem(session: Session, secret: str) -> Key | None:
    """The key behind a link, which from now on is worth nothing; None for one that is used, too old or never was."""
    query = delete(BrowserSession).where(BrowserSession.secret_sha256 == secret_hash(secret), BrowserSession.kind == "link")
    key_id = session.scalar(query.where(BrowserSession.expires_at > now()).returning(BrowserSession.key_id))
    return _valid(session, key_id) if key_id is not None else None


def of_cookie(session: Session, secret: str) -> Key | None:
    query = select(BrowserSession.key_id).where(BrowserSession.secret_sha256 == secret_hash(secret), BrowserSession.kind == "session")
    key_id = session.scalar(query.where(BrowserSession.expires_at > now()))
    return _valid(session, key_id) if key_id is not None else None


def _valid(session: Session, key_id: str) -> Key | None:
    return session.scalar(select(Key).where(Key.id == key_id, in_force()))


def shorten(session: Session, key_id: str, seconds: float) -> None:
    """Sessions and links of a key whose secret was rotated: whoever had it may have made them, so they end with it."""
    mine = BrowserSession.key_id == key_id, BrowserSession.expires_at > now(seconds)
    session.execute(update(BrowserSession).where(*mine).values(expires_at=now(seconds)))


def forget(session: Session, secret: str) -> None:
    session.execute(delete(BrowserSession).where(BrowserSession.secret_sha256 == secret_hash(secret)))
