"""Decides for every request who asks and whether that caller may use the endpoint. Asks only memory and changes nothing.

In this order: the address and the name that was asked for, credentials, rates, role, scope, CSRF. What no row of the table of
endpoints allows is refused.
"""

from __future__ import annotations

from collections import Counter
from typing import Literal
from urllib.parse import parse_qsl, quote

import msgspec
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Send
from starlette.types import Scope as AsgiScope

from arbitrage.web.access.origin import LOOPBACK_NAMES, Origin, is_foreign, origin_of
from arbitrage.web.access.people import Network, People, is_within, networks_of
from arbitrage.web.access.sessions import COOKIE, Session, Sessions, is_same
from arbitrage.web.access.throttle import Rates, network_of
from arbitrage.web.access.tokens import Tokens
from arbitrage.web.application import problem_response
from arbitrage.web.callers import Caller, How, Scope
from arbitrage.web.endpoints import CALLER, ENDPOINT, Endpoint, Kind
from arbitrage.web.problems import Problem, problem

SESSION = "arbitrage.session"
"""Key of the ASGI scope: the caller's Session, whose `csrf_token` pages show; None for all who have none."""
CSRF_HEADER, CSRF_FIELD = "x-csrf-token", "csrf_token"
SIGN_IN_PAGE = "/login"
FORM_MEDIA = "application/x-www-form-urlencoded"
FORM_BYTES_MAX, FORM_FIELDS_MAX = 65_536, 50
SAFE_METHODS = ("GET", "HEAD")
COOKIE_HEADERS_MAX = 8_192
KEY_PREFIX = "ak_"
LOOPBACK = networks_of(("127.0.0.0/8", "::1"))
FORWARDING_HEADERS = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")
"""Whoever sends one of these is a proxy, and its client is not on this machine."""
REFUSALS = (
    "address_not_allowed", "unknown_host", "too_many_requests", "not_signed_in", "role_too_low", "scope_missing",
    "foreign_origin", "csrf_token_wrong",
)  # fmt: skip
"""Every code of a problem that comes from here."""
BAD_KEY = "the key or token is wrong, expired, revoked, or not for this address"


class Rules(msgspec.Struct, frozen=True):
    """Who may come at all."""

    addresses: tuple[Network, ...] = ()
    """Empty: whoever reaches the port."""
    proxies: tuple[Network, ...] = ()
    """Whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed."""
    names: frozenset[str] | None = LOOPBACK_NAMES
    """What we are called: a page of another name that was made to resolve to us (DNS rebinding) is not answered.

    None: whatever is asked for, since behind TLS no browser goes on under a wrong name.
    """
    probes_open_to: Literal["nobody", "loopback", "everybody"] = "loopback"
    """Who may see all that probes tell, without credentials."""


class Identity(msgspec.Struct, frozen=True):
    """What the credentials of a request prove."""

    caller: Caller
    scopes: frozenset[str] | None = None
    """None: all, as a session has."""
    session: Session | None = None
    fault: str = ""
    """What is wrong with credentials that were shown."""


