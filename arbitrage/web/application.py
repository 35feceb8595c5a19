"""The ASGI application: finds the endpoint, asks the guard, parses, calls, answers, and writes down what was written.

Every failure in here becomes a problem document and a counted log line. Knows no endpoint by name and decides no right.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl

import msgspec
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from arbitrage.model.settings import WebSettings
from arbitrage.store.audit import AuditDraft
from arbitrage.web.callers import Caller, How
from arbitrage.web.counts import Counts
from arbitrage.web.endpoints import CALLER, ENDPOINT, JSON_MEDIA, Call, Endpoint, Found, Table
from arbitrage.web.faults import Faults
from arbitrage.web.ports import Ports
from arbitrage.web.problems import PROBLEM_MEDIA, Problem, problem

MS_S = 1_000
GIVE_UP_SECONDS_MAX = 2.0
PARAMETERS_MAX = 50
FORM_MEDIA = "application/x-www-form-urlencoded"
SECURITY_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"same-origin"),  # with `no-referrer` a browser sends `Origin: null` with our own forms
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"x-frame-options", b"DENY"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; font-src 'self'; "
        b"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
)
"""On every answer. `cache-control: no-store` is added where the answer does not say otherwise."""

Guard = Callable[[ASGIApp], ASGIApp]
"""Wraps the application. Reads `scope[ENDPOINT]` (None: unknown path), and either answers itself (`problem_response`) or sets
`scope[CALLER]` and calls on."""


class Application:
    """One ASGI application."""

    def __init__(
        self, ports: Ports, settings: WebSettings, guard: Guard, endpoints: Sequence[Endpoint], *, faults: Faults
    ) -> None:
        self.table = Table(endpoints)
        self.counts = Counts()
        self.faults = faults
        self._ports = ports
        self._settings = settings
        self._guarded = guard(self._inside)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        found = self.table.find(scope["method"], scope["path"])
        scope[ENDPOINT], scope["arbitrage.found"] = found.endpoint, found
        name = found.endpoint.name if found.endpoint is not None else "unknown"
        reply = _Reply(send, lambda status: self.counts.note(name, status))
        limit_s = None if found.endpoint is not None and found.endpoint.streams else self._settings.request_ms_max / MS_S
        why: Problem | None = None
        with self.faults.contained(name) as caught:
            try:
                async with asyncio.timeout(limit_s):
                    await self._guarded(scope, receive, reply)
            except TimeoutError:
                self.counts.timeouts += 1
                why = problem(503, "too_slow", "not answered within the time limit")
        if caught:
            why = problem(500, "broken", "an error of ours; it was logged")
        if why is not None:
            with self.faults.contained(name):
                async with asyncio.timeout(GIVE_UP_SECONDS_MAX):
                    await self._give_up(scope, receive, reply, why)

    async def _give_up(self, scope: Scope, receive: Receive, reply: _Reply, why: Problem) -> None:
        """Answer with a problem, or drop the connection where an answer has begun."""
        abort = scope.get("state", {}).get("abort")
        if not reply.has_begun:
            await problem_response(why)(scope, receive, reply)
        elif abort is not None:
            abort()

    async def _inside(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that the guard let through."""
        found: Found = scope["arbitrage.found"]
        if sum(len(name) + len(value) for name, value in scope["headers"]) > self._settings.header_bytes_max:
            await problem_response(problem(431, "head_too_large", "the head of a request is bounded"))(scope, receive, send)
            return
        if found.endpoint is None:
            await _not_found(found)(scope, receive, send)
            return
        call = await self._parsed(scope, receive, found.endpoint, found)
        answer = call if isinstance(call, Problem) else await self._carried_out(found.endpoint, call)
        response = answer if isinstance(answer, Response) else self._encoded(found.endpoint, answer)
        await response(scope, receive, send)

    async def _carried_out(self, endpoint: Endpoint, call: Call) -> msgspec.Struct | Problem | Response:
        """Call the handler; a write leaves its line in the audit log however it ends."""
        if not endpoint.is_write:
            return await endpoint.handler(call)
        if self._ports.audit.is_full and not endpoint.is_urgent:
            return problem(503, "audit_full", "the audit log cannot take a line: nothing is changed", retry_after_s=5)
        status = 500
        try:
            answer = await endpoint.handler(call)
            status = answer.status if isinstance(answer, Problem) else getattr(answer, "status_code", endpoint.status)
        finally:
            self._ports.audit.append(
                AuditDraft(
                    at_ns=self._ports.views.wall_ns(),
                    actor=call.caller.name or call.caller.how.value,
                    address=call.caller.address,
                    action=endpoint.name,
                    subject=call.subject,
                    status=status,
                    reason=str(getattr(call.body, "reason", "")),
                    before=call.before,
                    after=call.after,
                )
            )
        return answer

    async def _parsed(self, scope: Scope, receive: Receive, endpoint: Endpoint, found: Found) -> Call | Problem:
        headers = Headers(scope=scope)
        query = _query(endpoint, found, scope["query_string"])
        if isinstance(query, Problem):
            return query
        raw = await _body(receive, headers, self._settings.body_bytes_max)
        if isinstance(raw, Problem):
            return raw
        body = _decoded(endpoint, headers, raw)
        if isinstance(body, Problem):
            return body
        cookies = cookie_parser(headers.get("cookie", ""))
        return Call(
            ports=self._ports,
            caller=scope[CALLER],
            endpoint=endpoint,
            query=query,
            body=body,
            form=raw if endpoint.takes_form else b"",
            headers=headers,
            cookies=cookies,
            scope=scope,
        )

    def _encoded(self, endpoint: Endpoint, answer: msgspec.Struct) -> Response:
        if isinstance(answer, Problem):
            assert answer.status in (400, 413, 415, 503) or answer.status in endpoint.errors, "a problem is a documented one"
            return problem_response(answer)
        assert endpoint.answer is not None and isinstance(answer, endpoint.answer), "an answer is of its documented type"
        return Response(msgspec.json.encode(answer), endpoint.status, media_type=JSON_MEDIA)


