"""Endpoints of the configuration: read with origins, try, set, reset, compare, history, roll back. Show no secret, ever."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from arbitrage.ops.config import Loaded, Reload, flat, flat_of, needs_restart, shown
from arbitrage.ops.schema import is_secret, type_at
from arbitrage.store.ledger_nouns import Away, Moment
from arbitrage.store.reads import ConfigurationVersion
from arbitrage.web.api.record_endpoints import HowMany, away
from arbitrage.web.callers import Role, Scope
from arbitrage.web.endpoints import Answer, Call, Endpoint
from arbitrage.web.problems import problem

KeyText = Annotated[str, Meta(min_length=1, max_length=200, pattern=r"^[A-Za-z0-9_.-]+$")]
VersionText = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$")]
ReasonText = Annotated[str, Meta(max_length=200)]
KEYS_AT_ONCE_MAX = 50


class KeyName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which key, dotted."""

    key: KeyText


class VersionName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which configuration that was in force."""

    version: VersionText


class KeyLine(msgspec.Struct, frozen=True):
    """One key."""

    key: str
    value: Any
    """`***` or `(not set)` for a secret."""
    origin: str
    """Where the value was written; `default` where nowhere."""
    needs_restart: bool
    """It can only be changed in the files, for the next start."""
    is_set_here: bool
    """It was set over the files, by this API."""


class Configuration(msgspec.Struct, frozen=True):
    """Every key."""

    version: str
    lines: tuple[KeyLine, ...]


class ValueWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a key is to be."""

    value: Any
    reason: ReasonText = ""


class ValuesWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What keys are to be, all together."""

    values: Annotated[dict[str, Any], Meta(max_length=KEYS_AT_ONCE_MAX)]


class ReasonWish(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why."""

    reason: ReasonText = ""


class RollBack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which configuration comes back, and why."""

    version: VersionText
    reason: ReasonText = ""


class ChangeLine(msgspec.Struct, frozen=True):
    """One key that differs."""

    key: str
    before: str
    after: str
    needs_restart: bool


class Changes(msgspec.Struct, frozen=True):
    """What differs, or was changed."""

    version: str
    """In force now."""
    is_possible: bool
    """A running process can take it over."""
    problems: tuple[str, ...]
    """Why it cannot be, one line each."""
    lines: tuple[ChangeLine, ...]


class Export(msgspec.Struct, frozen=True):
    """The configuration in force as one document, without its secrets."""

    at: Moment
    version: str
    settings: dict[str, Any]
    origins: dict[str, str]


class History(msgspec.Struct, frozen=True):
    """Configurations that were in force, newest first."""

    lines: tuple[ConfigurationVersion, ...]


async def configuration(call: Call) -> Answer:
    """Answer every key."""
    loaded = call.ports.views.loaded()
    overrides = call.ports.views.overrides()
    lines = (_line(loaded, key, value, key in overrides) for key, value in flat(loaded.settings).items())
    return Configuration(loaded.version, tuple(lines))


async def one_key(call: Call) -> Answer:
    """Answer one key."""
    loaded, key = call.ports.views.loaded(), call.query.key
    values = flat(loaded.settings)
    if key not in values:
        return problem(404, "unknown_key", "there is no such key")
    return _line(loaded, key, values[key], key in call.ports.views.overrides())


async def put_key(call: Call) -> Answer:
    """Set one key over the files."""
    key = call.query.key
    if type_at(tuple(key.split("."))) is None:
        return problem(404, "unknown_key", "there is no such key")
    if is_secret(tuple(key.split("."))) or needs_restart(key):
        return problem(409, "needs_restart", "this key can only be set in the files, for the next start")
    before = _value(call.ports.views.loaded(), key)
    outcome = await call.ports.commands.put_settings(call.caller, {key: call.body.value}, call.body.reason)
    call.note(subject=key, before=before, after=_value(call.ports.views.loaded(), key))
    return _outcome(call, outcome)


async def reset_key(call: Call) -> Answer:
    """Take one key back to what the files say."""
    key = call.query.key
    if key not in call.ports.views.overrides():
        return problem(404, "not_set_here", "this key is not set over the files")
    before = _value(call.ports.views.loaded(), key)
    outcome = await call.ports.commands.reset_settings(call.caller, (key,))
    call.note(subject=key, before=before, after=_value(call.ports.views.loaded(), key))
    return _outcome(call, outcome)


async def reset_all(call: Call) -> Answer:
    """Take every key back to what the files say."""
    before = {key: override.value for key, override in call.ports.views.overrides().items()}
    outcome = await call.ports.commands.reset_settings(call.caller, None)
    call.note(subject="all", before=before, after={})
    return _outcome(call, outcome)


async def validate(call: Call) -> Answer:
    """Say what setting these keys would come to."""
    stuck = [key for key in call.body.values if needs_restart(key) or is_secret(tuple(key.split(".")))]
    if stuck:
        problems = tuple(f"{key[:200]}: can only be set in the files, for the next start" for key in stuck)
        return Changes(call.ports.views.loaded().version, False, problems, ())
    return _changes(call, await call.ports.commands.try_settings(call.body.values))


async def compare(call: Call) -> Answer:
    """Compare the configuration in force with an earlier one."""
    loaded = call.ports.views.loaded()
    body = await call.ports.records.configuration(call.query.version)
    if isinstance(body, Away):
        return away(body)
    if body is None:
        return problem(404, "unknown_version", "no such configuration was in force")
    lines = changed_keys(flat_of(body), flat_of(msgspec.to_builtins(loaded.settings)))
    return Changes(loaded.version, not any(line.needs_restart for line in lines), (), lines)


def changed_keys(before: dict[str, object], after: dict[str, object]) -> tuple[ChangeLine, ...]:
    """Return what differs between two configurations, secrets aside."""
    then, now = _public(before), _public(after)
    return tuple(
        ChangeLine(key, _text(then.get(key)), _text(now.get(key)), needs_restart(key))
        for key in sorted(now.keys() | then.keys())
        if now.get(key) != then.get(key)
    )


async def export(call: Call) -> Answer:
    """Answer the whole as one document."""
    loaded = call.ports.views.loaded()
    settings: dict[str, Any] = msgspec.to_builtins(loaded.settings)
    for name in ("postgres_password", "redis_password"):
        settings["store"][name] = ""
    origins = {key: str(origin) for key, origin in loaded.origins.items()}
    return Export(Moment.of(call.ports.views.wall_ns()), loaded.version, settings, origins)


async def history(call: Call) -> Answer:
    """Answer what was in force."""
    found = await call.ports.records.configurations(call.query.limit)
    return away(found) if isinstance(found, Away) else History(found)


async def roll_back(call: Call) -> Answer:
    """Bring an earlier configuration back."""
    body = await call.ports.records.configuration(call.body.version)
    if isinstance(body, Away):
        return away(body)
    if body is None:
        return problem(404, "unknown_version", "no such configuration was in force")
    before = call.ports.views.loaded().version
    outcome = await call.ports.commands.roll_back(call.caller, body, call.body.reason)
    call.note(subject=call.body.version, before=before, after=call.ports.views.loaded().version)
    return _outcome(call, outcome)


def _line(loaded: Loaded, key: str, value: object, is_set_here: bool) -> KeyLine:
    origin = loaded.origins[key]
    text = shown(key, value, origin)
    is_hidden = text in ("***", "(not set)")
    return KeyLine(key, text if is_hidden else value, str(origin), needs_restart(key), is_set_here)


def _value(loaded: Loaded, key: str) -> Any:
    """Return a key's value for the audit log; a secret is never set here."""
    return flat(loaded.settings).get(key)


