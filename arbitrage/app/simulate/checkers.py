"""What must hold in a simulated life: one function a rule, always on. Each returns "" or what is wrong. Changes nothing.

They look at the exchanges' truth and at what was seen from outside (`evidence.py`); of the engine's own word they take what is
to be compared with that. Four occasions: a plan opens, an order leaves, something happened, everything has come to rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set

import msgspec

from arbitrage.app.simulate.evidence import Evidence
from arbitrage.app.simulate.house import House
from arbitrage.engine.reconciling import FIRST_FUNDING
from arbitrage.model.events import Funded
from arbitrage.model.facts import PlanOpened
from arbitrage.model.instruments import Node, Side, Venue
from arbitrage.model.money import E8, Asset, format_e8, parse_e8
from arbitrage.model.orders import ClientOrderId, Fill, Order
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.nouns import Execution, HeldOrder
from arbitrage.sim.server.upbit_orders import uuid_of
from arbitrage.sim.sites import Sites
from arbitrage.sim.town import Town
from arbitrage.sim.weather import Strikes
from arbitrage.sim.wire import Wire
from arbitrage.sim.world import World

MS_NS = 1_000_000
FLAT_VALUE = 12.0
"""In USDT: less is left than any venue takes as an order, or than anybody would hedge."""
EXPOSURE_SLACK, EXPOSURE_DUST = 1.05, 25.0
"""A price may move between an approval and its fill; dust of earlier plans counts too."""
FEE_SHARED_E8_MAX = 10
"""Upbit tells a fill's fee by its stream alone; of REST's sum each fill has its share, rounded. The ledger holds the sum."""
NEVER_REPORTED = (
    "absence_wrong", "absent_after_acknowledgement", "overfilled", "fill_without_order", "fill_unbookable", "fill_too_old",
    "unknown_order",
)  # fmt: skip
"""What would mean that something was believed too early, missed, or done twice."""
REPORTING = "USDT"


class Case(msgspec.Struct, frozen=True):
    """One life, and everything that may be held against it."""

    world: World
    house: House
    evidence: Evidence
    sites: Sites
    wires: Mapping[str, Wire]
    town: Town
    strikes: Strikes


class Leaving(msgspec.Struct, frozen=True):
    """An order on its way out."""

    order: Order
    venue: str


# -- a plan opens -----------------------------------------------------------------------------------------------


def limits_in_force(case: Case, plan: PlanOpened) -> str:
    """No plan is larger than the newest limits, and no more are open than they allow."""
    risk = case.evidence.settings.risk
    limit_e8 = parse_e8(risk.notional_per_opportunity_max)
    if plan.opportunity.notional_e8 > limit_e8:
        return f"{plan.plan_id} puts {format_e8(plan.opportunity.notional_e8)} in, allowed are {format_e8(limit_e8)}"
    others = [name for name in case.evidence.open_plans() if name != plan.plan_id and not case.evidence.is_hedge(name)]
    return f"{plan.plan_id} is one more than {len(others)} open" if len(others) >= risk.open_plans_max else ""


def nothing_stopped(case: Case, plan: PlanOpened) -> str:
    """Nothing is entered under the kill switch or a pause."""
    words = ["the kill switch"] * case.evidence.is_killed + ["a pause"] * case.evidence.is_paused
    return f"{plan.plan_id} is opened under {words[0]}" if words else ""


def no_doubtful_market(case: Case, plan: PlanOpened) -> str:
    """Nothing is entered on a market that is gapped, stale, behind a lost link or a wrong clock, by what was delivered."""
    evidence, now_ns = case.evidence, case.house.life.now_ns()
    data = evidence.settings.market_data
    for leg in plan.opportunity.legs:
        venue, symbol = evidence.markets[leg.market]
        seen = evidence.seen[leg.market]
        reasons = {
            "its link is down": not evidence.links.get(venue, False),
            "its account's link is down": not evidence.accounts.get(venue, False),
            "an update is missing": seen.cursor is None,
            "it is stale": now_ns - seen.at_ns > data.symbol_age_ms_max * MS_NS,
            "the venue's clock is off": abs(evidence.offsets_ms.get(venue, 10**9)) > data.clock_offset_ms_max,
        }
        wrong = [words for words, is_so in reasons.items() if is_so]
        if wrong:
            return f"{plan.plan_id} trades {venue} {symbol} although {wrong[0]}"
    return ""


def gaps_are_doubted(case: Case) -> str:
    """A book is doubted from the very update that does not follow, whether or not anything would be traded on it."""
    board, now_ns = case.house.engine.board, case.house.life.now_ns()
    for market, seen in enumerate(case.evidence.seen):
        if seen.cursor is None and board.doubt(market, now_ns) is None:
            venue, symbol = case.evidence.markets[market]
            return f"{venue} {symbol} is not doubted although an update is missing"
    return ""


# -- an order leaves --------------------------------------------------------------------------------------------


def approved_first(case: Case, leaving: Leaving) -> str:
    """No order leaves that no approval stands behind; what only brings back leftovers needs none."""
    plan = case.evidence.plans.get(leaving.order.plan_id)
    if plan is None:
        return f"{leaving.order.client_order_id} belongs to no plan"
    is_approved = plan.opportunity.id in case.evidence.approved or case.evidence.is_hedge(plan.plan_id)
    return "" if is_approved else f"{leaving.order.client_order_id} was never approved"


def written_first(case: Case, leaving: Leaving) -> str:
    """No order leaves before its intent is durable; only an open leg is finished while no disk takes anything."""
    order = leaving.order
    if order.client_order_id in case.evidence.durable:
        return ""
    is_entry = any(order == each for plan in case.evidence.plans.values() for each in plan.orders)
    if case.house.ground.disk.is_full and not is_entry:
        return ""
    return f"{order.client_order_id} leaves before it was written down"


def placed_once(case: Case, leaving: Leaving) -> str:
    """An order leaves once; once more only where Binance said that a timestamp kept it out."""
    name = leaving.order.client_order_id
    may_repeat = leaving.venue == "binance" and case.wires["binance"].clock_refusals > 0
    return f"{name} leaves again" if case.evidence.left[name] > 1 + may_repeat else ""


def valid_still(case: Case, leaving: Leaving) -> str:
    """No order leaves after its validity."""
    late_ms = (case.house.life.now_ns() - leaving.order.valid_until_ns) / MS_NS
    return f"{leaving.order.client_order_id} leaves {late_ms:g} ms after its validity" if late_ms > 0 else ""


def not_killed(case: Case, leaving: Leaving) -> str:
    """No order at all leaves under the kill switch."""
    return f"{leaving.order.client_order_id} leaves under the kill switch" if case.evidence.is_killed else ""


# -- something happened -----------------------------------------------------------------------------------------


def books_add_up(case: Case) -> str:
    """The ledger's own invariants hold, and nothing is reserved that is not there."""
    ledger = case.house.engine.ledger
    try:
        ledger.check()
    except AssertionError as broken:
        return str(broken)
    return next((f"{node} has less than nothing reserved" for node in ledger.nodes() if ledger.reserved_e8(node) < 0), "")


