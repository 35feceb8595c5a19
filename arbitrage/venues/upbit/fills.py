"""Fills of Upbit's orders, the same whichever source told them first: stream messages carry fees, REST trades do not. Pure.

The first word about a trade stands; a later one that differs is counted, never emitted. A REST answer's fees are derived from
the account's own rates, and told only when they add up, with those already known, to what the venue says the order paid.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from arbitrage.model.events import OrderAccepted, OrderEnded, OrderFilled
from arbitrage.model.instruments import FeeSchedule, Venue
from arbitrage.model.money import Asset, fee_up_e8
from arbitrage.model.orders import ClientOrderId, Fill
from arbitrage.venues.upbit.amounts import e8, fee_shares, in_proportion
from arbitrage.venues.upbit.orders_wire import ENDED_STATES, OPEN_STATES, OrderPicture, ended_as
from arbitrage.venues.upbit.private_wire import OrderWord
from arbitrage.venues.wiring import VenueEvent

ORDERS_REMEMBERED_MAX = 10_000
UNIT = Decimal("0.00000001")


class _Known(msgspec.Struct):
    """What is known of one order's fills."""

    fills: dict[str, Fill] = {}
    """By trade id."""
    told_e8: int = 0
    """Executed volume after the newest fill that the stream told."""
    told_funds: Decimal = Decimal(0)


