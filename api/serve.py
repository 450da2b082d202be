"""The API as a process: checks that it can work, takes its port, says when it is ready, and leaves when asked to."""

import errno
import gc
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI

from api.connection import Connection
from api.main import create_app
from api.news import News
from api.settings import Settings
from contract.errors import PotstillError
from models.exposure import refuse_guessable
from models.process import leave_on_hangup, log_to_stderr
from models.schema import refuse_other

Ready = Callable[[str], None]


def serve(settings: Settings, ready: Ready | None = None, schema_head: str | None = None) -> None:
    """Serves until SIGTERM or SIGINT, then returns. `ready` is told the address once requests are answered."""
    log_to_stderr(settings)
    app = create_app(settings, schema_head)
    services = app.state.services
    services.database.ping()
    if schema_head is not None:
        refuse_other(services.database, schema_head)
    if not settings.loopback:
        refuse_guessable(services.database, settings.host)
    listener = bind(settings.host, settings.port)
    with listener:
        server = Server(app, settings, listener, ready)
        leave_on_hangup(server.handle_exit)
        gc.collect()
        gc.freeze()  # what was imported stays: going through all of it took 110 ms, and one request in a hundred waited for that
        server.run([listener])


def bind(host: str, port: int) -> socket.socket:
    """A socket on the address, or one clear line on why not."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        # asyncio turns Nagle's algorithm off only where the protocol says TCP; with it every answer takes 40 ms.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise PotstillError(f"{host} is no address of this machine: {error.strerror}.", hint="Choose another with --host.") from None
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(2048)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PotstillError(
                f"Port {port} of {host} is in use by another program.",
                hint=f"Stop that, or choose another: --port {port + 1} or POTSTILL_PORT.",
            ) from None
        raise PotstillError(
            f"Cannot listen on {host}, port {port}: {error.strerror}.", hint="Choose another with --host and --port."
        ) from None
    return listener


class Server(uvicorn.Server):
    """uvicorn, with our log, our way to stop, and a word when it is ready."""

    def __init__(self, app: FastAPI, settings: Settings, listener: socket.socket, ready: Ready | None = None) -> None:
        patience = settings.shutdown_seconds
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=patience,
                http=Connection,
                ws="none",
                proxy_headers=bool(settings.trusted_proxies),  # else anybody could write any address into the audit
                forwarded_allow_ips=settings.trusted_proxies,
            )
        )
        self._news: News = app.state.services.news
        self._address = _address(settings.host, listener.getsockname()[1])
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and self._ready is not None:
            self._ready(self._address)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Before the wait for open connections: event streams would sit it out.
        self._news.close()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """uvicorn raises the signal again once it has shut down; our caller still has things to put in order."""
        with super().capture_signals():
            yield
            self._captured_signals.clear()


def _address(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