class Guard:
    """The guard of one surface. `around` is what the application is wrapped with."""

    def __init__(self, rules: Rules, people: People, sessions: Sessions, tokens: Tokens, *, rates: Rates) -> None:
        self._rules = rules
        self._people = people
        self._sessions = sessions
        self._tokens = tokens
        self._rates = rates
        self.refused: Counter[str] = Counter(dict.fromkeys(REFUSALS, 0))
        """Requests that were turned away, by the code of their problem."""

    def around(self, inner: ASGIApp) -> ASGIApp:
        """Wrap an application (`application.Guard`)."""

        async def guarded(scope: AsgiScope, receive: Receive, send: Send) -> None:
            headers = Headers(scope=scope)
            endpoint: Endpoint | None = scope[ENDPOINT]
            origin = origin_of(scope, headers, self._rules.proxies)
            identity = self._seeing(self._identify(headers, origin.address), origin, headers)
            scope[CALLER], scope[SESSION] = identity.caller, identity.session
            refusal = self._stranger(origin) or self._hurried(endpoint, identity) or self._forbidden(endpoint, identity)
            if refusal is None and endpoint is not None and scope["method"] not in SAFE_METHODS:
                form = b""
                if _is_form(headers) and identity.session is not None:
                    form, receive = await _peeked(receive)
                refusal = self._forged(origin, headers, identity, form)
            if refusal is None:
                await inner(scope, receive, send)
                return
            self.refused[refusal.code] += 1
            await _turned_away(refusal, endpoint, scope)(scope, receive, send)

        return guarded

    def still_counts(self, caller: Caller) -> bool:
        """Say whether a caller may go on: for answers that outlive their request (streams)."""
        match caller.how:
            case How.SESSION:
                return self._sessions.counts(caller.session)
            case How.KEY | How.TOKEN:
                return self._people.key(caller.session.partition("/")[0], caller.address) is not None
            case _:
                return caller.role is None

    def _stranger(self, origin: Origin) -> Problem | None:
        """Refuse who comes from elsewhere, or asks for somebody else."""
        if self._rules.addresses and not is_within(origin.address, self._rules.addresses):
            return problem(403, "address_not_allowed", "this address may not use the surface")
        if self._rules.names is not None and origin.name not in self._rules.names:
            return problem(421, "unknown_host", "not the host that was asked for: set web.public_url to how you reach it")
        return None

    def _identify(self, headers: Headers, address: str) -> Identity:
        """Look at the credentials that were shown: a header wins over a cookie."""
        nobody = Identity(Caller("", None, How.NOBODY, address))
        shown = headers.getlist("authorization")
        if shown:
            kind, _, text = shown[0].partition(" ")
            found = self._of_header(text.strip(), address) if len(shown) == 1 and kind.lower() == "bearer" else None
            return found or msgspec.structs.replace(nobody, fault=BAD_KEY)
        cookies = headers.getlist("cookie")
        if not cookies or sum(map(len, cookies)) > COOKIE_HEADERS_MAX:
            return nobody
        token = cookie_parser("; ".join(cookies)).get(COOKIE, "")
        if not token:
            return nobody
        session = self._sessions.find(token)
        role = self._people.role(session.user) if session is not None else None
        if session is None or role is None:
            return msgspec.structs.replace(nobody, fault="the session has ended")
        return Identity(Caller(session.user, role, How.SESSION, address, session.number), None, session)

    def _of_header(self, text: str, address: str) -> Identity | None:
        """Return whose key or token this is."""
        if text.startswith(KEY_PREFIX):
            found = self._people.key_of(text, address)
            if found is None:
                return None
            key, role = found
            return Identity(Caller(f"{key.owner}/{key.key_id}", role, How.KEY, address, key.key_id), frozenset(key.scopes))
        claims = self._tokens.read(text)
        found = self._people.key(claims.key_id, address) if claims is not None else None
        if claims is None or found is None:
            return None
        key, role = found
        self._people.note_used(key.key_id)
        scopes = frozenset(key.scopes) & frozenset(claims.scopes or key.scopes)
        caller = Caller(f"{key.owner}/{key.key_id}", role, How.TOKEN, address, f"{key.key_id}/{claims.number}")
        return Identity(caller, scopes)

    def _seeing(self, identity: Identity, origin: Origin, headers: Headers) -> Identity:
        """Note whether this caller may see all that probes tell; wrong credentials are worth less than none."""
        if identity.caller.role is not None:
            is_seeing = identity.scopes is None or Scope.READ.value in identity.scopes
        else:
            is_seeing = not identity.fault and self._is_open(origin, headers)
        caller = msgspec.structs.replace(identity.caller, sees_probes=is_seeing)
        return msgspec.structs.replace(identity, caller=caller)

    def _is_open(self, origin: Origin, headers: Headers) -> bool:
        """Say whether probes are open to whoever asks from there."""
        if self._rules.probes_open_to != "loopback":
            return self._rules.probes_open_to == "everybody"
        is_direct = not any(name in headers for name in FORWARDING_HEADERS)
        return is_direct and origin.name in LOOPBACK_NAMES and is_within(origin.address, LOOPBACK)

    def _hurried(self, endpoint: Endpoint | None, identity: Identity) -> Problem | None:
        """Refuse who asks too often. The kill switch is not held up by what others ask."""
        caller = identity.caller
        client = f"{caller.how} {caller.session.partition('/')[0]}" if caller.role is not None else network_of(caller.address)
        is_urgent = endpoint is not None and endpoint.is_urgent and caller.role is not None
        wait_s = self._rates.take(client, is_urgent=is_urgent)
        return problem(429, "too_many_requests", "asked too often", retry_after_s=wait_s) if wait_s else None

    def _forbidden(self, endpoint: Endpoint | None, identity: Identity) -> Problem | None:
        """Refuse who is not signed in or has too low a role or too narrow a scope."""
        if endpoint is None or endpoint.role is None:
            return None
        caller = identity.caller
        if caller.role is None and endpoint.is_probe and caller.sees_probes:
            return None
        if caller.role is None:
            return problem(401, "not_signed_in", identity.fault or "sign in, or send a key or token")
        if caller.role < endpoint.role:
            return problem(403, "role_too_low", f"this needs the role {endpoint.role.word}; yours is {caller.role.word}")
        if identity.scopes is not None and endpoint.scope.value not in identity.scopes:
            return problem(403, "scope_missing", f"this needs the scope {endpoint.scope.value}")
        return None

    def _forged(self, origin: Origin, headers: Headers, identity: Identity, form: bytes) -> Problem | None:
        """Refuse a write that another site made a browser send."""
        if identity.caller.how in (How.KEY, How.TOKEN):
            return None
        if is_foreign(origin, headers):
            return problem(403, "foreign_origin", "this was sent by another site")
        if identity.session is not None and not is_same(headers.get(CSRF_HEADER) or _field(form), identity.session.csrf_token):
            return problem(403, "csrf_token_wrong", f"send the session's CSRF token in the header {CSRF_HEADER}")
        return None


