"""What creates something can be sent twice: the first answer is kept in the transaction that creates, and given again."""

import hashlib
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, TypeVar

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session
from starlette.responses import Response

from contract.errors import Conflict, ErrorCode, InvalidSpec, Refused
from models.service import IdempotencyRecord
from models.session import Database

PRINTABLE = re.compile(r"[\x20-\x7e]{1,255}")
KeyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Up to 255 printable characters; the same key with the same body gives the first answer again.",
        json_schema_extra={"pattern": f"^{PRINTABLE.pattern}$"},  # checked below, for a better word than a pattern's
    ),
]
T = TypeVar("T")


@dataclass(frozen=True)
class Sending:
    """One request that may come again."""

    project_id: str
    place: str  # method, path and query: the same body sent elsewhere is another request
    key: str | None


async def _sending(request: Request, key: KeyHeader = None) -> Sending:
    if key is not None and not PRINTABLE.fullmatch(key):
        raise Refused("The Idempotency-Key header must be 1 to 255 printable ASCII characters.", param="Idempotency-Key", status=422)
    place = f"{request.method} {request.url.path}?{request.url.query}"
    return Sending(request.state.caller.project_id, place, key)


Sent = Annotated[Sending, Depends(_sending)]


@dataclass(frozen=True)
class Created:
    """What was made. `kept` is what a repetition gets, where that must differ: secrets are not stored."""

    status: int
    view: BaseModel
    location: str | None = None
    kept: BaseModel | None = None
    jobs: list[str] = field(default_factory=list)  # to ring for

    def headers(self) -> dict[str, str]:
        return {"Location": self.location} if self.location else {}

    def response(self) -> Response:
        return Response(self.view.model_dump_json(), self.status, self.headers(), media_type="application/json")


class Idempotency:
    def __init__(self, database: Database) -> None:
        self.database = database
        self._in_flight: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def once(
        self,
        sending: Sending,
        body_hash: str,
        prepare: Callable[[], T],
        store: Callable[[Session, T], Created],
        then: Callable[[Created], None] = lambda created: None,
    ) -> Response:
        """Answers a creating request: `prepare` works outside, `store` inside the transaction, `then` after its commit."""
        with self._alone(sending):
            fingerprint = hashlib.sha256(f"{sending.place}\n{body_hash}".encode()).hexdigest()
            again = self._replay(sending, fingerprint)
            if again is not None:
                return again
            prepared = prepare()
            for last in (False, True):
                try:
                    with self.database.write() as session:
                        created = store(session, prepared)
                        if sending.key is not None:
                            session.add(_record(sending, sending.key, fingerprint, created))
                    break
                except IntegrityError:
                    # Another process answered the same request or stored the same thing a moment ago: look again.
                    again = self._replay(sending, fingerprint)
                    if again is not None:
                        return again
                    if last:
                        raise
            then(created)
            return created.response()

    @contextmanager
    def _alone(self, sending: Sending) -> Iterator[None]:
        if sending.key is None:
            yield
            return
        mine = (sending.project_id, sending.key)
        with self._lock:
            if mine in self._in_flight:
                raise Conflict(
                    "The first request with this Idempotency-Key has not been answered yet.",
                    code=ErrorCode.IDEMPOTENCY_IN_FLIGHT,
                    hint="Ask again in a moment.",
                    headers={"Retry-After": "1"},
                )
            self._in_flight.add(mine)
        try:
            yield
        finally:
            with self._lock:
                self._in_flight.discard(mine)

    def _replay(self, sending: Sending, fingerprint: str) -> Response | None:
        if sending.key is None:
            return None
        with self.database.read() as session:
            record = session.get(IdempotencyRecord, (sending.project_id, sending.key))
        if record is None:
            return None
        if record.fingerprint != fingerprint:
            raise InvalidSpec(
                "This Idempotency-Key was used for another request.",
                code=ErrorCode.IDEMPOTENCY_KEY_REUSED,
                param="Idempotency-Key",
                hint="Make a new key for every new request.",
            )
        headers = {**record.headers, "Idempotent-Replayed": "true"}
        return Response(record.body, record.status_code, headers, media_type="application/json")


def _record(sending: Sending, key: str, fingerprint: str, created: Created) -> IdempotencyRecord:
    return IdempotencyRecord(
        project_id=sending.project_id,
        key=key,
        fingerprint=fingerprint,
        status_code=created.status,
        headers=created.headers(),
        body=(created.kept or created.view).model_dump_json(),
    )
