"""May the operator's surface be reached the way it is configured? Refuses passwords over an open wire; opens nothing itself."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from arbitrage.model.settings import WebSettings


class Exposed(NamedTuple):
    """A key of the section `web` that cannot be meant."""

    key: str
    what: str
    mend: str


def exposures(web: WebSettings) -> Iterator[Exposed]:
    """List what is wrong with how the surface may be reached; nothing where it is switched off."""
    if not web.enabled:
        return
    has_tls = bool(web.certificate_file)
    if has_tls is not bool(web.private_key_file):
        yield Exposed("web.certificate_file", "and web.private_key_file go together", "give both, or neither")
    if not is_loopback(web.host) and not has_tls and not web.trusted_proxies:
        what = f"{web.host} is not loopback, and passwords would cross the wire unencrypted"
        mend = "give web.certificate_file and web.private_key_file, or put a proxy in front and into web.trusted_proxies"
        yield Exposed("web.host", what, mend)
    for key, texts in (("allowed_addresses", web.allowed_addresses), ("trusted_proxies", web.trusted_proxies)):
        for text in texts:
            if not _is_network(text):
                yield Exposed(f"web.{key}", f"{text!r} is no address and no network", "write it like 10.0.0.0/8 or ::1")
    parts = urlsplit(web.public_url)
    if web.public_url and (parts.scheme not in ("http", "https") or not parts.hostname or parts.path not in ("", "/")):
        yield Exposed("web.public_url", "is not how a browser reaches a host", "write it like https://trading.example")
    if web.session_idle_minutes_max > web.session_minutes_max:
        what = f"{web.session_idle_minutes_max} is above web.session_minutes_max ({web.session_minutes_max})"
        yield Exposed("web.session_idle_minutes_max", what, "lower it")


def is_loopback(host: str) -> bool:
    """Say whether only this machine can reach a host."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _is_network(text: str) -> bool:
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True
