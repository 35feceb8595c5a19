"""Where a request comes from: the client's address, the scheme, the name it asked for. Believes no unconfigured proxy.

`X-Forwarded-For` is read from the right: what a trusted proxy added is true, what stands left of it anybody may have sent.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from starlette.datastructures import Headers
from starlette.types import Scope

from arbitrage.web.access.people import Network, is_within

HOPS_MAX = 16
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})


class Origin(msgspec.Struct, frozen=True):
    """Who is on the other end of the line, as far as the line tells."""

    address: str
    scheme: str
    host: str
    """As the client named us, port included."""

    @property
    def name(self) -> str:
        """The host without its port."""
        return self.host.rpartition(":")[0] if self.host.rpartition(":")[2].isdigit() and ":" in self.host else self.host


def origin_of(scope: Scope, headers: Headers, proxies: Sequence[Network]) -> Origin:
    """Find out where a request comes from."""
    client = scope.get("client")
    peer = client[0] if client else ""
    host = headers.get("host", "").lower()
    if not is_within(peer, proxies):
        return Origin(peer, scope.get("scheme", "http"), host)
    hops = [hop.strip() for line in headers.getlist("x-forwarded-for") for hop in line.split(",")][-HOPS_MAX:]
    address = peer
    for hop in reversed(hops):
        address = hop
        if not is_within(hop, proxies):
            break
    scheme = headers.get("x-forwarded-proto", scope.get("scheme", "http")).strip().lower()
    return Origin(address, scheme if scheme in ("http", "https") else "http", host)


def is_foreign(origin: Origin, headers: Headers) -> bool:
    """Say whether a browser tells that another site sent this. Programs that are no browser send neither header."""
    if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        return True
    sent = headers.get("origin")
    return sent is not None and sent.lower() != f"{origin.scheme}://{origin.host}"