class _Reply:
    """Passes an answer on: adds the headers that all have, and remembers that it has begun."""

    def __init__(self, send: Send, began: Callable[[int], None]) -> None:
        self._send = send
        self._began = began
        self.has_begun = False

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.has_begun = True
            self._began(message["status"])
            own = list(message.get("headers", ()))
            names = {name for name, _ in own}
            own += [pair for pair in SECURITY_HEADERS if pair[0] not in names]
            if b"cache-control" not in names:
                own.append((b"cache-control", b"no-store"))
            message = {**message, "headers": own}
        await self._send(message)


def build(
    ports: Ports, settings: WebSettings, guard: Guard, endpoints: Sequence[Endpoint], *, faults: Faults | None = None
) -> Application:
    """Make the ASGI application out of a table (`table.endpoints()` and whatever others add)."""
    return Application(ports, settings, guard, endpoints, faults=faults if faults is not None else Faults())


def closed_guard(inner: ASGIApp) -> ASGIApp:
    """Let nobody in but to public endpoints: what a daemon without users has."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        endpoint: Endpoint | None = scope[ENDPOINT]
        client = scope.get("client") or ("", 0)
        scope[CALLER] = Caller("", None, How.NOBODY, client[0])
        if endpoint is None or endpoint.role is None:
            await inner(scope, receive, send)
        else:
            await problem_response(problem(401, "not_signed_in", "nobody may ask this"))(scope, receive, send)

    return guarded


def problem_response(what: Problem) -> Response:
    """Make the HTTP answer of a problem."""
    headers = {"retry-after": str(what.retry_after_s)} if what.retry_after_s else {}
    if what.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Response(msgspec.json.encode(what), what.status, headers, PROBLEM_MEDIA)


def _not_found(found: Found) -> Response:
    if not found.allowed:
        return problem_response(problem(404, "unknown_path", "there is nothing here"))
    response = problem_response(problem(405, "method_not_allowed", f"allowed here: {', '.join(found.allowed)}"))
    response.headers["allow"] = ", ".join(found.allowed)
    return response


def _query(endpoint: Endpoint, found: Found, raw: bytes) -> msgspec.Struct | Problem | None:
    """Read path and query parameters as the endpoint's type; unknown and repeated ones are refused."""
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=PARAMETERS_MAX, errors="strict")
    except (UnicodeError, ValueError):
        return problem(400, "bad_parameters", "the query string cannot be read")
    given = dict(pairs)
    if len(given) != len(pairs) or given.keys() & found.parameters.keys():
        return problem(400, "bad_parameters", "a parameter is given twice")
    given |= found.parameters
    if endpoint.query is None:
        return problem(400, "bad_parameters", "this takes no parameters") if given else None
    try:
        return msgspec.convert(given, endpoint.query, strict=False)
    except msgspec.ValidationError as error:
        return problem(400, "bad_parameters", str(error))


async def _body(receive: Receive, headers: Headers, bytes_max: int) -> bytes | Problem:
    too_large = problem(413, "too_large", f"a body has at most {bytes_max} bytes")
    announced = headers.get("content-length", "")
    if announced.isdigit() and int(announced) > bytes_max:
        return too_large
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return problem(400, "bad_body", "the client left before its body was whole")
        body += message.get("body", b"")
        if len(body) > bytes_max:
            return too_large
        if not message.get("more_body", False):
            return bytes(body)


def _decoded(endpoint: Endpoint, headers: Headers, raw: bytes) -> msgspec.Struct | Problem | None:
    """Read the body as the endpoint's type; an empty one stands for one that says nothing."""
    media = headers.get("content-type", "").partition(";")[0].strip().lower()
    if endpoint.takes_form:
        return None if not raw or media == FORM_MEDIA else problem(415, "wrong_media_type", f"send {FORM_MEDIA}")
    if endpoint.body is None:
        return problem(400, "bad_body", "this takes no body") if raw else None
    if raw and media != JSON_MEDIA:
        return problem(415, "wrong_media_type", f"send {JSON_MEDIA}")
    try:
        return msgspec.json.decode(raw or b"{}", type=endpoint.body)
    except (msgspec.MsgspecError, UnicodeError) as error:
        return problem(400, "bad_body", str(error))
