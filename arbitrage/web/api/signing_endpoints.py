"""Endpoints by which somebody comes, goes and is told who it is: sign in and out, me, sessions, tokens. Change no other user.

Each that a browser's form can send stands twice: as JSON under `/api/v1/`, and as a form that ends in a redirect.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from urllib.parse import parse_qs, urlencode

import msgspec
from starlette.responses import RedirectResponse, Response

from arbitrage.store.audit import AuditDraft
from arbitrage.store.people import PeopleRefused
from arbitrage.store.postgres import POSTGRES_FAULTS
from arbitrage.web.access.guard import FORM_FIELDS_MAX, SESSION, SIGN_IN_PAGE
from arbitrage.web.access.passwords import TooManyWaiting
from arbitrage.web.access.people_nouns import (
    FirstAdmin,
    Me,
    Nothing,
    PasswordChange,
    SessionEntry,
    SessionList,
    SessionName,
    SessionQuery,
    SignIn,
    TokenAnswer,
    TokenWish,
)
from arbitrage.web.access.reception import RECEPTION, Reception, SignedIn
from arbitrage.web.access.sessions import COOKIE, Session
from arbitrage.web.access.set_up import PATH as SET_UP_PAGE
from arbitrage.web.callers import Caller, How, Role, Scope
from arbitrage.web.endpoints import JSON_MEDIA, Answer, Call, Endpoint, Kind
from arbitrage.web.problems import Problem, problem

HOME = "/"
SENTENCES: Mapping[str, str] = {
    "wrong_password": "Name or password is wrong.",
    "too_many_tries": "Too many tries: wait a while, then try again.",
    "too_many_sessions": "Too many are signed in.",
    "people_away": "The database does not answer. Try again in a moment.",
    "address_not_allowed": "The first admin is made on the daemon's own machine, or from one of web.allowed_addresses.",
    "link_ended": "The set-up link was used or has expired. The next start of the daemon prints a new one.",
    "not_possible": "A name has 1 to 32 small letters, digits, '.', '_' and '-'; a password has at least 12 characters.",
    "passwords_differ": "The two passwords are not the same.",
    "signed_out": "You are signed out.",
}
"""What a page says for the code in `?error=` after a form; a page shows no other text of an address."""


def reception_of(call: Call) -> Reception:
    """Return the reception."""
    found: Reception = call.scope[RECEPTION]
    return found


def at_text(at_ns: int | None) -> str:
    """Write a time as RFC 3339 in UTC; empty for none."""
    if not at_ns:
        return ""
    moment = datetime.datetime.fromtimestamp(at_ns // 1_000_000_000, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def owner_of(caller: Caller) -> str:
    """Return the user behind a caller, who may be a key of it."""
    return caller.name.partition("/")[0]


def not_made(refusal: Exception) -> Problem:
    """Say why a change of people was not made."""
    if isinstance(refusal, PeopleRefused):
        return problem(422, "not_possible", str(refusal))
    if isinstance(refusal, TooManyWaiting):
        return problem(503, "too_many_tries", "too many passwords at once", retry_after_s=1)
    return problem(503, "people_away", "PostgreSQL does not answer: nothing was changed", retry_after_s=5)


CHANGE_FAULTS = (PeopleRefused, TooManyWaiting, *POSTGRES_FAULTS)


async def sign_in(call: Call) -> Answer:
    """Sign in by JSON."""
    wanted: SignIn = call.body
    come = await _signed_in(call, wanted.name, wanted.password)
    return come if isinstance(come, Problem) else _welcome(call, come)


async def sign_in_by_form(call: Call) -> Answer:
    """Sign in by a form, and go where one wanted to."""
    fields = _fields(call.form)
    goal = local_path(fields.get("next", ""))
    come = await _signed_in(call, fields.get("name", ""), fields.get("password", ""))
    if isinstance(come, Problem):
        return _back(SIGN_IN_PAGE, error=come.code, next=goal)
    return _with_cookie(call, RedirectResponse(goal, 303), come)


async def sign_out(call: Call) -> Answer:
    """End this session."""
    _ended(call)
    return _without_cookie(Response(msgspec.json.encode(Nothing()), media_type=JSON_MEDIA))


async def sign_out_by_form(call: Call) -> Answer:
    """End this session, and go to the page for signing in."""
    if _ended(call):
        _note(call, call.caller.name, call.caller.session)
    return _without_cookie(_back(SIGN_IN_PAGE, error="signed_out"))


async def set_up(call: Call) -> Answer:
    """Make the first admin by JSON."""
    wanted: FirstAdmin = call.body
    come = await _set_up(call, wanted.token, wanted.name, wanted.password)
    return come if isinstance(come, Problem) else _welcome(call, come)


async def set_up_by_form(call: Call) -> Answer:
    """Make the first admin by a form."""
    fields = _fields(call.form)
    token, password = fields.get("token", ""), fields.get("password", "")
    if fields.get("password_again", password) != password:
        return _back(SET_UP_PAGE, token=token, error="passwords_differ")
    come = await _set_up(call, token, fields.get("name", ""), password)
    if isinstance(come, Problem):
        return _back(SET_UP_PAGE, token=token, error=come.code)
    return _with_cookie(call, RedirectResponse(HOME, 303), come)


async def me(call: Call) -> Answer:
    """Say who is asking."""
    return _me(call, call.scope[SESSION])


async def change_password(call: Call) -> Answer:
    """Change one's own password: signs out everywhere, and in again here."""
    caller, wanted, reception = call.caller, call.body, reception_of(call)
    assert isinstance(wanted, PasswordChange), "as the table says"
    if caller.how is not How.SESSION:
        return problem(403, "session_needed", "only a person who is signed in has a password")
    call.note(subject=caller.name)
    proof = await reception.sign_in(caller.name, wanted.password, address=caller.address, agent=_agent(call))
    if isinstance(proof, Problem):
        return msgspec.structs.replace(proof, status=403, title="Forbidden") if proof.status == 401 else proof
    try:
        await reception.changes.edit_user(caller.name, password=wanted.new_password)
    except CHANGE_FAULTS as refusal:
        reception.sessions.close(proof.session.number)
        return not_made(refusal)
    await reception.refresh()
    come = await reception.sign_in(caller.name, wanted.new_password, address=caller.address, agent=_agent(call))
    return come if isinstance(come, Problem) else _welcome(call, come)


