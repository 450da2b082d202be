"""Which names the service answers to, and whose pages may write to it. A website can have its own name lead to this machine (DNS
rebinding); the browser then takes the service for that site, and only the Host header tells. So this holds on loopback above all."""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from contract.errors import ErrorCode, Refused

READS = ("GET", "HEAD", "OPTIONS")
EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


class OwnHosts:
    """ASGI middleware. bound: the address listened on; allowed: further names, of proxies in front and in a private network."""

    def __init__(self, app: ASGIApp, bound: str, allowed: frozenset[str]) -> None:
        self.app = app
        self.names = allowed | {bound.lower()}
        self.any_address = bound in EVERYWHERE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            host, origin = headers.get("host", ""), headers.get("origin")
            if not self._own(host):
                raise Refused(
                    f"This service does not answer to the name {_name(host)[:100]!r}.",
                    status=421,
                    code=ErrorCode.WRONG_HOST,
                    param="Host",
                    hint="Use 127.0.0.1, or let the operator put the name into POTSTILL_ALLOWED_HOSTS.",
                )
            if origin is not None and scope["method"] not in READS and not _same(origin, host):
                raise Refused(
                    f"A page of {origin[:100]!r} may not write here.",
                    status=403,
                    code=ErrorCode.WRONG_ORIGIN,
                    param="Origin",
                    hint="Programs send no Origin header; only the service's own pages may.",
                )
        await self.app(scope, receive, send)

    def _own(self, host: str) -> bool:
        name = _name(host)
        if name in self.names or name == "localhost":
            return True
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            return False
        return address.is_loopback or self.any_address  # nobody can have an address lead elsewhere, as they can a name


def _name(host: str) -> str:
    """Without the port and the brackets of IPv6."""
    try:
        return (urlsplit(f"//{host}").hostname or "").removesuffix(".")
    except ValueError:
        return ""


def _same(origin: str, host: str) -> bool:
    """Compared without the scheme: a proxy in front may speak TLS, and need not be trusted to say so."""
    default = {"http": ":80", "https": ":443"}
    scheme, _, place = origin.lower().partition("://")
    return scheme in default and place.removesuffix(default[scheme]) == host.lower().removesuffix(default[scheme])
