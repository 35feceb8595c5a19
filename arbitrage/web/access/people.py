"""Who there is, pictured in memory: users and API keys, read anew when their version changes. No request asks a database."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import ipaddress
import logging
import re
from collections.abc import Callable, Sequence

import msgspec

from arbitrage.store.people import KeyRow, PeoplePicture, PeopleStore, UserRow
from arbitrage.store.postgres import POSTGRES_FAULTS
from arbitrage.web.access.sessions import digest_of
from arbitrage.web.callers import Role

logger = logging.getLogger("arbitrage.web")
LOOK_SECONDS = 1.0
"""A change by the command line, or by another daemon on the same database, is heeded within so long."""
CLOSE_SECONDS_MAX = 0.5
"""A stop does not wait longer for a database that is away."""
USED_EVERY_S = 60
"""When a key was last used is written at most so often."""
KEY_TEXT = re.compile(r"ak_(?P<key_id>[0-9a-f]{16})_(?P<secret>[A-Za-z0-9_-]{43})")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_SECOND_NS = 1_000_000_000


def role_of(word: str) -> Role | None:
    """Return the role of this word; None where there is none."""
    return Role.__members__.get(word.upper()) if word.islower() else None


def networks_of(texts: Sequence[str]) -> tuple[Network, ...]:
    """Read networks or single addresses. Raises ValueError with the one that is none."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def is_within(address: str, networks: Sequence[Network]) -> bool:
    """Say whether an address is in one of these networks; what is no address is in none."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped is not None:
        found = found.ipv4_mapped
    return any(found in network for network in networks)


class People:
    """The picture, and the work that keeps it fresh."""

    def __init__(self, store: PeopleStore, clock: Callable[[], int]) -> None:
        self._store = store
        self._clock = clock
        self._version = 0
        self._users: dict[str, UserRow] = {}
        self._keys: dict[str, KeyRow] = {}
        self._used: dict[str, int] = {}
        self._used_written_ns = clock()
        self._reading = asyncio.Lock()
        """Pictures are taken one after the other, so that none replaces a newer one."""
        self.on_change: list[Callable[[], None]] = []
        """Called after each picture."""
        self.known = asyncio.Event()
        """Set with the first picture."""
        self.trouble = ""
        """Why the picture may be old; empty when it is not."""

    @property
    def is_known(self) -> bool:
        """Whether there is a picture at all: until then nobody can sign in, and nobody can be the first."""
        return self.known.is_set()

    @property
    def has_admin(self) -> bool:
        return any(user.role == Role.ADMIN.word and not user.is_disabled for user in self._users.values())

    def list_users(self) -> list[UserRow]:
        """List everybody, disabled ones too, by name."""
        return [self._users[name] for name in sorted(self._users)]

    def list_keys(self) -> list[KeyRow]:
        """List every key, newest first, with when it was last used as far as is known here."""
        return [self._with_use(key) for key in sorted(self._keys.values(), key=lambda key: (-key.created_at_ns, key.key_id))]

    def user(self, name: str) -> UserRow | None:
        """Return a user, also a disabled one."""
        return self._users.get(name)

    def role(self, name: str) -> Role | None:
        """Return the role of a user who may sign in."""
        user = self._users.get(name)
        return None if user is None or user.is_disabled else role_of(user.role)

    def generation(self, name: str) -> int | None:
        """Return the generation of a user who may sign in."""
        user = self._users.get(name)
        return None if user is None or user.is_disabled else user.generation

    def key(self, key_id: str, address: str) -> tuple[KeyRow, Role] | None:
        """Return a key that counts now and from there, and its role; the owner's bounds it."""
        key = self._keys.get(key_id)
        if key is None or key.revoked_at_ns is not None or self._clock() >= key.expires_at_ns:
            return None
        own, owners = role_of(key.role), self.role(key.owner)
        if own is None or owners is None or (key.addresses and not is_within(address, networks_of(key.addresses))):
            return None
        return key, min(own, owners)

    def key_of(self, text: str, address: str) -> tuple[KeyRow, Role] | None:
        """Return the key of this text, checked by its secret, and note that it was used."""
        match = KEY_TEXT.fullmatch(text)
        if match is None:
            return None
        found = self.key(match["key_id"], address)
        secret = found[0].secret_sha256 if found is not None else bytes(32)
        is_right = hmac.compare_digest(digest_of(match["secret"]), secret)
        if found is None or not is_right:
            return None
        self.note_used(found[0].key_id)
        return found

    def note_used(self, key_id: str) -> None:
        """Note that a key was used, to be written later."""
        self._used[key_id] = self._clock()

    async def refresh(self) -> None:
        """Read everybody now. Raises one of POSTGRES_FAULTS; the picture then stays."""
        async with self._reading:
            self._adopt(await self._store.read())

    async def run(self) -> None:
        """Keep the picture fresh until cancelled. A database that is away leaves it as it is."""
        while True:
            try:
                await self._look()
                self.trouble = ""
            except POSTGRES_FAULTS as error:
                if not self.trouble:
                    logger.warning("users and keys cannot be read (%s): what is known stays in force", type(error).__name__)
                self.trouble = f"PostgreSQL does not answer ({type(error).__name__})"
            await asyncio.sleep(LOOK_SECONDS)

    async def close(self) -> None:
        """Write what is known of used keys, if that is possible at once."""
        with contextlib.suppress(*POSTGRES_FAULTS):
            async with asyncio.timeout(CLOSE_SECONDS_MAX):
                await self._write_used()
        await self._store.close()

    async def _look(self) -> None:
        if await self._store.version() != self._version:
            await self.refresh()
        if self._clock() - self._used_written_ns >= USED_EVERY_S * _SECOND_NS:
            await self._write_used()

    async def _write_used(self) -> None:
        self._used_written_ns = self._clock()
        if self._used:
            written = dict(self._used)
            await self._store.note_used(written)
            self._used = {key_id: at_ns for key_id, at_ns in self._used.items() if written.get(key_id) != at_ns}

    def _adopt(self, picture: PeoplePicture) -> None:
        self._version = picture.version
        self.known.set()
        self._users = {user.name: user for user in picture.users}
        self._keys = {key.key_id: key for key in picture.keys}
        for heed in self.on_change:
            heed()

    def _with_use(self, key: KeyRow) -> KeyRow:
        used_ns = max(self._used.get(key.key_id, 0), key.last_used_at_ns or 0)
        return key if used_ns == (key.last_used_at_ns or 0) else msgspec.structs.replace(key, last_used_at_ns=used_ns)
