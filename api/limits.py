"""No body grows beyond its limit: one announced as too large is refused unread, one that lies about itself as soon as it is. Nor does one
keep anybody waiting that stopped in the middle."""

import asyncio

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from contract.errors import ErrorCode, Refused, TooLarge

SILENCE_SECONDS = 60.0  # between two pieces of a body
UPLOADS = ("/v1/datasets", "/v1/models")


class BodyLimit:
    """ASGI middleware. The refusal is raised where the body is read, so that a half-written upload is cleaned up on the way."""

    def __init__(self, app: ASGIApp, max_body: int, max_upload: int) -> None:
        self.app = app
        self.max_body = max_body
        self.max_upload = max_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        upload = scope["method"] == "POST" and scope["path"].rstrip("/") in UPLOADS
        limit = self.max_upload if upload else self.max_body
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal():
            raise Refused("The Content-Length header is not a number.")
        if int(announced) > limit:
            raise _too_large(limit, upload)
        seen, whole = 0, False

        async def counted() -> Message:
            nonlocal seen, whole
            try:
                async with asyncio.timeout(None if whole else SILENCE_SECONDS):  # behind it one waits for the end of the connection
                    message = await receive()
            except TimeoutError:
                why = f"The body stopped in the middle: nothing came for {SILENCE_SECONDS:g} s."
                raise Refused(why, code=ErrorCode.MALFORMED_BODY, hint="Send it again.") from None
            if message["type"] == "http.request":
                whole = not message.get("more_body", False)
                seen += len(message.get("body", b""))
                if seen > limit:
                    raise _too_large(limit, upload)
            return message

        await self.app(scope, counted, send)


def _too_large(limit: int, upload: bool) -> TooLarge:
    setting = "POTSTILL_MAX_UPLOAD_BYTES" if upload else "POTSTILL_MAX_BODY_BYTES"
    cure = (
        "Split the file, or have the operator raise"
        if upload
        else "A spec is a page of text; rows are uploaded as datasets. The operator sets"
    )
    return TooLarge(f"The body is larger than the {limit:,} bytes accepted here.", hint=f"{cure} {setting}.")
