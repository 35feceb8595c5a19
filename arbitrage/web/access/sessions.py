"""Who is signed in with a browser: sessions in memory, found by the hash of a random token. Keeps no token; a restart ends all.

A restart signs everybody out. In exchange no database is asked at a request: with all of them down the kill switch still works.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from base64 import urlsafe_b64encode
from collections.abc import Callable

import msgspec

COOKIE = "__Host-arbitrage"
"""The prefix binds it to this host and path: no other host, not even a sibling, can set it (RFC 6265bis, 4.1.3.2)."""
TOKEN_BYTES = 32
SESSIONS_MAX, SESSIONS_PER_USER_MAX = 1_000, 10
"""Past the second a user's longest silent session ends; past the first nobody signs in until one has expired."""
_SECOND_NS = 1_000_000_000


class SessionTimes(msgspec.Struct, frozen=True):
    """How long a session lasts."""

    idle_s: int
    total_s: int


class Session(msgspec.Struct):
    """One browser that signed in."""

    number: str
    """Public: in the list of sessions and the audit log."""
    user: str
    generation: int
    """Of the user when it signed in; once the user's is another, the session is over."""
    csrf_token: str
    address: str
    agent: str
    created_at_ns: int
    seen_at_ns: int

    def __repr__(self) -> str:
        return f"Session({self.number} of {self.user})"


def random_text() -> str:
    """Return 256 random bits as text."""
    return urlsafe_b64encode(os.urandom(TOKEN_BYTES)).rstrip(b"=").decode()


def digest_of(token: str) -> bytes:
    """Return by what a token is found; a table of hashes is worth nothing to a thief, and looking one up tells no time."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()


def is_same(one: str, other: str) -> bool:
    """Compare two secrets in the same time wherever they differ."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


class Sessions:
    """All sessions. Every method is called on the loop."""

    def __init__(self, clock: Callable[[], int], times: SessionTimes, generation: Callable[[str], int | None]) -> None:
        """`generation` tells a user's generation now; None for one that may not sign in."""
        self._clock = clock
        self._times = times
        self.total_s = times.total_s
        self._generation = generation
        self._by_digest: dict[bytes, Session] = {}

    def __len__(self) -> int:
        return len(self._by_digest)

    def open(self, user: str, *, address: str, agent: str) -> tuple[str, Session] | None:
        """Sign a user in; return the token, which is kept nowhere, and the session. None where there are too many."""
        self.sweep()
        generation = self._generation(user)
        assert generation is not None, "only an enabled user signs in"
        own = [(session.seen_at_ns, digest) for digest, session in self._by_digest.items() if session.user == user]
        for _, digest in sorted(own)[: max(0, len(own) - SESSIONS_PER_USER_MAX + 1)]:
            del self._by_digest[digest]
        if len(self._by_digest) >= SESSIONS_MAX:
            return None
        token, now_ns = random_text(), self._clock()
        number = os.urandom(6).hex()
        session = Session(number, user, generation, random_text(), address, agent[:200], now_ns, now_ns)
        self._by_digest[digest_of(token)] = session
        return token, session

    def find(self, token: str) -> Session | None:
        """Return the session of this token, if it still counts, and note that it was seen."""
        digest = digest_of(token)
        session = self._by_digest.get(digest)
        if session is None:
            return None
        if not self._counts(session):
            del self._by_digest[digest]
            return None
        session.seen_at_ns = max(session.seen_at_ns, self._clock())
        return session

    def counts(self, number: str) -> bool:
        """Say whether a session still counts, without noting that it was seen: for streams that outlive their request."""
        return any(session.number == number and self._counts(session) for session in self._by_digest.values())

    def expires_at_ns(self, session: Session) -> int:
        """Return when it ends if nothing more is asked."""
        idle_ns = session.seen_at_ns + self._times.idle_s * _SECOND_NS
        return min(idle_ns, session.created_at_ns + self._times.total_s * _SECOND_NS)

    def of(self, user: str = "") -> list[Session]:
        """List the sessions that count, of one user or of everybody, newest first."""
        self.sweep()
        found = [session for session in self._by_digest.values() if user in ("", session.user)]
        return sorted(found, key=lambda session: -session.created_at_ns)

    def close(self, number: str) -> bool:
        """End the session with this number; False where there is none."""
        for digest, session in self._by_digest.items():
            if session.number == number:
                del self._by_digest[digest]
                return True
        return False

    def sweep(self) -> None:
        """Forget what has ended: by time, or because its user changed."""
        for digest in [digest for digest, session in self._by_digest.items() if not self._counts(session)]:
            del self._by_digest[digest]

    def _counts(self, session: Session) -> bool:
        return self._clock() < self.expires_at_ns(session) and self._generation(session.user) == session.generation
