"""HTTP with the service: address, key, time limits, retries where repeating is harmless, problem+json back into exceptions."""

import json
import logging
import random
import ssl
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, BinaryIO, TypeVar

import httpx2
from pydantic import BaseModel, ValidationError

import potstill
from contract.errors import ErrorCode, InvalidSpec, Unauthorized
from potstill import settings
from potstill.answers import RETRIED, foreign, refusal, retry_after, unreachable
from potstill.errors import ConnectionFailed

Model = TypeVar("Model", bound=BaseModel)
Params = Mapping[str, Any]
Part = tuple[str, tuple[str, BinaryIO]]  # ("file", (file name, bytes))

TRIES = 4
LONGEST_WAIT = 60.0  # a Retry-After beyond this is passed on as an error instead of waited for
LOST = (httpx2.TimeoutException, httpx2.NetworkError, httpx2.RemoteProtocolError)
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


def backoff(attempt: int, longest: float = 8.0) -> float:
    """Seconds before try `attempt` + 1: doubling, with jitter so that many clients do not come back in step."""
    return min(longest, 0.25 * 2.0 ** min(attempt, 16)) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


class _Unsigned(logging.Filter):
    """Addresses that an object store signed are keys for a while; the library's log keeps what stands before the question mark."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(one.copy_with(query=None) if isinstance(one, httpx2.URL) else one for one in record.args)
        return True


logging.getLogger("httpx2").addFilter(_Unsigned())


class Transport:
    """One connection pool to one service. `transport` replaces the network, as in httpx."""

    def __init__(
        self, url: str | None = None, key: str | None = None, *, timeout: float = 30.0, transport: httpx2.BaseTransport | None = None
    ) -> None:
        self.url = (url or settings.url()).rstrip("/")
        self.key = key or settings.key()
        self.timeout = timeout
        address = _checked_url(self.url)
        headers = {"User-Agent": f"potstill/{potstill.__version__}", "Accept": "application/json"}
        if self.key is not None:
            if not (self.key.isascii() and self.key.isprintable()):
                raise Unauthorized("The API key holds characters that no key has.", hint="Copy it again: keys begin with psk_.")
            headers["Authorization"] = f"Bearer {self.key}"
        self._http = httpx2.Client(
            base_url=address,
            headers=headers,
            timeout=_limits(timeout),
            transport=transport,
            trust_env=address.host not in LOOPBACK,  # a proxy for the outside world must not be asked for this machine
            # Loading the system's certificates takes longer than a request; without https an empty context does.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if address.scheme == "http" else True,
        )

    def close(self) -> None:
        self._http.close()

    def call(
        self,
        method: str,
        path: str,
        *,
        params: Params | None = None,
        body: Any = None,
        fields: Mapping[str, str] | None = None,
        parts: Sequence[Part] = (),
        idempotency_key: str | None = None,
        timeout: float | None = None,
    ) -> Any:
        """The JSON of the answer, None for an empty one. `body` is sent as JSON, `fields` and `parts` as multipart."""
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        content = None
        if body is not None:
            content, headers["Content-Type"] = _json_bytes(body), "application/json"
        if parts:
            # The same boundary in every try: to the service the same Idempotency-Key must come with the same bytes.
            headers["Content-Type"] = f"multipart/form-data; boundary={idempotency_key or new_key()}"
        response = self._send(
            lambda: self._http.build_request(
                method,
                path,
                params=_params(params),
                content=content,
                data=fields or None,
                files=list(parts) or None,
                headers=headers,
                timeout=_limits(timeout or self.timeout),
            ),
            repeatable=method in ("GET", "HEAD") or idempotency_key is not None,
        )
        if response.status_code == HTTPStatus.NO_CONTENT:
            return None
        try:
            return response.json()
        except ValueError:
            raise foreign(self.url, response) from None

    @contextmanager
    def stream(
        self, path: str, *, params: Params | None = None, headers: Mapping[str, str] | None = None, read_timeout: float | None = None
    ) -> Iterator[httpx2.Response]:
        """An opened GET whose body is still to be read; losing the connection while reading raises one of LOST."""
        timeout = _limits(read_timeout or self.timeout)
        response = self._send(
            lambda: self._http.build_request("GET", path, params=_params(params), headers=headers, timeout=timeout),
            repeatable=True,
            stream=True,
        )
        try:
            if response.status_code == HTTPStatus.TEMPORARY_REDIRECT:
                response.close()
                with self._elsewhere(response, timeout) as found:
                    yield found
            else:
                yield response
        finally:
            response.close()

    @contextmanager
    def _elsewhere(self, sent_on: httpx2.Response, timeout: httpx2.Timeout) -> Iterator[httpx2.Response]:
        """The bytes from the object store to which the service sends us on, without our key, and without If-Range: it has marks of its own,
        and under that address never other bytes."""
        asked = sent_on.request.headers
        headers = {name: asked[name] for name in ("Accept", "Accept-Encoding", "Range") if name in asked}
        address = sent_on.url.join(sent_on.headers.get("Location", ""))
        store = f"{address.scheme}://{address.netloc.decode()}"  # without the signature, which is a key
        if (address.host, address.port) == (sent_on.url.host, sent_on.url.port):
            raise foreign(self.url, sent_on)
        if address.host not in LOOPBACK and address.scheme != "https" and self.url.startswith("https"):
            hint = "The operator sets AWS_ENDPOINT_URL to an address with https, or leaves POTSTILL_DOWNLOAD_LINK_SECONDS out."
            raise ConnectionFailed(f"{self.url} sends downloads on to {store}, which is not encrypted.", hint=hint)
        with httpx2.Client(timeout=timeout, trust_env=address.host not in LOOPBACK) as http:
            try:
                response = http.send(http.build_request("GET", address, headers=headers), stream=True)
            except httpx2.RequestError as error:
                raise unreachable(store, error) from error
            try:
                if not response.is_success:
                    response.read()
                    raise refusal(store, response, with_key=False)
                yield response
            finally:
                response.close()

    def read(self, model: type[Model], body: Any) -> Model:
        """`body` (parsed, or JSON text) as `model`; an answer of another shape means that somebody else answered."""
        try:
            return model.model_validate_json(body) if isinstance(body, str) else model.model_validate(body)
        except ValidationError as error:
            raise ConnectionFailed(
                f"{self.url} answered something that is no {model.__name__} ({error.error_count()} fields are wrong).",
                hint="Does POTSTILL_URL name a Potstill service, and of this version?",
            ) from error

    def unreachable(self, error: Exception) -> ConnectionFailed:
        return unreachable(self.url, error)

    def _send(self, make: Callable[[], httpx2.Request], *, repeatable: bool, stream: bool = False) -> httpx2.Response:
        """Sends until somebody answers with success, at most TRIES times; a request that must not be repeated is sent once."""
        attempt = 0
        while True:
            attempt += 1
            again = repeatable and attempt < TRIES
            try:
                response = self._http.send(make(), stream=stream)
                if response.is_success or (stream and response.status_code == HTTPStatus.TEMPORARY_REDIRECT):
                    return response
                response.read()
                response.close()
            except httpx2.RequestError as error:
                if not (again and isinstance(error, LOST)):
                    raise self.unreachable(error) from error
                time.sleep(backoff(attempt))
                continue
            refused = refusal(self.url, response, with_key=self.key is not None)
            wait = retry_after(response) or backoff(attempt)
            in_flight = refused.code == ErrorCode.IDEMPOTENCY_IN_FLIGHT  # our own first try is still being answered
            if not again or wait > LONGEST_WAIT or not (in_flight or response.status_code in RETRIED):
                raise refused
            time.sleep(wait)


def new_key() -> str:
    """A random Idempotency-Key: the SDK sends one with all that creates, so that a lost answer can be asked for again."""
    return uuid.uuid4().hex


def _checked_url(url: str) -> httpx2.URL:
    try:
        address = httpx2.URL(url)
    except httpx2.InvalidURL:
        address = httpx2.URL()
    if address.scheme not in ("http", "https") or not address.host:
        raise ConnectionFailed(f"{url!r} is not the address of a service.", hint=f"Write it like {settings.DEFAULT_URL}.")
    return address


def _limits(seconds: float) -> httpx2.Timeout:
    """`seconds` of silence in an open connection, less to open it."""
    return httpx2.Timeout(seconds, connect=min(seconds, 5.0))


def _json_bytes(body: Any) -> bytes:
    try:
        return json.dumps(body, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidSpec(
            f"This cannot be sent as JSON: {error}.", hint="Use text, finite numbers, true, false, null, lists, mappings."
        ) from None


def _params(params: Params | None) -> dict[str, Any]:
    return {name: value for name, value in (params or {}).items() if value is not None}
