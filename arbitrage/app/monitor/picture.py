"""The first screen as plain values, wherever they were read: what `--json` prints. Reads nothing and draws nothing."""

from __future__ import annotations

import msgspec


class PairLine(msgspec.Struct, frozen=True):
    """One coin between two venues, in the better direction."""

    asset: str
    prices: dict[str, str]
    """By venue: what is done there, at which price, in which asset."""
    rate: str
    """The won's bid and ask, where there is one on the way."""
    gross_ppm: int | None
    net_ppm: int | None
    missing_ppm: int | None
    state: str
    last_above: str = ""
    life_ms_median: int | None = None


class OpportunityLine(msgspec.Struct, frozen=True):
    """One opportunity as it was judged."""

    time: str
    edge_ppm: int
    net: str
    verdict: str
    cycle: str
    detail: str


class OutcomeLine(msgspec.Struct, frozen=True):
    """One closed arbitrage."""

    time: str
    plan: str
    state: str
    expected: str
    realised: str


class FeedLine(msgspec.Struct, frozen=True):
    """One venue's feed."""

    venue: str
    is_up: bool
    reason: str
    age_ms: int | None
    usable: int
    markets: int
    clock_offset_ms: int | None
    account: str = ""


class LimitLine(msgspec.Struct, frozen=True):
    """One limit and what is used of it."""

    name: str
    used: str
    limit: str
    used_ppm: int | None


class MoneyLine(msgspec.Struct, frozen=True):
    """One part of today's profit."""

    name: str
    amount: str


class Picture(msgspec.Struct, frozen=True):
    """The whole screen at one moment."""

    source: str
    """`api`, `daemon` (its socket and status file) or `files` (nobody answers)."""
    notes: tuple[str, ...] = ()
    """What is missing on this screen, and why."""
    is_there: bool = True
    """False: no daemon answers; the rest is what it last said."""
    is_armed: bool = False
    not_armed_because: tuple[str, ...] = ()
    mode: str = ""
    session: str = ""
    age_s: float | None = None
    """How old what is shown is."""
    up_s: float | None = None
    counts: str = ""
    realised: str = ""
    killed: str = ""
    paused: str = ""
    proven: str = "never"
    differences: tuple[str, ...] = ()
    pairs_off: dict[str, str] = {}
    open_plans: int = 0
    open_orders: int = 0
    venues: tuple[str, ...] = ()
    """In the order of the columns of `pairs`."""
    pairs: tuple[PairLine, ...] = ()
    opportunities: tuple[OpportunityLine, ...] = ()
    outcomes: tuple[OutcomeLine, ...] = ()
    money: tuple[MoneyLine, ...] = ()
    feeds: tuple[FeedLine, ...] = ()
    limits: tuple[LimitLine, ...] = ()
    refused: dict[str, int] = {}
    alerts: tuple[str, ...] = ()
    """Keys of the alerts that are on, the worst first: over the API, else where the status file can be read."""
    figures: dict[str, str] = {}
    """The rolling figures of 60 s."""


def ago(ns: int | None, now_ns: int) -> str:
    """Say how long ago something was."""
    if ns is None:
        return "never"
    seconds = max(0, now_ns - ns) / 1e9
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