async def list_sessions(call: Call) -> Answer:
    """List the caller's sessions, or everybody's."""
    wanted: SessionQuery = call.query
    if wanted.everybody and call.caller.role is not Role.ADMIN:
        return problem(403, "role_too_low", "the sessions of others are for admins")
    sessions = reception_of(call).sessions
    entries = [
        SessionEntry(
            each.number, each.user, each.address, each.agent, at_text(each.created_at_ns), at_text(each.seen_at_ns),
            at_text(sessions.expires_at_ns(each)), each.number == call.caller.session,
        )
        for each in sessions.of("" if wanted.everybody else owner_of(call.caller))
    ]  # fmt: skip
    return SessionList(tuple(entries))


async def end_session(call: Call) -> Answer:
    """End one of the caller's sessions; an admin ends any."""
    wanted: SessionName = call.query
    sessions = reception_of(call).sessions
    call.note(subject=wanted.session)
    theirs = sessions.of("" if call.caller.role is Role.ADMIN else owner_of(call.caller))
    if not any(each.number == wanted.session for each in theirs) or not sessions.close(wanted.session):
        return problem(404, "no_such_session", "there is no such session of yours")
    return Nothing()


async def make_token(call: Call) -> Answer:
    """Give a key a token that lasts minutes, for programs that must not hold the key itself."""
    caller, wanted, reception = call.caller, call.body, reception_of(call)
    assert isinstance(wanted, TokenWish), "as the table says"
    if caller.how is not How.KEY:
        return problem(403, "key_needed", "a token is made for an API key: send one")
    found = reception.people.key(caller.session, caller.address)
    own = found[0].scopes if found is not None else ()
    if any(scope not in own for scope in wanted.scopes):
        return problem(422, "not_possible", "a token has no scope that its key has not")
    if wanted.seconds > reception.tokens.seconds_max:
        return problem(422, "not_possible", f"a token lasts at most {reception.tokens.seconds_max} s")
    text, claims = reception.tokens.make(caller.session, seconds=wanted.seconds, scopes=wanted.scopes)
    call.note(subject=f"{caller.session}/{claims.number}")
    return TokenAnswer(text, "Bearer", wanted.seconds or reception.tokens.seconds_max)


def local_path(text: str) -> str:
    """Return a path of our own to go to; home for anything that a browser could read as another host."""
    is_local = text.startswith("/") and text[1:2] not in ("/", "\\") and text.isprintable() and len(text) <= 500
    return text if is_local and "\\" not in text else HOME


async def _signed_in(call: Call, name: str, password: str) -> SignedIn | Problem:
    """Sign in, and leave a line in the audit log where a password was looked at; throttled tries are counted only.

    A name that nobody has is not written down: people type their password into the wrong field.
    """
    reception = reception_of(call)
    come = await reception.sign_in(name, password, address=call.caller.address, agent=_agent(call))
    known = name if reception.people.user(name) is not None else "unknown"
    if isinstance(come, SignedIn):
        _note(call, known, come.session.number)
    elif come.status == 401:
        _note(call, known, "", status=401)
    return come


async def _set_up(call: Call, token: str, name: str, password: str) -> SignedIn | Problem:
    come = await reception_of(call).set_up(token, name, password, address=call.caller.address, agent=_agent(call))
    if isinstance(come, SignedIn):
        _note(call, name, name, after={"role": Role.ADMIN.word})
    return come


def _ended(call: Call) -> bool:
    """End the caller's session; False for who has none."""
    session: Session | None = call.scope[SESSION]
    return session is not None and reception_of(call).sessions.close(session.number)


