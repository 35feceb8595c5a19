"""One chain from the edge at the top of the books to the realised profit of one opportunity. Values and their sums only.

The chain joins what was expected (`EdgeBreakdown`, as of the decision) with what became of it (`Waterfall`, as of the closing).
Nothing is estimated here: every step comes out of facts in the journal, and what no fact separates stays in the last step.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from arbitrage.model.instruments import Side
from arbitrage.model.money import E8, Asset, div_up
from arbitrage.model.opportunities import Leg, Opportunity, Waterfall

STEPS = (
    "top_of_book", "depth", "fees", "fx", "transfers", "expected",
    "transfers_unpaid", "latency_drift", "fx_drift", "fee_changes", "partial_fills", "realised",
)  # fmt: skip
"""The chain in order; `expected` and `realised` are sums of all before them."""
TOTALS = ("expected", "realised")


class PlannedEdge(msgspec.Struct, frozen=True):
    """What was expected, in 1e-8 of the reporting asset; costs are negative, and all sum to `expected_e8` exactly."""

    top_of_book_e8: int
    """The profit at the best prices of every market and free of cost."""
    depth_e8: int
    """Worse levels, lots and what they leave over, in all markets but fiat's own."""
    fees_e8: int
    """Planned fees of all markets but fiat's own; those in a third asset at what buying it costs, wherever they arise."""
    fx_e8: int
    """What turning fiat costs: depth and fee in the market that prices it, at that market's best price."""
    transfers_e8: int
    """What carrying the inventory home will cost."""
    expected_e8: int

    def __post_init__(self) -> None:
        costs_e8 = self.depth_e8 + self.fees_e8 + self.fx_e8 + self.transfers_e8
        assert self.top_of_book_e8 + costs_e8 == self.expected_e8, "what is planned sums to what is expected"


class EdgeWaterfall(msgspec.Struct, frozen=True):
    """The whole chain of one closed plan; all steps sum to `realised_e8` exactly."""

    planned: PlannedEdge
    transfers_unpaid_e8: int
    """Counted against the edge and not paid by this arbitrage: inventory is carried home later, by itself."""
    latency_drift_e8: int
    """Prices that moved between the decision and the fill, on the quantity that filled, in all markets but fiat's own.

    Per planned leg: what the filled share was to move of the quote asset, against what its fills moved. A leg that filled in
    part is held against its average planned price, though it took the best levels first: what that flatters here, the last
    step gives back.
    """
    fx_drift_e8: int
    """The same in the market of fiat; for fiat that is carried, what it was worth at the closing against the plan's rate."""
    fee_changes_e8: int
    """Fees otherwise than planned, on the quantity that filled, fiat's own market included."""
    partial_fills_e8: int
    """Legs that fell short, the orders that mended them, and what is left, valued at the books of the closing.

    It is the rest: what no usable book could value when the plan closed is in here too.
    """
    realised_e8: int

    def __post_init__(self) -> None:
        drift_e8 = self.latency_drift_e8 + self.fx_drift_e8
        rest_e8 = self.transfers_unpaid_e8 + self.fee_changes_e8 + self.partial_fills_e8
        assert self.planned.expected_e8 + drift_e8 + rest_e8 == self.realised_e8, "the chain ends at what was realised"

    def steps(self) -> tuple[tuple[str, int], ...]:
        """Return (name, amount) for each of STEPS, in order."""
        values = [*msgspec.structs.astuple(self.planned), *msgspec.structs.astuple(self)[1:]]
        assert len(values) == len(STEPS), "every step has its amount"
        return tuple(zip(STEPS, values, strict=True))


def planned_edge(opportunity: Opportunity) -> PlannedEdge:
    """Take an opportunity's expected edge apart, with what fiat costs told apart from depth and fees."""
    parts = opportunity.breakdown
    fx_depth_e8, fx_fees_e8 = _fx_cost_e8(opportunity)
    return PlannedEdge(
        top_of_book_e8=parts.top_of_book_e8,
        depth_e8=fx_depth_e8 - parts.depth_e8,
        fees_e8=fx_fees_e8 - parts.fees_e8,
        fx_e8=-fx_depth_e8 - fx_fees_e8,
        transfers_e8=-parts.transfers_e8,
        expected_e8=parts.net_e8,
    )


def edge_waterfall(planned: PlannedEdge, became: Waterfall) -> EdgeWaterfall:
    """Join what was planned with what became of it."""
    assert planned.expected_e8 == became.expected_e8, "both are of one plan"
    return EdgeWaterfall(
        planned=planned,
        transfers_unpaid_e8=became.transfers_e8,
        latency_drift_e8=became.prices_e8,
        fx_drift_e8=became.fx_e8,
        fee_changes_e8=became.fees_e8,
        partial_fills_e8=became.legs_e8,
        realised_e8=became.realised_e8,
    )


def fx_legs(opportunity: Opportunity) -> tuple[Leg, ...]:
    """Return the legs that turn fiat into the reporting asset or back, in the market that prices it."""
    markets = {rate.market for rate in opportunity.fx}
    found = tuple(leg for leg in opportunity.legs if leg.market in markets and _is_between(leg, opportunity.reporting_asset))
    assert len(found) <= len(opportunity.legs), "legs of this opportunity"
    return found


def pair_of(opportunity: Opportunity, fiat: Collection[Asset]) -> str:
    """Name what an opportunity trades besides fiat and the reporting asset, joined by `+`; all of it where nothing is left."""
    ends = {asset for leg in opportunity.legs for asset in (leg.spent.asset, leg.received.asset)}
    assert ends, "an opportunity trades something"
    return "+".join(sorted(ends - {opportunity.reporting_asset, *fiat} or ends))


def _fx_cost_e8(opportunity: Opportunity) -> tuple[int, int]:
    """Return what depth and fees in the markets of fiat cost, each rounded up, at those markets' best prices."""
    depth_e8 = fees_e8 = 0
    for leg in fx_legs(opportunity):
        reporting = opportunity.reporting_asset
        spent_e8 = _at_top_e8(leg, leg.spent.asset, leg.spent_e8, reporting)
        received_e8 = _at_top_e8(leg, leg.received.asset, leg.received_e8, reporting)
        is_own_fee = leg.fee_asset in (leg.spent.asset, leg.received.asset)
        fee_e8 = _at_top_e8(leg, leg.fee_asset, leg.fee_e8, reporting) if is_own_fee else 0
        fees_e8 += fee_e8
        depth_e8 += spent_e8 - received_e8 - fee_e8
    assert fees_e8 == 0 or opportunity.fx, "without fiat nothing is spent on it"
    return depth_e8, fees_e8


def _at_top_e8(leg: Leg, asset: Asset, amount_e8: int, reporting_asset: Asset) -> int:
    """Return what an amount of one of a leg's assets is in the reporting asset at the leg's best price, rounded up."""
    if asset == reporting_asset:
        return amount_e8
    base = leg.received.asset if leg.side is Side.BUY else leg.spent.asset
    assert leg.top_price_e8 > 0, "a leg was seen at a price"
    return div_up(amount_e8 * leg.top_price_e8, E8) if asset == base else div_up(amount_e8 * E8, leg.top_price_e8)


def _is_between(leg: Leg, asset: Asset) -> bool:
    return asset in (leg.spent.asset, leg.received.asset)
