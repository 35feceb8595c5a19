"""The paper venue: effects in, timed order events out, matched against real books that it never writes to. Owns no clock.

An order travels for a drawn latency and meets the book as it stands on arrival, not the one it was decided on. The caller
advances the venue to `next_due_ns()` before it applies newer market data. Choices where venues differ or cannot be known:

- Orders are limit IOC; another time in force is rejected. What does not fill at once ends CANCELLED, as a venue's IOC does.
- A market that is doubted on arrival fills nothing: the venue may have filled, but what, nobody can say.
- Trade ids count the fills of one client order id, which is never reused, so they stay unique over restarts.
- Funds are asked for as a venue locks them (`Account.can_pay`); an order without them is rejected.
- A fill the balance cannot bear (fees of many small fills round up one by one) ends the order there.
- A repeated client order id is never a second order: it is answered with what is known of the first.
- Cancel and query are answered alike, since an IOC has ended when either arrives: everything known, repeated; while the
  order still travels, OrderUnanswered; for an id never seen here, OrderAbsent.
- An order that arrives after its validity is not taken, as Binance does by `recvWindow` (binance-spot.md section 3).
"""

from __future__ import annotations

import heapq
import random
from typing import Protocol, TypeVar

import msgspec

from arbitrage.model.effects import PlaceOrder, ReadAccount, VenueEffect
from arbitrage.model.events import (
    AccountBalance,
    AccountRead,
    OrderAbsent,
    OrderAccepted,
    OrderEnded,
    OrderEvent,
    OrderFilled,
    OrderUnanswered,
)
from arbitrage.model.instruments import Instrument, Side, TradingStatus, Venue
from arbitrage.model.money import PPM, notional_down_e8
from arbitrage.model.orders import ClientOrderId, Fill, Order, OrderState, TimeInForce
from arbitrage.model.settings import PaperSettings
from arbitrage.sim.account import Account, Deal
from arbitrage.sim.depth import Book, Depth
from arbitrage.sim.latency import MS_NS, Latency, configured_latency

ORDERS_REMEMBERED_MAX = 10_000
"""Ended orders beyond this many are forgotten, oldest first."""

PaperEvent = OrderEvent | AccountRead
T_co = TypeVar("T_co", covariant=True)


class Lookup(Protocol[T_co]):
    """Something indexed by market."""

    def __getitem__(self, market: int, /) -> T_co: ...


class Markets(Protocol):
    """What is read of the market room's board; nothing here changes it."""

    @property
    def books(self) -> Lookup[Book]: ...

    @property
    def instruments(self) -> Lookup[Instrument | None]: ...

    def doubt(self, market: int, now_ns: int) -> object | None:
        """Return why a market cannot be relied on, or None."""
        ...


class _Arrival(msgspec.Struct, frozen=True):
    order: Order
    is_rejected_at_random: bool


class _Question(msgspec.Struct, frozen=True):
    client_order_id: ClientOrderId


class _Look(msgspec.Struct, frozen=True):
    venue: Venue
    asked_ns: int


class _Record(msgspec.Struct):
    """An order and every event it caused; none while it travels."""

    events: list[OrderEvent] = []


