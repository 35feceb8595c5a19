"""Endpoints by which admins look after users and API keys. Show a key once, a password never, and delete nobody."""

from __future__ import annotations

from arbitrage.store.people import KeyRow
from arbitrage.web.access.people_changes import KeyWish
from arbitrage.web.access.people_nouns import (
    KeyEntry,
    KeyList,
    KeyMade,
    KeyName,
    NewKey,
    NewUser,
    Nothing,
    UserEdit,
    UserEntry,
    UserList,
    UserName,
)
from arbitrage.web.api.signing_endpoints import CHANGE_FAULTS, at_text, not_made, owner_of, reception_of
from arbitrage.web.callers import Role, Scope
from arbitrage.web.endpoints import Answer, Call, Endpoint
from arbitrage.web.problems import problem


async def list_users(call: Call) -> Answer:
    """List everybody."""
    reception = reception_of(call)
    signed_in = [session.user for session in reception.sessions.of()]
    entries = [
        UserEntry(
            user.name, user.role, user.is_disabled, at_text(user.created_at_ns), at_text(user.changed_at_ns),
            signed_in.count(user.name),
        )
        for user in reception.people.list_users()
    ]  # fmt: skip
    return UserList(tuple(entries))


async def add_user(call: Call) -> Answer:
    """Add a user."""
    wanted: NewUser = call.body
    reception = reception_of(call)
    try:
        await reception.changes.add_user(wanted.name, wanted.role, wanted.password)
    except CHANGE_FAULTS as refusal:
        return not_made(refusal)
    call.note(subject=wanted.name, after={"role": wanted.role})
    await reception.refresh()
    return Nothing()


async def edit_user(call: Call) -> Answer:
    """Change a user's role, password or standing; it is signed out everywhere."""
    wanted, name, reception = call.body, call.query.name, reception_of(call)
    assert isinstance(wanted, UserEdit), "as the table says"
    before = reception.people.user(name)
    if before is None:
        return problem(404, "no_such_user", "there is no such user")
    try:
        await reception.changes.edit_user(
            name, role=wanted.role, password=wanted.password, is_disabled=wanted.is_disabled
        )  # fmt: skip
    except CHANGE_FAULTS as refusal:
        call.note(subject=name)
        return not_made(refusal)
    await reception.refresh()
    changed = {"role": wanted.role, "is_disabled": wanted.is_disabled}
    named = {what: value for what, value in changed.items() if value is not None}
    after = {**named, **({"password": "changed"} if wanted.password is not None else {})}
    call.note(subject=name, before={"role": before.role, "is_disabled": before.is_disabled}, after=after)
    return Nothing()


async def list_keys(call: Call) -> Answer:
    """List every key."""
    return KeyList(tuple(entry_of(key) for key in reception_of(call).people.list_keys()))


async def add_key(call: Call) -> Answer:
    """Make a key; its text is in the answer and nowhere else."""
    wanted, reception = call.body, reception_of(call)
    assert isinstance(wanted, NewKey), "as the table says"
    owner = wanted.owner or owner_of(call.caller)
    wish = KeyWish(owner, wanted.role, wanted.scopes, wanted.label, wanted.addresses, wanted.days)
    try:
        text, key = await reception.changes.add_key(wish)
    except CHANGE_FAULTS as refusal:
        return not_made(refusal)
    call.note(subject=key.key_id, after={"owner": owner, "role": key.role, "scopes": list(key.scopes)})
    await reception.refresh()
    return KeyMade(text, entry_of(key))


async def revoke_key(call: Call) -> Answer:
    """End a key and its tokens."""
    reception, name = reception_of(call), call.query.key
    call.note(subject=name if name in [key.key_id for key in reception.people.list_keys()] else "unknown")
    try:
        await reception.changes.revoke_key(name)
    except CHANGE_FAULTS as refusal:
        return not_made(refusal)
    await reception.refresh()
    return Nothing()


def entry_of(key: KeyRow) -> KeyEntry:
    """Show a key without its secret."""
    return KeyEntry(
        key.key_id, key.owner, key.label, key.role, key.scopes, key.addresses, at_text(key.created_at_ns),
        at_text(key.expires_at_ns), at_text(key.revoked_at_ns), at_text(key.last_used_at_ns),
    )  # fmt: skip


ENDPOINTS = (
    Endpoint(
        method="GET", path="/api/v1/users", handler=list_users, role=Role.ADMIN, scope=Scope.PEOPLE, answer=UserList,
        tag="people", summary="Everybody who may use the surface",
    ),
    Endpoint(
        method="POST", path="/api/v1/users", handler=add_user, role=Role.ADMIN, scope=Scope.PEOPLE, body=NewUser,
        answer=Nothing, errors=(422,), is_write=True, tag="people", summary="Add a user",
    ),
    Endpoint(
        method="PUT", path="/api/v1/users/{name}", handler=edit_user, role=Role.ADMIN, scope=Scope.PEOPLE, query=UserName,
        body=UserEdit, answer=Nothing, errors=(404, 422), is_write=True, tag="people",
        summary="Change a user's role or password, or disable it; it is signed out everywhere",
    ),
    Endpoint(
        method="GET", path="/api/v1/keys", handler=list_keys, role=Role.ADMIN, scope=Scope.PEOPLE, answer=KeyList,
        tag="people", summary="Every API key, without its secret",
    ),
    Endpoint(
        method="POST", path="/api/v1/keys", handler=add_key, role=Role.ADMIN, scope=Scope.PEOPLE, body=NewKey, answer=KeyMade,
        errors=(422,), is_write=True, tag="people", summary="Make an API key; its text is shown this once",
    ),
    Endpoint(
        method="DELETE", path="/api/v1/keys/{key}", handler=revoke_key, role=Role.ADMIN, scope=Scope.PEOPLE, query=KeyName,
        answer=Nothing, errors=(422,), is_write=True, tag="people", summary="Revoke an API key and its tokens",
    ),
)  # fmt: skip
