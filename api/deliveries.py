"""The postman: takes what is due out of the outbox, signs and sends it, and notes what came of it. Each API process has one; which
of them sends a message is the database's to say.
"""

import asyncio
import base64
import contextlib
import hashlib
import hmac
import time
from collections import Counter
from typing import TYPE_CHECKING

import structlog
from anyio import CapacityLimiter, to_thread

from api.telemetry import Telemetry
from models import outbox
from models.outbox import Parcel
from models.session import Database
from outward.judge import NotSentError, Outward

if TYPE_CHECKING:
    from api.post import Post

log = structlog.get_logger("potstill.api")
LOOK_SECONDS = 1.0
MOST = 200  # messages on their way at once
EACH = 4  # of one webhook's: a receiver that hangs holds up its own alone


class Postman:
    def __init__(self, database: Database, outward: Outward, telemetry: Telemetry, version: str) -> None:
        self.database, self.outward, self.telemetry = database, outward, telemetry
        self._agent = f"potstill/{version}"
        self._sending: dict[asyncio.Task[None], str] = {}  # the webhooks they are for
        self._post: Post | None = None
        self._back = asyncio.Event()  # one of them is back: there is room
        self._round: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._round = asyncio.create_task(self._go_round())

    async def stop(self) -> None:
        """What is under way is left to whoever takes it up: the receiver knows it by its id."""
        tasks = [*self._sending, *([self._round] if self._round is not None else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _go_round(self) -> None:
        thread = CapacityLimiter(1)  # its own: busy downloads must not keep messages waiting
        while True:
            try:
                while len(self._sending) < MOST:
                    parcel = await to_thread.run_sync(self._take, self._busy(), limiter=thread)
                    if parcel is None:
                        break
                    self._send_off(parcel)
            except Exception as error:  # noqa: BLE001 - a database that is away comes back, and the messages are in it
                log.warning("no webhooks are sent", reason=str(error))
            self._back.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._back.wait(), LOOK_SECONDS)

    def _busy(self) -> list[str]:
        return [webhook for webhook, count in Counter(self._sending.values()).items() if count >= EACH]

    def _take(self, busy: list[str]) -> Parcel | None:
        with self.database.read() as session:
            if not outbox.is_due(session, busy):
                return None
        with self.database.write() as session:
            return outbox.take(session, busy)

    def _send_off(self, parcel: Parcel) -> None:
        task = asyncio.create_task(self._deliver(parcel))
        self._sending[task] = parcel.webhook_id
        task.add_done_callback(self._came_back)

    def _came_back(self, task: asyncio.Task[None]) -> None:
        del self._sending[task]
        self._back.set()

    async def _deliver(self, parcel: Parcel) -> None:
        began = time.monotonic()
        try:
            status, error = await self._try(parcel)
            await to_thread.run_sync(self._note, parcel, time.monotonic() - began, status, error)
        except Exception as error:  # noqa: BLE001 - it is due again when its time is over
            log.warning("a webhook's try could not be noted", webhook=parcel.webhook_id, message=parcel.id, reason=str(error))

    async def _try(self, parcel: Parcel) -> tuple[int | None, str | None]:
        """The status code, if there was one, and what was wrong, if anything."""
        if self._post is None:
            self._post = await to_thread.run_sync(_make_post, self.outward)
        content = parcel.body.encode()
        headers = {"Content-Type": "application/json", "User-Agent": self._agent}
        try:
            status = await self._post.send(parcel.url, headers | signed(parcel.id, int(time.time()), content, parcel.secrets), content)
        except NotSentError as error:
            return None, str(error)
        if 300 <= status < 400:
            return status, "it points elsewhere, and redirects are not followed: name the address itself"
        return status, None if status < 300 else f"answered {status}"

    def _note(self, parcel: Parcel, seconds: float, status: int | None, error: str | None) -> None:
        with self.database.write() as session:
            message = outbox.note(session, parcel, seconds, status, error)
        outcome = "delivered" if error is None else "given_up" if message is not None and message.status == "failed" else "to_repeat"
        self.telemetry.deliveries.labels(outcome).inc()
        tell = log.info if error is None else log.warning
        tell("webhook", webhook=parcel.webhook_id, message=parcel.id, number=parcel.number, outcome=outcome, status=status, error=error)


def _make_post(outward: Outward) -> "Post":
    from api.post import Post  # with what it imports a tenth of a second, and most services have no webhooks

    return Post(outward)


def signed(id_: str, timestamp: int, content: bytes, secrets: list[str]) -> dict[str, str]:
    """The headers of Standard Webhooks: one signature for each secret that is valid now."""
    text = f"{id_}.{timestamp}.".encode() + content
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in secrets]
    signatures = [base64.b64encode(hmac.digest(key, text, hashlib.sha256)).decode() for key in keys]
    return {"webhook-id": id_, "webhook-timestamp": str(timestamp), "webhook-signature": " ".join(f"v1,{one}" for one in signatures)}
