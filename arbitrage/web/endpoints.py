"""What an endpoint is: one row of the table that routing, guard, OpenAPI and reference are made from. Serves nothing."""

from __future__ import annotations

import enum
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

import msgspec
from starlette.responses import Response
from starlette.types import Scope as AsgiScope

from arbitrage.web.callers import Caller, Role, Scope
from arbitrage.web.ports import Ports
from arbitrage.web.problems import Problem

Method = Literal["GET", "POST", "PUT", "DELETE"]
JSON_MEDIA = "application/json"
ENDPOINT, CALLER = "arbitrage.endpoint", "arbitrage.caller"
"""Keys of the ASGI scope: the first is set before the guard is asked, the second by the guard."""


class Kind(enum.Enum):
    """What sort of thing an endpoint is."""

    API = "api"
    """JSON for programs; in the OpenAPI document."""
    PAGE = "page"
    """HTML for people. The guard sends whoever is not signed in to the sign-in page instead of answering 401."""
    FILE = "file"
    """Scripts, styles, pictures."""


class Call(msgspec.Struct, kw_only=True):
    """One request as a handler sees it: all of it parsed and checked against the endpoint's types."""

    ports: Ports
    caller: Caller
    endpoint: Endpoint
    query: Any = None
    """An instance of `Endpoint.query`: path and query parameters by name."""
    body: Any = None
    """An instance of `Endpoint.body`."""
    form: bytes = b""
    """The raw body where `Endpoint.body` is None (an HTML form: see `Endpoint.takes_form`)."""
    headers: Mapping[str, str] = {}
    cookies: Mapping[str, str] = {}
    scope: AsgiScope = {}
    """The ASGI scope, for the few that need more (streams, the guard's own endpoints)."""
    before: Any = None
    """Set by a handler that writes: what it changed, as plain JSON, for the audit log. Never a secret."""
    after: Any = None
    subject: str = ""
    """Set by a handler that writes: what was changed, such as a user's or a key's name, for the audit log."""

    def note(self, *, subject: str = "", before: Any = None, after: Any = None) -> None:
        """Say what a write changed."""
        self.subject, self.before, self.after = subject or self.subject, before, after


Answer = msgspec.Struct | Problem | Response
Handler = Callable[[Call], Awaitable[Answer]]
"""Returns an instance of `Endpoint.answer`, or a Problem whose status is among `errors`, or a whole Response."""


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table."""

    method: Method
    path: str
    """Such as `/api/v1/orders/{client_order_id}`; `{name:path}` takes the rest, slashes included."""
    handler: Handler
    summary: str
    role: Role | None
    """The lowest role that may; None is public: anybody from an allowed address."""
    scope: Scope = Scope.READ
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    answer: type[msgspec.Struct] | None = None
    """None: not JSON; `produces` names the media type."""
    produces: str = JSON_MEDIA
    status: int = 200
    """Of the answer when it is no problem."""
    errors: tuple[int, ...] = ()
    """Statuses of the problems that the handler itself returns; those of everybody are added by `openapi.py`."""
    is_write: bool = False
    """Changes something: appears in the audit log, and needs a CSRF token where the caller has a session."""
    is_urgent: bool = False
    """Must work with everything down (kill): carried out before anything is written."""
    takes_form: bool = False
    """Takes `application/x-www-form-urlencoded` in place of JSON (pages)."""
    streams: bool = False
    """Answers for as long as the client stays; not under the time limit of a request."""
    is_probe: bool = False
    """Also for callers without any credentials whom `web.probes_open_to` names."""
    kind: Kind = Kind.API
    tag: str = ""
    """Heading in the reference."""

    @property
    def name(self) -> str:
        """What audit log and metrics call it; of bounded number, never the path as it was asked."""
        return f"{self.method} {self.path}"


class Found(msgspec.Struct, frozen=True):
    """What a path leads to: an endpoint with its path parameters, or the methods that the path does know."""

    endpoint: Endpoint | None
    parameters: Mapping[str, str] = {}
    allowed: tuple[str, ...] = ()
    """Not empty only where the path is known and the method is not."""


class Table:
    """All endpoints, by path and method. The first row that matches wins; rows of fixed paths come first."""

    def __init__(self, endpoints: Sequence[Endpoint]) -> None:
        names = [endpoint.name for endpoint in endpoints]
        assert len(set(names)) == len(names), "a method and a path name one endpoint"
        self.endpoints = tuple(endpoints)
        self._fixed: dict[str, dict[str, Endpoint]] = {}
        self._patterns: dict[str, tuple[re.Pattern[str], dict[str, Endpoint]]] = {}
        for endpoint in endpoints:
            if "{" not in endpoint.path:
                self._fixed.setdefault(endpoint.path, {})[endpoint.method] = endpoint
            else:
                pattern = self._patterns.setdefault(endpoint.path, (_pattern(endpoint.path), {}))
                pattern[1][endpoint.method] = endpoint

    def find(self, method: str, path: str) -> Found:
        """Return what a request leads to. HEAD is answered as GET."""
        word = "GET" if method == "HEAD" else method
        rows = self._fixed.get(path)
        parameters: Mapping[str, str] = {}
        if rows is None:
            rows, parameters = self._by_pattern(path)
        if rows is None:
            return Found(None)
        endpoint = rows.get(word)
        if endpoint is not None:
            return Found(endpoint, parameters)
        allowed = sorted([*rows, "HEAD"] if "GET" in rows else rows)
        return Found(None, parameters, tuple(allowed))

    def _by_pattern(self, path: str) -> tuple[dict[str, Endpoint] | None, dict[str, str]]:
        for pattern, rows in self._patterns.values():
            if (match := pattern.fullmatch(path)) is not None:
                return rows, match.groupdict()
        return None, {}


def _pattern(path: str) -> re.Pattern[str]:
    """Make `{name}` one segment and `{name:path}` the rest."""
    text = re.sub(r"\\\{(\w+):path\\\}", r"(?P<\1>.+)", re.escape(path))
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", text))
