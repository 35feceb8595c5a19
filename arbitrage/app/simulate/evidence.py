"""What is seen of a simulated life from outside: every intention, request, word and fill, beside the truth. Judges nothing.

The checkers (`checkers.py`) read it. It follows what was delivered to the daemon on its own account, so that a daemon that
believes too much of its markets, or of itself, is held against something else than its own word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

import msgspec

from arbitrage.execution.hedging import HEDGE_CYCLE
from arbitrage.model.effects import Judged, Report
from arbitrage.model.episodes import Episode
from arbitrage.model.events import (
    AccountLinkDown,
    AccountLinkUp,
    BookDiff,
    BookFull,
    BookSnapshot,
    ClockMeasured,
    Event,
    LinkDown,
    LinkUp,
    OrdersHeld,
)
from arbitrage.model.facts import (
    Fact,
    FillBooked,
    KillSwitched,
    OrderIntended,
    Paused,
    PlanClosed,
    PlanOpened,
    ResidueWrittenOff,
)
from arbitrage.model.opportunities import Approved
from arbitrage.model.orders import ClientOrderId, Fill, Order, PlanId
from arbitrage.model.settings import TradingSettings
from arbitrage.sim.exchange.nouns import HeldOrder

PLACED = re.compile(rb'newClientOrderId"?[:=]"?([A-Za-z0-9_-]+)|"identifier":"([A-Za-z0-9_-]+)"')
PLACING = (b"order.place", b"POST /api/v3/order", b"POST /v1/orders")
DIFFS_WAITING_MAX = 200
WRONG_MAX = 3
"""From the next update on, a book must have noticed that it believed a wrong id."""
FillKey = tuple[str, int, str]


class Seen(msgspec.Struct):
    """What was delivered of one market."""

    at_ns: int = 0
    cursor: int | None = None
    """Last update that follows without a gap; None while the book cannot be whole (Binance)."""
    waiting: list[tuple[int, int]] = []
    wrong: int = 0
    """Updates since one came whose id the venue never gave, as long as that is ahead of them: nobody can know it at once."""
    wrong_id: int = 0

    def begin(self) -> None:
        """Start from nothing."""
        self.cursor, self.wrong = None, 0
        self.waiting.clear()

    def diff(self, first_id: int, last_id: int, newest_id: int) -> None:
        """Take one update; `newest_id` is the venue's own, now."""
        if self.cursor is not None and last_id > newest_id and first_id <= self.cursor + 1:
            self.wrong, self.wrong_id = 1, last_id
        elif self.wrong and last_id <= self.wrong_id:
            self.wrong += 1
            if self.wrong > WRONG_MAX:
                self.begin()
                self.waiting = [(first_id, last_id)]
        elif self.wrong:
            self.wrong, self.cursor = 0, last_id
        elif self.cursor is None:
            self.waiting.append((first_id, last_id))
            del self.waiting[:-DIFFS_WAITING_MAX]
        elif first_id > self.cursor + 1:
            self.cursor = None
            self.waiting = [(first_id, last_id)]
        else:
            self.cursor = max(self.cursor, last_id)

    def snapshot(self, last_id: int, newest_id: int, at_ns: int) -> None:
        """Take a picture, which is news of its time: what waits goes on from it, or not."""
        waiting, self.waiting = self.waiting, []
        self.wrong = 0
        if self.cursor is not None and self.cursor >= last_id:
            return
        self.cursor, self.at_ns = last_id, at_ns
        for first_id, reached_id in waiting:
            if reached_id > last_id:
                self.diff(first_id, reached_id, newest_id)


