"""What the simulated daemon's account links have in common: effects in, events out, as `venues/trading.py` says a session owes.

An order is placed at most once. A lost, late or ambiguous answer is OrderUnanswered; a definite refusal OrderEnded(REJECTED);
"does not exist" is OrderAbsent. What is left of the real sessions here is the order of their words; encoding, signing, reading,
judging and budgets are theirs.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence

import msgspec

from arbitrage.app.simulate.party import MS_NS, Life, Party, Steps
from arbitrage.model.effects import CancelOrder, PlaceOrder, QueryOrder, ReadAccount, VenueEffect
from arbitrage.model.events import (
    AccountBalance,
    AccountLinkDown,
    AccountRead,
    FaultKind,
    FeedFault,
    OpenOrder,
    OrderUnanswered,
)
from arbitrage.model.instruments import Instrument, Venue
from arbitrage.model.orders import ClientOrderId, Order
from arbitrage.model.settings import VenueSettings
from arbitrage.sim.server.http import Response
from arbitrage.sim.wire import Line, Wire
from arbitrage.venues.rest import Limits
from arbitrage.venues.trading import Credentials, rejection
from arbitrage.venues.wiring import VenueEvent

RECONNECT_NS = 700 * MS_NS
PING_NS = 1_000 * MS_NS
TERMS_NS = 20_000 * MS_NS
"""How often fees and wallets are read; sessions do it hourly, a simulated life is shorter."""
LATE_WORDS = "not sent: its validity had passed"


class LinkContext(msgspec.Struct, frozen=True):
    """Whose account, and what its link may look up."""

    venue: Venue
    settings: VenueSettings
    markets: Mapping[str, int]
    credentials: Credentials
    instrument: Callable[[int], Instrument | None]
    limits: Limits
    """The market data's own budgets: a venue that counts or bans by address counts both together."""


