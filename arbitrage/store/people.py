"""Users and API keys in PostgreSQL. Keeps hashes only, lets the last admin not be lost, and checks no credential itself.

Every change locks the one row of `people_version` first and counts it up: changes happen one after the other, and whoever keeps
a picture of the tables sees by one number that it is old.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import msgspec

from arbitrage.store.postgres import POSTGRES_FAULTS, PostgresEndpoint, connect_postgres

USERS_MAX = 1_000
KEYS_MAX = 5_000
"""Keys that were not revoked; the picture of all is kept in memory."""
WATCH_SECONDS_MAX = 3.0

_VERSION = "SELECT version FROM people_version"
_COUNT_UP = "UPDATE people_version SET version = version + 1 RETURNING version"
_USERS = "SELECT name, role, password_hash, is_disabled, generation, created_at_ns, changed_at_ns FROM users ORDER BY name"
_KEYS = """SELECT key_id, owner, label, role, scopes, addresses, secret_sha256, created_at_ns, expires_at_ns, revoked_at_ns,
last_used_at_ns FROM api_keys ORDER BY revoked_at_ns IS NOT NULL, created_at_ns DESC, key_id LIMIT $1"""
_ADMINS = "SELECT count(*) FROM users WHERE role = 'admin' AND NOT is_disabled"
_ADD_USER = """INSERT INTO users (name, role, password_hash, generation, created_at_ns, changed_at_ns)
VALUES ($1, $2, $3, $4, $5, $5) ON CONFLICT DO NOTHING RETURNING name"""
_CHANGE_USER = """UPDATE users SET role = coalesce($2, role), password_hash = coalesce($3, password_hash),
is_disabled = coalesce($4, is_disabled), generation = $5, changed_at_ns = $6 WHERE name = $1 RETURNING name"""
_ADD_KEY = """INSERT INTO api_keys (key_id, owner, label, role, scopes, addresses, secret_sha256, created_at_ns, expires_at_ns)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"""
_REVOKE = "UPDATE api_keys SET revoked_at_ns = $2 WHERE key_id = $1 AND revoked_at_ns IS NULL RETURNING key_id"
_USED = "UPDATE api_keys SET last_used_at_ns = $2 WHERE key_id = $1 AND coalesce(last_used_at_ns, 0) < $2"


class PeopleRefused(Exception):
    """A change that may not be; the text says which rule it breaks. Nothing was changed."""


class UserRow(msgspec.Struct, frozen=True):
    """One user. Its text never shows the hash."""

    name: str
    role: str
    password_hash: str
    is_disabled: bool
    generation: int
    """New with every change; what was signed in under an older one is signed out."""
    created_at_ns: int
    changed_at_ns: int

    def __repr__(self) -> str:
        return f"UserRow({self.name}, {self.role}{', disabled' if self.is_disabled else ''})"


class KeyRow(msgspec.Struct, frozen=True):
    """One API key. Of its secret only the SHA-256 is kept, and shown nowhere."""

    key_id: str
    owner: str
    label: str
    role: str
    scopes: tuple[str, ...]
    addresses: tuple[str, ...]
    """Networks that may use it; empty: all that may use the surface."""
    secret_sha256: bytes
    created_at_ns: int
    expires_at_ns: int
    revoked_at_ns: int | None = None
    last_used_at_ns: int | None = None

    def __repr__(self) -> str:
        return f"KeyRow({self.key_id} of {self.owner}, {self.role})"


class PeoplePicture(msgspec.Struct, frozen=True):
    """Everybody at one version of the tables."""

    version: int
    users: tuple[UserRow, ...]
    keys: tuple[KeyRow, ...]


class UserChange(msgspec.Struct, frozen=True):
    """What becomes different of a user; None leaves it."""

    role: str | None = None
    password_hash: str | None = None
    is_disabled: bool | None = None


class PeopleStore:
    """Reads and changes users and keys, changes on a connection of their own. Every call may raise one of POSTGRES_FAULTS."""

    def __init__(self, endpoint: Callable[[], PostgresEndpoint], clock: Callable[[], int]) -> None:
        """`clock` gives nanoseconds since 1970."""
        self._endpoint = endpoint
        self._clock = clock
        self._watching: Any = None

    async def version(self) -> int:
        """Return the number that grows with every change. Cheap: it keeps its connection."""
        try:
            if self._watching is None:
                self._watching = await connect_postgres(self._endpoint())
            found: int = await self._watching.fetchval(_VERSION, timeout=WATCH_SECONDS_MAX)
        except POSTGRES_FAULTS:
            await self.close()
            raise
        return found

    async def close(self) -> None:
        """Let the kept connection go."""
        connection, self._watching = self._watching, None
        if connection is not None:
            connection.terminate()

    async def read(self) -> PeoplePicture:
        """Read everybody, as of one instant."""
        connection = await connect_postgres(self._endpoint())
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                version = await connection.fetchval(_VERSION)
                users = [UserRow(**row) for row in await connection.fetch(_USERS)]
                keys = [_key(row) for row in await connection.fetch(_KEYS, KEYS_MAX)]
        finally:
            await connection.close()
        return PeoplePicture(version, tuple(users), tuple(keys))

    async def add_user(self, name: str, role: str, password_hash: str, *, is_first_admin: bool = False) -> None:
        """Add a user; as the first admin only where there is none. Raises PeopleRefused."""
        async with self._changing() as (connection, version):
            if is_first_admin and await connection.fetchval(_ADMINS):
                raise PeopleRefused("there is an admin already: sign in, or use `arbitrage user password`")
            if await connection.fetchval("SELECT count(*) FROM users") >= USERS_MAX:
                raise PeopleRefused(f"there are {USERS_MAX} users, which is the most")
            if await connection.fetchval(_ADD_USER, name, role, password_hash, version, self._clock()) is None:
                raise PeopleRefused(f"there is a user {name} already")

    async def change_user(self, name: str, change: UserChange) -> None:
        """Change a user and sign it out everywhere. Raises PeopleRefused, also where no admin would be left."""
        async with self._changing() as (connection, version):
            had_admin = await connection.fetchval(_ADMINS)
            values = (change.role, change.password_hash, change.is_disabled)
            if await connection.fetchval(_CHANGE_USER, name, *values, version, self._clock()) is None:
                raise PeopleRefused(f"there is no user {name}")
            if had_admin and not await connection.fetchval(_ADMINS):
                raise PeopleRefused(f"{name} is the last admin: make another one first")

    async def add_key(self, key: KeyRow) -> None:
        """Keep a new key. Raises PeopleRefused."""
        async with self._changing() as (connection, _):
            owner = await connection.fetchrow("SELECT is_disabled FROM users WHERE name = $1", key.owner)
            if owner is None or owner["is_disabled"]:
                raise PeopleRefused(f"there is no enabled user {key.owner}")
            if await connection.fetchval("SELECT count(*) FROM api_keys WHERE revoked_at_ns IS NULL") >= KEYS_MAX:
                raise PeopleRefused(f"there are {KEYS_MAX} keys, which is the most: revoke some")
            values = (key.key_id, key.owner, key.label, key.role, list(key.scopes), list(key.addresses), key.secret_sha256)
            await connection.execute(_ADD_KEY, *values, key.created_at_ns, key.expires_at_ns)

    async def revoke_key(self, key_id: str) -> None:
        """End a key for good. Raises PeopleRefused where there is none that still counts."""
        async with self._changing() as (connection, _):
            if await connection.fetchval(_REVOKE, key_id, self._clock()) is None:
                raise PeopleRefused(f"there is no key {key_id} that is not revoked")

    async def note_used(self, last_used_ns: Mapping[str, int]) -> None:
        """Keep when keys were last used; the version stays."""
        connection = await connect_postgres(self._endpoint())
        try:
            await connection.executemany(_USED, list(last_used_ns.items()))
        finally:
            await connection.close()

    @contextlib.asynccontextmanager
    async def _changing(self) -> AsyncIterator[tuple[Any, int]]:
        """Open a transaction that alone changes people, and give its version; undone by any exception."""
        connection = await connect_postgres(self._endpoint())
        try:
            async with connection.transaction():
                yield connection, await connection.fetchval(_COUNT_UP)
        finally:
            await connection.close()


def _key(row: Any) -> KeyRow:
    values = {**row, "scopes": tuple(row["scopes"]), "addresses": tuple(row["addresses"])}
    return KeyRow(**values)
