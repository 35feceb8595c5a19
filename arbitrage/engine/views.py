"""Pictures of the engine as plain values, for screens, health and reports. They hold no behaviour and change nothing."""

from __future__ import annotations

import msgspec

from arbitrage.model.instruments import Node
from arbitrage.model.money import Asset
from arbitrage.model.opportunities import VenueHealth
from arbitrage.strategy.spreads import Spread


class Tally(msgspec.Struct):
    """What has been seen since the start of the process, by outcome."""

    seen: int = 0
    taken: int = 0
    refused: dict[str, int] = {}
    completed: int = 0
    recovered: int = 0
    missed: int = 0
    residual: int = 0
    decisions: int = 0
    hedged: int = 0
    """Leftovers of earlier plans that were traded away."""


class OpportunityLine(msgspec.Struct, frozen=True):
    """One opportunity as a person reads it."""

    at_ns: int
    name: str
    verdict: str
    """`taken`, or the reason of the refusal."""
    detail: str
    edge_ppm: int
    net_e8: int
    notional_e8: int
    reporting_asset: Asset


class OutcomeLine(msgspec.Struct, frozen=True):
    """One closed arbitrage as a person reads it."""

    at_ns: int
    plan_id: str
    state: str
    expected_e8: int
    realised_e8: int
    opportunity_id: str = ""
    name: str = ""
    """The cycle, readable."""
    steps: tuple[tuple[str, int], ...] = ()
    """From the edge at the best prices to what was realised: names and amounts that sum; empty where it is not known."""


class DustLine(msgspec.Struct, frozen=True):
    """What closed plans left of one asset, over all venues: unhedged dust, or more."""

    asset: Asset
    amount_e8: int
    value_e8: int | None
    """In the reporting asset at executable books; None when none is usable."""
    since_ns: int


class MarketView(msgspec.Struct, frozen=True):
    """One market's best prices and why they may not be traded on."""

    market: int
    venue: str
    symbol: str
    bid: float
    ask: float
    age_ms: int
    updates: int
    doubt: str | None


class EngineView(msgspec.Struct, frozen=True):
    """The whole picture at one moment."""

    at_ns: int
    not_armed_because: tuple[str, ...]
    spreads: tuple[Spread, ...]
    markets: tuple[MarketView, ...]
    venues: tuple[VenueHealth, ...]
    opportunities: tuple[OpportunityLine, ...]
    outcomes: tuple[OutcomeLine, ...]
    tally: Tally
    counters: dict[str, int]
    reporting_asset: Asset
    realised_e8: int
    open_plans: int
    balances: dict[Node, tuple[int, int]]
    """Free and reserved, in 1e-8 of the asset."""
    dust: tuple[DustLine, ...] = ()
    """Unhedged leftovers, each with its age and value."""
    pairs_off: dict[str, str] = {}
    """Pairs that disarmed themselves, and why."""
    links_lost: dict[str, int] = {}
    """Market data connections that ended since the start, by venue."""
    accounts: dict[str, str] = {}
    """How each venue's account stands, in words; none in a mode without accounts."""

    @property
    def is_armed(self) -> bool:
        return not self.not_armed_because
