"""What the guard reads of the rest of the house, as values. Holds no rule and fetches nothing.

The engine makes one of these for a judgement; a field that cannot be filled honestly has a spelling for that (None, a reason),
and the guard refuses on it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import msgspec

from arbitrage.model.instruments import Node, Venue
from arbitrage.model.money import Asset
from arbitrage.model.opportunities import Opportunity, Refused, VenueHealth


class Quote(msgspec.Struct, frozen=True):
    """What one whole unit of an asset sells and buys for, through executable books, in 1e-8 of the reporting asset."""

    bid_e8: int
    ask_e8: int

    def __post_init__(self) -> None:
        assert self.bid_e8 > 0, "a quote has a bid"
        assert self.bid_e8 <= self.ask_e8, "a crossed book gives no quote"


class RiskView(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the house at one judgement."""

    unarmed_reason: str = ""
    """Why start-up has not armed trading; empty when it has."""
    store_fault: str = ""
    """Why facts cannot be kept (the journal's bound is reached); empty when they can."""
    venues: Mapping[Venue, VenueHealth]
    """A venue that is missing here counts as unhealthy."""
    doubts: Mapping[int, Refused] = {}
    """Every doubted market with the refusal that follows from its doubt."""
    quotes: Mapping[Node, Quote] = {}
    """Of transferred assets at both ends, where books allow it; sharpens the identity check and is not needed by it."""
    open_opportunities: Sequence[Opportunity] = ()
    """One for each open plan."""
    busy_cycles: Set[int] = frozenset()
    """Cycles with an open plan or still cooling down after one."""
    busy_pairs: Set[Asset] = frozenset()
    """Traded assets with a leg in the governor's hands."""
    busy_markets: Mapping[int, str] = {}
    """Markets where an open plan still has an order on its way, by name: what their books show may already be ours."""
    exposures_e8: Mapping[Asset, int | None] = {}
    """Net unhedged value of an asset over all venues, signed; None when no executable book values it."""
    carried_fx_e8: Mapping[Asset, int | None] = {}
    """Net value of a fiat asset kept by carried legs and residuals, signed; None as above."""
