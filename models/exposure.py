"""What must be true before strangers can reach a service."""

from sqlalchemy import select

from contract.errors import Exposed
from models.project import Key, in_force
from models.session import Database


def refuse_guessable(database: Database, host: str) -> None:
    """Exposed where a key that is in force can be guessed."""
    with database.read() as session:
        key = session.scalar(select(Key).where(Key.guessable, in_force()).limit(1))
    if key is not None:
        raise Exposed(
            f"Not listening on {host}: the key {key.id} ({key.name}) can be guessed, and strangers could try.",
            hint="Put `psk_` and the output of `openssl rand -hex 24` in its place, then `potstill migrate`; or listen on 127.0.0.1.",
        )
