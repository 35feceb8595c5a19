"""Upbit's WebSockets: what every connection does, and the public one (reference sheet, section 10). Reads no request itself.

Each request replaces all earlier wishes; a format holds for the connection; PING brings status lines.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import partial

import msgspec

from arbitrage.sim.exchange.faults import Faults
from arbitrage.sim.exchange.outbox import Outbox
from arbitrage.sim.server.session import Pipe
from arbitrage.sim.server.upbit_format import Format, encode
from arbitrage.sim.server.upbit_market import Message, Notice, UpbitMarket
from arbitrage.sim.server.upbit_subscriptions import PUBLIC_KINDS, RequestError, Wish, listing, parse_subscription

STATUS_INTERVAL_S = 10.0


class Hours(msgspec.Struct, frozen=True):
    """What a connection knows of its venue: two clocks, and the faults that strike messages."""

    clock: Callable[[], int]
    now: Callable[[], float]
    faults: Faults | None = None


class UpbitConnection(ABC):
    """One connection: its wishes, its format and its signs of life."""

    kinds: tuple[str, ...]

    def __init__(self, pipe: Pipe, hours: Hours, forget: Callable[[UpbitConnection], None]) -> None:
        self.wishes: dict[tuple[str, str], Wish] = {}
        """By (type, code)."""
        self._pipe = pipe
        self._now = hours.now
        self._forget = forget
        self._outbox: Outbox[bytes] = Outbox(hours.faults, hours.clock, partial(pipe.send, is_binary=True), pipe.abort)
        self._form: Format = "DEFAULT"
        self._status_s: float | None = None

    def close(self, code: int, reason: str) -> None:
        self._pipe.close(code, reason)

    def on_message(self, payload: bytes) -> None:
        """Take PING or one request."""
        if payload.strip() == b"PING":
            self._say_up()
            return
        try:
            request = parse_subscription(payload, self.kinds)
        except RequestError as refusal:
            self._pipe.send(refusal.frame(), is_binary=True)
            return
        self._form = request.form or self._form
        if request.is_listing:
            self._send(listing(list(self.wishes.values()), request.ticket), "LIST_SUBSCRIPTIONS")
            return
        self.wishes = {(wish.kind, wish.code): wish for wish in request.wishes}
        self._subscribed()

    def on_ping(self) -> None:
        """Begin the status lines, as a text PING does."""
        self._status_s = self._status_s or self._now()

    def on_second(self) -> None:
        """Send a status line every ten seconds once the client has pinged, and what was late."""
        self._outbox.release()
        if self._status_s is not None and self._now() - self._status_s >= STATUS_INTERVAL_S:
            self._say_up()

    def on_close(self) -> None:
        self.wishes = {}
        self._forget(self)

    @abstractmethod
    def _subscribed(self) -> None:
        """Take the new wishes."""

    def _stream(self, name: str, payload: bytes) -> None:
        """Send a realtime message, which faults may strike by its name."""
        self._outbox.put(name, payload, payload.decode())

    def _send(self, message: Message, kind: str) -> None:
        self._pipe.send(encode(kind, message, self._form), is_binary=True)

    def _say_up(self) -> None:
        self._status_s = self._now()
        self._pipe.send(b'{"status":"UP"}', is_binary=True, is_data=False)


class UpbitSession(UpbitConnection):
    """One public connection."""

    kinds = PUBLIC_KINDS

    def __init__(
        self, pipe: Pipe, markets: dict[str, UpbitMarket], hours: Hours, forget: Callable[[UpbitConnection], None]
    ) -> None:
        super().__init__(pipe, hours, forget)
        self._markets = markets

    def deliver(self, market: UpbitMarket, notice: Notice) -> None:
        """Send one realtime message if this connection wants it."""
        wish = self.wishes.get((notice.kind, market.spec.symbol))
        if wish is None or wish.is_only_snapshot:
            return
        if notice.raw is not None and self._form == "SIMPLE" and notice.raw_units <= wish.units and not wish.level_e8:
            self._stream(f"{wish.kind}.{wish.code}", notice.raw)
            return
        message = content(market, wish)
        if message is not None:
            self._stream(f"{wish.kind}.{wish.code}", encode(wish.kind, {**message, "stream_type": "REALTIME"}, self._form))

    def _subscribed(self) -> None:
        for wish in self.wishes.values():
            market = self._markets.get(wish.code)
            message = None if market is None or wish.is_only_realtime else content(market, wish)
            if message is not None:
                self._send({**message, "stream_type": "SNAPSHOT"}, wish.kind)


def content(market: UpbitMarket, wish: Wish) -> Message | None:
    """Return what a wish would be told now; None is silence."""
    if wish.kind == "orderbook":
        return market.orderbook(wish.units, wish.level_e8)
    return market.trade() if wish.kind == "trade" else market.ticker()
