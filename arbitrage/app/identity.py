"""Order ids that tell whose they are: the session, the start (epoch) and its time stand before the plan's number.

`aXXXX_E_T`: `aXXXX` names environment and session (other ids at the venue are somebody else's), `E` is the epoch, so that an
order tells which start sent it, `T` the time of the start, so that even a lost epoch makes no id anew. Base 36.
"""

from __future__ import annotations

import hashlib

_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
TAG_DIGITS = 4


def base36(number: int) -> str:
    """Write a number from 1 on."""
    assert number > 0, "there is nothing to write of nothing"
    text = ""
    while number:
        number, digit = divmod(number, 36)
        text = _DIGITS[digit] + text
    return text


def session_tag(env: str, session_name: str) -> str:
    """Return what every order id of a session begins with."""
    digest = hashlib.blake2b(f"{env}/{session_name}".encode(), digest_size=8).digest()
    number = int.from_bytes(digest, "big") % 36**TAG_DIGITS + 36**TAG_DIGITS
    return f"a{base36(number)[1:]}"


def id_prefix(env: str, session_name: str, epoch: int, at_ns: int) -> str:
    """Make a start's prefix of order ids: at most 20 characters for 1,679,615 starts, of its own at every start."""
    return f"{session_tag(env, session_name)}_{base36(epoch)}_{base36(at_ns // 1_000_000)}"
