"""Connections to judged addresses. HTTP libraries look names up by themselves, after any check; here the judge is what connects."""

from collections.abc import Iterable

import httpcore2
from anyio import CapacityLimiter, to_thread

from outward.judge import Outward

LOOKUPS = 32  # at once; a name server that hangs must not hold up what others wait for


class Judged(httpcore2.AsyncNetworkBackend):
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