def fills_once(case: Case) -> str:
    """Every fill is booked once."""
    repeated = case.evidence.fills_repeated
    return f"fill {repeated[0].trade_id} of {repeated[0].client_order_id} is booked twice" if repeated else ""


def none_intended_in_vain(case: Case) -> str:
    """No order is intended for a venue that takes none: attempts at a naked leg are few."""
    name = case.evidence.intended_in_vain
    return f"{name} is intended for a venue that takes no order now" if name else ""


def booked_truly(case: Case, fill: Fill) -> str:
    """What is booked happened, exactly so."""
    venue, symbol = case.evidence.markets[fill.market]
    found = [site.exchange.find(symbol, client_id=fill.client_order_id) for name, site in case.sites.items() if name == venue]
    order = found[0]
    for execution in () if order is None else order.executions:
        if order is not None and _trade_id(venue, execution) == fill.trade_id:
            wrong = _difference(fill, order, execution)
            return f"fill {fill.trade_id} of {fill.client_order_id}: {wrong}" if wrong else ""
    return f"fill {fill.trade_id} of {fill.client_order_id} never happened"


def booked_by_word(case: Case, funded: Funded) -> str:
    """What an account differs by is booked only when a person says so, but for what it held at the first start."""
    evidence = case.evidence
    if funded.reason == FIRST_FUNDING or evidence.is_accepting or funded in evidence.unwritten:
        return ""
    return f"{format_e8(funded.amount_e8)} {funded.asset} at {funded.venue} are booked, and nobody said so: {funded.reason}"


