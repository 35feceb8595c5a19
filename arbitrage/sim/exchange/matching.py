"""Runs an arriving order through one market: price-time priority, self-trades, what to do with the rest. Checks no rules."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from arbitrage.model.instruments import Side
from arbitrage.model.money import E8, floor_to, notional_down_e8, notional_up_e8
from arbitrage.sim.exchange.market import Market, Offer, is_better
from arbitrage.sim.exchange.nouns import (
    Execution,
    Force,
    Happened,
    HeldOrder,
    OrderType,
    Policy,
    Prevention,
    SelfTrade,
    Status,
)  # fmt: skip
from arbitrage.sim.exchange.settlement import Settlement

IOC_REST = "UNFILLED_IOC_QUANTITY_EXPIRED"
FOK_UNFILLED = "UNFILLED_FOK_ORDER_EXPIRED"
BOOK_EMPTY = "INSUFFICIENT_LIQUIDITY"
Tell = Callable[[HeldOrder, Happened, Execution | None], None]


class Print(msgspec.Struct, frozen=True):
    """A trade of ours as the public sees it."""

    trade_id: int
    price_e8: int
    quantity_e8: int
    taker_side: Side


class Traces(msgspec.Struct):
    """What one matching left in a market: levels to show anew, others' quantity taken, trades to print."""

    levels: dict[tuple[Side, int], None] = {}
    others_taken_e8: dict[tuple[Side, int], int] = {}
    prints: list[Print] = []


