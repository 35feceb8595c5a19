"""The guard's rules, each a function from a case to a refusal or nothing. Changes nothing; approves nothing.

A value at its limit passes; one unit over it is refused, with the limit and the value named. Order is the guard's business.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from arbitrage.model.money import PPM, div_down, format_e8
from arbitrage.model.opportunities import Opportunity, Refusal, Refused
from arbitrage.risk import arithmetic
from arbitrage.risk.limits import Limits
from arbitrage.risk.view import RiskView
from arbitrage.risk.windows import RiskState, Windows

MS_NS = 1_000_000


class Case(msgspec.Struct, frozen=True):
    """One opportunity before the guard, with everything that may be held against it."""

    opportunity: Opportunity
    view: RiskView
    limits: Limits
    windows: Windows
    now_ns: int

    @property
    def memory(self) -> RiskState:
        """The guard's memory at this moment."""
        return self.windows.state


Rule = Callable[[Case], Refused | None]


def kill_switch(case: Case) -> Refused | None:
    """Refuse while the kill switch is on. Needs no prices and no stores."""
    reason = case.memory.kill_reason
    return Refused(Refusal.KILL_SWITCH, reason) if reason else None


def paused(case: Case) -> Refused | None:
    """Refuse while an operator has paused new entries."""
    reason = case.memory.pause_reason
    return Refused(Refusal.PAUSED, reason) if reason else None


def not_armed(case: Case) -> Refused | None:
    """Refuse until start-up has explained every difference."""
    reason = case.view.unarmed_reason
    return Refused(Refusal.NOT_ARMED, reason) if reason else None


def store(case: Case) -> Refused | None:
    """Refuse new entries when facts can no longer be kept."""
    reason = case.view.store_fault
    return Refused(Refusal.STORE_UNHEALTHY, reason) if reason else None


def venue_health(case: Case) -> Refused | None:
    """Refuse when a venue of the cycle is away, silent, or unknown."""
    for venue in dict.fromkeys(leg.spent.venue for leg in case.opportunity.legs):
        health = case.view.venues.get(venue)
        if health is None:
            return Refused(Refusal.VENUE_UNHEALTHY, f"{venue}: nothing is known of it")
        assert health.venue == venue, "health is filed under its venue"
        if not health.is_connected:
            return Refused(Refusal.VENUE_UNHEALTHY, f"{venue}: not connected, {health.reason}")
        if health.alive_age_ms > case.limits.link_age_ms_max:
            detail = f"{venue}: silent for {health.alive_age_ms} ms, link_age_ms_max is {case.limits.link_age_ms_max}"
            return Refused(Refusal.VENUE_UNHEALTHY, detail)
    return None


def clock_offset(case: Case) -> Refused | None:
    """Refuse when a venue's clock is further from ours than allowed, or was never measured."""
    for venue in dict.fromkeys(leg.spent.venue for leg in case.opportunity.legs):
        offset_ms = case.view.venues[venue].clock_offset_ms
        if offset_ms is None:
            return Refused(Refusal.CLOCK_OFFSET, f"{venue}: not measured yet")
        if abs(offset_ms) > case.limits.clock_offset_ms_max:
            detail = f"{venue}: {offset_ms} ms, clock_offset_ms_max is {case.limits.clock_offset_ms_max}"
            return Refused(Refusal.CLOCK_OFFSET, detail)
    return None


def markets(case: Case) -> Refused | None:
    """Refuse when any market of the cycle is doubted, carried legs included, or was read too long ago."""
    waited_ms = (case.now_ns - case.opportunity.at_ns) // MS_NS
    assert waited_ms >= 0, "an opportunity is judged after it was found"
    for leg in case.opportunity.legs:
        doubt = case.view.doubts.get(leg.market)
        if doubt is not None:
            return doubt
        age_ms = leg.age_ms + waited_ms
        if age_ms > case.limits.symbol_age_ms_max:
            detail = f"market {leg.market}: {age_ms} ms old, symbol_age_ms_max is {case.limits.symbol_age_ms_max}"
            return Refused(Refusal.STALE_MARKET, detail)
    return None


