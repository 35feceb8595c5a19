"""Every endpoint, every role, every way to show who one is and every way in which that can be wrong: nobody is let in wrongly.

The rows come from the table of endpoints, so a new endpoint is covered by being there. What must be let in is worked out here,
apart from the guard; guards that are broken on purpose, and rows that lack their role, show that the matrix finds them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import jwt
import msgspec
import pytest
from starlette.datastructures import Headers
from web_people import HOME_ADDRESS, LET_IN, OTHER_ADDRESS, STRANGE_ADDRESS, TOKEN_KEY, Lab, asked, reached

from arbitrage.store.people import KeyRow
from arbitrage.web import table
from arbitrage.web.access.guard import Guard, Identity
from arbitrage.web.access.origin import Origin
from arbitrage.web.access.people import People
from arbitrage.web.access.sessions import COOKIE, Session, Sessions
from arbitrage.web.application import build
from arbitrage.web.callers import Role, Scope
from arbitrage.web.endpoints import Call, Endpoint
from arbitrage.web.problems import Problem
from arbitrage.web.screen.dashboard import Dashboard


def endpoints() -> tuple[Endpoint, ...]:
    return table.endpoints(None, Dashboard(None).endpoints())  # type: ignore[arg-type]  # no handler runs here


PUBLIC_WRITES = {"POST /api/v1/login", "POST /login", "POST /logout", "POST /api/v1/setup", "POST /setup"}
"""Who is not signed in may do these, and nothing else that is no mere reading."""
PUBLIC_READS = {
    "GET /health", "GET /health/ready", "GET /api/v1/openapi.json", "GET /login", "GET /setup",
    "GET /static/{version}/{name}",
}  # fmt: skip
"""None of them shows a balance or a name."""
PROBES = {"GET /metrics"}
"""Without any credentials only for whom `web.probes_open_to` names."""
READING_POSTS = {"POST /api/v1/config/validate"}
"""Looks at what is sent and keeps nothing."""
PROXY_ADDRESS = "10.77.0.1"
OWN_WRITES = {
    "POST /api/v1/logout", "POST /api/v1/me/password", "DELETE /api/v1/sessions/{session}", "POST /api/v1/tokens",
}  # fmt: skip
"""What every role may do, because it touches nobody else; each handler holds itself to that (`test_web_people_api.py`)."""


class Case(msgspec.Struct, frozen=True):
    """One caller: what it shows, where it is, and whether that is worth anything."""

    name: str
    headers: dict[str, str]
    address: str = HOME_ADDRESS
    role: Role | None = None
    """None: nobody, since what is shown does not count."""
    scopes: frozenset[str] = frozenset(Scope)
    is_stranger: bool = False
    has_csrf: bool = True
    is_here: bool = False
    """On this machine, and no proxy."""


def other(letter: str) -> str:
    return "A" if letter != "A" else "B"


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


def cases(lab: Lab) -> list[Case]:
    """Make every caller of the matrix. What has expired was made two days ago, by the clock that stands."""
    made = [Case("nothing shown", {}), Case("a strange address", {}, STRANGE_ADDRESS, is_stranger=True)]
    for role in Role:
        old = lab.sign_in(role.word)
        made.append(Case(f"session {role.word} expired", old))
    lab.clock.move_s(2 * 86_400)
    for role in Role:
        made += [*sessions(lab, role), *keys(lab, role), *tokens(lab, role)]
    made += [
        Case("cookie that is none", {"cookie": "__Host-arbitrage=AAAA", "x-csrf-token": "AAAA"}),
        Case("another cookie's name", {"cookie": "arbitrage=" + made[10].headers.get("cookie", "=").partition("=")[2]}),
        Case("no bearer", {"authorization": "Basic YWRtaW46YWRtaW4="}), Case("empty bearer", bearer("")),
        Case("a default password", {"authorization": "Basic YWRtaW46cGFzc3dvcmQ="}),
    ]  # fmt: skip
    made += at_home(lab)
    for name in ("disabled", "demoted"):
        lab.store.users[name] = msgspec.structs.replace(lab.store.users["admin"], name=name)
    lab.refresh()
    browsers = {name: lab.sign_in(name) for name in ("disabled", "demoted")}
    key = lab.key("disabled", Role.ADMIN)
    lab.store.users["disabled"] = msgspec.structs.replace(lab.store.users["disabled"], is_disabled=True, generation=90)
    lab.store.users["demoted"] = msgspec.structs.replace(lab.store.users["demoted"], role="viewer", generation=91)
    lab.refresh()
    made += [Case(f"session of a {name} user", headers) for name, headers in browsers.items()]
    return [*made, Case("key of a disabled user", bearer(key))]


def at_home(lab: Lab) -> Iterator[Case]:
    """Make callers on this machine: only one who shows nothing at all, and is no proxy, may read the probes so."""
    yield Case("on this machine", {}, "127.0.0.1", is_here=True)
    yield Case("on this machine, by IPv6", {}, "::1", is_here=True)
    for name in ("x-forwarded-for", "forwarded", "via", "x-real-ip"):
        yield Case(f"on this machine, with {name}", {name: "127.0.0.1"}, "127.0.0.1")
    yield Case("says that it is on this machine", {"x-forwarded-for": "127.0.0.1"}, OTHER_ADDRESS)
    yield Case("through the proxy, says that it is on this machine", {"x-forwarded-for": "127.0.0.1"}, PROXY_ADDRESS)
    yield Case("on this machine, wrong key", bearer("ak_0000000000000000_nothing"), "127.0.0.1")
    yield Case("on this machine, ended session", {"cookie": f"{COOKIE}=AAAA"}, "127.0.0.1")
    yield Case("on this machine, under its public name", {"host": "trading.example"}, "127.0.0.1")
    good = bearer(lab.key("admin", Role.VIEWER))
    yield Case("on this machine, key", good, "127.0.0.1", Role.VIEWER)
    narrow = bearer(lab.key("admin", Role.ADMIN, scopes=("people",)))
    yield Case("on this machine, key only people", narrow, "127.0.0.1", Role.ADMIN, frozenset({"people"}))


def sessions(lab: Lab, role: Role) -> Iterator[Case]:
    good = lab.sign_in(role.word)
    yield Case(f"session {role.word}", good, role=role)
    yield Case(f"session {role.word} no CSRF", {"cookie": good["cookie"]}, role=role, has_csrf=False)
    others = {**good, "x-csrf-token": lab.sign_in(role.word)["x-csrf-token"]}
    yield Case(f"session {role.word} another session's CSRF", others, role=role, has_csrf=False)
    yield Case(f"session {role.word} from another site", {**good, "origin": "http://evil.example"}, role=role, has_csrf=False)
    yield Case(f"session {role.word} cross-site", {**good, "sec-fetch-site": "cross-site"}, role=role, has_csrf=False)
    yield Case(f"session {role.word} strange address", good, STRANGE_ADDRESS, role, is_stranger=True)
    claimed = {**good, "x-forwarded-for": HOME_ADDRESS}
    yield Case(f"session {role.word} strange address, says home", claimed, STRANGE_ADDRESS, role, is_stranger=True)
    proxied = {**good, "x-forwarded-for": f"127.0.0.1, {HOME_ADDRESS}"}
    yield Case(f"session {role.word} through the proxy", proxied, PROXY_ADDRESS, role)
    proxied = {**good, "x-forwarded-for": f"{HOME_ADDRESS}, {STRANGE_ADDRESS}"}
    yield Case(f"session {role.word} strange address through the proxy", proxied, PROXY_ADDRESS, role, is_stranger=True)
    ended = lab.sign_in(role.word)
    opened = lab.reception.sessions.of(role.word)
    (number,) = [session.number for session in opened if session.csrf_token == ended["x-csrf-token"]]
    assert lab.reception.sessions.close(number)
    yield Case(f"session {role.word} revoked", ended)
    yield Case(f"session {role.word} wrong", {**good, "cookie": good["cookie"][:-1] + other(good["cookie"][-1])})
    yield Case(f"session {role.word} rebinding", {**good, "host": "evil.example:8320"}, role=role, is_stranger=True)


def keys(lab: Lab, role: Role) -> Iterator[Case]:
    good = lab.key("admin", role)
    yield Case(f"key {role.word}", bearer(good), role=role)
    yield Case(f"key {role.word} wrong secret", bearer(good[:-1] + other(good[-1])))
    yield Case(f"key {role.word} strange address", bearer(good), STRANGE_ADDRESS, role, is_stranger=True)
    yield Case(f"key {role.word} of a {role.word} that says admin", bearer(lab.key(role.word, Role.ADMIN)), role=role)
    yield Case(f"key {role.word} expired", bearer(lab.key("admin", role, expires_at_ns=lab.clock())))
    yield Case(f"key {role.word} revoked", bearer(lab.key("admin", role, revoked_at_ns=1)))
    yield Case(f"key {role.word} bound", bearer(lab.key("admin", role, addresses=("10.1.2.0/24",))), role=role)
    yield Case(f"key {role.word} bound elsewhere", bearer(lab.key("admin", role, addresses=("10.9.9.0/24",))))
    bound = lab.key("admin", role, addresses=("10.1.2.0/24",))
    yield Case(f"key {role.word} bound, used elsewhere", bearer(bound), OTHER_ADDRESS)
    for scope in Scope:
        narrow = lab.key("admin", role, scopes=(scope.value,))
        yield Case(f"key {role.word} only {scope}", bearer(narrow), role=role, scopes=frozenset({scope.value}))


def tokens(lab: Lab, role: Role) -> Iterator[Case]:
    kinds: tuple[dict[str, Any], ...] = ({}, {"revoked_at_ns": 1}, {"addresses": ("10.1.2.0/24",)})
    own, revoked, bound = (lab.key("admin", role, **more)[3:19] for more in kinds)
    make = lab.reception.tokens.make
    good = make(own)[0]
    yield Case(f"token {role.word}", bearer(good), role=role)
    yield Case(f"token {role.word} narrowed", bearer(make(own, scopes=("read",))[0]), role=role, scopes=frozenset({"read"}))
    yield Case(f"token {role.word} wrong signature", bearer(good[:-2] + other(good[-2]) + good[-1]))
    yield Case(f"token {role.word} strange address", bearer(good), STRANGE_ADDRESS, role, is_stranger=True)
    yield Case(f"token {role.word} of a revoked key", bearer(make(revoked)[0]))
    yield Case(f"token {role.word} of a bound key elsewhere", bearer(make(bound)[0]), OTHER_ADDRESS)
    now_s = lab.clock() // 1_000_000_000
    claims: dict[str, Any] = {"aud": "arbitrage", "sub": own, "jti": "1", "iat": now_s, "exp": now_s + 60}
    for name, body, key, algorithm in (
        ("expired", {**claims, "iat": now_s - 60, "exp": now_s}, TOKEN_KEY, "HS256"),
        ("another audience", {**claims, "aud": "other"}, TOKEN_KEY, "HS256"),
        ("for years", {**claims, "exp": now_s + 10**8}, TOKEN_KEY, "HS256"),
        ("from tomorrow", {**claims, "iat": now_s + 86_400, "exp": now_s + 86_460}, TOKEN_KEY, "HS256"),
        ("another algorithm", claims, TOKEN_KEY * 2, "HS512"),
        ("another key", claims, bytes(32), "HS256"),
        ("unsigned", claims, "", "none"),
        ("without end", {name: value for name, value in claims.items() if name != "exp"}, TOKEN_KEY, "HS256"),
    ):
        yield Case(f"token {role.word} {name}", bearer(jwt.encode(body, key, algorithm=algorithm)))


def may(endpoint: Endpoint, case: Case) -> bool:
    """Say whether this caller must be let in: worked out from the row, and not by the guard."""
    if case.is_stranger:
        return False
    is_reading = endpoint.method == "GET"
    if endpoint.role is None:
        is_foreign = bool({"origin", "sec-fetch-site"} & case.headers.keys())
        return is_reading or case.role is None or (case.has_csrf and not is_foreign)
    if endpoint.name in PROBES and case.is_here:
        return True
    is_right = case.role is not None and case.role >= endpoint.role and endpoint.scope.value in case.scopes
    return is_right and (is_reading or case.has_csrf)


def path_of(endpoint: Endpoint) -> str:
    return "/".join("1" if part.startswith("{") else part for part in endpoint.path.split("/"))


def matrix(lab: Lab, rows: Sequence[Endpoint]) -> tuple[Counter[str], list[str], list[str]]:
    """Ask everything as everybody; return what was answered, who was let in wrongly, and who was kept out wrongly."""
    app = build(lab, lab.settings, lambda _: lab.reception.around(reached), rows)  # type: ignore[arg-type]  # no handler runs
    callers = cases(lab)
    answered: Counter[str] = Counter()
    wrong: list[str] = []
    locked: list[str] = []

    async def ask_all() -> None:
        for endpoint in rows:
            for case in callers:
                told = await asked(app, endpoint.method, path_of(endpoint), case.headers, address=case.address)
                answered[str(told.status)] += 1
                if (told.status == LET_IN) is not may(endpoint, case):
                    (wrong if told.status == LET_IN else locked).append(f"{endpoint.name} as {case.name}: {told.status}")

    asyncio.run(ask_all())
    return answered, wrong, locked


def too_open(rows: Sequence[Endpoint]) -> list[str]:
    """Name every row that lets in more than the house wants: this does not believe the rows themselves."""
    faults = [row.name for row in rows if row.role is None and row.name not in PUBLIC_WRITES | PUBLIC_READS]
    faults += [f"{row.name}: a probe" for row in rows if row.is_probe and row.name not in PROBES]
    for row in rows:
        is_reading = row.method == "GET" or row.name in READING_POSTS
        if row.is_write is is_reading and row.name not in PUBLIC_WRITES:
            faults.append(f"{row.name}: is_write says otherwise than its method")
        if is_reading or row.role is None or row.name in OWN_WRITES:
            continue
        if row.role < Role.OPERATOR:
            faults.append(f"{row.name}: a write for {row.role.word}s")
        if row.scope in (Scope.READ, Scope.RECORDS):
            faults.append(f"{row.name}: a write in the scope {row.scope}")
    faults += [f"{row.name}: people are for admins" for row in rows if row.scope is Scope.PEOPLE and row.role is not Role.ADMIN]
    return faults


def lab_of(**more: Any) -> Lab:
    settings: dict[str, Any] = {
        "session_minutes_max": 600, "trusted_proxies": (PROXY_ADDRESS,), "public_url": "http://trading.example",
        "allowed_addresses": ("10.0.0.0/8", "127.0.0.0/8", "::1"),
    }  # fmt: skip
    lab = Lab(**settings, **more)
    lab.populate()
    return lab


async def planted(call: Call) -> Any:
    raise AssertionError("no handler runs here")


PLANTED = Endpoint(
    method="POST", path="/api/v1/planted", handler=planted, summary="Planted", role=Role.OPERATOR, scope=Scope.TRADE,
    is_write=True,
)  # fmt: skip
KINDS = tuple(
    msgspec.structs.replace(PLANTED, method=method, path=f"/planted/{role.word}/{scope}", role=role, scope=scope)
    for method in ("GET", "POST", "PUT", "DELETE") for role in Role for scope in Scope
)  # fmt: skip
ROWS = (*endpoints(), *KINDS)
"""The whole table, and a row of every kind of right, so that none of them is missing here because no endpoint has it yet."""


def test_nobody_is_let_in_wrongly_and_nobody_kept_out() -> None:
    answered, wrong, locked = matrix(lab_of(), ROWS)
    assert wrong == []
    assert locked == []
    assert answered[str(LET_IN)] > 500 and answered["401"] > 1_000 and answered["403"] > 500 and answered["421"] > 50
    print(f"{len(ROWS)} endpoints, {sum(answered.values())} requests: {dict(answered)}")


def test_no_row_is_more_open_than_the_house_wants() -> None:
    assert too_open(endpoints()) == []


def test_a_planted_row_without_its_role_is_found() -> None:
    public = msgspec.structs.replace(PLANTED, role=None)
    viewers = msgspec.structs.replace(PLANTED, role=Role.VIEWER)
    reading = msgspec.structs.replace(PLANTED, scope=Scope.READ)
    silent = msgspec.structs.replace(PLANTED, is_write=False)
    people = msgspec.structs.replace(PLANTED, scope=Scope.PEOPLE)
    probe = msgspec.structs.replace(PLANTED, is_probe=True)
    for row in (public, viewers, reading, silent, people, probe):
        assert too_open([*endpoints(), row]) != [], row
    assert too_open([*endpoints(), PLANTED]) == []


class NoRole(Guard):
    def _forbidden(self, endpoint: Endpoint | None, identity: Identity) -> Problem | None:
        return None


class NoScope(Guard):
    def _forbidden(self, endpoint: Endpoint | None, identity: Identity) -> Problem | None:
        return super()._forbidden(endpoint, msgspec.structs.replace(identity, scopes=None))


class NoCsrf(Guard):
    def _forged(self, *_: Any) -> Problem | None:
        return None


class NoAddress(Guard):
    def _stranger(self, *_: Any) -> Problem | None:
        return None


class RevokedCounts(People):
    def key(self, key_id: str, address: str) -> tuple[KeyRow, Role] | None:
        return self._with(key_id, revoked_at_ns=None, address=address)

    def _with(self, key_id: str, *, address: str, **more: Any) -> tuple[KeyRow, Role] | None:
        kept = dict(self._keys)
        if key_id in kept:
            self._keys = {**kept, key_id: msgspec.structs.replace(kept[key_id], **more)}
        found = super().key(key_id, address)
        self._keys = kept
        return found


class ExpiredCounts(RevokedCounts):
    def key(self, key_id: str, address: str) -> tuple[KeyRow, Role] | None:
        return self._with(key_id, expires_at_ns=10**20, address=address)


class AnywhereCounts(RevokedCounts):
    def key(self, key_id: str, address: str) -> tuple[KeyRow, Role] | None:
        return self._with(key_id, addresses=(), address=address)


class OwnersDoNotBound(People):
    def role(self, name: str) -> Role | None:
        return Role.ADMIN


class SessionsNeverEnd(Sessions):
    def _counts(self, session: Session) -> bool:
        return True


@pytest.mark.parametrize(
    ("broken", "example"),
    [(NoRole, "as nothing shown"), (NoScope, "only read"), (NoCsrf, "no CSRF"), (NoAddress, "strange address")],
)
def test_a_guard_that_is_broken_on_purpose_is_found(broken: type[Guard], example: str) -> None:
    assert any(example in line for line in matrix(lab_of(guard=broken), [PLANTED])[1])


class OpenToAll(Guard):
    def _is_open(self, origin: Origin, headers: Headers) -> bool:
        return True


def test_probes_are_open_to_whom_the_setting_names_and_to_nobody_else() -> None:
    (row,) = (each for each in endpoints() if each.name in PROBES)
    assert (row.role, row.scope, row.is_write) == (Role.VIEWER, Scope.READ, False)
    wrong = matrix(lab_of(guard=OpenToAll), [row])[1]
    assert any("nothing shown" in line for line in wrong) and any("x-forwarded-for" in line for line in wrong)
    closed = matrix(lab_of(probes_open_to="nobody"), [row])
    assert closed[1] == [] and [line.partition(":")[0] for line in closed[2]] == [
        "GET /metrics as on this machine", "GET /metrics as on this machine, by IPv6",
    ]  # fmt: skip
    opened = matrix(lab_of(probes_open_to="everybody"), [row])
    assert any("nothing shown" in line for line in opened[1]) and opened[2] == []
    bad = [line for line in opened[1] if any(word in line for word in ("wrong", "strange", "expired", "ended"))]
    assert not bad, "wrong credentials are worth less than none"


@pytest.mark.parametrize(
    ("broken", "example"),
    [
        (RevokedCounts, "revoked"), (ExpiredCounts, "expired"), (AnywhereCounts, "elsewhere"), (OwnersDoNotBound, "disabled"),
        (SessionsNeverEnd, "session admin expired"),
    ],
)  # fmt: skip
def test_a_picture_that_is_broken_on_purpose_is_found(broken: type[Any], example: str) -> None:
    more = {"sessions": broken} if issubclass(broken, Sessions) else {"people": broken}
    assert any(example in line for line in matrix(lab_of(**more), [PLANTED])[1])