class Matcher:
    """Matches for one exchange; all state is in the orders, the markets and the account."""

    def __init__(self, settlement: Settlement, policy: Policy, tell: Tell, clock: Callable[[], int]) -> None:
        self._settlement = settlement
        self._policy = policy
        self._tell = tell
        self._clock = clock

    def cost_e8(self, market: Market, order: HeldOrder) -> int:
        """Return what a market order without a limit would take at most from the account at the book as it stands.

        Orders of ours that it would cancel on its way give it nothing.
        """
        spent_e8, bought_e8, received_e8 = 0, 0, 0
        request = order.request
        for offer in market.offers(request.side):
            if offer.own is not None and request.self_trade is SelfTrade.CANCEL_MAKER:
                continue
            if request.quantity_e8 is not None:
                quantity_e8 = min(offer.quantity_e8, request.quantity_e8 - bought_e8)
            else:
                assert request.quote_e8 is not None, "a request has a quantity or a quote total"
                quantity_e8 = min(offer.quantity_e8, (request.quote_e8 - received_e8) * E8 // offer.price_e8)
            if quantity_e8 <= 0:
                break
            bought_e8 += quantity_e8
            received_e8 += notional_down_e8(offer.price_e8, quantity_e8)
            spent_e8 += notional_up_e8(offer.price_e8, quantity_e8)
        return spent_e8 if request.side is Side.BUY else bought_e8

    def take(self, market: Market, order: HeldOrder, number: Callable[[], int]) -> Traces:
        """Match an order that has just arrived, then let its rest stand or end."""
        traces = Traces()
        if order.request.force is Force.FOK and not self._is_fillable(market, order):
            self.end(market, order, self._policy.ioc_rest, FOK_UNFILLED)
            return traces
        is_spent, side = False, order.request.side
        for offer in market.offers(side):
            if not order.is_open or _is_beyond(order, offer.price_e8):
                break
            wanted_e8 = _wanted_e8(market, order, offer.price_e8)
            if wanted_e8 <= 0:
                is_spent = True
                break
            shared_e8 = min(wanted_e8, offer.quantity_e8)
            if offer.own is not None and order.request.self_trade is not SelfTrade.NONE:
                self._prevent(market, order, offer.own, shared_e8, traces)
                continue
            self._trade(market, order, offer, Print(number(), offer.price_e8, shared_e8, side), traces)
            if order.request.quantity_e8 is None and wanted_e8 <= offer.quantity_e8:
                is_spent = True
                break
        if order.is_open:
            self._rest(market, order, traces, is_spent=is_spent)
        return traces

    def make(self, market: Market, order: HeldOrder, print_: Print, traces: Traces) -> None:
        """Fill a resting order by somebody who came to it."""
        assert order.limit_e8 is not None, "what rests has a price"
        self._fill(market, order, print_, is_maker=True)
        traces.levels[order.request.side, order.limit_e8] = None
        if not order.is_open:
            market.leave(order)

    def end(
        self, market: Market, order: HeldOrder, status: Status, reason: str = "", *, happened: Happened | None = None
    ) -> None:
        """End an open order and give back what it locked."""
        assert order.is_open and not status.is_open, "an open order ends once"
        order.status, order.expiry_reason, order.updated_ns = status, reason, self._clock()
        market.leave(order)
        self._settlement.trim(order)
        is_canceled = status is Status.CANCELED
        if status is not Status.FILLED:
            self._tell(order, happened or (Happened.CANCELED if is_canceled else Happened.EXPIRED), None)

    def _trade(self, market: Market, order: HeldOrder, offer: Offer, print_: Print, traces: Traces) -> None:
        key = (order.request.side.opposite, offer.price_e8)
        traces.prints.append(print_)
        traces.levels[key] = None
        if offer.own is None:
            traces.others_taken_e8[key] = traces.others_taken_e8.get(key, 0) + print_.quantity_e8
            market.taken(*key, print_.quantity_e8)
        self._fill(market, order, print_, is_maker=False)
        if offer.own is not None:
            self.make(market, offer.own, print_, traces)

    def _fill(self, market: Market, order: HeldOrder, print_: Print, *, is_maker: bool) -> None:
        quote_e8 = notional_down_e8(print_.price_e8, print_.quantity_e8)
        match = Execution(
            print_.trade_id, print_.price_e8, print_.quantity_e8, quote_e8, 0, "", is_maker, self._clock(), print_.taker_side
        )
        booked = self._settlement.fill(market, order, match)
        self._tell(order, Happened.TRADED, booked)

    def _prevent(self, market: Market, order: HeldOrder, own: HeldOrder, shared_e8: int, traces: Traces) -> None:
        """Carry out the taker's self-trade mode on what the two would have traded."""
        mode = order.request.self_trade
        assert own.limit_e8 is not None, "what rests has a price"
        traces.levels[own.request.side, own.limit_e8] = None
        is_shared = mode in (SelfTrade.REDUCE, SelfTrade.TRANSFER)
        takes_maker = is_shared or mode in (SelfTrade.CANCEL_MAKER, SelfTrade.CANCEL_BOTH)
        takes_taker = is_shared or mode in (SelfTrade.CANCEL_TAKER, SelfTrade.CANCEL_BOTH)
        of_taker_e8 = shared_e8 if is_shared or order.request.quantity_e8 is None else order.remaining_e8
        prevention = Prevention(
            market.draw_prevention(), own.order_id, order.order_id, own.limit_e8, shared_e8,
            (shared_e8 if is_shared else own.remaining_e8) if takes_maker else 0, of_taker_e8 if takes_taker else 0,
        )  # fmt: skip
        order.preventions.append(prevention)
        if takes_maker:
            own.preventions.append(prevention)
            self._reduce(market, own, prevention.maker_taken_e8)
        if takes_taker:
            self._reduce(market, order, prevention.taker_taken_e8)

    def _reduce(self, market: Market, order: HeldOrder, quantity_e8: int) -> None:
        """Take quantity off an order; one that has none left, or that was asked for by quote, ends."""
        order.prevented_e8 += quantity_e8
        order.updated_ns = self._clock()
        if order.request.quantity_e8 is None or order.remaining_e8 == 0:
            self.end(market, order, self._policy.prevented, happened=Happened.PREVENTED)
            return
        self._settlement.trim(order)
        self._tell(order, Happened.PREVENTED, None)

    def _rest(self, market: Market, order: HeldOrder, traces: Traces, *, is_spent: bool) -> None:
        request = order.request
        if is_spent:
            self.end(market, order, self._policy.quote_buy_end)
        elif request.type is OrderType.MARKET:
            self.end(market, order, self._policy.ioc_rest, BOOK_EMPTY)
        elif request.force is not Force.GTC:
            self.end(market, order, self._policy.ioc_rest, IOC_REST)
        else:
            market.rest(order)
            assert order.limit_e8 is not None, "what rests has a price"
            traces.levels[request.side, order.limit_e8] = None

    def _is_fillable(self, market: Market, order: HeldOrder) -> bool:
        """Tell whether an order would be filled whole; another order of ours in the way counts only where they would trade."""
        wanted_e8, spent_e8 = 0, 0
        request = order.request
        for offer in market.offers(request.side):
            if _is_beyond(order, offer.price_e8):
                return False
            if offer.own is not None and request.self_trade is SelfTrade.CANCEL_MAKER:
                continue
            if offer.own is not None and request.self_trade is not SelfTrade.NONE:
                return False
            wanted_e8 += offer.quantity_e8
            spent_e8 += notional_down_e8(offer.price_e8, offer.quantity_e8)
            if request.quantity_e8 is not None and wanted_e8 >= request.quantity_e8:
                return True
            if request.quote_e8 is not None and spent_e8 >= request.quote_e8:
                return True
        return False


def _is_beyond(order: HeldOrder, price_e8: int) -> bool:
    return order.limit_e8 is not None and is_better(order.request.side, price_e8, order.limit_e8)


def _wanted_e8(market: Market, order: HeldOrder, price_e8: int) -> int:
    if order.request.quantity_e8 is not None:
        return order.remaining_e8
    return floor_to(order.remaining_quote_e8 * E8 // price_e8, market.rules.lot_e8)