class PaperVenue:
    """Every configured venue on paper, each market on its own."""

    def __init__(
        self,
        settings: PaperSettings,
        markets: Markets,
        rng: random.Random,
        account: Account,
        latency: Latency | None = None,
    ) -> None:
        self._markets = markets
        self._rng = rng
        self._reject_ppm = settings.reject_ppm
        self._acknowledgement_ns = settings.acknowledgement_ms * MS_NS
        self._latency = latency or configured_latency(settings)
        self.account = account
        self._depth = Depth()
        self._records: dict[ClientOrderId, _Record] = {}
        self._waiting: list[tuple[int, int, _Arrival | _Question | _Look | PaperEvent]] = []
        self._sequence = 0
        self.counters = dict.fromkeys(("orders", "fills", "rejected", "repeated", "unpaid"), 0)

    @property
    def levels_off_grid(self) -> int:
        """How many levels could not be read exactly; matching stopped before each."""
        return self._depth.levels_off_grid

    def adopt(self, order: Order, filled_quantity_e8: int) -> None:
        """Take over an order of before a restart: it ended with the fills that were kept, since this venue forgot it."""
        assert 0 <= filled_quantity_e8 <= order.quantity_e8, "an order fills at most whole"
        state = OrderState.FILLED if filled_quantity_e8 == order.quantity_e8 else OrderState.CANCELLED
        ended = OrderEnded(0, order.client_order_id, state, filled_quantity_e8, "the paper venue was restarted")
        self._records[order.client_order_id] = _Record([ended])

    def submit(self, effect: VenueEffect, now_ns: int) -> None:
        """Send an effect on its way. Every draw of chance happens here, in the order of submission."""
        due_ns = now_ns + self._latency.draw_ns(self._rng)
        if isinstance(effect, ReadAccount):
            self._wait(due_ns, _Look(effect.venue, now_ns))
            return
        if not isinstance(effect, PlaceOrder):
            self._wait(due_ns, _Question(effect.client_order_id))
            return
        is_rejected = self._rng.randrange(PPM) < self._reject_ppm
        order = effect.order
        if order.client_order_id in self._records:
            self.counters["repeated"] += 1
            self._wait(due_ns, _Question(order.client_order_id))
            return
        self.counters["orders"] += 1
        self._remember(order.client_order_id)
        self._wait(due_ns, _Arrival(order, is_rejected))

    def next_due_ns(self) -> int | None:
        """Return when `advance` next has something to do."""
        return self._waiting[0][0] if self._waiting else None

    def advance(self, now_ns: int) -> list[PaperEvent]:
        """Carry out everything due, and return what reaches us, in order, each stamped with the time it was due."""
        events: list[PaperEvent] = []
        while self._waiting and self._waiting[0][0] <= now_ns:
            due_ns, _, item = heapq.heappop(self._waiting)
            match item:
                case _Arrival():
                    known = self._arrive(item, due_ns)
                    self._records[item.order.client_order_id].events = known
                    self._answer(known, due_ns)
                case _Question():
                    self._answer(self._known(item.client_order_id), due_ns)
                case _Look():
                    at_ns = due_ns + self._acknowledgement_ns
                    self._wait(at_ns, AccountRead(at_ns, item.asked_ns, item.venue, self._balances(item.venue), ()))
                case _:
                    assert not events or events[-1].at_ns <= item.at_ns, "events leave in the order they are due"
                    events.append(item)
        return events

    def _arrive(self, arrival: _Arrival, due_ns: int) -> list[OrderEvent]:
        order = arrival.order
        instrument = self._markets.instruments[order.market]
        reason = "rejected at random" if arrival.is_rejected_at_random else self._refusal(order, instrument, due_ns)
        if reason:
            self.counters["rejected"] += 1
            return [OrderEnded(due_ns, order.client_order_id, OrderState.REJECTED, 0, reason)]
        assert instrument is not None, "an unknown symbol was rejected"
        doubt = self._markets.doubt(order.market, due_ns)
        fills = self._match(order, instrument) if doubt is None else []
        filled_e8 = sum(fill.quantity_e8 for fill in fills)
        assert filled_e8 <= order.quantity_e8, "an order fills at most whole"
        state = OrderState.FILLED if filled_e8 == order.quantity_e8 else OrderState.CANCELLED
        rest = "" if state is OrderState.FILLED else "the rest of an IOC" if doubt is None else f"book doubted: {doubt}"
        return [
            OrderAccepted(due_ns, order.client_order_id, f"paper-{order.client_order_id}"),
            *(OrderFilled(due_ns, fill) for fill in fills),
            OrderEnded(due_ns, order.client_order_id, state, filled_e8, rest),
        ]

    def _refusal(self, order: Order, instrument: Instrument | None, now_ns: int) -> str:
        """Return why the venue rejects an order, in the order venues check, or nothing (binance-spot.md section 6)."""
        if 0 < order.valid_until_ns < now_ns:
            return "not taken: its validity had passed"
        if instrument is None:
            return "unknown symbol"
        assert instrument.venue == order.venue, "an order goes to its market's venue"
        if instrument.status is not TradingStatus.TRADING:
            return "market is closed"
        if order.time_in_force is not TimeInForce.IOC:
            return "time in force: paper takes IOC"
        if order.price_e8 % instrument.ticks.tick_e8_at(order.price_e8):
            return "filter failure: PRICE_FILTER"
        is_in_range = instrument.quantity_e8_min <= order.quantity_e8 <= instrument.quantity_e8_max
        if order.quantity_e8 % instrument.lot_e8 or not is_in_range:
            return "filter failure: LOT_SIZE"
        if notional_down_e8(order.price_e8, order.quantity_e8) < instrument.notional_e8_min:
            return "filter failure: NOTIONAL"
        return "" if self.account.can_pay(order, instrument) else "insufficient balance"

    def _match(self, order: Order, instrument: Instrument) -> list[Fill]:
        fills: list[Fill] = []
        rest_e8 = order.quantity_e8
        for offer in self._depth.offers(instrument, order.side, self._markets.books[order.market]):
            if rest_e8 == 0 or _is_beyond_limit(order, offer.price_e8):
                break
            quantity_e8 = min(rest_e8, offer.free_e8)
            deal = Deal(offer.price_e8, quantity_e8, f"{order.client_order_id}.{len(fills)}")
            fill = self.account.execute(order, instrument, deal)
            if fill is None:
                self.counters["unpaid"] += 1
                break
            self._depth.take(order.market, order.side, offer, quantity_e8)
            fills.append(fill)
            rest_e8 -= quantity_e8
        self.counters["fills"] += len(fills)
        return fills

    def _balances(self, venue: Venue) -> tuple[AccountBalance, ...]:
        balances = sorted(self.account.balances.items())
        return tuple(AccountBalance(node.asset, amount_e8, 0) for node, amount_e8 in balances if node.venue == venue)

    def _known(self, client_order_id: ClientOrderId) -> list[OrderEvent]:
        record = self._records.get(client_order_id)
        if record is None:
            return [OrderAbsent(0, client_order_id)]
        return record.events or [OrderUnanswered(0, client_order_id)]

    def _answer(self, events: list[OrderEvent], due_ns: int) -> None:
        at_ns = due_ns + self._acknowledgement_ns
        for event in events:
            self._wait(at_ns, msgspec.structs.replace(event, at_ns=at_ns))

    def _wait(self, due_ns: int, item: _Arrival | _Question | _Look | PaperEvent) -> None:
        self._sequence += 1
        heapq.heappush(self._waiting, (due_ns, self._sequence, item))

    def _remember(self, client_order_id: ClientOrderId) -> None:
        if len(self._records) >= ORDERS_REMEMBERED_MAX:
            oldest = next((known for known, record in self._records.items() if record.events), None)
            if oldest is not None:
                del self._records[oldest]
        self._records[client_order_id] = _Record()


def _is_beyond_limit(order: Order, price_e8: int) -> bool:
    return price_e8 > order.price_e8 if order.side is Side.BUY else price_e8 < order.price_e8
