"""The application: what is parsed, refused, answered, given up, and what a write leaves in the audit log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Annotated, Any, cast

import msgspec
import pytest
from msgspec import Meta
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arbitrage.model.settings import WebSettings
from arbitrage.store.audit import AuditDraft
from arbitrage.web.api import record_endpoints
from arbitrage.web.application import Application, build, closed_guard
from arbitrage.web.callers import Caller, How, Role
from arbitrage.web.endpoints import CALLER, Answer, Call, Endpoint
from arbitrage.web.ports import Ports
from arbitrage.web.problems import problem

SETTINGS = WebSettings(body_bytes_max=2_000, header_bytes_max=1_024, request_ms_max=200)
SOMEBODY = Caller("anna", Role.ADMIN, How.TEST, "127.0.0.1")


class Wall:
    """The only view that the application itself reads."""

    def wall_ns(self) -> int:
        return 7


class Lines:
    """An audit log in memory."""

    def __init__(self) -> None:
        self.is_full = False
        self.kept: list[AuditDraft] = []

    def append(self, draft: AuditDraft) -> None:
        self.kept.append(draft)


class Question(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    count: Annotated[int, Meta(ge=1, le=9)] = 1


class Wish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    value: int = 0
    reason: str = ""


class Echo(msgspec.Struct, frozen=True):
    text: str


async def ask(call: Call) -> Answer:
    return Echo(f"{call.query.name} {call.query.count}")


async def wish(call: Call) -> Answer:
    call.note(subject="it", before=1, after=call.body.value)
    if call.body.value < 0:
        return problem(409, "not_done", "too small")
    assert call.body.value != 13, "nobody wishes for this"
    return Echo(str(call.body.value))


async def form(call: Call) -> Answer:
    return Response(call.form, media_type="text/plain")


async def slow(call: Call) -> Answer:
    await asyncio.get_running_loop().create_future()
    return Echo("late")


async def undocumented(call: Call) -> Answer:
    return problem(418, "teapot", "not in the table")


def row(method: Any, path: str, handler: Any, **words: Any) -> Endpoint:
    return Endpoint(method=method, path=path, handler=handler, summary=path, **{"role": Role.VIEWER, "answer": Echo, **words})


ROWS = (
    row("GET", "/ask/{name}", ask, query=Question),
    row("POST", "/wish", wish, body=Wish, is_write=True, errors=(409,)),
    row("POST", "/urgent", wish, body=Wish, is_write=True, is_urgent=True, errors=(409,)),
    row("POST", "/form", form, takes_form=True, answer=None, produces="text/plain"),
    row("GET", "/slow", slow),
    row("GET", "/undocumented", undocumented),
    row("GET", "/open", ask, role=None, query=Question),
)


class Asked(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class House:
    """One application, asked without sockets."""

    def __init__(self, guard: Any = None) -> None:
        self.audit = Lines()
        held: Any = object()
        ports = Ports(
            views=cast(Any, Wall()), commands=held, records=held, ledger=held, audit=cast(Any, self.audit), events=held,
            traffic=held, still_counts=lambda caller: True,
        )  # fmt: skip
        self.application: Application = build(ports, SETTINGS, guard or welcome, ROWS)
        self.aborted = 0

    def ask(
        self, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] | None = None, *, chunks: int = 1
    ) -> Asked:
        words = {"host": "localhost", **({"content-type": "application/json"} if body else {}), **(headers or {})}
        path, _, query = target.partition("?")
        scope: Scope = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(), "client": ("127.0.0.1", 1),
            "headers": [(name.encode(), value.encode()) for name, value in words.items()], "state": {"abort": self._abort},
        }  # fmt: skip
        size = max(1, -(-len(body) // chunks))
        parts = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
        sent: list[Message] = []

        async def receive() -> Message:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}

        async def send(message: Message) -> None:
            sent.append(message)

        asyncio.run(self.application(scope, receive, send))
        start = sent[0]
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        return Asked(start["status"], found, b"".join(message.get("body", b"") for message in sent[1:]))

    def _abort(self) -> None:
        self.aborted += 1


def welcome(inner: ASGIApp) -> ASGIApp:
    """Let everybody in as one admin."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        scope[CALLER] = SOMEBODY
        await inner(scope, receive, send)

    return guarded


def test_path_and_query_are_read_as_their_types() -> None:
    assert House().ask("GET", "/ask/bob?count=3").json() == {"text": "bob 3"}
    assert House().ask("GET", "/ask/bob").json() == {"text": "bob 1"}


@pytest.mark.parametrize(
    "query",
    [
        "count=0", "count=10", "count=x", "count=1&count=2", "name=eve", "other=1", "count=%ff", "&".join(["a=1"] * 60),
        "count=null",
    ],
)
def test_parameters_that_do_not_fit_are_refused(query: str) -> None:
    asked = House().ask("GET", f"/ask/bob?{query}")
    assert (asked.status, asked.json()["code"]) == (400, "bad_parameters")
    assert asked.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b'{"value": 4}', {}, 200),
        (b"", {}, 200),
        (b'{"value": "4"}', {}, 400),
        (b'{"value": 4, "more": 1}', {}, 400),
        (b"{", {}, 400),
        (b"\xff\xfe", {}, 400),
        (b'{"value": 4}', {"content-type": "text/plain"}, 415),
        (b'{"value": 4}', {"content-type": "application/json; charset=utf-8"}, 200),
        (b'{"value": ' + b" " * 2_000 + b"4}", {}, 413),
        (b'{"value": 4}', {"content-length": "70000"}, 413),
        (b'{"value": -1}', {}, 409),
        (b'{"value": 4}', {"x-long": "a" * 1_100}, 431),
    ],
)
def test_a_body_is_read_as_its_type_within_its_bounds(body: bytes, headers: Mapping[str, str], status: int) -> None:
    assert House().ask("POST", "/wish", body, headers).status == status


