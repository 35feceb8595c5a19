"""Bugs on purpose around the engine: what is written before what is sent, and what is heeded of a venue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from arbitrage.app.door import Door
from arbitrage.app.simulate.binance_link import RECV_WINDOW_MS_MAX, BinanceLink
from arbitrage.app.simulate.feeds import BinanceFeed, UpbitFeed
from arbitrage.app.simulate.links import AccountLink
from arbitrage.app.simulate.party import Steps
from arbitrage.app.simulate.upbit_link import UpbitLink
from arbitrage.model.effects import Append, Effect, PlaceOrder, QueryOrder, VenueEffect
from arbitrage.model.instruments import Side
from arbitrage.model.orders import ClientOrderId, Order
from arbitrage.venues.binance.replies import Meaning, Outcome, meaning_of

LATER_NS = 10_000_000_000


class WrittenAfterSent(Door):
    """Sends first and writes down afterwards."""

    def _carry_out(self, effects: Sequence[Effect]) -> None:
        super()._carry_out([effect for effect in effects if not isinstance(effect, Append)])
        super()._carry_out([effect for effect in effects if isinstance(effect, Append)])


class SentUnwritten(Door):
    """Sends an entry although the journal took nothing."""

    def _refuse_entry(self, effect: PlaceOrder) -> None:
        assert self._transport is not None, "an order needs a transport"
        self._transport.submit(effect)


def _again(order: Order) -> PlaceOrder:
    name = ClientOrderId(f"{order.client_order_id}r")
    return PlaceOrder(msgspec.structs.replace(order, client_order_id=name, valid_until_ns=order.valid_until_ns + LATER_NS))


class _Resending(AccountLink):
    """Sends an order once more, under another id, when it is asked about."""

    def __init__(self, *values: Any) -> None:
        super().__init__(*values)
        self._orders: dict[ClientOrderId, Order] = {}

    def submit(self, effect: VenueEffect) -> None:
        if isinstance(effect, PlaceOrder):
            self._orders[effect.order.client_order_id] = effect.order
        elif isinstance(effect, QueryOrder) and (order := self._orders.pop(effect.client_order_id, None)) is not None:
            super().submit(_again(order))
        super().submit(effect)


class ResendingBinance(_Resending, BinanceLink):
    """Binance, asked so."""


class ResendingUpbit(_Resending, UpbitLink):
    """Upbit, asked so."""


class RepeatingBinance(BinanceLink):
    """Sends an order once more under its own id when the answer is lost: Binance frees an id once its order has ended."""

    def _send(self, order: Order) -> Steps[Outcome]:
        outcome: Outcome = yield from super()._send(order)
        if meaning_of(outcome) is Meaning.UNKNOWN:
            later_ns = self.life.now_ns() + LATER_NS
            outcome = yield from super()._send(msgspec.structs.replace(order, valid_until_ns=later_ns))
        return outcome


class LooseningUpbit(UpbitLink):
    """Gives the price some room on its way out, so that orders fill more often."""

    def submit(self, effect: VenueEffect) -> None:
        if isinstance(effect, PlaceOrder):
            order, rules = effect.order, self.context.instrument(effect.order.market)
            assert rules is not None, "who trades has rules"
            room_e8 = rules.ticks.tick_e8_at(order.price_e8) * (1 if order.side is Side.BUY else -1)
            effect = PlaceOrder(msgspec.structs.replace(order, price_e8=order.price_e8 + room_e8))
        super().submit(effect)


class _Heedless:
    """Goes on asking whatever the venue says."""

    def _heed(self, *values: Any) -> None:
        """Hold nothing back."""


class HeedlessBinanceFeed(_Heedless, BinanceFeed):
    """Binance's books, asked for so."""


class HeedlessUpbitFeed(_Heedless, UpbitFeed):
    """Upbit's books, asked for so."""


class HeedlessBinance(_Heedless, BinanceLink):
    """Binance's account, asked so."""


class HeedlessUpbit(_Heedless, UpbitLink):
    """Upbit's account, asked so."""


class _Forgetful:
    """Does not know after a restart that it is banned."""

    def hold_requests(self, until_ns: int) -> None:
        """Hold nothing back."""


class ForgetfulBinanceFeed(_Forgetful, BinanceFeed):
    """Binance's books after it."""


class ForgetfulBinance(_Forgetful, BinanceLink):
    """Binance's account after it."""


class TimelessBinance(BinanceLink):
    """Sends an order however late it has become."""

    def recv_window_ms(self, order: Order) -> int:
        return RECV_WINDOW_MS_MAX

    def may_send(self, order: Order) -> str:
        return super().may_send(msgspec.structs.replace(order, valid_until_ns=0))


class TimelessUpbit(UpbitLink):
    """Sends an order however late it has become."""

    def submit(self, effect: VenueEffect) -> None:
        if isinstance(effect, PlaceOrder):
            later_ns = effect.order.valid_until_ns + 100 * LATER_NS
            effect = PlaceOrder(msgspec.structs.replace(effect.order, valid_until_ns=later_ns))
        super().submit(effect)
