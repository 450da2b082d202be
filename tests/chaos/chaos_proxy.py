"""A network in front of Postgres that fails on demand: it holds everything back, refuses, or loses the answer to a COMMIT.

Just enough of the wire protocol, without TLS: the message COMMIT from the client, the tags of what was done from the server.
"""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable

COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
ROLLBACK = b"Q\x00\x00\x00\x0dROLLBACK\x00"
COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
WROTE = (b"INSERT 0 ", b"UPDATE ", b"DELETE ")  # tags of commands; a row that holds such words is taken for a write, no harm
Choice = Callable[[int], bool]


def never(number: int) -> bool:
    return False


class Proxy:
    """`lose_answer(n)` decides for the n-th committed transaction that wrote something whether its client learns of it;
    `hold_at(n)` whether a partition begins just before its COMMIT reaches the server."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.lose_answer: Choice = never
        self.hold_at: Choice = never
        self.commits = self.lost = 0
        self.refusing = False
        self._flowing = threading.Event()
        self._flowing.set()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True, name="proxy").start()

    # ---- what tests do

    def partition(self) -> None:
        """From now on bytes go nowhere; nobody is told."""
        self._flowing.clear()

    def heal(self, *, reset: bool = False) -> None:
        """Bytes flow again, those held back too, as TCP would deliver them; with `reset` old connections are broken instead."""
        if reset:
            self.cut_all()
        self._flowing.set()

    def cut_all(self) -> None:
        with self._lock:
            connections, self._open = self._open, set()
        for connection in connections:
            _break(connection)

    def refuse(self) -> None:
        self.refusing = True
        self.cut_all()

    def accept(self) -> None:
        self.refusing = False

    def held(self) -> bool:
        return not self._flowing.is_set()

    def close(self) -> None:
        self._listener.close()
        self.cut_all()
        self._flowing.set()

    # ---- the wire

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        self._flowing.wait()
        try:
            if self.refusing:
                raise ConnectionRefusedError
            server = socket.create_connection(("127.0.0.1", self.target))
        except OSError:
            _break(client)
            return
        with self._lock:
            self._open |= {client, server}
        talk = _Talk(self, client, server)
        threading.Thread(target=talk.pump, args=(client, server, talk.heard_client), daemon=True).start()
        talk.pump(server, client, talk.heard_server)
        with self._lock:
            self._open -= {client, server}


class _Talk:
    """One connection: what was said in the transaction that is open."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self.proxy, self.client, self.server = proxy, client, server
        self.wrote = self.committing = False

    def pump(self, source: socket.socket, target: socket.socket, heard: Callable[[bytes], bool]) -> None:
        try:
            while data := source.recv(1 << 16):
                if not heard(data):
                    break
                self.proxy._flowing.wait()
                target.sendall(data)
        except OSError:
            pass
        _break(self.client)
        _break(self.server)

    def heard_client(self, data: bytes) -> bool:
        if ROLLBACK in data:
            self.wrote = False
        if COMMIT in data:
            self.committing = True
            if self.wrote and self.proxy.hold_at(self.proxy.commits + 1):
                self.proxy.partition()
        return True

    def heard_server(self, data: bytes) -> bool:
        """Whether the client may have it."""
        if any(tag in data for tag in WROTE):
            self.wrote = True
        if not (self.committing and COMMITTED in data):
            return True
        wrote, self.wrote, self.committing = self.wrote, False, False
        if not wrote:
            return True
        with self.proxy._lock:
            self.proxy.commits += 1
            lose = self.proxy.lose_answer(self.proxy.commits)
            self.proxy.lost += lose
        return not lose


def _break(connection: socket.socket) -> None:
    """Closed with a reset, as by a firewall: both ends' threads wake up."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