def test_a_body_that_comes_in_parts_is_one() -> None:
    assert House().ask("POST", "/wish", b'{"value": 12345}', chunks=5).json() == {"text": "12345"}


def test_who_leaves_in_the_middle_of_a_body_has_asked_for_nothing() -> None:
    house = House()
    scope: Scope = {
        "type": "http", "method": "POST", "path": "/wish", "query_string": b"", "client": ("127.0.0.1", 1),
        "headers": [(b"content-length", b"12")], "state": {},
    }  # fmt: skip
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(house.application(scope, receive, send))
    assert sent[0]["status"] == 400 and house.audit.kept == []


def test_what_takes_no_body_refuses_one_and_a_form_comes_raw() -> None:
    assert House().ask("GET", "/ask/bob", b"{}").status == 400
    as_form = {"content-type": "application/x-www-form-urlencoded"}
    assert House().ask("POST", "/form", b"a=1&b=2", as_form).body == b"a=1&b=2"
    assert House().ask("POST", "/form", b"a=1").status == 415


def test_a_write_is_audited_however_it_ends_and_a_read_is_not() -> None:
    house = House()
    house.ask("GET", "/ask/bob")
    house.ask("POST", "/wish", b'{"value": 4, "reason": "why"}')
    house.ask("POST", "/wish", b'{"value": -1}')
    broken = house.ask("POST", "/wish", b'{"value": 13}')
    assert (broken.status, broken.json()["code"]) == (500, "broken")
    assert [line.status for line in house.audit.kept] == [200, 409, 500]
    first = house.audit.kept[0]
    assert (first.actor, first.address, first.action) == ("anna", "127.0.0.1", "POST /wish")
    assert (first.subject, first.before, first.after, first.reason, first.at_ns) == ("it", 1, 4, "why", 7)
    assert house.application.faults.total == 1


def test_while_the_audit_log_is_full_only_what_is_urgent_changes_anything() -> None:
    house = House()
    house.audit.is_full = True
    refused = house.ask("POST", "/wish", b'{"value": 4}')
    assert (refused.status, refused.json()["code"]) == (503, "audit_full") and refused.headers["retry-after"]
    assert house.ask("POST", "/urgent", b'{"value": 4}').status == 200
    assert [line.action for line in house.audit.kept] == ["POST /urgent"]


def test_what_takes_too_long_is_given_up_and_counted() -> None:
    house = House()
    late = house.ask("GET", "/slow")
    assert (late.status, late.json()["code"]) == (503, "too_slow")
    assert house.application.counts.timeouts == 1
    assert house.application.faults.total == 0


def test_a_problem_that_is_not_documented_is_an_error_of_ours() -> None:
    assert House().ask("GET", "/undocumented").status == 500


def test_unknown_paths_and_methods_are_told_apart() -> None:
    assert House().ask("GET", "/nowhere").status == 404
    wrong = House().ask("DELETE", "/wish")
    assert wrong.status == 405 and wrong.headers["allow"] == "POST"
    assert House().ask("HEAD", "/ask/bob").status == 200


def test_every_answer_is_counted_by_its_row_and_never_by_its_path() -> None:
    house = House()
    house.ask("GET", "/ask/bob")
    house.ask("GET", "/ask/eve")
    house.ask("GET", "/made/up/1")
    house.ask("GET", "/made/up/2")
    assert house.application.counts.answers == {("GET /ask/{name}", 200): 2, ("unknown", 404): 2}


def test_every_answer_has_the_headers_that_keep_browsers_safe() -> None:
    for target in ("/ask/bob", "/nowhere", "/slow"):
        headers = House().ask("GET", target).headers
        assert headers["x-content-type-options"] == "nosniff" and headers["cache-control"] == "no-store"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]


def test_without_users_nobody_gets_in_but_to_what_is_open() -> None:
    house = House(closed_guard)
    assert house.ask("GET", "/open?name=x").status == 200
    for method, path in (("GET", "/ask/bob"), ("POST", "/wish"), ("POST", "/urgent")):
        assert house.ask(method, path, b"{}" if method == "POST" else b"").status == 401
    assert house.audit.kept == []


def test_what_is_no_http_is_left_alone() -> None:
    house, said = House(), []

    async def nothing() -> Message:
        said.append("asked")
        return {}

    async def send(message: Message) -> None:
        said.append("answered")

    asyncio.run(house.application({"type": "lifespan"}, nothing, send))
    assert said == []


def test_what_is_written_while_the_audit_log_is_read_still_counts_as_waiting() -> None:
    """Or a line would be neither among those that are shown nor among those that wait."""

    class Late:
        waiting = 1

        async def audit(self, _wanted: object) -> tuple[object, ...]:
            self.waiting = 0
            return ()

    late = Late()
    call = SimpleNamespace(query=record_endpoints.AuditQuery(), ports=SimpleNamespace(records=late, audit=late))
    assert asyncio.run(record_endpoints.audit(cast(Any, call))) == record_endpoints.AuditLines(1, ())