def identity(case: Case) -> Refused | None:
    """Refuse when a transferred coin's executable prices are too far apart to be one coin, unless it was confirmed.

    The cycle's own top-of-book edge is such a distance; quotes at both ends of the transfer, where there are any, are another.
    """
    limits, quotes = case.limits, case.view.quotes
    for transfer in case.opportunity.transfers:
        assert transfer.source.asset == transfer.target.asset, "a transfer moves one asset"
        if not limits.is_questioned(transfer.source.asset):
            continue
        gap_ppm = arithmetic.gross_edge_ppm(case.opportunity)
        source, target = quotes.get(transfer.source), quotes.get(transfer.target)
        if source is not None and target is not None:
            gap_ppm = max(gap_ppm, arithmetic.identity_gap_ppm(source, target))
        if gap_ppm > limits.identity_ratio_ppm_max:
            detail = (
                f"{transfer.source} and {transfer.target}: prices {gap_ppm} ppm apart,"
                f" identity_ratio_ppm_max is {limits.identity_ratio_ppm_max}"
            )
            return Refused(Refusal.UNCONFIRMED_IDENTITY, detail)
    return None


def too_good(case: Case) -> Refused | None:
    """Refuse an edge that no market gives away: something we believe is wrong."""
    edge_ppm = _edge_ppm(case.opportunity)
    if edge_ppm > case.limits.edge_ppm_max:
        return Refused(Refusal.TOO_GOOD, f"edge {edge_ppm} ppm, edge_ppm_max is {case.limits.edge_ppm_max}")
    return None


def threshold(case: Case) -> Refused | None:
    """Refuse profit under either threshold: in money, or as a share of what is put in."""
    limits, net_e8, edge_ppm = case.limits, case.opportunity.net_e8, _edge_ppm(case.opportunity)
    if net_e8 < limits.profit_e8_min:
        detail = f"profit {format_e8(net_e8)}, profit_min is {format_e8(limits.profit_e8_min)}"
        return Refused(Refusal.BELOW_THRESHOLD, detail)
    if edge_ppm < limits.edge_ppm_min:
        return Refused(Refusal.BELOW_THRESHOLD, f"edge {edge_ppm} ppm, edge_ppm_min is {limits.edge_ppm_min}")
    return None


def loss_today(case: Case) -> Refused | None:
    """Refuse after more has been lost since UTC midnight than allowed, in money."""
    return _over(Refusal.LOSS_TODAY, case.windows.loss_today_e8(case.now_ns), case.limits.loss_today_e8_max)


def drawdown(case: Case) -> Refused | None:
    """Refuse while realised profit stands further below its peak than allowed."""
    return _over(Refusal.DRAWDOWN, case.windows.drawdown_e8(), case.limits.drawdown_e8_max)


def orders_per_minute(case: Case) -> Refused | None:
    """Refuse when this plan's orders would make too many within a minute."""
    count = case.windows.orders_last_minute(case.now_ns)
    ours = sum(1 for leg in case.opportunity.legs if not leg.is_carried)
    assert ours > 0, "an opportunity trades something"
    if count + ours > case.limits.orders_per_minute_max:
        detail = f"{count} sent and {ours} wanted, orders_per_minute_max is {case.limits.orders_per_minute_max}"
        return Refused(Refusal.ORDERS_PER_MINUTE, detail)
    return None


def open_plans(case: Case) -> Refused | None:
    """Refuse when as many plans are open as allowed."""
    count = len(case.view.open_opportunities)
    if count >= case.limits.open_plans_max:
        return Refused(Refusal.OPEN_PLANS, f"{count} open, open_plans_max is {case.limits.open_plans_max}")
    return None


def pair_busy(case: Case) -> Refused | None:
    """Refuse a cycle that is being worked or rests, a market with an order on its way, and a pair that is being governed."""
    if case.opportunity.cycle in case.view.busy_cycles:
        return Refused(Refusal.PAIR_BUSY, f"cycle {case.opportunity.cycle} is being worked or rests")
    for leg in case.opportunity.legs:
        if leg.market in case.view.busy_markets:
            return Refused(Refusal.PAIR_BUSY, f"{case.view.busy_markets[leg.market]}: an order of an open plan is on its way")
    busy = case.view.busy_pairs & arithmetic.pairs(case.opportunity, case.limits.fx_assets)
    return Refused(Refusal.PAIR_BUSY, f"{min(busy)}: a leg is being governed") if busy else None