class AccountLink(Party, ABC):
    """One venue's order entry and private stream. Also the client of its connection."""

    def __init__(
        self, context: LinkContext, life: Life, wire: Wire, sink: Callable[[Sequence[VenueEvent]], None], dice: random.Random
    ) -> None:
        super().__init__(life, wire, sink, dice)
        self.context = context
        self.symbols = {market: symbol for symbol, market in context.markets.items()}
        self.is_up = False
        self._line: Line | None = None
        self._placing: dict[ClientOrderId, bool] = {}
        """Orders handed over whose placing has not ended, and whether they have left."""
        self._withdrawn: set[ClientOrderId] = set()
        """Those of them that were cancelled meanwhile: they do not leave, or not again."""
        self._heard_ns = 0
        self._asking: set[ClientOrderId] = set()

    def start(self) -> None:
        """Connect, and keep at it; read the terms now and then."""
        self.begin(self._connect(0))
        self.begin(self._keep_terms())
        self.life.after_ns(PING_NS, self._watch)

    def submit(self, effect: VenueEffect) -> None:
        """Begin to carry out an effect."""
        match effect:
            case PlaceOrder(order):
                self.begin(self._place_once(order))
            case CancelOrder(client_order_id=client_order_id, market=market):
                if client_order_id in self._placing:
                    self._withdrawn.add(client_order_id)
                if self._placing.get(client_order_id, True):
                    self.begin(self.cancel(client_order_id, market))
            case QueryOrder(client_order_id=client_order_id, market=market):
                if client_order_id not in self._asking:
                    self._asking.add(client_order_id)
                    self.begin(self._ask_once(client_order_id, market))
            case ReadAccount():
                self.begin(self._read_account())

    @abstractmethod
    def place(self, order: Order) -> Steps[None]:
        """Send an order once, and tell what became of it."""

    @abstractmethod
    def cancel(self, client_order_id: ClientOrderId, market: int) -> Steps[None]:
        """Ask for a cancel; tell what the order is."""

    @abstractmethod
    def query(self, client_order_id: ClientOrderId, market: int) -> Steps[None]:
        """Ask what became of an order; tell its state and fills, or that it does not exist."""

    @abstractmethod
    def orders_wait_ns(self) -> int:
        """Return how long no order may leave by the venue's budgets and refusals; 0 when one may."""

    @abstractmethod
    def hold_requests(self, until_ns: int) -> None:
        """Ask nothing before this time: a ban outlives a restart."""

    @property
    @abstractmethod
    def held_until_ns(self) -> int:
        """Return the end of the longest ban in force; 0 when there was none."""

    # -- for the venues' own ------------------------------------------------------------------------------------

    def on_open(self, line: Line) -> None:
        self._heard_ns = self.life.now_ns()
        self.life.guarded(self._on_open)(line)

    def on_frame(self, line: Line, raw: bytes) -> None:
        self.life.guarded(self._on_frame)(line, raw)

    def on_end(self, reason: str, refusal: Response | None) -> None:
        self.life.guarded(self._on_end)(reason, refusal)

    def may_send(self, order: Order) -> str:
        """Say why an order must not leave any more; from "" on it counts as sent."""
        reason = ""
        if order.client_order_id in self._withdrawn:
            reason = "not sent: it was cancelled before it left"
        elif 0 < order.valid_until_ns < self.life.now_ns():
            reason = LATE_WORDS
        self._placing[order.client_order_id] = not reason
        return reason

    def reject(self, order: Order, reason: str) -> None:
        """Say that an order definitely was not and will not be executed."""
        self.sink(rejection(order, reason, self.life.now_ns(), self.orders_wait_ns()))

    def unanswered(self, order: Order) -> None:
        """Say that nobody knows what became of an order."""
        self.sink((OrderUnanswered(self.life.now_ns(), order.client_order_id),))

    def fault(self, detail: str, market: int | None = None) -> None:
        """Make a fault of the world visible."""
        self.sink((FeedFault(self.life.now_ns(), self.context.venue, FaultKind.REQUEST_FAILED, detail[:200], market),))

    def _go_down(self, reason: str) -> None:
        """Give the connection up, tell of it once, and open another."""
        line, self._line = self._line, None
        if line is not None:
            line.hang_up()
        if self.is_up:
            self.is_up = False
            self.sink((AccountLinkDown(self.life.now_ns(), self.context.venue, reason),))
        self.begin(self._connect(RECONNECT_NS))

    def _on_end(self, reason: str, refusal: Response | None) -> None:
        if self._line is not None and self._line.has_ended:
            self._go_down(reason)

    def _place_once(self, order: Order) -> Steps[None]:
        self._placing[order.client_order_id] = False
        yield from self.place(order)
        del self._placing[order.client_order_id]
        self._withdrawn.discard(order.client_order_id)

    def _watch(self) -> None:
        """Ping, and give a connection up that shows no life."""
        self.life.after_ns(PING_NS, self._watch)
        line, now_ns = self._line, self.life.now_ns()
        if line is None or not self.is_up:
            return
        if now_ns - self._heard_ns >= self.context.settings.silence_ms_max * MS_NS:
            self._go_down("silent")
        else:
            line.ping(self.life.guarded(self._alive))

    def _alive(self) -> None:
        self._heard_ns = self.life.now_ns()

    def _ask_once(self, client_order_id: ClientOrderId, market: int) -> Steps[None]:
        yield from self.query(client_order_id, market)
        self._asking.discard(client_order_id)

    def _read_account(self) -> Steps[None]:
        """Read balances, then open orders; both or nothing."""
        asked_ns = self.life.now_ns()
        balances = yield from self._balances()
        orders = None if balances is None else (yield from self._open_orders())
        if balances is not None and orders is not None:
            self.sink((AccountRead(self.life.now_ns(), asked_ns, self.context.venue, balances, orders),))

    def _keep_terms(self) -> Steps[None]:
        while True:
            yield from self._read_terms()
            yield self.pause(TERMS_NS)

    @abstractmethod
    def _connect(self, pause_ns: int) -> Steps[None]: ...

    @abstractmethod
    def _on_open(self, line: Line) -> None: ...

    @abstractmethod
    def _on_frame(self, line: Line, raw: bytes) -> None: ...

    @abstractmethod
    def _balances(self) -> Steps[tuple[AccountBalance, ...] | None]: ...

    @abstractmethod
    def _open_orders(self) -> Steps[tuple[OpenOrder, ...] | None]: ...

    @abstractmethod
    def _read_terms(self) -> Steps[None]: ...
