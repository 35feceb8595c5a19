"""Rows of the opportunity ledger made into what its reads answer. Pure; reads nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from arbitrage.model.episodes import FollowUp
from arbitrage.model.money import format_e8
from arbitrage.model.opportunities import FxRate, Leg, Opportunity, PricedChoice, Residual
from arbitrage.model.waterfalls import STEPS, TOTALS, planned_edge
from arbitrage.store.ledger_nouns import (
    ChoiceLine,
    DecisionLine,
    EpisodeLine,
    FillLine,
    FollowUpLine,
    LegLine,
    Moment,
    Money,
    OfferLine,
    OpportunityLine,
    OrderLine,
    PlanLine,
    RateLine,
    ResidualLine,
    Step,
    WaterfallLine,
)

Row = Mapping[str, Any]
Symbols = Mapping[str, Sequence[str]]
"""Venue and symbol by market number, as text: what the number meant when the row was written."""
MS_NS = 1_000_000
_FOLLOW_UPS: msgspec.json.Decoder[list[FollowUp]] = msgspec.json.Decoder(list[FollowUp])
_NAMES: msgspec.json.Decoder[list[str]] = msgspec.json.Decoder(list[str])
_COUNTS: msgspec.json.Decoder[dict[str, int]] = msgspec.json.Decoder(dict[str, int])
STEP_TEXTS = {
    "top_of_book": "edge at the best prices, free of cost",
    "depth": "worse levels of the books",
    "fees": "planned fees",
    "fx": "turning fiat: depth and fee of its own market",
    "transfers": "carrying the inventory home, later",
    "expected": "expected when it was decided",
    "transfers_unpaid": "not paid by this arbitrage: inventory is carried home by itself",
    "latency_drift": "prices that moved between decision and fill",
    "fx_drift": "the rate of fiat that moved meanwhile",
    "fee_changes": "fees otherwise than planned",
    "partial_fills": "legs that fell short, their mending, and what is left",
    "realised": "realised",
}
assert tuple(STEP_TEXTS) == STEPS, "every step has its words, in order"


def opportunity_line(row: Row) -> OpportunityLine:
    """Return one line of a page."""
    asset, realised = row["reporting_asset"], row["realised_e8"]
    return OpportunityLine(
        id=row["opportunity_id"],
        at=Moment.of(row["at_ns"]),
        name=row["name"],
        pair=row["pair_name"],
        verdict=row["refusal"] or "taken",
        detail=row["detail"],
        edge_ppm=row["edge_ppm"],
        net=Money.of(row["net_e8"], asset),
        notional=Money.of(row["notional_e8"], asset),
        age_ms_max=row["age_ms_max"],
        plan_id=row["plan_id"],
        plan_state=row["plan_state"],
        realised=None if realised is None else Money.of(realised, asset),
    )


def line_of_offer(found: Opportunity, episode: EpisodeLine) -> OpportunityLine:
    """Return the line of an opportunity that is kept in its episode alone."""
    asset = found.reporting_asset
    reasons = " ".join(sorted(episode.refusals, key=lambda reason: -episode.refusals[reason]))
    return OpportunityLine(
        id=found.id,
        at=Moment.of(found.at_ns),
        name=found.name,
        pair=episode.pair,
        verdict="taken" if found.id in episode.taken else "refused",
        detail=f"kept with its episode; refused there because: {reasons}" if reasons else "kept with its episode",
        edge_ppm=found.edge_ppm,
        net=Money.of(found.net_e8, asset),
        notional=Money.of(found.notional_e8, asset),
        age_ms_max=max(leg.age_ms for leg in found.legs),
        plan_id=None,
        plan_state=None,
        realised=None,
    )


def episode_line(row: Row) -> EpisodeLine:
    """Return one episode."""
    asset, net_peak = row["reporting_asset"], row["net_peak_e8"]
    first, peak = (_in_short(row, name) for name in ("first", "peak"))
    follow_ups = _FOLLOW_UPS.decode(row["follow_ups"])
    seen_ns = first.at.ns if first is not None else row["first_seen_ns"]
    return EpisodeLine(
        id=row["episode_id"],
        cycle=row["cycle"],
        name=row["name"],
        pair=row["pair_name"],
        first_seen=Moment.of(row["first_seen_ns"]),
        last_seen=Moment.of(row["last_seen_ns"]),
        life_ms=(row["last_seen_ns"] - row["first_seen_ns"]) // MS_NS,
        state=row["state"],
        looks=row["looks"],
        edge_ppm_peak=row["edge_ppm_peak"],
        net_peak=None if net_peak is None else Money.of(net_peak, asset),
        first=first,
        peak=peak,
        taken=tuple(_NAMES.decode(row["taken"])),
        taken_count=row["taken_count"],
        refusals=_COUNTS.decode(row["refusals"]),
        follow_ups=tuple(_follow_up(each, seen_ns, asset) for each in follow_ups),
    )


def offers_of(row: Row) -> list[Opportunity]:
    """Return the opportunities that an episode's row holds whole: the best, then the first."""
    return [found for found in (_offer(row["peak"]), _offer(row["first"])) if found is not None]


