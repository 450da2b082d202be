"""The way out: where an address that somebody wrote may lead. Names are looked up once, every address found is judged, and the
connection goes to one of those (`network.py`), so that a name cannot mean something else the moment after.
"""

import re
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Any

from pydantic_core import Url, ValidationError

from contract.errors import ErrorCode, InvalidSpec

Address = IPv4Address | IPv6Address
Resolve = Callable[..., Iterable[tuple[Any, ...]]]  # socket.getaddrinfo
PATTERN = re.compile(r"(?:(?P<name>\*|(?:\*\.)?[a-z0-9._-]+)|\[(?P<address>[0-9a-f:.]+)\])(?::(?P<port>\d{1,5}))?")
NAT64 = IPv6Network("64:ff9b::/96")
# Where clouds tell a machine its credentials, as far as it is not link-local: AWS over IPv6, Azure, Alibaba.
METADATA = frozenset(map(ip_address, ("fd00:ec2::254", "168.63.129.16", "100.100.100.200")))


class NotSentError(Exception):
    """Nothing went there, or nothing came back; the text says why to whoever wants it sent."""


class NotAllowedError(NotSentError):
    """Nothing is sent there."""


class NotFoundError(NotAllowedError):
    """Nobody knows the host's name just now."""


@dataclass(frozen=True)
class Place:
    """An address taken apart."""

    scheme: str
    host: str
    port: int
    target: str

    @property
    def shown(self) -> str:
        """As the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == {"http": 80, "https": 443}[self.scheme] else f"{host}:{self.port}"


@dataclass(frozen=True)
class _Pattern:
    host: str  # `*`, `*.example.com`, or a name or address in full
    port: int | None
    below: str | None = None  # the address that a longer one must begin with, where one was written and not only a host

    @property
    def whole(self) -> bool:
        return not self.host.startswith("*")

    def fits(self, host: str, port: int) -> bool:
        if self.whole:
            return host == self.host and (port == self.port if self.port is not None else port in (80, 443))
        return host.endswith(self.host[1:]) and self.port in (None, port)

    def holds(self, url: str) -> bool:
        return self.below is None or f"{url.rstrip('/')}/".startswith(self.below)


def patterns(written: str, addresses: bool = False) -> list[_Pattern]:
    """Hosts, or where `addresses` says so also addresses, below which others lie. ValueError for what is neither."""
    found = []
    for word in written.replace(",", " ").split():
        if addresses and word.startswith(("http://", "https://")):
            try:
                place, address = _taken_apart(word), str(Url(word))
            except NotAllowedError as error:
                raise ValueError(f"{word!r}: {error}") from None
            found.append(_Pattern(place.host, place.port, f"{address.rstrip('/')}/"))
            continue
        parts = PATTERN.fullmatch(word.lower())
        if parts is None:
            raise ValueError(f"{word!r} is no host: write hooks.example.com, hooks.example.com:8443, *.example.com or *")
        found.append(_Pattern(parts["name"] or parts["address"], int(parts["port"]) if parts["port"] else None))
    return found


def _taken_apart(url: str) -> Place:
    try:
        parsed = Url(url)
    except ValidationError:
        raise NotAllowedError("this is not the address of a web server: write https://host/path") from None
    host, port = (parsed.host or "").strip("[]").rstrip("."), parsed.port
    if parsed.scheme not in ("http", "https") or not host or not port:
        raise NotAllowedError("this is not the address of a web server: write https://host/path")
    if parsed.username is not None or parsed.password is not None:
        raise NotAllowedError("addresses with a user name or password are not taken")
    return Place(parsed.scheme, host, port, (parsed.path or "/") + (f"?{parsed.query}" if parsed.query else ""))


class Outward:
    def __init__(
        self, allowed: str, resolve: Resolve = socket.getaddrinfo, setting: str = "POTSTILL_WEBHOOK_HOSTS", addresses: bool = False
    ) -> None:
        """setting: by which the operator allows hosts; addresses: whether it may hold addresses too."""
        self._patterns, self._resolve, self._setting = patterns(allowed, addresses), resolve, setting

    def check(self, url: str, param: str) -> str:
        """The address as it will be used; InvalidSpec where nothing would be sent to it now."""
        with self._refusals(param):
            place = self.place(url)
            self.addresses(place.host, place.port)
        return str(Url(url))

    def check_name(self, url: str, param: str) -> None:
        """Without asking a name server. InvalidSpec where nothing would ever be sent to it."""
        with self._refusals(param):
            self.place(url)

    @contextmanager
    def _refusals(self, param: str) -> Iterator[None]:
        try:
            yield
        except NotAllowedError as error:
            hint = f"The operator allows hosts with {self._setting}."
            raise InvalidSpec(f"{param}: {error}", code=ErrorCode.HOST_NOT_ALLOWED, param=param, hint=hint) from None

    def place(self, url: str) -> Place:
        """Judged by its name alone."""
        place = _taken_apart(url)
        if not self._trusted(place.host, place.port, str(Url(url))) and place.scheme == "http":
            raise NotAllowedError(f"{place.host} is only sent to by https")
        return place

    def _trusted(self, host: str, port: int, url: str | None = None) -> bool:
        """Whether the operator named this host and port in full: then it may be private, and without TLS."""
        fitting = [pattern for pattern in self._patterns if pattern.fits(host, port) and (url is None or pattern.holds(url))]
        if not fitting:
            raise NotAllowedError(f"this service sends nothing to {host}, port {port}" + (f", at {url}" if self._knows(host, port) else ""))
        return any(pattern.whole for pattern in fitting)

    def _knows(self, host: str, port: int) -> bool:
        return any(pattern.fits(host, port) for pattern in self._patterns)

    def addresses(self, host: str, port: int) -> list[str]:
        """What the name stands for now, all of it allowed; one look-up, which may take as long as name servers do."""
        trusted = self._trusted(host, port)
        try:
            found = [str(entry[4][0]) for entry in self._resolve(host, port, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError) as error:
            raise NotFoundError(f"the host {host} cannot be found ({error})") from None
        if not found or not all(_allowed(ip_address(address.partition("%")[0]), trusted) for address in found):
            raise NotAllowedError(f"{host} leads to an address that is not on the public internet")
        return list(dict.fromkeys(found))


def _allowed(address: Address, trusted: bool) -> bool:
    """Never what is the machine's own business: link-local addresses, where clouds keep credentials, and what is no single host."""
    if isinstance(address, IPv6Address):
        inner = address.ipv4_mapped or (IPv4Address(int(address) & 0xFFFFFFFF) if address in NAT64 else None)
        if inner is not None:
            return _allowed(inner, trusted)
    if address.is_link_local or address.is_multicast or address.is_unspecified or address in METADATA:
        return False
    return trusted or (address.is_global and not address.is_reserved and not _transitional(address))


def _transitional(address: Address) -> bool:
    """6to4 and site-local addresses lead into networks that are not public, though they are not listed as private."""
    return isinstance(address, IPv6Address) and (address.sixtofour is not None or address.is_site_local)
