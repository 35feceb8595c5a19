"""The desk: turns approved opportunities into orders and sees every plan to its end. Changes its state only by facts.

`start`, `on_event` and `advance` calculate effects from the state as it stands; `apply` folds the facts among them back in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import msgspec

from arbitrage.execution import closing, orders
from arbitrage.execution.balance import Imbalance, imbalances
from arbitrage.execution.governor import Case, choose, price_choices
from arbitrage.execution.hedging import HEDGE_CYCLE
from arbitrage.execution.orders import NS_PER_MS
from arbitrage.execution.plans import DeskState, WorkedOrder, WorkedPlan
from arbitrage.execution.quotes import Quotes
from arbitrage.ledger import CLOSED_PLANS_KEPT, ORPHAN_TRADES_KEPT, TradeKey, add_deltas, belongs, fill_deltas
from arbitrage.model.effects import Append, Effect, PlaceOrder, Report, Severity
from arbitrage.model.events import OrderAbsent, OrderAccepted, OrderEnded, OrderEvent, OrderFilled
from arbitrage.model.facts import (
    Fact,
    FillBooked,
    KillSwitched,
    LegDecided,
    OrderChanged,
    OrderIntended,
    PlanClosed,
    PlanOpened,
)
from arbitrage.model.instruments import Instrument, Venue
from arbitrage.model.money import parse_e8
from arbitrage.model.opportunities import Approved, LegChoice, Opportunity
from arbitrage.model.orders import ClientOrderId, Fill, Order, OrderState, PlanId, TimeInForce
from arbitrage.model.settings import ExecutionSettings

CLIENT_ORDER_ID = re.compile(r"[A-Za-z0-9_-]{1,36}")
"""What both venues take: Binance `newClientOrderId` and Upbit `identifier`."""
ID_PREFIX = re.compile(r"[A-Za-z0-9_]{1,20}")
ID_PREFIXES_KEPT = 1_000
"""Id prefixes (one for each start) whose highest plan number stays known."""


class Desk:
    """Plans, their orders, and the governor over both."""

    def __init__(self, settings: ExecutionSettings, instrument: Callable[[int], Instrument | None], id_prefix: str) -> None:
        assert ID_PREFIX.fullmatch(id_prefix), "an id prefix fits into a client order id"
        self.settings = settings
        self.closed_venues: Mapping[Venue, str] = {}
        """Venues whose order entry is not to be used now, and why; told by the engine, which hears their links."""
        self.unproved_venues: Mapping[Venue, str] = {}
        """Venues whose account does not say what we believe, or was not asked since the start, and why."""
        self._lookup = instrument
        self._id_prefix = id_prefix
        self._plans: dict[PlanId, WorkedPlan] = {}
        self._open: dict[PlanId, WorkedPlan] = {}
        self._owing: dict[PlanId, WorkedPlan] = {}
        """Ended while a venue still owed an answer: it is asked for until it comes, now and then."""
        self._orders: dict[ClientOrderId, tuple[WorkedPlan, WorkedOrder]] = {}
        self._closed: list[PlanId] = []
        self._counters: dict[str, int] = {}
        self._trades: set[TradeKey] = set()
        self._orphan_trades: list[TradeKey] = []
        self._is_killed = False

    # -- reading ------------------------------------------------------------------------------------------------

    def open_plans(self) -> list[WorkedPlan]:
        """Return the plans that have not ended, oldest first. To be read, not changed."""
        return list(self._open.values())

    @property
    def is_idle(self) -> bool:
        """Whether time alone changes nothing here."""
        return not self._open and not self._owing

    def owing_plans(self) -> list[WorkedPlan]:
        """Return the plans that ended while a venue still owes an answer about an order. To be read, not changed."""
        return list(self._owing.values())

    def open_orders(self) -> list[Order]:
        """Return the orders of open plans that a venue may still fill."""
        return [worked.order for plan in self._open.values() for worked in plan.orders if not worked.is_settled]

    def plan(self, plan_id: PlanId) -> WorkedPlan | None:
        """Return a plan, open or lately closed."""
        return self._plans.get(plan_id)

    def unfinished(self) -> list[tuple[Order, int]]:
        """Return every order whose end or fills a venue still owes, closed plans included, with its known filled quantity."""
        return [(worked.order, worked.filled_quantity_e8) for worked in self._unsettled()]

    def worked(self, client_order_id: ClientOrderId) -> WorkedOrder | None:
        """Return an order of a plan that is still remembered. To be read, not changed."""
        known = self._orders.get(client_order_id)
        return known[1] if known is not None else None

    def made(self, client_order_id: ClientOrderId) -> bool:
        """Say whether an id was made by this session: by this start, by one that the journal knows, or by one with its tag.

        A tag is what stands before the first underscore of the id prefix: it names the session and not the start.
        """
        prefix, dash, _ = client_order_id.partition("-")
        tag, underscore, _ = prefix.partition("_")
        own_tag, _, _ = self._id_prefix.partition("_")
        assert own_tag, "an id prefix begins with something"
        is_known = prefix == self._id_prefix or prefix in self._counters
        return bool(dash) and (is_known or (bool(underscore) and tag == own_tag))

    def believed_absent(self, venue: Venue) -> list[Order]:
        """Return the orders that ended because a venue did not know them."""
        known = [worked for _, worked in self._orders.values() if worked.is_absent]
        return [worked.order for worked in known if worked.order.venue == venue]

    # -- calculating --------------------------------------------------------------------------------------------

    def start(self, approved: Approved, now_ns: int) -> list[Effect]:
        """Open a plan: one IOC limit order for each leg that is traded, all intended before the first is sent."""
        return self._start(approved.opportunity, now_ns)

    def hedge(self, opportunity: Opportunity, now_ns: int) -> list[Effect]:
        """Open a plan that only brings back what earlier plans left over. It makes exposure smaller, so nobody approves it."""
        assert opportunity.cycle == HEDGE_CYCLE, "a hedge is not a cycle"
        assert len(opportunity.legs) == 1, "a hedge trades one market"
        return self._start(opportunity, now_ns)

    def _start(self, opportunity: Opportunity, now_ns: int) -> list[Effect]:
        plan_id = PlanId(f"{self._id_prefix}-{self._counters.get(self._id_prefix, 0) + 1}")
        planned = tuple(
            Order(
                client_order_id=ClientOrderId(f"{plan_id}-{index}"),
                plan_id=plan_id,
                leg_index=index,
                venue=leg.spent.venue,
                market=leg.market,
                side=leg.side,
                price_e8=leg.price_limit_e8,
                quantity_e8=leg.quantity_e8,
                time_in_force=TimeInForce.IOC,
                valid_until_ns=now_ns + self.settings.order_validity_ms * NS_PER_MS,
            )
            for index, leg in enumerate(opportunity.legs)
            if not leg.is_carried
        )
        assert planned, "a plan trades something"
        assert not self._is_killed, "nothing is approved under the kill switch"
        assert all(CLIENT_ORDER_ID.fullmatch(order.client_order_id) for order in planned), "ids fit both venues"
        rules = tuple(self._rules(market) for market in sorted({order.market for order in planned}))
        deadline_ns = now_ns + self.settings.plan_deadline_ms * NS_PER_MS
        opened = PlanOpened(now_ns, plan_id, opportunity, planned, deadline_ns, rules)
        return [Append(opened), *(PlaceOrder(order) for order in planned)]

    def on_event(self, event: OrderEvent) -> list[Effect]:
        """Read one word of a venue about an order, in whatever order such words arrive."""
        if isinstance(event, OrderFilled):
            return self._on_filled(event)
        client_order_id = event.client_order_id
        known = self._orders.get(client_order_id)
        if known is None:
            fields: dict[str, str | int | float | bool | None] = {"order": client_order_id}
            return [Report(Severity.WARNING, "unknown_order", "a venue spoke of an order that is not known here", fields)]
        worked = known[1]
        if isinstance(event, OrderAccepted):
            return orders.on_accepted(worked, event)
        if isinstance(event, OrderEnded):
            return orders.on_ended(worked, event)
        if isinstance(event, OrderAbsent):
            return orders.on_absent(worked, event, self.settings)
        return orders.on_unanswered(worked, event)

    def ask_all(self, venue: Venue, now_ns: int, reason: str) -> list[Effect]:
        """Ask a venue about every order that it owes an answer for: its words may have been missed."""
        owing = [worked for worked in self._unsettled() if worked.order.venue == venue]
        return [effect for worked in owing for effect in orders.ask(worked, now_ns, reason)]

    def advance(self, now_ns: int, quotes: Quotes) -> list[Effect]:
        """Drive the plans: ask what is overdue, govern what fell short, close what ended. At most one decision a call.

        Called again after its facts were applied, until it returns nothing.
        """
        plans = self.open_plans()
        waiting = [plan for plan in plans if now_ns < self._answers_end_ns(plan)]
        asked = [effect for plan in (*waiting, *self._owing.values()) for effect in orders.overdue(plan, now_ns, self.settings)]
        if asked:
            return asked
        for plan in plans:
            if plan.is_settled:
                effects = self._conclude(plan, now_ns, quotes)
            else:
                is_over = now_ns >= self._answers_end_ns(plan)
                effects = closing.close(plan, self._imbalances(plan, quotes), now_ns, quotes) if is_over else []
            if effects:
                return effects
        return []

    def _conclude(self, plan: WorkedPlan, now_ns: int, quotes: Quotes) -> list[Effect]:
        """Decide about a plan whose orders all ended: closed when even, governed when not."""
        left = self._imbalances(plan, quotes)
        if not left:
            return closing.close(plan, left, now_ns, quotes)
        is_last = now_ns >= plan.deadline_ns or plan.attempts >= self.settings.governor_attempts_max
        next_look_ns = plan.decided_at_ns + self.settings.query_interval_ms * NS_PER_MS
        # A venue that refuses does so in milliseconds: without a pause it would be asked until the attempts are used up.
        is_waiting = plan.last_choice is LegChoice.HOLD or (plan.orders[-1].state is OrderState.REJECTED and plan.attempts)
        if is_waiting and not is_last and now_ns < next_look_ns:
            return []
        forbidden = self._forbidden(plan, now_ns)
        case = Case(plan, left[0], quotes, self.settings, forbidden, now_ns, self.closed_venues, self._id_prefix)
        priced = [price_choices(msgspec.structs.replace(case, imbalance=item)) for item in left]
        mended = next((choices for choices in priced if choose(choices).order is not None), priced[0])
        choice = choose(mended)
        decided = Append(LegDecided(now_ns, plan.plan_id, choice.choice, mended))
        if choice.order is not None:
            assert not is_last, "no order past the last attempt or the deadline"
            return [decided, Append(OrderIntended(now_ns, choice.order)), PlaceOrder(choice.order)]
        return [decided, *closing.close(plan, left, now_ns, quotes)] if is_last else [decided]

    def _is_own(self, plan: WorkedPlan) -> bool:
        """Tell whether this start opened a plan. Of another's plan orders may have been sent that no journal of ours holds."""
        return plan.plan_id.rpartition("-")[0] == self._id_prefix

    def _forbidden(self, plan: WorkedPlan, now_ns: int) -> str:
        if self._is_killed:
            return "the kill switch is on"
        if now_ns >= plan.deadline_ns:
            return "the plan's deadline has passed"
        assert plan.is_settled, "an unanswered order may still fill"
        unproved = [self.unproved_venues.get(worked.order.venue, "") for worked in plan.orders]
        if any(unproved) and not self._is_own(plan):
            return next(filter(None, unproved))
        return "the governor's attempts are used up" if plan.attempts >= self.settings.governor_attempts_max else ""

    def _imbalances(self, plan: WorkedPlan, quotes: Quotes) -> list[Imbalance]:
        return imbalances(plan, quotes, parse_e8(self.settings.dust_value_max))

    def _answers_end_ns(self, plan: WorkedPlan) -> int:
        return plan.deadline_ns + self.settings.answer_horizon_ms * NS_PER_MS

    def _on_filled(self, event: OrderFilled) -> list[Effect]:
        known = self._orders.get(event.fill.client_order_id)
        if trade_key(event.fill) in self._trades:
            return []
        if known is None or not belongs(event.fill, known[1].order):
            return self._on_orphan(event)
        plan, worked = known
        return orders.on_filled(worked, plan, event)

    def _on_orphan(self, event: OrderFilled) -> list[Effect]:
        """Book a real fill that no known order explains, unless it repeats one of a plan that was forgotten for its age."""
        fill = event.fill
        fields: dict[str, str | int | float | bool | None] = {"order": fill.client_order_id, "trade": fill.trade_id}
        if self._is_forgotten(fill.client_order_id):
            return [Report(Severity.ERROR, "fill_too_old", "a fill of a plan long closed was not booked", fields)]
        instrument = self._lookup(fill.market)
        if instrument is None:
            return [Report(Severity.ERROR, "fill_unbookable", "a fill in a market without rules was not booked", fields)]
        text = "a fill that no known order explains was booked"
        return [Append(FillBooked(event.at_ns, fill, instrument)), Report(Severity.ERROR, "fill_without_order", text, fields)]

    def _is_forgotten(self, client_order_id: ClientOrderId) -> bool:
        prefix, _, rest = client_order_id.partition("-")
        number, _, start = rest.partition("-")[0].partition("_")
        is_ours = prefix in self._counters and number.isdecimal() and (bool(start) or int(number) <= self._counters[prefix])
        return is_ours and client_order_id not in self._orders

    def _rules(self, market: int) -> Instrument:
        instrument = self._lookup(market)
        assert instrument is not None, "an approved market has rules"
        return instrument

    # -- changing -----------------------------------------------------------------------------------------------

    def apply(self, fact: Fact) -> None:
        """Fold one durable fact into the state."""
        match fact:
            case PlanOpened():
                self._add_plan(fact)
            case OrderIntended(order=order):
                plan = self._plans[order.plan_id]
                plan.attempts += 1
                self._add_order(plan, order, fact.at_ns)
            case OrderChanged(client_order_id=client_order_id) if client_order_id in self._orders:
                plan, worked = self._orders[client_order_id]
                worked.state, worked.changed_at_ns = fact.state, fact.at_ns
                worked.is_absent = fact.is_absence
                if fact.state is OrderState.OPEN:
                    worked.known_at_ns = fact.at_ns
                if fact.state.is_terminal:
                    worked.ended_quantity_e8 = max(worked.ended_quantity_e8, fact.filled_quantity_e8)
                self._note_owing(plan)
            case FillBooked():
                self._book(fact)
            case LegDecided(plan_id=plan_id):
                self._plans[plan_id].last_choice, self._plans[plan_id].decided_at_ns = fact.choice, fact.at_ns
            case PlanClosed(outcome=outcome):
                assert outcome.plan_id in self._open, "a plan closes once"
                plan = self._open.pop(outcome.plan_id)
                plan.outcome = outcome
                self._closed.append(outcome.plan_id)
                self._note_owing(plan)
                self._forget_old_plans()
            case KillSwitched(is_on=is_on):
                self._is_killed = is_on
            case _:
                pass

    def _add_plan(self, fact: PlanOpened) -> None:
        assert fact.plan_id not in self._plans, "a plan opens once"
        rules = fact.instruments or tuple(self._rules(market) for market in sorted({order.market for order in fact.orders}))
        plan = WorkedPlan(fact.plan_id, fact.opportunity, fact.at_ns, fact.deadline_ns, rules)
        self._plans[fact.plan_id] = self._open[fact.plan_id] = plan
        for order in fact.orders:
            self._add_order(plan, order, fact.at_ns)
        prefix, _, number = fact.plan_id.rpartition("-")
        highest = max(int(number), self._counters.pop(prefix, 0))
        self._counters[prefix] = highest
        if len(self._counters) > ID_PREFIXES_KEPT:
            del self._counters[next(iter(self._counters))]

    def _add_order(self, plan: WorkedPlan, order: Order, at_ns: int) -> None:
        assert order.client_order_id not in self._orders, "a client order id is never reused"
        assert plan.outcome is None, "an ended plan sends nothing"
        worked = WorkedOrder(order, at_ns, intended_at_ns=at_ns)
        plan.orders.append(worked)
        self._orders[order.client_order_id] = (plan, worked)

    def _book(self, fact: FillBooked) -> None:
        fill = fact.fill
        known, key = self._orders.get(fill.client_order_id), trade_key(fill)
        assert key not in self._trades, "a fill is booked once"
        self._trades.add(key)
        if known is None or not belongs(fill, known[1].order):
            self._orphan_trades.append(key)
            if len(self._orphan_trades) > ORPHAN_TRADES_KEPT:
                self._trades.discard(self._orphan_trades.pop(0))
            return
        plan, worked = known
        plan.trades.append(key)
        worked.filled_quantity_e8 += fill.quantity_e8
        worked.quote_e8 += fill.quote_e8
        add_deltas(worked.fees, [(fill.fee_asset, fill.fee_e8)])
        worked.known_at_ns = fact.at_ns
        add_deltas(plan.deltas, fill_deltas(fill, plan.instrument(fill.market)).items())
        self._note_owing(plan)

    def _unsettled(self) -> list[WorkedOrder]:
        """Return every order that a venue owes an answer for: of the plans under way, and not of all that are remembered."""
        plans = (*self._open.values(), *self._owing.values())
        return [worked for plan in plans for worked in plan.orders if not worked.is_settled]

    def _note_owing(self, plan: WorkedPlan) -> None:
        if plan.outcome is not None and not plan.is_settled:
            self._owing[plan.plan_id] = plan
        else:
            self._owing.pop(plan.plan_id, None)

    def _forget_old_plans(self) -> None:
        """Forget the oldest settled closed plan past the limit, by facts alone, as the ledger does."""
        if len(self._closed) <= CLOSED_PLANS_KEPT:
            return
        oldest = next((plan_id for plan_id in self._closed if self._plans[plan_id].is_settled), None)
        if oldest is None:
            return
        self._closed.remove(oldest)
        plan = self._plans.pop(oldest)
        self._trades.difference_update(plan.trades)
        for worked in plan.orders:
            assert worked.is_settled, "an order that owes an answer is remembered"
            del self._orders[worked.order.client_order_id]

    def snapshot(self) -> DeskState:
        """Return the whole state as plain values; a later change of the desk does not reach them."""
        return DeskState(
            plans=tuple(plan.copy() for plan in self._plans.values()),
            closed=tuple(self._closed),
            counters=dict(self._counters),
            orphan_trades=tuple(self._orphan_trades),
            is_killed=self._is_killed,
        )

    def restore(self, state: DeskState) -> None:
        """Replace a fresh desk's state by a snapshot's. The id prefix stays this start's own."""
        assert not self._plans, "only a fresh desk is restored"
        plans = [plan.copy() for plan in state.plans]
        self._plans = {plan.plan_id: plan for plan in plans}
        self._open = {plan.plan_id: plan for plan in plans if plan.outcome is None}
        self._owing = {plan.plan_id: plan for plan in plans if plan.outcome is not None and not plan.is_settled}
        self._orders = {worked.order.client_order_id: (plan, worked) for plan in plans for worked in plan.orders}
        self._closed, self._counters, self._is_killed = list(state.closed), dict(state.counters), state.is_killed
        self._orphan_trades = list(state.orphan_trades)
        self._trades = {key for plan in plans for key in plan.trades} | set(state.orphan_trades)


def trade_key(fill: Fill) -> TradeKey:
    """Return what makes a fill the same fill: venue, market and the venue's trade id."""
    return fill.venue, fill.market, fill.trade_id