def _in_short(row: Row, name: str) -> OfferLine | None:
    """Return an episode's first or best opportunity out of the columns that tell it in short."""
    if row[f"{name}_id"] is None:
        return None
    asset, net_e8, notional_e8 = row["reporting_asset"], row[f"{name}_net_e8"], row[f"{name}_notional_e8"]
    at, net = Moment.of(row[f"{name}_at_ns"]), Money.of(net_e8, asset)
    return OfferLine(row[f"{name}_id"], at, row[f"{name}_ppm"], net, Money.of(notional_e8, asset))


def offer_line(found: Opportunity) -> OfferLine:
    """Return an opportunity in short."""
    asset = found.reporting_asset
    notional = Money.of(found.notional_e8, asset)
    return OfferLine(found.id, Moment.of(found.at_ns), found.edge_ppm, Money.of(found.net_e8, asset), notional)


def closed_waterfall(row: Row) -> WaterfallLine:
    """Return the whole chain of a closed plan."""
    return _waterfall(row["reporting_asset"], {step: int(row[f"{step}_e8"]) for step in STEPS})


def planned_waterfall(row: Row) -> WaterfallLine:
    """Return the chain as far as `expected`, out of an opportunity's row."""
    fx_depth_e8, fx_fees_e8 = int(row["fx_depth_e8"]), int(row["fx_fees_e8"])
    steps = {
        "top_of_book": int(row["top_of_book_e8"]),
        "depth": fx_depth_e8 - int(row["depth_e8"]),
        "fees": fx_fees_e8 - int(row["fees_e8"]),
        "fx": -fx_depth_e8 - fx_fees_e8,
        "transfers": -int(row["transfers_e8"]),
        "expected": int(row["net_e8"]),
    }
    return _waterfall(row["reporting_asset"], steps)


def waterfall_of_offer(found: Opportunity) -> WaterfallLine:
    """Return the chain as far as `expected`, out of an opportunity itself."""
    values = msgspec.structs.astuple(planned_edge(found))
    return _waterfall(found.reporting_asset, dict(zip(STEPS, values, strict=False)))


def leg_lines(legs: Sequence[Leg], symbols: Symbols) -> tuple[LegLine, ...]:
    """Return an opportunity's markets as they were seen."""
    return tuple(
        LegLine(
            venue=leg.spent.venue,
            symbol=_symbol(leg.market, symbols),
            side=leg.side.value,
            top_price=format_e8(leg.top_price_e8),
            price_limit=format_e8(leg.price_limit_e8),
            age_ms=leg.age_ms,
            quantity=format_e8(leg.quantity_e8),
            spent=Money.of(leg.spent_e8, leg.spent.asset),
            received=Money.of(leg.received_e8, leg.received.asset),
            fee=Money.of(leg.fee_e8, leg.fee_asset),
            is_carried=leg.is_carried,
        )
        for leg in legs
    )