class Evidence:
    """One life of the world, as it was seen."""

    def __init__(self, settings: TradingSettings, markets: Sequence[tuple[str, str]], newest_id: Callable[[int], int]) -> None:
        """`newest_id` tells the newest update id of a market that has them."""
        self._newest_id = newest_id
        self.settings = settings
        """In force."""
        self.markets = markets
        self.seen = [Seen() for _ in markets]
        self.links: dict[str, bool] = {}
        self.accounts: dict[str, bool] = {}
        self.offsets_ms: dict[str, int] = {}
        self.shut_until_ns: dict[str, int] = {}
        """By venue: before this it takes no order, by its own word or by its budget."""
        self.intended_in_vain = ""
        """The first order that was intended for a venue all the same."""
        self.intended: dict[ClientOrderId, Order] = {}
        self.durable: set[ClientOrderId] = set()
        self.plans: dict[PlanId, PlanOpened] = {}
        self.closed: set[PlanId] = set()
        self.approved: set[str] = set()
        self.episodes = 0
        """Opportunities that the guard approved, by id."""
        self.fills: dict[FillKey, Fill] = {}
        self.fills_repeated: list[Fill] = []
        self.left: Counter[ClientOrderId] = Counter()
        """Placements that left, by our id."""
        self.held: dict[ClientOrderId, list[HeldOrder]] = {}
        """What the venues took."""
        self.said: dict[str, str] = {}
        """The newest words of each code."""
        self.is_killed = self.is_paused = self._was_killed = self._was_paused = False
        """What was said, and what of it outlives a crash."""
        self.written_off_e8: Counter[str] = Counter()
        """By asset: what plans left and a person took out, or brought, by hand."""
        self.transfers = 0
        """How often somebody moved money by hand."""
        self.is_accepting = False
        """The operator's word that a difference may be booked is being said."""
        self.lost_facts = 0
        """Facts that no disk took before a crash."""
        self.lost_orders: set[ClientOrderId] = set()
        """Orders that left and that no disk took down: nobody knows them after the next start."""
        self.unwritten: list[Fact] = []

    # -- the daemon's word --------------------------------------------------------------------------------------

    def on_intended(self, facts: Sequence[Fact], *, is_durable: bool) -> list[PlanOpened | FillBooked]:
        """Take facts that are about to be acted on, durable or not; return the plans and fills among them that are new."""
        if not is_durable:
            self.unwritten = list(facts)
        fresh: list[PlanOpened | FillBooked] = []
        for fact in facts:
            orders: Sequence[Order] = ()
            if isinstance(fact, PlanOpened):
                fresh += [fact] if fact.plan_id not in self.plans else []
                self.plans[fact.plan_id], orders = fact, fact.orders
            elif isinstance(fact, FillBooked):
                fresh += [fact] if _key(fact.fill) not in self.fills else []
            elif isinstance(fact, PlanClosed):
                self.closed.add(fact.outcome.plan_id)
            elif isinstance(fact, OrderIntended):
                orders = (fact.order,)
            elif isinstance(fact, KillSwitched):
                self.is_killed = fact.is_on
            elif isinstance(fact, Paused):
                self.is_paused = fact.is_on
            for order in orders:
                is_new = order.client_order_id not in self.intended  # told again once it is durable, when a hold may have begun
                if is_new and fact.at_ns < self.shut_until_ns.get(order.venue, 0) and not self.intended_in_vain:
                    self.intended_in_vain = order.client_order_id
                self.intended[order.client_order_id] = order
                if is_durable:
                    self.durable.add(order.client_order_id)
            if is_durable:
                self._on_durable(fact)
        if is_durable:
            self.unwritten = []
        return fresh

    def _on_durable(self, fact: Fact) -> None:
        match fact:
            case FillBooked(fill=fill):
                if _key(fill) in self.fills:
                    self.fills_repeated.append(fill)
                self.fills[_key(fill)] = fill
            case KillSwitched(is_on=is_on):
                self._was_killed = is_on
            case ResidueWrittenOff(asset=asset, amount_e8=amount_e8):
                self.written_off_e8[asset] += amount_e8
            case Paused(is_on=is_on):
                self._was_paused = is_on
            case _:
                pass

    def on_judged(self, judged: Judged) -> None:
        if isinstance(judged.verdict, Approved):
            self.approved.add(judged.opportunity.id)

    def on_episode(self, episode: Episode) -> None:
        """Count openings; one names as taken only what was approved."""
        assert self.approved.issuperset(episode.taken), "an episode names what was approved"
        self.episodes += 1

    def on_report(self, report: Report) -> None:
        self.said[report.code] = report.text

    def on_crash(self) -> None:
        """The process is gone: what it had not written is lost, what it approved is known from its journal alone."""
        self.lost_facts += len(self.unwritten)
        self.lost_orders |= {fact.order.client_order_id for fact in self.unwritten if isinstance(fact, OrderIntended)}
        lost = {fact.plan_id for fact in self.unwritten if isinstance(fact, PlanOpened)}
        self.closed -= {fact.outcome.plan_id for fact in self.unwritten if isinstance(fact, PlanClosed)}
        self.plans = {name: plan for name, plan in self.plans.items() if name not in lost}
        self.unwritten = []
        self.is_killed, self.is_paused = self._was_killed, self._was_paused
        self.approved |= {plan.opportunity.id for plan in self.plans.values()}
        self.links.clear()
        self.accounts.clear()
        self.shut_until_ns.clear()
        self.offsets_ms.clear()
        for seen in self.seen:
            seen.begin()

    # -- the wire -----------------------------------------------------------------------------------------------

    def placed_id(self, where: str, payload: bytes) -> ClientOrderId | None:
        """Return our id of a placement, or None for any other request."""
        if not any(word in payload or where.encode().startswith(word) for word in PLACING):
            return None
        match = PLACED.search(payload)
        return ClientOrderId((match[1] or match[2]).decode()) if match is not None else None

    def on_events(self, events: Sequence[Event]) -> None:
        """Take what was delivered to the daemon."""
        for event in events:
            match event:
                case BookDiff(at_ns=at_ns, market=market):
                    self.seen[market].at_ns = at_ns
                    self.seen[market].diff(event.first_id, event.last_id, self._newest_id(market))
                case BookSnapshot(at_ns=at_ns, market=market):
                    self.seen[market].snapshot(event.last_id, self._newest_id(market), at_ns)
                case BookFull(at_ns=at_ns, market=market):
                    self.seen[market].at_ns = at_ns
                    self.seen[market].cursor = 0
                case LinkUp(venue=venue, markets=markets):
                    self.links[venue] = True
                    for market in markets:
                        self.seen[market].begin()
                case LinkDown(venue=venue):
                    self.links[venue] = False
                case AccountLinkUp(venue=venue):
                    self.accounts[venue] = True
                case AccountLinkDown(venue=venue):
                    self.accounts[venue] = False
                case OrdersHeld(venue=venue, until_ns=until_ns):
                    self.shut_until_ns[venue] = max(until_ns, self.shut_until_ns.get(venue, 0))
                case ClockMeasured(venue=venue, offset_ms=offset_ms):
                    self.offsets_ms[venue] = offset_ms
                case _:
                    pass

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def is_difference_explained(self) -> bool:
        """Say whether an account may differ: money was moved by hand, or facts were lost with their process."""
        return bool(self.transfers or self.lost_facts)

    def is_hedge(self, plan_id: PlanId) -> bool:
        """Say whether a plan only brings back what others left."""
        plan = self.plans.get(plan_id)
        return plan is not None and plan.opportunity.cycle == HEDGE_CYCLE

    def open_plans(self) -> Mapping[PlanId, PlanOpened]:
        """Return the plans without an end."""
        return {name: plan for name, plan in self.plans.items() if name not in self.closed}


def _key(fill: Fill) -> FillKey:
    return fill.venue, fill.market, fill.trade_id
