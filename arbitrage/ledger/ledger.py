"""The ledger: every unit of every asset at every venue, changed only by facts. Never refuses a fill, never sends anything."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import msgspec

from arbitrage.ledger.postings import add_deltas, belongs, fill_deltas, fill_postings, is_balanced, transfer
from arbitrage.ledger.reservations import Hold, worst_case, worst_case_e8
from arbitrage.ledger.state import LedgerState, Leftover, NodeAmount, PlanAccount, TradeKey
from arbitrage.model.entries import Account, Posting
from arbitrage.model.events import Funded
from arbitrage.model.facts import (
    Fact,
    FillBooked,
    OrderChanged,
    OrderIntended,
    PlanClosed,
    PlanOpened,
    ResidueWrittenOff,
)
from arbitrage.model.instruments import Instrument, Node
from arbitrage.model.money import Asset
from arbitrage.model.opportunities import Opportunity
from arbitrage.model.orders import ClientOrderId, Fill, Order, PlanId

CLOSED_PLANS_KEPT = 256
"""Settled closed plans whose orders and trade ids stay known. Older ones are forgotten, oldest first, whenever a plan closes:
what is known depends on the facts alone, so a replay over any snapshot forgets the same."""
ORPHAN_TRADES_KEPT = 10_000
"""Known trade ids of fills that no known order explains."""

InstrumentLookup = Callable[[int], Instrument | None]


def knows_no_instrument(market: int) -> Instrument | None:
    """Answer for a ledger whose facts carry every rule they need."""
    assert market >= 0, "markets are dense ids"
    return None


class Ledger:
    """Double-entry balances, reservations, fills and profit. `apply` is the only way in."""

    def __init__(self, instrument: InstrumentLookup = knows_no_instrument) -> None:
        self._lookup = instrument
        self._accounts: dict[Account, dict[Node, int]] = {account: {} for account in Account}
        self._free, self._reserved = self._accounts[Account.FREE], self._accounts[Account.RESERVED]
        self._funded: dict[Node, int] = {}
        self._booked: dict[Node, int] = {}
        self._holds: dict[ClientOrderId, Hold] = {}
        self._plans: dict[PlanId, PlanAccount] = {}
        self._closed: list[PlanId] = []
        self._trades: set[TradeKey] = set()
        self._orphan_trades: list[TradeKey] = []
        self._instruments: dict[int, Instrument] = {}
        self._realised: dict[Asset, int] = {}
        self._carried: dict[Asset, int] = {}
        self._unattributed: dict[Asset, int] = {}
        self._leftovers: dict[Asset, Leftover] = {}
        self._residues: dict[Asset, Leftover] = {}
        self.counters: dict[str, int] = {}

    # -- reading ------------------------------------------------------------------------------------------------

    def free_e8(self, node: Node) -> int:
        """Return what may be used at a node; negative only after the venue took more than we set aside."""
        return self._free.get(node, 0)

    def reserved_e8(self, node: Node) -> int:
        """Return what orders on their way may still take at a node."""
        return self._reserved.get(node, 0)

    def total_e8(self, node: Node) -> int:
        """Return what we own at a node."""
        return self._free.get(node, 0) + self._reserved.get(node, 0)

    def nodes(self) -> tuple[Node, ...]:
        """Return every node that ever held inventory, sorted."""
        return tuple(sorted(self._free.keys() | self._reserved.keys()))

    def plan_deltas(self, plan_id: PlanId) -> dict[Asset, int]:
        """Return what a plan changed in each asset, from fills alone; empty for an unknown or forgotten plan."""
        plan = self._plans.get(plan_id)
        return dict(plan.deltas) if plan is not None else {}

    def exposure_e8(self) -> dict[Asset, int]:
        """Return by how much fills changed each asset over all venues: what would be zero had every cycle closed exactly."""
        totals: dict[Asset, int] = {}
        add_deltas(totals, ((node.asset, amount_e8) for node, amount_e8 in self._booked.items()))
        return totals

    def carried_e8(self) -> dict[Asset, int]:
        """Return the currency kept on purpose (FX policy `carry`) by asset, signed."""
        return dict(self._carried)

    def realised_e8(self) -> dict[Asset, int]:
        """Return the realised profit of closed plans by reporting asset."""
        return dict(self._realised)

    def unattributed_e8(self) -> dict[Asset, int]:
        """Return what fills of unknown orders, or after their plan closed, changed: in no plan's outcome."""
        return dict(self._unattributed)

    def leftovers(self) -> tuple[Leftover, ...]:
        """Return what closed plans left in each asset, dust included, with since when."""
        return tuple(self._leftovers[asset] for asset in sorted(self._leftovers))

    def residues(self) -> tuple[Leftover, ...]:
        """Return what closed plans and late fills left that nobody meant to keep: dust that adds up until it is hedged."""
        return tuple(self._residues[asset] for asset in sorted(self._residues))

    def uncovered(self, fact: PlanOpened | OrderIntended, locked_e8: Callable[[Node], int] | None = None) -> Node | None:
        """Return a node whose free inventory does not cover the worst cases of a fact's orders; None when it may be applied.

        `locked_e8` says what of the inventory at a node is free in our books and held by others at the venue.
        """
        orders = fact.orders if isinstance(fact, PlanOpened) else (fact.order,)
        rules = fact.instruments if isinstance(fact, PlanOpened) else ()
        return self._shortfall(orders, {instrument.id: instrument for instrument in rules}, locked_e8)

    def _shortfall(
        self, orders: Iterable[Order], rules: Mapping[int, Instrument], locked_e8: Callable[[Node], int] | None = None
    ) -> Node | None:
        needed: dict[Node, int] = {}
        for order in orders:
            node, amount_e8 = worst_case(order, rules.get(order.market) or self._instrument(order.market))
            needed[node] = needed.get(node, 0) + amount_e8
            assert amount_e8 > 0, "an order takes something"
        held = {node: locked_e8(node) if locked_e8 is not None else 0 for node in needed}
        return next((node for node, amount_e8 in needed.items() if amount_e8 > self.free_e8(node) - held[node]), None)

    def rules(self) -> tuple[Instrument, ...]:
        """Return the rules by which known markets were booked."""
        return tuple(self._instruments[market] for market in sorted(self._instruments))

    def forget_rules(self) -> None:
        """Let every market's rules be looked up anew: after a restart with another list of markets, when nothing is open."""
        assert all(hold.is_settled for hold in self._holds.values()), "open orders keep the rules they were made by"
        self._instruments.clear()

    # -- changing -----------------------------------------------------------------------------------------------

    def apply(self, fact: Fact) -> Sequence[Posting]:
        """Apply one durable fact and return the entries it made."""
        match fact:
            case Funded():
                entries = self._fund(fact)
            case PlanOpened():
                entries = self._open(fact)
            case OrderIntended(order=order):
                entries = self._reserve((order,))
            case OrderChanged():
                entries = self._end_order(fact)
            case FillBooked():
                entries = self._book(fact)
            case PlanClosed():
                self._close(fact)
                entries = ()
            case ResidueWrittenOff(asset=asset, amount_e8=amount_e8, at_ns=at_ns):
                _leave(self._residues, asset, -amount_e8, at_ns)
                entries = ()
            case _:
                entries = ()
        assert is_balanced(entries), "the entries of a fact sum to zero"
        self._post(entries)
        return entries

    def _post(self, entries: Sequence[Posting]) -> None:
        for entry in entries:
            balances = self._accounts[entry.account]
            balances[entry.node] = balances.get(entry.node, 0) + entry.amount_e8
            assert entry.account is not Account.RESERVED or balances[entry.node] >= 0, "reserved is not negative"

    def _fund(self, fact: Funded) -> Sequence[Posting]:
        node = Node(fact.venue, fact.asset)
        self._funded[node] = self._funded.get(node, 0) + fact.amount_e8
        if self.free_e8(node) + fact.amount_e8 < 0:
            self._count("withdrawn_below_zero")
        return transfer(Account.FUNDING, Account.FREE, node, fact.amount_e8)

    def _open(self, fact: PlanOpened) -> Sequence[Posting]:
        assert fact.plan_id not in self._plans, "a plan opens once"
        self._instruments.update({instrument.id: instrument for instrument in fact.instruments})
        self._plans[fact.plan_id] = PlanAccount(
            fact.plan_id, [], carried_assets(fact.opportunity), kept_assets=kept_assets(fact.opportunity)
        )
        return self._reserve(fact.orders)

    def _reserve(self, orders: Sequence[Order]) -> Sequence[Posting]:
        assert self._shortfall(orders, {}) is None, "an order never takes more than is free"
        entries: list[Posting] = []
        for order in orders:
            assert order.client_order_id not in self._holds, "a client order id is never reused"
            node, amount_e8 = worst_case(order, self._learn(order.market))
            self._holds[order.client_order_id] = Hold(order, node, amount_e8)
            self._plans[order.plan_id].orders.append(order.client_order_id)
            entries += transfer(Account.FREE, Account.RESERVED, node, amount_e8)
        return entries

    def _end_order(self, fact: OrderChanged) -> Sequence[Posting]:
        hold = self._holds.get(fact.client_order_id)
        if hold is None:
            self._count("changes_without_order")
            return ()
        if not fact.state.is_terminal:
            if hold.filled_quantity_e8 < hold.order.quantity_e8:
                hold.ended_quantity_e8 = None  # an end that was our own conclusion, and wrong: it may still fill
            return ()
        assert fact.filled_quantity_e8 >= 0, "an order fills something or nothing"
        hold.ended_quantity_e8 = max(fact.filled_quantity_e8, hold.ended_quantity_e8 or 0)
        return self._release(hold, 0)

    def _release(self, hold: Hold, spent_e8: int) -> Sequence[Posting]:
        """Give back what an ended order can no longer take, `spent_e8` being on its way out already."""
        assert 0 <= spent_e8 <= hold.reserved_e8, "a fill takes at most its reservation from it"
        hold.reserved_e8 -= spent_e8
        if hold.ended_quantity_e8 is None:
            return ()
        missing_e8 = max(hold.ended_quantity_e8 - hold.filled_quantity_e8, 0)
        kept_e8 = worst_case_e8(hold.order, self._instrument(hold.order.market), missing_e8)
        released_e8 = max(hold.reserved_e8 - kept_e8, 0)
        hold.reserved_e8 -= released_e8
        return transfer(Account.RESERVED, Account.FREE, hold.node, released_e8) if released_e8 else ()

    def _book(self, fact: FillBooked) -> Sequence[Posting]:
        fill, key = fact.fill, (fact.fill.venue, fact.fill.market, fact.fill.trade_id)
        if key in self._trades:
            self._count("fills_repeated")
            return ()
        if fact.instrument is not None:
            self._instruments[fill.market] = fact.instrument
        instrument = self._learn(fill.market)
        hold = self._holds.get(fill.client_order_id)
        if hold is not None and not belongs(fill, hold.order):
            hold = None
        entries = fill_postings(fill, instrument, hold.reserved_e8 if hold is not None else 0)
        self._note_anomalies(fill, hold, entries)
        self._attribute(fact, hold, key)
        if hold is None:
            return entries
        hold.fill_count += 1
        hold.filled_quantity_e8 += fill.quantity_e8
        if hold.filled_quantity_e8 >= hold.order.quantity_e8:
            hold.ended_quantity_e8 = max(hold.ended_quantity_e8 or 0, hold.order.quantity_e8)
        spent_e8 = -sum(entry.amount_e8 for entry in entries if entry.account is Account.RESERVED)
        return (*entries, *self._release(hold, spent_e8))

    def _attribute(self, fact: FillBooked, hold: Hold | None, key: TradeKey) -> None:
        fill = fact.fill
        instrument = self._instrument(fill.market)
        deltas = fill_deltas(fill, instrument)
        assert key not in self._trades, "a fill is attributed once"
        self._trades.add(key)
        for asset, amount_e8 in deltas.items():
            node = Node(fill.venue, asset)
            self._booked[node] = self._booked.get(node, 0) + amount_e8
        plan = self._plans[hold.plan_id] if hold is not None else None
        if plan is None or plan.is_closed:
            add_deltas(self._unattributed, deltas.items())
        if plan is None:
            self._orphan_trades.append(key)
            if len(self._orphan_trades) > ORPHAN_TRADES_KEPT:
                self._trades.discard(self._orphan_trades.pop(0))
            return
        plan.trades.append(key)
        add_deltas(plan.deltas, deltas.items())
        if plan.is_closed:
            self._leave_residue(plan, deltas, fact.at_ns)
        carried = set(plan.carried_assets)
        add_deltas(self._carried, ((asset, amount_e8) for asset, amount_e8 in deltas.items() if asset in carried))

    def _note_anomalies(self, fill: Fill, hold: Hold | None, entries: Sequence[Posting]) -> None:
        if hold is None:
            self._count("fills_without_order")
        elif hold.is_settled:
            self._count("fills_after_end")
        elif hold.filled_quantity_e8 + fill.quantity_e8 > hold.order.quantity_e8:
            self._count("fills_over_quantity")
        changes: dict[Node, int] = {}
        for entry in entries:
            if entry.account is Account.FREE:
                changes[entry.node] = changes.get(entry.node, 0) + entry.amount_e8
        if hold is not None and changes.get(hold.node, 0) < -hold.rounding_e8_max:
            self._count("fills_over_reservation")
        if any(change_e8 < 0 and self.free_e8(node) + change_e8 < 0 for node, change_e8 in changes.items()):
            self._count("free_negative")

    def _close(self, fact: PlanClosed) -> None:
        outcome = fact.outcome
        plan = self._plans[outcome.plan_id]
        assert not plan.is_closed, "a plan closes once"
        left = {residual.asset: residual.amount_e8 for residual in outcome.residuals}
        moved = {asset: e8 for asset, e8 in plan.deltas.items() if e8 and asset != outcome.reporting_asset}
        assert left == moved, "an outcome's residuals are what its fills left"
        values_e8 = sum(residual.value_e8 for residual in outcome.residuals)
        settled_e8 = plan.deltas.get(outcome.reporting_asset, 0)
        assert outcome.realised_e8 == settled_e8 + values_e8, "profit is what fills settled plus what residuals are worth"
        plan.is_closed = True
        self._closed.append(plan.plan_id)
        add_deltas(self._realised, [(outcome.reporting_asset, outcome.realised_e8)])
        for asset, amount_e8 in left.items():
            _leave(self._leftovers, asset, amount_e8, fact.at_ns)
        self._leave_residue(plan, left, fact.at_ns)
        self._forget_old_plans()

    def _leave_residue(self, plan: PlanAccount, left: Mapping[Asset, int], at_ns: int) -> None:
        assert plan.is_closed, "a working plan still mends what it left"
        for asset, amount_e8 in left.items():
            if amount_e8 and asset not in plan.kept_assets and asset not in plan.carried_assets:
                _leave(self._residues, asset, amount_e8, at_ns)

    def _forget_old_plans(self) -> None:
        if len(self._closed) <= CLOSED_PLANS_KEPT:
            return
        oldest = next((plan_id for plan_id in self._closed if self._is_settled(plan_id)), None)
        if oldest is None:
            return
        plan = self._plans.pop(oldest)
        self._closed.remove(oldest)
        self._trades.difference_update(plan.trades)
        for client_order_id in plan.orders:
            hold = self._holds.pop(client_order_id)
            assert hold.reserved_e8 == 0, "a forgotten order holds nothing"

    def _is_settled(self, plan_id: PlanId) -> bool:
        return all(self._holds[client_order_id].is_settled for client_order_id in self._plans[plan_id].orders)

    def _instrument(self, market: int) -> Instrument:
        known = self._instruments.get(market)
        if known is not None:
            return known
        found = self._lookup(market)
        assert found is not None, f"market {market} has no rules, neither in the facts nor at hand"
        return found

    def _learn(self, market: int) -> Instrument:
        instrument = self._instruments[market] = self._instrument(market)
        assert instrument.id == market, "rules belong to their market"
        return instrument

    def _count(self, name: str) -> None:
        self.counters[name] = self.counters.get(name, 0) + 1

    # -- proving ------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Assert every invariant; raises AssertionError when the books do not add up."""
        sums: dict[Asset, int] = {}
        for balances in self._accounts.values():
            add_deltas(sums, ((node.asset, amount_e8) for node, amount_e8 in balances.items()))
        assert not any(sums.values()), f"entries do not sum to zero: {sums}"
        held: dict[Node, int] = {}
        for hold in self._holds.values():
            held[hold.node] = held.get(hold.node, 0) + hold.reserved_e8
            assert hold.reserved_e8 >= 0, f"order {hold.order.client_order_id} holds less than nothing"
        for node in self._reserved.keys() | held.keys():
            assert self.reserved_e8(node) == held.get(node, 0), f"reserved at {node} is not the sum of its orders"
        for node in self.nodes():
            explained_e8 = self._funded.get(node, 0) + self._booked.get(node, 0)
            assert self.total_e8(node) == explained_e8, f"total at {node} is not funding plus fills"

    def snapshot(self) -> LedgerState:
        """Return the whole state as plain values; a later change of the ledger does not reach them."""
        entries = [Posting(account, node, e8) for account, held in self._accounts.items() for node, e8 in held.items()]
        return LedgerState(
            balances=tuple(sorted(entries, key=lambda entry: (entry.account.value, entry.node))),
            funded=_sorted_amounts(self._funded),
            booked=_sorted_amounts(self._booked),
            holds=tuple(msgspec.structs.replace(hold) for hold in self._holds.values()),
            plans=tuple(plan.copy() for plan in self._plans.values()),
            closed=tuple(self._closed),
            orphan_trades=tuple(self._orphan_trades),
            instruments=tuple(self._instruments[market] for market in sorted(self._instruments)),
            realised=dict(self._realised),
            carried=dict(self._carried),
            unattributed=dict(self._unattributed),
            leftovers=self.leftovers(),
            residues=self.residues(),
            counters=dict(self.counters),
        )

    @classmethod
    def restore(cls, state: LedgerState, instrument: InstrumentLookup = knows_no_instrument) -> Ledger:
        """Rebuild a ledger from its snapshot."""
        ledger = cls(instrument)
        for entry in state.balances:
            ledger._accounts[entry.account][entry.node] = entry.amount_e8
        ledger._funded = {amount.node: amount.amount_e8 for amount in state.funded}
        ledger._booked = {amount.node: amount.amount_e8 for amount in state.booked}
        ledger._holds = {hold.order.client_order_id: msgspec.structs.replace(hold) for hold in state.holds}
        ledger._plans = {plan.plan_id: plan.copy() for plan in state.plans}
        ledger._closed = list(state.closed)
        ledger._orphan_trades = list(state.orphan_trades)
        ledger._trades = {key for plan in state.plans for key in plan.trades} | set(state.orphan_trades)
        ledger._instruments = {instrument.id: instrument for instrument in state.instruments}
        ledger._realised, ledger._carried = dict(state.realised), dict(state.carried)
        ledger._unattributed = dict(state.unattributed)
        ledger._leftovers = {leftover.asset: leftover for leftover in state.leftovers}
        ledger._residues = {residue.asset: residue for residue in state.residues}
        ledger.counters = dict(state.counters)
        ledger.check()
        return ledger

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ledger) and self.snapshot() == other.snapshot()

    __hash__ = None  # type: ignore[assignment]  # equal by value and mutable: never a key


