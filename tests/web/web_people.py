"""A reception for tests: people in memory in the place of PostgreSQL, a clock moved by hand, and requests without sockets."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from arbitrage.model.settings import WebSettings
from arbitrage.store.audit import AuditDraft
from arbitrage.store.people import KeyRow, PeoplePicture, PeopleRefused, UserChange, UserRow
from arbitrage.web.access.guard import Guard
from arbitrage.web.access.people import People
from arbitrage.web.access.reception import Reception, rules_of
from arbitrage.web.access.sessions import COOKIE, Sessions, SessionTimes
from arbitrage.web.access.throttle import Rates
from arbitrage.web.application import Application, build
from arbitrage.web.callers import Role, Scope
from arbitrage.web.endpoints import Endpoint

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
HOME_ADDRESS, OTHER_ADDRESS, STRANGE_ADDRESS = "10.1.2.3", "10.9.9.9", "203.0.113.7"
PASSWORD = "correct horse battery"
TOKEN_KEY = bytes(range(32))


class HandClock:
    """Engine time that stands until it is moved."""

    def __init__(self) -> None:
        self.now_ns = 1_790_000_000 * SECOND_NS

    def __call__(self) -> int:
        return self.now_ns

    def move_s(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND_NS)


class HeldPeople:
    """What `PeopleStore` promises, in memory; `is_away` makes it a database that does not answer."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self.number = 1
        self.users: dict[str, UserRow] = {}
        self.keys: dict[str, KeyRow] = {}
        self.used: dict[str, int] = {}
        self.is_away = False

    async def version(self) -> int:
        self._reach()
        return self.number

    async def read(self) -> PeoplePicture:
        self._reach()
        return PeoplePicture(self.number, tuple(self.users.values()), tuple(self.keys.values()))

    async def add_user(self, name: str, role: str, password_hash: str, *, is_first_admin: bool = False) -> None:
        self._reach()
        if is_first_admin and self._admins():
            raise PeopleRefused("there is an admin already")
        if name in self.users:
            raise PeopleRefused("there is such a user already")
        self.number += 1
        self.users[name] = UserRow(name, role, password_hash, False, self.number, self._clock(), self._clock())

    async def change_user(self, name: str, change: UserChange) -> None:
        self._reach()
        if name not in self.users:
            raise PeopleRefused("there is no such user")
        before, self.number = self.users[name], self.number + 1
        given = {field: value for field, value in msgspec.structs.asdict(change).items() if value is not None}
        self.users[name] = msgspec.structs.replace(before, generation=self.number, **given)
        if not self._admins():
            self.users[name] = before
            raise PeopleRefused("the last admin")

    async def add_key(self, key: KeyRow) -> None:
        self._reach()
        if key.owner not in self.users:
            raise PeopleRefused("there is no such user")
        self.number += 1
        self.keys[key.key_id] = key

    async def revoke_key(self, key_id: str) -> None:
        self._reach()
        if key_id not in self.keys:
            raise PeopleRefused("there is no such key")
        self.number += 1
        self.keys[key_id] = msgspec.structs.replace(self.keys[key_id], revoked_at_ns=self._clock())

    async def note_used(self, last_used_ns: Mapping[str, int]) -> None:
        self._reach()
        self.used |= last_used_ns

    async def close(self) -> None: ...

    def _reach(self) -> None:
        if self.is_away:
            raise ConnectionRefusedError

    def _admins(self) -> int:
        return sum(user.role == "admin" and not user.is_disabled for user in self.users.values())