def rate_lines(rates: Sequence[FxRate], symbols: Symbols) -> tuple[RateLine, ...]:
    """Return the rates of fiat on the way."""
    return tuple(
        RateLine(
            symbol=_symbol(rate.market, symbols),
            bid=format_e8(rate.bid_e8),
            bid_quantity=format_e8(rate.bid_quantity_e8),
            ask=format_e8(rate.ask_e8),
            ask_quantity=format_e8(rate.ask_quantity_e8),
            age_ms=rate.age_ms,
        )
        for rate in rates
    )


def plan_line(row: Row) -> PlanLine:
    """Return what became of a taken opportunity."""
    asset, realised, closed_ns = row["reporting_asset"], row["realised_e8"], row["closed_at_ns"]
    residuals = msgspec.json.decode(row["residuals"] or "[]", type=list[Residual])
    return PlanLine(
        id=row["plan_id"],
        state=row["state"],
        opened_at=Moment.of(row["opened_at_ns"]),
        deadline=Moment.of(row["deadline_ns"]),
        closed_at=None if closed_ns is None else Moment.of(closed_ns),
        expected=Money.of(row["expected_e8"], asset),
        realised=None if realised is None else Money.of(realised, asset),
        residuals=tuple(
            ResidualLine(Money.of(each.amount_e8, each.asset), Money.of(each.value_e8, asset), each.unvalued_reason)
            for each in residuals
        ),
    )


def order_line(row: Row, fills: Sequence[Row], reporting_asset: str) -> OrderLine:
    """Return one order with its fills."""
    return OrderLine(
        client_order_id=row["client_order_id"],
        leg_index=row["leg_index"],
        venue=row["venue"],
        symbol=row["symbol"],
        side=row["side"],
        price=_text(row["price_e8"]),
        quantity=_text(row["quantity_e8"]),
        filled_quantity=_text(row["filled_quantity_e8"]),
        state=row["state"],
        reason=row["reason"],
        intended_at=Moment.of(row["intended_at_ns"]),
        changed_at=Moment.of(row["changed_at_ns"]),
        fills=tuple(_fill(fill, reporting_asset) for fill in fills),
    )


def decision_line(row: Row, reporting_asset: str) -> DecisionLine:
    """Return what the governor decided, with the alternatives that it priced."""
    alternatives = msgspec.json.decode(row["alternatives"], type=list[PricedChoice])
    lines = (
        ChoiceLine(each.choice.value, None if each.cost_e8 is None else Money.of(each.cost_e8, reporting_asset), each.reason)
        for each in alternatives
    )
    return DecisionLine(Moment.of(row["at_ns"]), row["choice"], tuple(lines))


def _waterfall(asset: str, values: Mapping[str, int]) -> WaterfallLine:
    total_e8, steps = 0, []
    for name, value_e8 in values.items():
        if name in TOTALS:
            assert total_e8 == value_e8, "a waterfall sums to its totals"
        else:
            total_e8 += value_e8
        steps.append(Step(name, STEP_TEXTS[name], Money.of(value_e8, asset), name in TOTALS))
    return WaterfallLine(asset, tuple(steps), "realised" in values)


def _offer(body: str | None) -> Opportunity | None:
    return None if body is None else msgspec.json.decode(body, type=Opportunity)


def _follow_up(each: FollowUp, seen_ns: int, asset: str) -> FollowUpLine:
    net = None if each.net_e8 is None else Money.of(each.net_e8, asset)
    return FollowUpLine(each.delay_ms, (each.at_ns - seen_ns) // MS_NS, net, each.reason)


def _fill(row: Row, reporting_asset: str) -> FillLine:
    value = row["fee_value_e8"]
    return FillLine(
        at=Moment.of(row["at_ns"]),
        trade_id=row["trade_id"],
        price=_text(row["price_e8"]),
        quantity=_text(row["quantity_e8"]),
        quote=_text(row["quote_e8"]),
        fee=Money.of(row["fee_e8"], row["fee_asset"]),
        fee_value=None if value is None else Money.of(value, reporting_asset),
        is_maker=row["is_maker"],
    )


def _symbol(market: int, symbols: Symbols) -> str:
    known = symbols.get(str(market))
    return known[1] if known is not None else f"market {market}"


def _text(value_e8: Any) -> str:
    return format_e8(int(value_e8))
