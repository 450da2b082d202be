"""Hosts of their own on one machine: a network namespace for each, all on one bridge to this machine, whose links can be cut."""

import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator, Sequence


def refusal() -> str | None:
    """Why this machine lets nobody have such hosts; None where it does."""
    try:
        with network(["probe"]):
            return None
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", b"") or b"").decode().strip()
        return f"no network namespaces here (root and iproute2 are needed): {said or error}"


class Network:
    """`address` is this machine's, as the hosts see it."""

    def __init__(self, hosts: Sequence[str]) -> None:
        self.tag = f"ps{secrets.token_hex(3)}"
        net = f"10.213.{os.getpid() % 256}"
        self.address, self.hosts = f"{net}.1", list(hosts)
        _ip("link", "add", self.tag, "type", "bridge")
        _ip("address", "add", f"{self.address}/24", "dev", self.tag)
        _ip("link", "set", self.tag, "up")
        for number, host in enumerate(hosts):
            space, link = self._space(host), self._link(host)
            _ip("netns", "add", space)
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", link, "master", self.tag, "up")
            _ip("-n", space, "address", "add", f"{net}.{number + 10}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", space, "link", "set", device, "up")

    def inside(self, host: str) -> list[str]:
        """What a command begins with that runs on that host."""
        return ["ip", "netns", "exec", self._space(host)]

    def at(self, host: str) -> str:
        """Its address."""
        return f"{self.address.rpartition('.')[0]}.{self.hosts.index(host) + 10}"

    def cut(self, host: str) -> None:
        """Nobody is told: what is sent gets lost, as with a cable that was pulled."""
        _ip("link", "set", self._link(host), "down")

    def mend(self, host: str) -> None:
        _ip("link", "set", self._link(host), "up")

    def kill(self, host: str) -> None:
        """Everything that runs there."""
        for pid in subprocess.run(["ip", "netns", "pids", self._space(host)], check=True, capture_output=True).stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def close(self) -> None:
        for host in self.hosts:
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("link", "del", self._link(host))
            with contextlib.suppress(subprocess.CalledProcessError):
                _ip("netns", "del", self._space(host))
        with contextlib.suppress(subprocess.CalledProcessError):
            _ip("link", "del", self.tag)

    def _space(self, host: str) -> str:
        return f"{self.tag}-{host}"

    def _link(self, host: str) -> str:
        return f"{self.tag}{self.hosts.index(host)}"


@contextlib.contextmanager
def network(hosts: Sequence[str]) -> Iterator[Network]:
    found = Network(hosts)
    try:
        yield found
    finally:
        found.close()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)
