"""Changes of users and keys, checked by the rules before they reach the database. Who may ask for one is not decided here.

The command line and the API both change people through this one door.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import msgspec

from arbitrage.store.people import KeyRow, PeopleRefused, PeopleStore, UserChange
from arbitrage.web.access.passwords import Passwords, password_problem
from arbitrage.web.access.people import networks_of, role_of
from arbitrage.web.access.sessions import digest_of, random_text
from arbitrage.web.callers import Role, Scope

USER_NAME = re.compile(r"[a-z][a-z0-9._-]{0,31}")
LABEL_LENGTH_MAX, NETWORKS_MAX = 60, 32
KEY_DAYS_DEFAULT, KEY_DAYS_MAX = 90, 366
"""Every key ends: one that is forgotten does not stay a door for ever."""
ROLE_LIST = ", ".join(role.word for role in Role)
SCOPE_LIST = ", ".join(Scope)
_DAY_NS = 86_400 * 1_000_000_000


class KeyWish(msgspec.Struct, frozen=True):
    """A key as it is asked for."""

    owner: str
    role: str
    scopes: tuple[str, ...]
    label: str = ""
    addresses: tuple[str, ...] = ()
    days: int = KEY_DAYS_DEFAULT


class Changes:
    """Makes changes. Each raises PeopleRefused with the rule that is in the way, or one of POSTGRES_FAULTS."""

    def __init__(self, store: PeopleStore, passwords: Passwords, clock: Callable[[], int]) -> None:
        self._store = store
        self._passwords = passwords
        self._clock = clock

    async def add_user(self, name: str, role: str, password: str, *, is_first_admin: bool = False) -> None:
        """Add a user. Raises TooManyWaiting too, as all that take a password."""
        if not USER_NAME.fullmatch(name):
            raise PeopleRefused("a name has 1 to 32 small letters, digits, '.', '_' and '-', and begins with a letter")
        _known_role(role)
        password_hash = await self._hashed(name, password)
        await self._store.add_user(name, role, password_hash, is_first_admin=is_first_admin)

    async def edit_user(
        self, name: str, *, role: str | None = None, password: str | None = None, is_disabled: bool | None = None
    ) -> None:
        """Change what is given of a user, all of it or nothing, and sign it out everywhere."""
        if role is not None:
            _known_role(role)
        password_hash = None if password is None else await self._hashed(name, password)
        await self._store.change_user(name, UserChange(role, password_hash, is_disabled))

    async def add_key(self, wish: KeyWish) -> tuple[str, KeyRow]:
        """Make a key; return its text, which is kept nowhere and never shown again."""
        _known_role(wish.role)
        if unknown := [scope for scope in wish.scopes if scope not in set(Scope)]:
            raise PeopleRefused(f"there is no scope {unknown[0]}: {SCOPE_LIST}")
        if not wish.scopes:
            raise PeopleRefused(f"a key has at least one scope: {SCOPE_LIST}")
        if not 1 <= wish.days <= KEY_DAYS_MAX:
            raise PeopleRefused(f"a key lasts 1 to {KEY_DAYS_MAX} days")
        if len(wish.label) > LABEL_LENGTH_MAX or not wish.label.isprintable():
            raise PeopleRefused(f"a label is one line of at most {LABEL_LENGTH_MAX} characters")
        secret, key_id, now_ns = random_text(), os.urandom(8).hex(), self._clock()
        key = KeyRow(
            key_id, wish.owner, wish.label, wish.role, tuple(dict.fromkeys(wish.scopes)), _networks(wish.addresses),
            digest_of(secret), now_ns, now_ns + wish.days * _DAY_NS,
        )  # fmt: skip
        await self._store.add_key(key)
        return f"ak_{key_id}_{secret}", key

    async def revoke_key(self, key_id: str) -> None:
        """End a key and its tokens for good."""
        await self._store.revoke_key(key_id)

    async def _hashed(self, name: str, password: str) -> str:
        if problem := password_problem(name, password):
            raise PeopleRefused(problem)
        return await self._passwords.hash(password)


def _known_role(role: str) -> None:
    if role_of(role) is None:
        raise PeopleRefused(f"a role is one of {ROLE_LIST}")


def _networks(addresses: tuple[str, ...]) -> tuple[str, ...]:
    if len(addresses) > NETWORKS_MAX:
        raise PeopleRefused(f"a key has at most {NETWORKS_MAX} addresses")
    try:
        return tuple(map(str, networks_of(addresses)))
    except ValueError as error:
        raise PeopleRefused(f"an address or network such as 10.0.0.0/8: {error}") from None
