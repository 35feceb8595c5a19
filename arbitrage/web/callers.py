"""Who asks: a name, a role, how that was shown, and from where. Proves nothing; the guard does and writes one of these."""

from __future__ import annotations

import enum

import msgspec


class Role(enum.IntEnum):
    """What somebody may do; each role may do all that the ones before it may."""

    VIEWER = 1
    """Sees how the daemon stands."""
    ANALYST = 2
    """Reads records too: opportunities, orders, profit, logs, configuration."""
    OPERATOR = 3
    """Stops and starts trading, accepts differences, makes snapshots."""
    ADMIN = 4
    """Changes the configuration, makes backups, manages users and keys."""

    @property
    def word(self) -> str:
        return self.name.lower()


class Scope(enum.StrEnum):
    """What an API key or token may be narrowed to. A session has all of them; the role is asked beside it."""

    READ = "read"
    RECORDS = "records"
    TRADE = "trade"
    """Kill and release, pause and resume, accept."""
    CONFIGURE = "configure"
    MAINTAIN = "maintain"
    """Snapshot, backup, drills."""
    PEOPLE = "people"
    """Users and keys."""


class How(enum.StrEnum):
    """How a caller showed who it is."""

    NOBODY = "nobody"
    SESSION = "session"
    KEY = "key"
    TOKEN = "token"
    TEST = "test"


class Caller(msgspec.Struct, frozen=True):
    """Who asks, as the guard found out."""

    name: str
    """User or key name; empty for nobody."""
    role: Role | None
    """None: nobody in particular, who may use public endpoints only."""
    how: How
    address: str
    """Of the client; behind a trusted proxy the one that it names."""
    session: str = ""
    """Public part of the session or key, for the audit log and for signing out; never a secret."""
    sees_probes: bool = False
    """May see what probes tell beyond whether the daemon lives: by its role and scope, or by `web.probes_open_to`."""

    @property
    def actor(self) -> str:
        """How journal and audit log name this caller."""
        return f"{self.how}:{self.name}@{self.address}" if self.name else f"{self.how}@{self.address}"
