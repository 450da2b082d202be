"""Who is asking. Every path under /v1 needs a key, known ones and unknown ones alike: the door stands before the router."""

from dataclasses import dataclass

from anyio import to_thread
from sqlalchemy import select
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from contract.errors import ErrorCode, Unauthorized
from models.project import Key, secret_hash
from models.session import Database

CURE = "Send `Authorization: Bearer psk_…`; `potstill keys create` makes a key, and `potstill up` wrote its first to $POTSTILL_HOME/key."


@dataclass(frozen=True)
class Caller:
    """The key that was shown, and the project it belongs to."""

    key_id: str
    project_id: str


class Authentication:
    """ASGI middleware; puts the Caller into the request's state, or raises Unauthorized."""

    def __init__(self, app: ASGIApp, database: Database, metrics_open: bool) -> None:
        self.app = app
        self.database = database
        self.metrics_open = metrics_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._guarded(scope["path"]):
            shown = Headers(scope=scope).get("authorization")
            scope.setdefault("state", {})["caller"] = await to_thread.run_sync(authenticate, self.database, shown)
        await self.app(scope, receive, send)

    def _guarded(self, path: str) -> bool:
        return path == "/v1" or path.startswith("/v1/") or (path == "/metrics" and not self.metrics_open)


def authenticate(database: Database, header: str | None) -> Caller:
    if header is None:
        raise _refused("This needs an API key, and none was sent.", ErrorCode.MISSING_KEY)
    scheme, _, secret = header.partition(" ")
    secret = secret.strip()
    if scheme.lower() != "bearer" or not secret.startswith("psk_") or len(secret) > 200:
        raise _refused("The Authorization header does not hold a Potstill key.", ErrorCode.INVALID_KEY)
    with database.read() as session:
        key = session.scalar(select(Key).where(Key.secret_sha256 == secret_hash(secret)))
    if key is None:
        raise _refused("This API key is not known here.", ErrorCode.INVALID_KEY)
    if key.revoked_at is not None:
        raise _refused(f"The API key {key.id} was revoked.", ErrorCode.REVOKED_KEY)
    return Caller(key.id, key.project_id)


def _refused(detail: str, code: ErrorCode) -> Unauthorized:
    return Unauthorized(detail, code=code, hint=CURE, headers={"WWW-Authenticate": "Bearer"})
