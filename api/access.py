"""One log line and one measurement for each request. Keys, bodies and query strings are never logged."""

import time

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.telemetry import Telemetry
from models.secret import without_secrets

log = structlog.get_logger("potstill.access")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
QUIET = frozenset({"/livez", "/readyz", "/metrics"})  # asked every few seconds by machines
GONE = 499  # nginx's number for a client that left before its answer


class Access:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp, telemetry: Telemetry) -> None:
        self.app = app
        self.telemetry = telemetry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        started, status = time.perf_counter(), GONE

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watched)
        finally:
            seconds = time.perf_counter() - started
            # Strangers choose paths and methods; only what the router knows may become a label.
            route = getattr(scope.get("route"), "path_format", "unmatched")
            method = scope["method"] if scope["method"] in METHODS else "other"
            self.telemetry.observe(method, route, status, seconds)
            if scope["path"] not in QUIET or status >= 400:
                self._log(scope, status, seconds)

    def _log(self, scope: Scope, status: int, seconds: float) -> None:
        state = scope["state"]
        caller = state.get("caller")
        log.info(
            "request",
            method=scope["method"],
            path=without_secrets(scope["path"]),
            status=status,
            milliseconds=round(seconds * 1000, 1),
            request_id=state["request_id"],
            client=scope["client"][0] if scope.get("client") else None,
            key=caller.key_id if caller else None,
        )
