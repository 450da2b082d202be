"""What every answer says besides its body: that no other site may frame or guess at it, and how its sender stands with the limits."""

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Pages say more; these are for what is no page.
ALWAYS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


class ResponseHeaders:
    """ASGI middleware, outside of whatever answers; headers that are set already stay."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._of(scope).items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, completed)

    @staticmethod
    def _of(scope: Scope) -> dict[str, str]:
        if not scope["path"].startswith("/v1"):
            return ALWAYS
        standing = scope["state"].get("standing")
        return {**ALWAYS, "Cache-Control": "no-store", **(standing.headers() if standing is not None else {})}