def _turned_away(refusal: Problem, endpoint: Endpoint | None, scope: AsgiScope) -> Response:
    """Answer with the problem; of a page in plain words, and who is not signed in is sent to the page for that."""
    response = problem_response(refusal)
    if endpoint is None or endpoint.kind is not Kind.PAGE:
        return response
    if refusal.status == 401 and scope["method"] in SAFE_METHODS:
        return RedirectResponse(f"{SIGN_IN_PAGE}?next={quote(scope['path'], safe='/')}", 303)
    words = f"Nothing was done: {refusal.detail}.\n"
    kept = {name: value for name, value in response.headers.items() if name == "retry-after"}
    return Response(words, refusal.status, kept, "text/plain")


def _is_form(headers: Headers) -> bool:
    return CSRF_HEADER not in headers and headers.get("content-type", "").partition(";")[0].strip().lower() == FORM_MEDIA


async def _peeked(receive: Receive) -> tuple[bytes, Receive]:
    """Read a form up to its bound, and return it with a `receive` that gives it again."""
    messages: list[Message] = []
    body = b""
    while len(body) <= FORM_BYTES_MAX:
        message = await receive()
        messages.append(message)
        body += message.get("body", b"")
        if not message.get("more_body", False):
            break
    waiting = iter(messages)

    async def again() -> Message:
        for message in waiting:
            return message
        return await receive()

    return body[:FORM_BYTES_MAX], again


def _field(form: bytes) -> str:
    """Return the CSRF token out of a form; empty where there is none, or more than one."""
    try:
        pairs = parse_qsl(form.decode("ascii"), max_num_fields=FORM_FIELDS_MAX)
    except (UnicodeError, ValueError):
        return ""
    found = [value for name, value in pairs if name == CSRF_FIELD]
    return found[0] if len(found) == 1 else ""