def _note(call: Call, actor: str, subject: str, *, status: int = 200, after: object = None) -> None:
    """Leave a line in the audit log for what anybody may ask: only of what came about, so that no flood fills it."""
    audit = call.ports.audit
    if not audit.is_full:
        draft = AuditDraft(
            at_ns=call.ports.views.wall_ns(), actor=actor, address=call.caller.address, action=call.endpoint.name,
            subject=subject, status=status, after=after,
        )  # fmt: skip
        audit.append(draft)


def _welcome(call: Call, come: SignedIn) -> Response:
    caller = Caller(come.session.user, reception_of(call).people.role(come.session.user), How.SESSION, call.caller.address)
    body = _me(msgspec.structs.replace(call, caller=caller), come.session)
    return _with_cookie(call, Response(msgspec.json.encode(body), media_type=JSON_MEDIA), come)


def _me(call: Call, session: Session | None) -> Me:
    caller, reception = call.caller, reception_of(call)
    role = caller.role.word if caller.role is not None else ""
    if session is not None:
        expires_at = at_text(reception.sessions.expires_at_ns(session))
        return Me(caller.name, role, caller.how.value, tuple(Scope), expires_at, session.csrf_token)
    found = reception.people.key(caller.session.partition("/")[0], caller.address)
    if found is None:
        return Me(caller.name, role, caller.how.value, ())
    return Me(caller.name, role, caller.how.value, found[0].scopes, at_text(found[0].expires_at_ns))


def _with_cookie(call: Call, response: Response, come: SignedIn) -> Response:
    seconds = reception_of(call).sessions.total_s
    response.set_cookie(COOKIE, come.token, max_age=seconds, path="/", secure=True, httponly=True, samesite="strict")
    return response


def _without_cookie(response: Response) -> Response:
    response.delete_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="strict")
    return response


def _back(path: str, **fields: str) -> Response:
    return RedirectResponse(f"{path}?{urlencode({name: value for name, value in fields.items() if value})}", 303)


def _fields(form: bytes) -> dict[str, str]:
    """Read a form; of a repeated field none counts."""
    try:
        found = parse_qs(form.decode("ascii"), keep_blank_values=True, max_num_fields=FORM_FIELDS_MAX)
    except (UnicodeError, ValueError):
        return {}
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def _agent(call: Call) -> str:
    text = call.headers.get("user-agent", "")
    return "".join(character for character in text[:200] if character.isprintable())


ENDPOINTS = (
    Endpoint(
        method="POST", path="/api/v1/login", handler=sign_in, role=None, body=SignIn, answer=Me, errors=(401, 429),
        is_urgent=True, tag="people", summary="Sign in with name and password; the session is a cookie",
    ),
    Endpoint(
        method="POST", path=SIGN_IN_PAGE, handler=sign_in_by_form, role=None, takes_form=True, produces="text/html", status=303,
        is_urgent=True, kind=Kind.PAGE, tag="people", summary="Sign in by a form",
    ),
    Endpoint(
        method="POST", path="/api/v1/logout", handler=sign_out, role=Role.VIEWER, answer=Nothing, is_write=True, is_urgent=True,
        tag="people", summary="End this session",
    ),
    Endpoint(
        method="POST", path="/logout", handler=sign_out_by_form, role=None, takes_form=True, produces="text/html", status=303,
        kind=Kind.PAGE, tag="people", summary="Sign out by a form",
    ),
    Endpoint(
        method="POST", path="/api/v1/setup", handler=set_up, role=None, body=FirstAdmin, answer=Me, errors=(403, 422, 429),
        tag="people", summary="Make the first admin, with the token of the set-up link",
    ),
    Endpoint(
        method="POST", path=SET_UP_PAGE, handler=set_up_by_form, role=None, takes_form=True, produces="text/html", status=303,
        kind=Kind.PAGE, tag="people", summary="Make the first admin by a form",
    ),
    Endpoint(
        method="GET", path="/api/v1/me", handler=me, role=Role.VIEWER, answer=Me, tag="people", summary="Who is asking",
    ),
    Endpoint(
        method="POST", path="/api/v1/me/password", handler=change_password, role=Role.VIEWER, body=PasswordChange, answer=Me,
        errors=(403, 422, 429), is_write=True, tag="people", summary="Change one's own password; every session of it ends",
    ),
    Endpoint(
        method="GET", path="/api/v1/sessions", handler=list_sessions, role=Role.VIEWER, query=SessionQuery, answer=SessionList,
        errors=(403,), tag="people", summary="Who is signed in",
    ),
    Endpoint(
        method="DELETE", path="/api/v1/sessions/{session}", handler=end_session, role=Role.VIEWER, query=SessionName,
        answer=Nothing, errors=(404,), is_write=True, tag="people", summary="Sign a browser out",
    ),
    Endpoint(
        method="POST", path="/api/v1/tokens", handler=make_token, role=Role.VIEWER, body=TokenWish, answer=TokenAnswer,
        errors=(403, 422), is_write=True, tag="people", summary="Exchange an API key for a token that lasts minutes",
    ),
)  # fmt: skip
