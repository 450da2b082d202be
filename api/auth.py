"""Who is asking, and whether they may. Every path under /v1 needs a key, known ones and unknown ones alike: the door stands before
the router."""

import re
from dataclasses import dataclass

from anyio import to_thread
from starlette.datastructures import Headers, QueryParams
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from api import rates
from api.last_use import LastUse
from api.rates import Rates
from api.scopes import refuse_beyond
from contract.errors import ErrorCode, NotFound, Refused, Unauthorized
from contract.scope import Scope as KeyScope
from models import browser
from models.audit import Actor
from models.project import Key, of_secret
from models.secret import PREFIX, WRITTEN, mistyped
from models.session import Database

CURE = "Send `Authorization: Bearer psk_…`; `potstill keys create` makes a key, and `potstill up` wrote its first to $POTSTILL_HOME/key."
COOKIE = "potstill_session"
IN_ADDRESS = frozenset({"key", "api_key", "token", "access_token"})
LONGEST = 200  # characters of a key
SECRET = re.compile(r"[\w-]{20,100}")


@dataclass(frozen=True, kw_only=True)
class Caller(Actor):
    """The key that was shown, the project it belongs to, and the request that shows it."""

    key_id: str
    scope: KeyScope


class Authentication:
    """ASGI middleware; puts the Caller into the request's state, or raises Unauthorized or Forbidden."""

    def __init__(self, app: ASGIApp, database: Database, rates: Rates, last_use: LastUse, metrics_open: bool) -> None:
        self.app = app
        self.database = database
        self.rates = rates
        self.last_use = last_use
        self.metrics_open = metrics_open

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        guarded = scope["type"] == "http" and self._guarded(scope["path"])
        if scope["type"] == "http":
            _refuse_unseen(scope["path"])
            refuse_key_in_address(scope, guarded)
        if guarded:
            caller = await to_thread.run_sync(self._admit, scope)
            refuse_beyond(caller.scope, scope["method"], scope["path"])
        await self.app(scope, receive, send)

    def _admit(self, scope: Scope) -> Caller:
        """Who it is; how they stand with the limits is put into the state on the way, for the headers of whatever is answered."""
        headers, state = Headers(scope=scope), scope.setdefault("state", {})
        shown, cookie = headers.get("authorization"), _cookie(headers)
        try:
            if shown is None and cookie is not None and _reads(scope, headers):
                caller = of_browser(self.database, cookie, scope)
            else:
                caller = authenticate(self.database, self.rates, shown, scope)
        except Unauthorized:
            state.setdefault("standing", self.rates.failures(address_of(scope)))
            raise
        state["caller"], state["standing"] = caller, self.rates.request(caller.key_id)
        rates.refuse(state["standing"])
        self.last_use.note(caller.key_id)
        return caller

    def _guarded(self, path: str) -> bool:
        return path == "/v1" or path.startswith("/v1/") or (path == "/metrics" and not self.metrics_open)


def _refuse_unseen(path: str) -> None:
    """Of `/v1/keys%0A` a router says that it is `/v1/keys`: `$` in its patterns also stands before a last line feed. Whoever decides by a
    path who may go there must see the same one."""
    if not path.isprintable():
        raise NotFound(f"There is no {path!r} here.", hint="A path holds no control characters; look for %0A or the like in the address.")


def refuse_key_in_address(scope: Scope, guarded: bool) -> None:
    """Addresses are kept in histories, logs and by proxies; whoever sent a key that way is to hear it at once, whether or not it opens.
    Where keys are looked at, what was meant to be one is enough."""
    field = "the path" if WRITTEN.search(scope["path"]) else None
    for name, value in QueryParams(scope["query_string"]).multi_items():
        meant = guarded and (name.lower() in IN_ADDRESS or value.startswith(PREFIX) or name.startswith(PREFIX))
        if meant or WRITTEN.search(f"{name} {value}"):
            field = name[:60] if PREFIX not in name else "the query"
    if field is not None:
        raise Refused(
            f"{field}: a key does not belong into an address, where histories and logs keep it.",
            code=ErrorCode.KEY_IN_ADDRESS,
            param=field,
            hint="Send it as `Authorization: Bearer psk_…`, and rotate this one now: potstill keys rotate ID --grace 0",
        )


def authenticate(database: Database, counted: Rates, header: str | None, scope: Scope) -> Caller:
    if header is None:
        raise _refused("This needs an API key, and none was sent.", ErrorCode.MISSING_KEY)
    scheme, _, secret = header.partition(" ")
    return by_secret(database, counted, secret.strip() if scheme.lower() == "bearer" else "", scope)


def by_secret(database: Database, counted: Rates, secret: str, scope: Scope) -> Caller:
    """The caller behind a key's secret, wherever it was given. An address that failed too often is not even looked up."""
    address, state = address_of(scope), scope["state"]
    state["standing"] = counted.failures(address)
    rates.refuse(state["standing"])
    try:
        return _looked_up(database, secret, scope)
    except Unauthorized:
        state["standing"] = counted.failure(address)
        raise


def _looked_up(database: Database, secret: str, scope: Scope) -> Caller:
    if not secret.startswith(PREFIX) or len(secret) > LONGEST:
        raise _refused(f"This is no Potstill key: those begin with {PREFIX}.", ErrorCode.INVALID_KEY)
    if mistyped(secret):
        raise _refused("This API key is mistyped: its checksum is wrong.", ErrorCode.INVALID_KEY)
    with database.read() as session:
        shown = of_secret(session, secret)
    if shown is None:
        raise _refused("This API key is not known here.", ErrorCode.INVALID_KEY)
    key = shown.key
    if key.revoked_at is not None:
        raise _refused(f"The API key {key.id} was revoked.", ErrorCode.REVOKED_KEY)
    if shown.replaced:
        raise _refused(f"The API key {key.id} was rotated, and this former secret works no longer.", ErrorCode.EXPIRED_KEY)
    if shown.expired:
        raise _refused(f"The API key {key.id} has expired.", ErrorCode.EXPIRED_KEY)
    return caller_of(key, scope)


def of_browser(database: Database, cookie: str, scope: Scope) -> Caller:
    """Pages read events and files with their session's cookie. They change nothing here: that is for their own forms, or a key."""
    caller = by_cookie(database, cookie, scope)
    if caller is None:
        raise _refused("This browser is not logged in any more.", ErrorCode.INVALID_KEY)
    return caller


def by_cookie(database: Database, cookie: str, scope: Scope) -> Caller | None:
    with database.read() as session:
        key = browser.of_cookie(session, cookie) if SECRET.fullmatch(cookie) else None
        return caller_of(key, scope) if key is not None else None


def caller_of(key: Key, scope: Scope) -> Caller:
    request_id = scope["state"]["request_id"]
    return Caller(project_id=key.project_id, key_id=key.id, request_id=request_id, address=address_of(scope), scope=KeyScope(key.scope))


def address_of(scope: Scope) -> str:
    """Of the client, or of the proxy in front where that is not trusted to tell."""
    return scope["client"][0] if scope.get("client") else "unknown"


def _cookie(headers: Headers) -> str | None:
    return cookie_parser(headers.get("cookie", "")).get(COOKIE)


def _reads(scope: Scope, headers: Headers) -> bool:
    return scope["method"] in ("GET", "HEAD") and headers.get("sec-fetch-site", "same-origin") in ("same-origin", "none")


def _refused(detail: str, code: ErrorCode) -> Unauthorized:
    return Unauthorized(detail, code=code, hint=CURE, headers={"WWW-Authenticate": "Bearer"})