def _outcome(call: Call, outcome: Reload | tuple[str, ...]) -> Answer:
    """Tell what a change came to: done, refused as a whole, or not possible while running."""
    if isinstance(outcome, tuple):
        return problem(422, "refused", "the configuration that would result is refused", errors=outcome)
    if not outcome.is_accepted:
        return problem(409, "needs_restart", f"restart to change {', '.join(outcome.needs_restart)[:1000]}")
    return _changes(call, outcome)


def _changes(call: Call, outcome: Reload | tuple[str, ...]) -> Changes:
    version = call.ports.views.loaded().version
    if isinstance(outcome, tuple):
        return Changes(version, False, outcome, ())
    lines = tuple(ChangeLine(each.key, each.before, each.after, needs_restart(each.key)) for each in outcome.changes)
    return Changes(version, outcome.is_accepted, (), lines)


def _public(values: dict[str, object]) -> dict[str, object]:
    return {key: value for key, value in values.items() if not is_secret(tuple(key.split(".")))}


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode() if value is not None else "(absent)"


_READ: dict[str, Any] = {"method": "GET", "role": Role.ANALYST, "scope": Scope.READ, "tag": "configuration"}
_WRITE: dict[str, Any] = {
    "role": Role.ADMIN, "scope": Scope.CONFIGURE, "answer": Changes, "is_write": True, "tag": "configuration",
}  # fmt: skip
ENDPOINTS = (
    Endpoint(path="/api/v1/config", handler=configuration, answer=Configuration, summary="Every key with its origin", **_READ),
    Endpoint(
        path="/api/v1/config/keys/{key}", handler=one_key, query=KeyName, answer=KeyLine, errors=(404,),
        summary="One key with its origin", **_READ,
    ),
    Endpoint(
        method="PUT", path="/api/v1/config/keys/{key}", handler=put_key, query=KeyName, body=ValueWish, errors=(404, 409, 422),
        summary="Set one key over the files, at once; the whole is validated first", **_WRITE,
    ),
    Endpoint(
        method="DELETE", path="/api/v1/config/keys/{key}", handler=reset_key, query=KeyName, errors=(404, 409, 422),
        summary="Take one key back to what the files say", **_WRITE,
    ),
    Endpoint(
        method="POST", path="/api/v1/config/reset", handler=reset_all, body=ReasonWish, errors=(409, 422),
        summary="Take every key back to what the files say", **_WRITE,
    ),
    Endpoint(
        method="POST", path="/api/v1/config/validate", handler=validate, body=ValuesWish, role=Role.ANALYST, answer=Changes,
        tag="configuration", summary="Say what setting keys would come to; changes nothing",
    ),
    Endpoint(
        path="/api/v1/config/compare/{version}", handler=compare, query=VersionName, answer=Changes, errors=(404,),
        summary="Compare an earlier configuration with the one in force", **_READ,
    ),
    Endpoint(
        path="/api/v1/config/export", handler=export, answer=Export, summary="The whole as one document, without secrets",
        **_READ,
    ),
    Endpoint(
        path="/api/v1/config/history", handler=history, query=HowMany, answer=History, summary="What was in force", **_READ,
    ),
    Endpoint(
        method="POST", path="/api/v1/config/rollback", handler=roll_back, body=RollBack, errors=(404, 409, 422),
        summary="Bring an earlier configuration back, as far as a running process can take it over", **_WRITE,
    ),
)  # fmt: skip
