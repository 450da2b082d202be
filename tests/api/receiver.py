"""Somebody else's server: what it was sent, and every bad way to answer, chosen by the path."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Received:
    path: str
    headers: dict[str, str]
    body: bytes


class Receiver(ThreadingHTTPServer):
    """`/ok`, `/status/500`, `/hang`, `/drip`, `/large`, `/to/URL`; anything below them is the same."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.received: list[Received] = []
        self.leave = threading.Event()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def url(self, path: str = "/ok") -> str:
        return f"http://{self.host}{path}"

    def got(self, path: str) -> list[Received]:
        return [one for one in list(self.received) if one.path.startswith(path)]

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A sender that leaves is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.received.append(Received(self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        _, way, *rest = self.path.split("/", 2)
        if way == "hang":
            self.server.leave.wait(60)
            return
        if way == "drip":
            self.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while not self.server.leave.is_set():
                self.wfile.write(b"X-Drop: 1\r\n")
                time.sleep(0.5)
            return
        self.send_response({"status": int(rest[0].split("/")[0]) if way == "status" else 0, "to": 302}.get(way, 200))
        if way == "to":
            self.send_header("Location", rest[0])
        self.end_headers()
        if way == "large":
            for _ in range(200):
                self.wfile.write(b"x" * 2**20)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def receiving(port: int = 0) -> Iterator[Receiver]:
    server = Receiver(port)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield server
    finally:
        server.leave.set()
        server.shutdown()
        server.server_close()
