"""One POST to somebody else's server: straight to an address that was judged, no proxy, no redirect, bounded in time and bytes."""

import ssl

import anyio
import httpcore2

from outward.judge import NotSentError, Outward
from outward.network import Judged

CONNECT_SECONDS, WHOLE_SECONDS = 5.0, 15.0
MOST_READ = 64 * 1024


class Post:
    def __init__(self, outward: Outward) -> None:
        self._outward = outward
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=None,
            max_keepalive_connections=0,  # each connection is judged
            network_backend=Judged(outward),
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