class Fills:
    """Makes each fill once and remembers it, for the newest orders."""

    def __init__(self, venue: Venue, markets: Mapping[str, int], counters: Counter[str]) -> None:
        self._venue = venue
        self._markets = dict(markets)
        self._counters = counters
        self._orders: dict[str, _Known] = {}
        """By the venue's order id."""

    def heard(self, word: OrderWord, at_ns: int) -> list[VenueEvent]:
        """Return what a stream message of our order says: that it is open, a fill, its end."""
        client_order_id = ClientOrderId(word.identifier)
        events: list[VenueEvent] = []
        if word.state in OPEN_STATES:
            events.append(OrderAccepted(at_ns, client_order_id, word.venue_order_id))
        if (fill := self.told(word)) is not None:
            events.append(OrderFilled(at_ns, fill))
        if word.state in ENDED_STATES:
            state = ended_as(word.quantity_e8, word.executed_e8)
            events.append(OrderEnded(at_ns, client_order_id, state, word.executed_e8, word.state))
        return events

    def told(self, word: OrderWord) -> Fill | None:
        """Return the fill of a stream message; None when it has none or its market is not ours."""
        market, trade = self._markets.get(word.symbol), word.trade
        if trade is None or market is None or not word.identifier:
            return None
        known = self._known(word.venue_order_id)
        exact = trade.price * trade.quantity
        quantity_e8 = e8(trade.quantity)
        if known.told_e8 + quantity_e8 == word.executed_e8:
            step = word.executed_funds - known.told_funds
            exact = step if abs(step - exact) < UNIT else exact
        if word.executed_e8 > known.told_e8:
            known.told_e8, known.told_funds = word.executed_e8, word.executed_funds
        fill = Fill(
            venue=self._venue,
            market=market,
            client_order_id=ClientOrderId(word.identifier),
            trade_id=trade.trade_id,
            side=word.side,
            price_e8=e8(trade.price),
            quantity_e8=quantity_e8,
            quote_e8=e8(exact),
            fee_e8=trade.fee_e8,
            fee_asset=_quote(word.symbol),
            is_maker=trade.is_maker,
        )
        return self._first(known, fill)

    def shown(
        self, picture: OrderPicture, client_order_id: ClientOrderId, fees: FeeSchedule | None, *, is_last_word: bool = False
    ) -> list[Fill] | None:
        """Return the fills of a REST answer, by time; None where it must be asked again to know what each of them paid.

        Rates that explain what was paid, and a list of trades that is whole, make each fee certain. Where even the last word
        has neither, the fees are split by size so that their sum is what was paid, or taken at the taker's rate.
        """
        market = self._markets.get(picture.symbol)
        if market is None:
            return []
        known = self._known(picture.venue_order_id)
        new = [trade for trade in picture.trades if trade.trade_id not in known.fills]
        shares = self._shares(picture, known, fees)
        if shares is None:
            if not is_last_word:
                self._counters["fees_asked_again"] += 1
                return None
            self._counters["fees_unexplained"] += 1
            shares = self._guesses(picture, known, fees)
        for trade, fee_e8 in zip(new, shares, strict=True):
            known.fills[trade.trade_id] = Fill(
                venue=self._venue,
                market=market,
                client_order_id=client_order_id,
                trade_id=trade.trade_id,
                side=picture.side,
                price_e8=trade.price_e8,
                quantity_e8=trade.quantity_e8,
                quote_e8=trade.quote_e8,
                fee_e8=fee_e8,
                fee_asset=_quote(picture.symbol),
            )
        self._compare(picture, known)
        return [known.fills[trade.trade_id] for trade in picture.trades]

    def _shares(self, picture: OrderPicture, known: _Known, fees: FeeSchedule | None) -> list[int] | None:
        """Derive the fees of fills that no message told, out of what the order paid beyond the others."""
        quotes_e8 = _new_quotes_e8(picture, known)
        if not quotes_e8 and _is_whole(picture):
            return []
        return fee_shares(quotes_e8, _unexplained_e8(picture, known), fees) if fees is not None and _is_whole(picture) else None

    def _guesses(self, picture: OrderPicture, known: _Known, fees: FeeSchedule | None) -> list[int]:
        quotes_e8 = _new_quotes_e8(picture, known)
        if _is_whole(picture) or fees is None:
            return in_proportion(quotes_e8, max(0, _unexplained_e8(picture, known)))
        return [fee_up_e8(quote_e8, fees.taker_ppm) for quote_e8 in quotes_e8]

    def _compare(self, picture: OrderPicture, known: _Known) -> None:
        """Count what two sources tell differently; the first word stands."""
        fills = [known.fills[trade.trade_id] for trade in picture.trades]
        for fill, trade in zip(fills, picture.trades, strict=True):
            is_same = (fill.price_e8, fill.quantity_e8, fill.quote_e8) == (trade.price_e8, trade.quantity_e8, trade.quote_e8)
            self._counters["fills_told_differently"] += not is_same
        if _is_whole(picture) and sum(fill.fee_e8 for fill in fills) != picture.paid_fee_e8:
            self._counters["fees_disagree"] += 1

    def _first(self, known: _Known, fill: Fill) -> Fill:
        first = known.fills.setdefault(fill.trade_id, fill)
        is_same = (first.price_e8, first.quantity_e8, first.quote_e8, first.fee_e8) == (
            fill.price_e8, fill.quantity_e8, fill.quote_e8, fill.fee_e8,
        )  # fmt: skip
        self._counters["fills_told_differently"] += not is_same
        return first

    def _known(self, venue_order_id: str) -> _Known:
        known = self._orders.pop(venue_order_id, None) or _Known()
        self._orders[venue_order_id] = known
        if len(self._orders) > ORDERS_REMEMBERED_MAX:
            self._orders.pop(next(iter(self._orders)))
        return known


def _is_whole(picture: OrderPicture) -> bool:
    """Tell whether the trades shown are all that the order executed."""
    return sum(trade.quantity_e8 for trade in picture.trades) == picture.executed_e8


def _new_quotes_e8(picture: OrderPicture, known: _Known) -> list[int]:
    return [trade.quote_e8 for trade in picture.trades if trade.trade_id not in known.fills]


def _unexplained_e8(picture: OrderPicture, known: _Known) -> int:
    """Return what the order paid beyond the fills that are known."""
    told = [known.fills[trade.trade_id].fee_e8 for trade in picture.trades if trade.trade_id in known.fills]
    return picture.paid_fee_e8 - sum(told)


def _quote(symbol: str) -> Asset:
    """Return the asset that fees are paid in: always the quote, which a code names first."""
    return Asset(symbol.partition("-")[0])