class Lab:
    """A reception with one user of each role, whose name is the role's word, and a way to ask."""

    def __init__(
        self, *, guard: type[Guard] = Guard, people: type[People] = People, sessions: type[Sessions] = Sessions, **settings: Any
    ) -> None:
        """`guard`, `people` and `sessions` may be broken on purpose."""
        self.clock = HandClock()
        self.store = HeldPeople(self.clock)
        generous = {"requests_per_s_max": 1_000_000, "client_requests_per_s_max": 1_000_000, "logins_per_minute_max": 100_000}
        self.settings = WebSettings(**{"allowed_addresses": ("10.0.0.0/8",), **generous, **settings})
        self.reception = Reception(self.store, TOKEN_KEY, self.settings, self.clock)  # type: ignore[arg-type]  # as it is used
        if (guard, people, sessions) != (Guard, People, Sessions):
            self._break(guard, people, sessions)
        self.lines: list[AuditDraft] = []

    def _break(self, guard: type[Guard], people: type[People], sessions: type[Sessions]) -> None:
        own = self.reception
        own.people = people(self.store, self.clock)  # type: ignore[arg-type]  # as it is used
        own.sessions = sessions(self.clock, SessionTimes(3_600, own.sessions.total_s), own.people.generation)
        generous = Rates(self.clock, per_client=(10**6, 10**6), everybody=(10**6, 10**6))
        own.guard = guard(rules_of(self.settings), own.people, own.sessions, own.tokens, rates=generous)

    def populate(self) -> None:
        for number, role in enumerate(Role):
            self.store.users[role.word] = UserRow(role.word, role.word, "", False, number + 1, 1, 1)
        self.store.number += 1
        self.refresh()

    def refresh(self) -> None:
        asyncio.run(self.reception.people.refresh())

    def sign_in(self, name: str) -> dict[str, str]:
        """Open a session; return the headers of a browser that has it, CSRF token included."""
        opened = self.reception.sessions.open(name, address=HOME_ADDRESS, agent="test")
        assert opened is not None
        return {"cookie": f"{COOKIE}={opened[0]}", "x-csrf-token": opened[1].csrf_token}

    def key(self, owner: str, role: Role, **more: Any) -> str:
        """Keep a key with every scope; return its text."""
        key_id = hashlib.sha256(f"{len(self.store.keys)}".encode()).hexdigest()[:16]
        secret = base64.urlsafe_b64encode(hashlib.sha256(key_id.encode()).digest()).decode().rstrip("=")
        row = KeyRow(
            key_id, owner, "", role.word, tuple(Scope), (), hashlib.sha256(secret.encode()).digest(), self.clock(),
            self.clock() + DAY_NS,
        )  # fmt: skip
        self.store.keys[key_id] = msgspec.structs.replace(row, **more)
        self.store.number += 1
        self.refresh()
        return f"ak_{key_id}_{secret}"

    def application(self, endpoints: Sequence[Endpoint]) -> Application:
        """Make the real application with real handlers; what the handlers need beyond people is this lab."""
        return build(self, self.settings, self.reception.around, endpoints)  # type: ignore[arg-type]  # as it is used

    # What handlers ask of `Ports`.
    is_full = False

    @property
    def audit(self) -> Lab:
        return self

    @property
    def views(self) -> Lab:
        return self

    def append(self, draft: AuditDraft) -> None:
        self.lines.append(draft)

    def wall_ns(self) -> int:
        return self.clock()


class Told(msgspec.Struct):
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def cookie(self) -> str:
        """The session's token, as a browser would keep it."""
        return self.headers.get("set-cookie", "").partition(";")[0].partition("=")[2]


async def asked(
    app: Any, method: str, path: str, headers: Mapping[str, str] | None = None, *, body: bytes = b"",
    address: str = HOME_ADDRESS,
) -> Told:  # fmt: skip
    """Send one request to an ASGI application."""
    bare, _, query = path.partition("?")
    given = {"host": "127.0.0.1:8320", **(headers or {})}
    scope = {
        "type": "http", "method": method, "path": bare, "query_string": query.encode(), "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in given.items()], "client": (address, 4711),
    }  # fmt: skip
    told = Told(0, {}, b"")
    parts = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return parts.pop() if parts else {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            told.status = message["status"]
            told.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
        else:
            told.body += message.get("body", b"")

    await app(scope, receive, send)
    return told


def ask(app: Any, method: str, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> Told:
    """Send one request on a loop of its own; a struct or a dict as `json` is its body."""
    given = dict(headers or {})
    if (content := more.pop("json", None)) is not None:
        more["body"] = msgspec.json.encode(content)
        given["content-type"] = "application/json"
    return asyncio.run(asked(app, method, path, given, **more))


async def reached(scope: Any, receive: Any, send: Any) -> None:
    """Stand in the place of the application behind the guard: whoever comes here was let in."""
    await Response(status_code=LET_IN)(scope, receive, send)


LET_IN = 299
