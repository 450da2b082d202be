"""Questions for a remote teacher, there and back: many at once, asked again where that helps, at the pace the endpoint wants. What a
question asks and what an answer means is the engine's business (`distill/remote.py`).

No proxy and no redirect; bounded in time and bytes. The key is in one header, and in nothing that anybody reads.
"""

import json
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import anyio
import httpcore2

from contract.errors import ErrorCode, JobError
from contract.remote import RemoteTeacher, TeacherRefused
from outward.access import Access, judge
from outward.judge import NotAllowedError, NotFoundError
from outward.limits import asked_to_wait, backoff, used_up
from outward.network import Judged

CONNECT_SECONDS = 10.0
MOST_READ = 64 << 20
LEAVING_SECONDS = 10.0  # that answers on their way have to come in once everybody is asked to stop
LOOK_SECONDS = 0.1
AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 520, 522, 524, 529})
LOST = (httpcore2.NetworkError, httpcore2.ProtocolError, httpcore2.TimeoutException, NotFoundError)
KEPT = "What it has answered is kept: `potstill retry` goes on where this job was."

Question = tuple[int, dict[str, Any]]  # its number, and the body of the request
Hear = Callable[[int, Any], None]


def speaker(access: Access | None) -> Callable[[RemoteTeacher], "Endpoint"] | None:
    """Who speaks to a remote teacher for the engine, which knows no HTTP; nobody without access."""
    return None if access is None else lambda teacher: Endpoint(teacher, access)


class _LeavingError(Exception):
    """Everybody is asked to stop."""