def exposure_within_limits(case: Case) -> str:
    """By the venues' truth, no coin is uneven beyond what the limits allow."""
    limit = float(case.evidence.settings.risk.exposure_per_asset_max) * EXPOSURE_SLACK + EXPOSURE_DUST
    for asset, value in uneven(case).items():
        if asset not in ("KRW", "BNB") and abs(value) > limit:
            return f"{asset} is uneven by {value:.2f} USDT, allowed are {limit:.2f}"
    return ""


def as_intended(case: Case, order: HeldOrder) -> str:
    """What a venue took is what was intended: one order for each intention, at its price and quantity."""
    evidence, request = case.evidence, order.request
    intended = evidence.intended.get(ClientOrderId(request.client_id))
    if intended is None:
        return f"nobody intended order {request.client_id}"
    said = (request.side, request.price_e8, request.quantity_e8)
    if said != (intended.side, intended.price_e8, intended.quantity_e8):
        return f"{request.client_id} was taken as {said}"
    return f"{request.client_id} was taken twice" if len(evidence.held[intended.client_order_id]) > 1 else ""


# -- at rest ----------------------------------------------------------------------------------------------------


def ledger_is_truth(case: Case) -> str:
    """Every asset at every venue is what the venue holds, to the last unit."""
    ledger = case.house.engine.ledger
    held = holdings(case.sites)
    for node in sorted(held.keys() | set(ledger.nodes())):
        if ledger.total_e8(node) != held.get(node, 0):
            return f"{node}: the ledger has {format_e8(ledger.total_e8(node))}, the venue {format_e8(held.get(node, 0))}"
    return ""


def all_fills_booked(case: Case) -> str:
    """The fills in the journal are the venues' executions: none more, none less (what each says, `booked_truly` holds).

    An order of which no record survived is a difference of the account, which `ledger_is_truth` follows to its end.
    """
    truth: dict[tuple[str, str, str], tuple[HeldOrder, Execution]] = {}
    for venue, site in case.sites.items():
        for order in site.exchange.orders():
            for execution in order.executions:
                truth[(venue, order.request.symbol, _trade_id(venue, execution))] = (order, execution)
    lost = case.evidence.lost_orders
    booked = {(*case.evidence.markets[fill.market], fill.trade_id) for fill in case.evidence.fills.values()}
    for key in sorted(truth.keys() - booked):
        if truth[key][0].request.client_id not in lost:
            return f"{key[0]}: a fill of {truth[key][0].request.client_id} was never booked"
    return next((f"{key[0]}: fill {key[2]} never happened" for key in sorted(booked - truth.keys())), "")


def nothing_reserved(case: Case) -> str:
    """What no order can take any more is free."""
    ledger = case.house.engine.ledger
    return next((f"{format_e8(ledger.reserved_e8(node))} at {node} is reserved for nothing"
                 for node in ledger.nodes() if ledger.reserved_e8(node)), "")  # fmt: skip


def plans_ended(case: Case) -> str:
    """Every arbitrage reached its terminal state."""
    return next((f"{name} never ended" for name in case.evidence.open_plans()), "")


def flat(case: Case) -> str:
    """Nothing is left that an order could bring back."""
    return next((f"{value:.2f} USDT of {asset} are left" for asset, value in uneven(case).items()
                 if asset != "BNB" and abs(value) > FLAT_VALUE), "")  # fmt: skip


def nothing_believed_wrongly(case: Case) -> str:
    """Nothing was believed too early, missed or done twice."""
    said = case.evidence.said
    return next((f"it was reported: {code}: {said[code]}" for code in NEVER_REPORTED if code in said), "")


