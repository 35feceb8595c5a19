"""How a daemon stands, as plain values: for `arbitrage status`, the API and the screen. Holds no secret and no balance."""

from __future__ import annotations

import msgspec


class VenueStanding(msgspec.Struct, frozen=True):
    """One venue as the daemon sees it."""

    venue: str
    connected: bool
    markets: int
    usable: int
    account: str = ""
    """`up`, `down: reason`, or empty where the daemon has no account."""


class Standing(msgspec.Struct, frozen=True):
    """The whole."""

    pid: int
    mode: str
    session: str
    epoch: int
    armed: bool
    not_armed_because: tuple[str, ...]
    killed: str
    """Why the kill switch is on; empty when it is off."""
    paused: str
    differences: tuple[str, ...]
    open_plans: int
    open_orders: int
    realised: str
    reporting_asset: str
    venues: tuple[VenueStanding, ...]
    kill_last_proven_ns: int | None
    kill_last_proven_how: str
    shadow: dict[str, int]
    at_ns: int
    started_at_ns: int