class Endpoint:
    """requests: sent so far, those that were asked again counted each time."""

    def __init__(self, teacher: RemoteTeacher, access: Access) -> None:
        self.url, self.access, self.requests = teacher.endpoint, access, 0
        self._most = min(teacher.concurrency, access.concurrency)
        self._judge = judge(access.allowed)
        self._place = self._placed("")
        self._tls = ssl.create_default_context()
        self._not_before = 0.0

    def ask(self, path: str, questions: Iterable[Question], hear: Hear, stop: Callable[[], bool]) -> bool:
        """Sends each question to `path` and gives the JSON of its answer to `hear`, in whatever order they come. False where `stop` said so
        first. JobError where one cannot be had; what `hear` raises ends everything too."""
        try:
            return anyio.run(self._ask, path, iter(questions), hear, stop)
        except BaseExceptionGroup as group:
            raise _first(group) from None

    async def _ask(self, path: str, questions: Iterator[Question], hear: Hear, stop: Callable[[], bool]) -> bool:
        complete, most = True, self._most
        place = self._placed(path)
        where = httpcore2.URL(scheme=place.scheme, host=place.host, port=place.port, target=place.target)

        async def work() -> None:
            nonlocal complete
            for number, body in questions:
                try:
                    hear(number, await self._answer(pool, where, json.dumps(body).encode(), stop))
                except _LeavingError:
                    complete = False
                    return

        async def leave() -> None:
            nonlocal complete
            while not stop():
                await anyio.sleep(LOOK_SECONDS)
            await anyio.sleep(LEAVING_SECONDS)
            complete = False
            tasks.cancel_scope.cancel()

        backend = Judged(self._judge)
        connections = httpcore2.AsyncConnectionPool(ssl_context=self._tls, max_connections=most, network_backend=backend)
        async with connections as pool, anyio.create_task_group() as tasks:
            tasks.start_soon(leave)
            async with anyio.create_task_group() as workers:
                for _ in range(most):
                    workers.start_soon(work)
            tasks.cancel_scope.cancel()
        return complete

    async def _answer(self, pool: httpcore2.AsyncConnectionPool, where: httpcore2.URL, body: bytes, stop: Callable[[], bool]) -> Any:
        """Asked again until it answers, refuses for good, or patience is over, which begins with the first failure."""
        failures, since = 0, 0.0
        while True:
            await self._wait(stop)
            asked = None
            try:
                with anyio.fail_after(self.access.timeout_seconds):
                    status, headers, content = await self._exchange(pool, where, body)
                if status not in AGAIN:
                    self._pause(min(used_up(headers) or 0.0, self.access.patience_seconds))
                    return self._read(status, headers, content)
                why, asked = f"HTTP {status}{self._quoted(content)}", asked_to_wait(headers)
            except TimeoutError:
                why = f"no whole answer within {self.access.timeout_seconds:g} s"
            except LOST as error:
                why = str(error)[:300] or type(error).__name__
            except NotAllowedError as error:
                raise JobError(f"teacher.endpoint: {error}.", code=ErrorCode.HOST_NOT_ALLOWED, param="teacher.endpoint") from None
            failures, since = failures + 1, since or time.monotonic()
            wait = backoff(failures) if asked is None else asked
            if time.monotonic() - since + wait > self.access.patience_seconds:
                raise self._given_up(why, failures, asked)
            self._pause(wait)

    async def _exchange(self, pool: httpcore2.AsyncConnectionPool, where: httpcore2.URL, body: bytes) -> tuple[int, dict[str, str], bytes]:
        sent = [("Host", self._place.shown), ("Content-Type", "application/json"), ("Accept", "application/json")]
        sent += [("Content-Length", str(len(body))), ("User-Agent", "potstill"), ("Accept-Encoding", "identity")]
        if self.access.key:
            sent.append(("Authorization", f"Bearer {self.access.key}"))
        self.requests += 1
        limits = {"timeout": {"connect": CONNECT_SECONDS}}
        async with pool.stream("POST", where, headers=sent, content=body, extensions=limits) as response:
            found = bytearray()
            async for chunk in response.aiter_stream():
                found += chunk
                if len(found) > MOST_READ:
                    raise _unreadable(f"an answer is larger than {MOST_READ >> 20} MiB", "Ask for less: a smaller teacher_top_k.")
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in response.headers}
            return response.status, headers, bytes(found)

    def _read(self, status: int, headers: dict[str, str], content: bytes) -> Any:
        if status != 200:
            raise self._refusal(status, self._quoted(content))
        try:
            return json.loads(content)
        except ValueError:
            raise _unreadable("an answer is no JSON", "Is it the address of an API, as https://host/v1?") from None

    def _refusal(self, status: int, quoted: str) -> TeacherRefused:
        if status in (401, 403):
            why, hint = f"refuses the key (HTTP {status})", "The operator gives the endpoint's key to the workers: POTSTILL_TEACHER_KEYS."
        elif status == 404:
            why = f"does not know that model, or nobody answers there (HTTP 404{quoted})"
            hint = "Compare teacher.model with what GET /models lists there."
        elif 300 <= status < 400:
            why = f"sends on to another address (HTTP {status}), which is not followed"
            hint = "Name the address itself under teacher.endpoint."
        else:
            why, hint = f"refuses what it was asked (HTTP {status}{quoted})", "What it says is what has to change."
        error = TeacherRefused(f"The endpoint {self.url} {why}.", param="teacher", hint=hint)
        error.answered = status
        return error

    def _quoted(self, content: bytes) -> str:
        """What the endpoint says was wrong, as far as it can be shown."""
        try:
            found = json.loads(content)
            said = found["error"]["message"] if isinstance(found.get("error"), dict) else found.get("message") or found.get("detail")
        except (ValueError, KeyError, AttributeError):
            said = None
        text = "".join(c for c in str(said or "") if c.isprintable())[:300]
        return f": {text.replace(self.access.key, '…') if self.access.key else text}" if text else ""

    def _given_up(self, why: str, failures: int, asked: float | None) -> JobError:
        when = f", and wants to be left alone for {asked:g} s" if asked is not None else ""
        said = f"The endpoint {self.url} gave no answer in {failures} tr{'y' if failures == 1 else 'ies'}: {why}{when}."
        return JobError(said, code=ErrorCode.TEACHER_UNAVAILABLE, param="teacher.endpoint", hint=KEPT)

    def _placed(self, path: str) -> Any:
        try:
            return self._judge.place(f"{self.url}{path}")
        except NotAllowedError as error:
            hint = "The operator allows endpoints with POTSTILL_TEACHER_ENDPOINTS."
            raise JobError(f"teacher.endpoint: {error}.", code=ErrorCode.HOST_NOT_ALLOWED, param="teacher.endpoint", hint=hint) from None

    def _pause(self, seconds: float) -> None:
        """For all questions: an endpoint that wants one of them later means them all."""
        if seconds:
            self._not_before = max(self._not_before, time.monotonic() + seconds)

    async def _wait(self, stop: Callable[[], bool]) -> None:
        while True:
            if stop():
                raise _LeavingError
            left = self._not_before - time.monotonic()
            if left <= 0:
                return
            await anyio.sleep(min(left, LOOK_SECONDS))


def _unreadable(why: str, hint: str) -> JobError:
    return JobError(f"The teacher's answer cannot be used: {why}.", code=ErrorCode.TEACHER_ANSWER_INVALID, param="teacher", hint=hint)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    found: BaseException = group
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found
