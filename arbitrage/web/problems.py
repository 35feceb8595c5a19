"""What went wrong, as a problem document (RFC 9457): a value that handlers return, never an exception. Holds no secret."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

PROBLEM_MEDIA = "application/problem+json"


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """One problem. `code` is ours and stable; `detail` is for people."""

    title: str
    status: int
    code: str
    detail: str
    type: str = "about:blank"
    errors: tuple[str, ...] = ()
    """One line each, where more than one thing is wrong."""
    retry_after_s: int = 0
    """Also sent as `Retry-After`; left out where waiting does not help."""


def problem(status: int, code: str, detail: str, *, errors: tuple[str, ...] = (), retry_after_s: int = 0) -> Problem:
    """Make a problem; its title is the status's own name."""
    return Problem(HTTPStatus(status).phrase, status, code, detail, errors=errors, retry_after_s=retry_after_s)
