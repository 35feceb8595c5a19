"""Passwords: what may be one, and argon2id in a thread of its own. Keeps none, shows none, and never hashes on the loop."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

TIME_COST, MEMORY_KIB, LANES = 2, 19_456, 1
"""OWASP's password storage cheat sheet: 19 MiB, two passes, one lane. About 20 ms; more would only make a flood cheaper."""
HASH_BYTES, SALT_BYTES = 32, 16
THREADS = 1
"""argon2 lets the interpreter go, but memory and cache are shared with the trading loop."""
WAITING_MAX = 16
"""Hashings under way or waiting; who comes then is told to come again. At 20 ms each, the last waits a third of a second."""
PASSWORD_LENGTH_MIN, PASSWORD_BYTES_MAX, BESIDE_NAME_MIN = 12, 512, 10
"""The last: characters beside the user's own name."""
Result = TypeVar("Result")


class TooManyWaiting(Exception):
    """More sign-ins at once than the threads are for; nothing was checked."""


def password_problem(name: str, password: str) -> str:
    """Say why this cannot be a user's password; empty where it can. Length is what counts (NIST SP 800-63B)."""
    if len(password) < PASSWORD_LENGTH_MIN:
        return f"a password has at least {PASSWORD_LENGTH_MIN} characters"
    if len(password.encode("utf-8", "surrogatepass")) > PASSWORD_BYTES_MAX:
        return f"a password has at most {PASSWORD_BYTES_MAX} bytes"
    if any(not character.isprintable() for character in password):
        return "a password has no control characters"
    if len(set(password)) < 4:
        return "a password has at least four different characters"
    if len(name) > 2 and len(password.lower().replace(name, "")) < min(len(password), BESIDE_NAME_MIN):
        return "a password is not the user's name with little around it"
    return ""


class Passwords:
    """Hashes and verifies, in threads, with a bounded queue."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(TIME_COST, MEMORY_KIB, LANES, HASH_BYTES, SALT_BYTES, type=Type.ID)
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="passwords")
        self._waiting = 0
        self._nobodys = ""

    @property
    def waiting(self) -> int:
        return self._waiting

    def hash_now(self, password: str) -> str:
        """Hash in the calling thread: for the command line, which has no loop to hold up."""
        return self._hasher.hash(_same(password))

    async def hash(self, password: str) -> str:
        """Hash a new password. Raises TooManyWaiting."""
        return await self._in_thread(self.hash_now, password)

    async def verify(self, password_hash: str, password: str) -> bool:
        """Say whether the password is the hash's; an empty hash takes as long and never is. Raises TooManyWaiting."""
        return await self._in_thread(self._verify, password_hash, password)

    def close(self) -> None:
        """Let the threads end; what waits is dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password_hash: str, password: str) -> bool:
        if not self._nobodys:
            self._nobodys = self._hasher.hash("nobody has this password")
        if len(password.encode("utf-8", "surrogatepass")) > PASSWORD_BYTES_MAX:
            return False
        try:
            self._hasher.verify(password_hash or self._nobodys, _same(password))
        except (VerificationError, InvalidHashError):
            return False
        return bool(password_hash)

    async def _in_thread(self, work: Callable[..., Result], *arguments: str) -> Result:
        if self._waiting >= WAITING_MAX:
            raise TooManyWaiting
        self._waiting += 1
        # Counted down when the thread is done, not when the caller is: who goes away must not make room for more work.
        future = self._pool.submit(work, *arguments)
        loop = asyncio.get_running_loop()
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._done))
        return await asyncio.wrap_future(future)

    def _done(self) -> None:
        self._waiting -= 1


def _same(password: str) -> bytes:
    """Give the bytes that every keyboard makes of the same password (RFC 8265: NFC)."""
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")