def notional_order(case: Case) -> Refused | None:
    """Refuse when any one order is larger than allowed."""
    traded = [leg for leg in case.opportunity.legs if not leg.is_carried]
    assert traded, "an opportunity trades something"
    value_e8 = max(arithmetic.order_value_e8(case.opportunity, leg) for leg in traded)
    return _over(Refusal.NOTIONAL_ORDER, value_e8, case.limits.notional_per_order_e8_max)


def notional_opportunity(case: Case) -> Refused | None:
    """Refuse when more would go around the cycle than allowed."""
    return _over(Refusal.NOTIONAL_OPPORTUNITY, case.opportunity.notional_e8, case.limits.notional_per_opportunity_e8_max)


def notional_pair(case: Case) -> Refused | None:
    """Refuse when open plans and this one put more into a pair than allowed."""
    fx_assets = case.limits.fx_assets
    for asset in sorted(arithmetic.pairs(case.opportunity, fx_assets)):
        plans = (plan for plan in case.view.open_opportunities if asset in arithmetic.pairs(plan, fx_assets))
        value_e8 = case.opportunity.notional_e8 + sum(plan.notional_e8 for plan in plans)
        refused = _over(Refusal.NOTIONAL_PAIR, value_e8, case.limits.notional_per_pair_e8_max, asset)
        if refused is not None:
            return refused
    return None


def notional_venue(case: Case) -> Refused | None:
    """Refuse when the orders of open plans and of this one weigh more on a venue than allowed."""
    others = [arithmetic.venue_values_e8(plan) for plan in case.view.open_opportunities]
    for venue, ours_e8 in sorted(arithmetic.venue_values_e8(case.opportunity).items()):
        value_e8 = ours_e8 + sum(values.get(venue, 0) for values in others)
        refused = _over(Refusal.NOTIONAL_VENUE, value_e8, case.limits.notional_per_venue_e8_max, venue)
        if refused is not None:
            return refused
    return None


def exposure_asset(case: Case) -> Refused | None:
    """Refuse when an asset's unhedged value, and this cycle's should its other leg fail, would exceed the limit."""
    limits = case.limits
    for asset in sorted(arithmetic.traded_assets(case.opportunity) - limits.fx_assets - {limits.reporting_asset}):
        exposure_e8 = case.view.exposures_e8.get(asset, 0)
        if exposure_e8 is None:
            return Refused(Refusal.EXPOSURE_ASSET, f"{asset}: what we hold cannot be valued")
        value_e8 = abs(exposure_e8) + case.opportunity.notional_e8
        refused = _over(Refusal.EXPOSURE_ASSET, value_e8, limits.exposure_per_asset_e8_max, asset)
        if refused is not None:
            return refused
    return None


def carried_fx(case: Case) -> Refused | None:
    """Refuse when carried legs would leave more fiat than allowed. What brings it nearer to nothing always may."""
    for asset, delta_e8 in sorted(arithmetic.carried_deltas_e8(case.opportunity, case.limits.fx_assets).items()):
        before_e8 = case.view.carried_fx_e8.get(asset, 0)
        if before_e8 is None:
            return Refused(Refusal.CARRIED_FX, f"{asset}: what is carried cannot be valued")
        after_e8 = abs(before_e8 + delta_e8)
        refused = _over(Refusal.CARRIED_FX, after_e8, case.limits.carried_fx_e8_max, asset)
        if refused is not None and after_e8 >= abs(before_e8):
            return refused
    return None


def _edge_ppm(opportunity: Opportunity) -> int:
    edge_ppm = div_down(opportunity.net_e8 * PPM, opportunity.notional_e8)
    assert edge_ppm == opportunity.edge_ppm, "the edge is the net over the notional, rounded down"
    return edge_ppm


def _over(reason: Refusal, value_e8: int, limit_e8: int, subject: str = "") -> Refused | None:
    assert limit_e8 >= 0, "a limit of money is not negative"
    if value_e8 <= limit_e8:
        return None
    head = f"{subject}: " if subject else ""
    return Refused(reason, f"{head}{format_e8(value_e8)}, {reason.value}_max is {format_e8(limit_e8)}")
