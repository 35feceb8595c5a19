"""The guard's arithmetic over one opportunity: values, deltas, gaps. Exact integers; judges nothing."""

from __future__ import annotations

from collections.abc import Set

from arbitrage.model.instruments import Venue
from arbitrage.model.money import PPM, Asset, div_up
from arbitrage.model.opportunities import Leg, Opportunity
from arbitrage.risk.view import Quote


def order_value_e8(opportunity: Opportunity, leg: Leg) -> int:
    """Return what a leg's order is worth in the reporting asset: its own amount there, else what goes around the cycle."""
    assert leg.spent.asset != leg.received.asset, "a market has two assets"
    if leg.spent.asset == opportunity.reporting_asset:
        return leg.spent_e8
    if leg.received.asset == opportunity.reporting_asset:
        return leg.received_e8
    return opportunity.notional_e8


def venue_values_e8(opportunity: Opportunity) -> dict[Venue, int]:
    """Return the value of the orders an opportunity sends, by venue. A carried leg sends none."""
    values: dict[Venue, int] = {}
    for leg in opportunity.legs:
        if not leg.is_carried:
            venue = leg.spent.venue
            assert venue == leg.received.venue, "a market stands at one venue"
            values[venue] = values.get(venue, 0) + order_value_e8(opportunity, leg)
    return values


def traded_assets(opportunity: Opportunity) -> frozenset[Asset]:
    """Return every asset that a traded leg moves."""
    assets = {node.asset for leg in opportunity.legs if not leg.is_carried for node in (leg.spent, leg.received)}
    assert assets, "an opportunity trades something"
    return frozenset(assets)


def pairs(opportunity: Opportunity, fx_assets: Set[Asset]) -> frozenset[Asset]:
    """Return the assets that name an opportunity's pair: what it trades besides the reporting asset and fiat.

    A cycle through fiat alone is named by its fiat.
    """
    foreign = traded_assets(opportunity) - {opportunity.reporting_asset}
    assert foreign, "a cycle leaves the reporting asset"
    return foreign - fx_assets or foreign


def carried_deltas_e8(opportunity: Opportunity, fx_assets: Set[Asset]) -> dict[Asset, int]:
    """Return by how much carried legs would change the fiat we keep, signed: unspent grows it, unreceived shrinks it."""
    deltas: dict[Asset, int] = {}
    for leg in opportunity.legs:
        if leg.is_carried:
            value_e8 = order_value_e8(opportunity, leg)
            signs = {leg.spent.asset: 1, leg.received.asset: -1}
            assert not fx_assets.isdisjoint(signs), "only a leg with fiat is carried"
            for asset in fx_assets & signs.keys():
                deltas[asset] = deltas.get(asset, 0) + signs[asset] * value_e8
    return deltas


def gross_edge_ppm(opportunity: Opportunity) -> int:
    """Return the top-of-book edge before costs, rounded up: by so much the cycle's executable prices disagree."""
    assert opportunity.notional_e8 > 0, "an opportunity has a size"
    return div_up(opportunity.breakdown.top_of_book_e8 * PPM, opportunity.notional_e8)


def identity_gap_ppm(first: Quote, second: Quote) -> int:
    """Return how far apart two quotes of one asset are: the dearer bid over the cheaper ask, less one, rounded up; 0 if not."""
    high, low = (first, second) if first.bid_e8 >= second.bid_e8 else (second, first)
    gap_e8 = high.bid_e8 - low.ask_e8
    assert low.bid_e8 <= high.bid_e8, "ordered by bid"
    return max(0, div_up(gap_e8 * PPM, low.ask_e8))