def accounts_agreed(case: Case) -> str:
    """No account ever differed from the ledger: nobody but us trades there."""
    return "" if case.evidence.is_difference_explained else case.evidence.said.get("difference", "")


def exchanges_add_up(case: Case) -> str:
    """The exchanges themselves made or lost nothing."""
    for venue, site in case.sites.items():
        try:
            site.exchange.account.check()
        except AssertionError as broken:
            return f"{venue}: {broken}"
    return ""


ON_PLAN: tuple[Callable[[Case, PlanOpened], str], ...] = (limits_in_force, nothing_stopped, no_doubtful_market)
ON_LEAVING: tuple[Callable[[Case, Leaving], str], ...] = (
    approved_first, written_first, placed_once, valid_still, not_killed,
)  # fmt: skip
ON_EVENT: tuple[Callable[[Case], str], ...] = (books_add_up, fills_once, none_intended_in_vain)
ON_REPORT: tuple[Callable[[Case], str], ...] = (nothing_believed_wrongly, accounts_agreed)
AT_REST: tuple[Callable[[Case], str], ...] = (
    exchanges_add_up, plans_ended, all_fills_booked, ledger_is_truth, nothing_reserved, flat,
)  # fmt: skip


# -- leaves -----------------------------------------------------------------------------------------------------


def holdings(sites: Sites) -> dict[Node, int]:
    """Return what the accounts truly hold."""
    found = {}
    for venue, site in sites.items():
        account = site.exchange.account
        for asset in account.assets():
            found[Node(Venue(venue), Asset(asset))] = account.free_e8(asset) + account.locked_e8(asset)
    return found


def uneven(case: Case) -> dict[str, float]:
    """Return by how much each asset but the reporting one differs from what was brought there, over all venues, in USDT."""
    changes: dict[str, int] = {}
    for site in case.sites.values():
        account = site.exchange.account
        for asset in account.assets():
            held_e8 = account.free_e8(asset) + account.locked_e8(asset)
            changes[asset] = changes.get(asset, 0) + held_e8 - account.granted_e8(asset)
        for asset, amount_e8 in _unrecorded(site.exchange, case.evidence.lost_orders):
            changes[asset] = changes.get(asset, 0) - amount_e8
    for asset, amount_e8 in case.evidence.written_off_e8.items():
        changes[asset] = changes.get(asset, 0) - amount_e8
    return {asset: e8 / E8 * case.town.price(asset) for asset, e8 in changes.items() if asset != REPORTING and e8}


def _unrecorded(exchange: Exchange, lost: Set[ClientOrderId]) -> Iterator[tuple[str, int]]:
    """Yield what orders moved of which no record survived: differences, until a person accepts them."""
    for order in exchange.orders() if lost else ():
        if order.request.client_id in lost:
            rules, sign = exchange.rules(order.request.symbol), 1 if order.request.side is Side.BUY else -1
            yield rules.base, sign * order.executed_e8
            yield rules.quote, -sign * order.executed_quote_e8


def _trade_id(venue: str, execution: Execution) -> str:
    return str(execution.trade_id) if venue == "binance" else uuid_of("trade", execution.trade_id)


def _difference(fill: Fill, order: HeldOrder, execution: Execution) -> str:
    said = (fill.client_order_id, fill.side, fill.price_e8, fill.quantity_e8, fill.quote_e8, fill.fee_e8, fill.fee_asset)
    true = (
        order.request.client_id, order.request.side, execution.price_e8, execution.quantity_e8, execution.quote_e8,
        execution.fee_e8, execution.fee_asset,
    )  # fmt: skip
    is_shared = fill.venue == "upbit" and abs(fill.fee_e8 - execution.fee_e8) <= FEE_SHARED_E8_MAX
    if is_shared:
        said = (*said[:5], execution.fee_e8, said[6])
    if said == true:
        return ""
    names = ("order", "side", "price", "quantity", "quote", "fee", "fee asset")
    return ", ".join(
        f"{name} {_text(one)} is {_text(other)}" for name, one, other in zip(names, said, true, strict=True) if one != other
    )


def _text(value: object) -> str:
    if isinstance(value, int):
        return format_e8(value)
    return value.value if isinstance(value, Side) else str(value)
