"""Says which addresses a message may go to. Knows no channel: who reads a configuration needs no client to judge one."""

from __future__ import annotations

import urllib.parse

LOOPBACK = ("127.0.0.1", "::1", "localhost")


def is_safe(url: str) -> bool:
    """Say whether nobody on the way can read what goes to an address: https, or our own machine."""
    try:
        parts = urllib.parse.urlsplit(url)
        return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOOPBACK))
    except ValueError:
        return False