def settlement_asset(opportunity: Opportunity) -> Asset:
    """Return the asset in which a plan's profit is left: the reporting asset where the cycle trades it, else its start."""
    touched = {node.asset for leg in opportunity.legs if not leg.is_carried for node in (leg.spent, leg.received)}
    assert touched, "a plan trades something"
    return opportunity.reporting_asset if opportunity.reporting_asset in touched else opportunity.start.asset


def kept_assets(opportunity: Opportunity) -> tuple[Asset, ...]:
    """Return the assets that a plan may leave changed: the one its profit is in, and those it carries on purpose."""
    kept = {settlement_asset(opportunity), *carried_assets(opportunity)}
    assert kept, "profit is left in something"
    return tuple(sorted(kept))


def carried_assets(opportunity: Opportunity) -> tuple[Asset, ...]:
    """Return the assets that a plan keeps on purpose: both ends of its carried legs, but the reporting asset."""
    ends = {node.asset for leg in opportunity.legs if leg.is_carried for node in (leg.spent, leg.received)}
    return tuple(sorted(ends - {opportunity.reporting_asset}))


def _leave(leftovers: dict[Asset, Leftover], asset: Asset, amount_e8: int, at_ns: int) -> None:
    """Add to what is left of an asset, in place; what evens out is gone, and starts anew with a new age."""
    assert amount_e8, "nothing left is no leftover"
    before = leftovers.get(asset)
    total_e8 = amount_e8 + (before.amount_e8 if before is not None else 0)
    if not total_e8:
        del leftovers[asset]
        return
    leftovers[asset] = Leftover(asset, total_e8, before.since_ns if before is not None else at_ns)


def _sorted_amounts(amounts: dict[Node, int]) -> tuple[NodeAmount, ...]:
    return tuple(NodeAmount(node, amounts[node]) for node in sorted(amounts))
