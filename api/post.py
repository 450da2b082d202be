"""One POST to somebody else's server: straight to an address that was judged, no proxy, no redirect, bounded in time and bytes."""

import ssl
from collections.abc import Iterable

import anyio
import httpcore2
from anyio import CapacityLimiter, to_thread

from api.outward import NotSentError, Outward

CONNECT_SECONDS, WHOLE_SECONDS = 5.0, 15.0
MOST_READ = 64 * 1024
LOOKUPS = 32  # at once; a name server that hangs must not hold up what others wait for


class Post:
    def __init__(self, outward: Outward) -> None:
        self._outward = outward
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=None,
            max_keepalive_connections=0,  # each connection is judged
            network_backend=_Judged(outward),
        )

    async def send(self, url: str, headers: dict[str, str], content: bytes) -> int:
        """The status code of the answer; NotSentError where there was none."""
        place = self._outward.place(url)
        where = httpcore2.URL(scheme=place.scheme, host=place.host, port=place.port, target=place.target)
        try:
            with anyio.fail_after(WHOLE_SECONDS):
                return await self._exchange(where, [("Host", place.shown), *headers.items()], content)
        except TimeoutError:
            raise NotSentError(f"no whole answer within {WHOLE_SECONDS:g} s") from None
        except httpcore2.ConnectTimeout:
            raise NotSentError(f"no connection within {CONNECT_SECONDS:g} s") from None
        except (httpcore2.NetworkError, httpcore2.ProtocolError) as error:
            raise NotSentError(f"{type(error).__name__}: {error}"[:300]) from None

    async def _exchange(self, where: httpcore2.URL, headers: list[tuple[str, str]], content: bytes) -> int:
        limits = {"timeout": {"connect": CONNECT_SECONDS}}
        async with self._pool.stream("POST", where, headers=headers, content=content, extensions=limits) as response:
            read = 0
            async for chunk in response.aiter_stream():
                read += len(chunk)
                if read > MOST_READ:
                    break
            return response.status


class _Judged(httpcore2.AsyncNetworkBackend):
    """Connects to what `Outward` allows of a name's addresses; TLS and the Host header still speak of the name."""

    def __init__(self, outward: Outward) -> None:
        self._outward = outward
        self._network = httpcore2.AnyIOBackend()
        self._threads = CapacityLimiter(LOOKUPS)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.AsyncNetworkStream:
        addresses = await to_thread.run_sync(self._outward.addresses, host, port, limiter=self._threads, abandon_on_cancel=True)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                continue
        return await self._network.connect_tcp(addresses[-1], port, timeout, local_address, socket_options)
