"""Venues that execute truly and answer badly: lost, late, repeated, reordered, refused, "does not exist" for seconds; one seed.

Balances and fills here are the truth that an engine is compared with; what reaches the engine is another matter. Ids are judged
as the venues do: at Binance one is taken only while its order is open, at Upbit it is spent for ever, even by a refusal. Funds
are too: an order that the account cannot pay for is a broken test. Fees are taken in base, in quote, or in BNB until that ends.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Iterable

import msgspec
from account_world import START
from engine_world import BINANCE, MS, UPBIT, instrument

from arbitrage.ledger import worst_case
from arbitrage.model.effects import CancelOrder, Effect, PlaceOrder, QueryOrder, ReadAccount
from arbitrage.model.events import (
    AccountBalance,
    AccountEvent,
    AccountRead,
    OrderAbsent,
    OrderAccepted,
    OrderEnded,
    OrderEvent,
    OrderFilled,
    OrderUnanswered,
)
from arbitrage.model.instruments import FeePayment, Node, Side, Venue
from arbitrage.model.money import Asset, fee_up_e8, notional_down_e8, notional_up_e8
from arbitrage.model.orders import ClientOrderId, Fill, Order, OrderState

Answer = OrderEvent | AccountEvent


class Held(msgspec.Struct):
    """One order as the venue has it."""

    order: Order
    words: list[OrderEvent]
    filled_e8: int
    seen_from_ns: int


BNB = Asset("BNB")
BNB_PRICE = 600
"""In USDT; a fee in BNB is a quarter cheaper (reference binance-spot 8)."""


class ScriptedExchange:
    """Both venues. Faults happen at `faulty` alone; the other answers at once and in order."""

    def __init__(self, dice: random.Random, faulty: Venue, *, bnb_e8: int = 0) -> None:
        self.dice, self.faulty = dice, faulty
        self.balances = dict(START)
        if bnb_e8:
            self.balances[Node(BINANCE, BNB)] = bnb_e8
        self.spent_ids: set[ClientOrderId] = set()
        """Every id that ever reached a venue, refused ones included."""
        self.fee_assets: set[Asset] = set()
        self.orders: dict[ClientOrderId, Held] = {}
        self.placements: list[ClientOrderId] = []
        self.waiting: list[tuple[int, int, Answer]] = []
        self._arrivals: list[tuple[int, int, Order]] = []
        self._count = itertools.count()

    def carry_out(self, effects: Iterable[Effect], now_ns: int) -> None:
        for effect in effects:
            match effect:
                case PlaceOrder(order=order):
                    self._place(order, now_ns)
                case QueryOrder(client_order_id=name, venue=venue):
                    self._query(name, venue, now_ns)
                case CancelOrder(client_order_id=name, venue=venue):
                    self._query(name, venue, now_ns)
                case ReadAccount(venue=venue):
                    self._read(venue, now_ns)
                case _:
                    pass

    @property
    def next_ns(self) -> int | None:
        due = [queue[0][0] for queue in (self.waiting, self._arrivals) if queue]
        return min(due) if due else None

    def due(self, now_ns: int) -> list[Answer]:
        """Execute what has arrived by now; return what reaches us by now."""
        while self._arrivals and self._arrivals[0][0] <= now_ns:
            at_ns, _, order = heapq.heappop(self._arrivals)
            self._execute(order, at_ns)
        found = []
        while self.waiting and self.waiting[0][0] <= now_ns:
            found.append(heapq.heappop(self.waiting)[2])
        return [msgspec.structs.replace(event, at_ns=now_ns) for event in found]

    def _place(self, order: Order, now_ns: int) -> None:
        self.placements.append(order.client_order_id)
        is_faulty, dice = order.venue == self.faulty, self.dice
        if is_faulty and dice.random() < 0.4:
            self._post(OrderUnanswered(0, order.client_order_id), now_ns + 1_500 * MS)
        if is_faulty and dice.random() < 0.2:
            return  # lost on the way
        late_ms = dice.choice((5, 40, 900)) if is_faulty else 5
        heapq.heappush(self._arrivals, (now_ns + late_ms * MS, next(self._count), order))

    def _execute(self, order: Order, at_ns: int) -> None:
        name = order.client_order_id
        # Upbit would refuse a used id, even one that it had refused; Binance would execute it again: no IOC is open for long.
        assert name not in (self.spent_ids if order.venue == UPBIT else self.orders), f"{name} was used before"
        self.spent_ids.add(name)
        assert at_ns <= order.valid_until_ns, "the script keeps within the validity"
        node, worst_e8 = worst_case(order, instrument(order.market))
        assert worst_e8 <= self.balances[node], f"{order.client_order_id} takes more than there is at {node}"
        lot_e8, dice = instrument(order.market).lot_e8, self.dice
        if order.venue == self.faulty and dice.random() < 0.1:
            refused = OrderEnded(0, order.client_order_id, OrderState.REJECTED, 0, "refused")
            self._tell([refused], order.venue, at_ns, loss=dice.choice((0.0, 1.0)))
            return  # a refused order leaves nothing behind that could be asked for, but its id
        fraction = dice.choice((0.0, 0.4, 1.0, 1.0)) if order.venue == self.faulty else 1.0
        filled_e8 = int(order.quantity_e8 * fraction) // lot_e8 * lot_e8
        cut_e8 = filled_e8 // 3 // lot_e8 * lot_e8
        parts = [part for part in (cut_e8, filled_e8 - cut_e8) if part]
        fills = [OrderFilled(0, self._fill(order, number, part)) for number, part in enumerate(parts)]
        state = OrderState.FILLED if filled_e8 == order.quantity_e8 else OrderState.CANCELLED
        ended = OrderEnded(0, order.client_order_id, state, filled_e8, "")
        words = [OrderAccepted(0, order.client_order_id, f"v{len(self.orders)}"), *fills, ended]
        hidden_ms = dice.choice((0, 0, 3_000)) if order.venue == self.faulty else 0
        self.orders[order.client_order_id] = Held(order, words, filled_e8, at_ns + hidden_ms * MS)
        self._tell(words, order.venue, at_ns, loss=dice.choice((0.0, 0.3, 1.0)))

    def _fill(self, order: Order, number: int, quantity_e8: int) -> Fill:
        rules, is_buy = instrument(order.market), order.side is Side.BUY
        quote_e8 = (notional_up_e8 if is_buy else notional_down_e8)(order.price_e8, quantity_e8)
        is_base_fee = is_buy and rules.fees.payment is FeePayment.RECEIVED
        fee_asset, of_e8 = (rules.base, quantity_e8) if is_base_fee else (rules.quote, quote_e8)
        fee_e8 = fee_up_e8(of_e8, rules.fees.taker_ppm)
        bnb_e8 = fee_up_e8(quote_e8, rules.fees.taker_ppm) * 3 // 4 // BNB_PRICE
        if 0 < bnb_e8 <= self.balances.get(Node(order.venue, BNB), 0):
            fee_asset, fee_e8 = BNB, bnb_e8
        self.fee_assets.add(fee_asset)
        sign = 1 if is_buy else -1
        for asset, change_e8 in ((rules.base, sign * quantity_e8), (rules.quote, -sign * quote_e8), (fee_asset, -fee_e8)):
            self.balances[Node(order.venue, asset)] += change_e8
        trade_id = f"{order.client_order_id}.{number}"
        names = (order.venue, order.market, order.client_order_id, trade_id)
        return Fill(*names, order.side, order.price_e8, quantity_e8, quote_e8, fee_e8, fee_asset)

    def _query(self, name: ClientOrderId, venue: Venue, now_ns: int) -> None:
        held, is_faulty = self.orders.get(name), venue == self.faulty
        if is_faulty and self.dice.random() < 0.2:
            return
        if held is None or now_ns < held.seen_from_ns:
            self._post(OrderAbsent(0, name, asked_ns=now_ns), now_ns + self._delay_ns(is_faulty))
        else:
            self._tell(held.words, venue, now_ns, loss=0.2)

    def _read(self, venue: Venue, now_ns: int) -> None:
        if venue == self.faulty and self.dice.random() < 0.2:
            return
        held = tuple(AccountBalance(node.asset, e8, 0) for node, e8 in self.balances.items() if node.venue == venue)
        self._post(AccountRead(0, now_ns, venue, held, ()), now_ns + self._delay_ns(venue == self.faulty))

    def _tell(self, words: Iterable[OrderEvent], venue: Venue, now_ns: int, *, loss: float) -> None:
        is_faulty = venue == self.faulty
        for word in words:
            for _ in range(self.dice.choice((1, 1, 2)) if is_faulty else 1):
                if not is_faulty or self.dice.random() >= loss:
                    self._post(word, now_ns + self._delay_ns(is_faulty))

    def _delay_ns(self, is_faulty: bool) -> int:
        return (self.dice.choice((1, 20, 300, 2_500)) if is_faulty else 1) * MS

    def _post(self, event: Answer, due_ns: int) -> None:
        heapq.heappush(self.waiting, (due_ns, next(self._count), event))
