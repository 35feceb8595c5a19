"""Daemons that are broken on purpose, one for each drill: what it guards against is what they do. Handed in as `Parts`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from arbitrage.app.bans import BanFile
from arbitrage.app.connections import Connections
from arbitrage.app.drills.parts import Parts
from arbitrage.app.simulate.plants_engine import (
    AccountLossIgnored,
    CancelIsFinal,
    ClockIgnored,
    FillTwice,
    GapIgnored,
    HedgeForgotten,
    StaleTraded,
)
from arbitrage.engine.engine import Engine
from arbitrage.model.effects import Effect, PlaceOrder, QueryOrder, VenueEffect
from arbitrage.model.events import (
    AccountLinkUp,
    BookFull,
    Event,
    InstrumentsRead,
    OrderEnded,
    WalletsRead,
)
from arbitrage.model.facts import Fact
from arbitrage.model.instruments import TradingStatus
from arbitrage.model.orders import ClientOrderId, Order
from arbitrage.model.snapshots import Snapshot


class Resending:
    """An account session that sends an order once more, under another id, when it is asked about."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._orders: dict[ClientOrderId, Order] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def submit(self, effect: VenueEffect) -> None:
        if isinstance(effect, PlaceOrder):
            self._orders[effect.order.client_order_id] = effect.order
        elif isinstance(effect, QueryOrder) and (order := self._orders.pop(effect.client_order_id, None)) is not None:
            again = msgspec.structs.replace(order, client_order_id=ClientOrderId(f"{order.client_order_id}r"), valid_until_ns=0)
            self._session.submit(PlaceOrder(again))
        self._session.submit(effect)


def resending(connections: Connections) -> None:
    """Put it in Upbit's place."""
    session: Any = Resending(connections.accounts["upbit"])
    connections.accounts["upbit"] = session


class Nostalgic(Engine):
    """Goes on with the last rate it saw when the market that prices the fiat is empty."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self._last: dict[int, BookFull] = {}

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, BookFull):
            has_bid = any(unit.bid_price for unit in event.units)
            kept = self._last.setdefault(event.market, event) if not has_bid else event
            self._last[event.market] = kept
            event = msgspec.structs.replace(event, units=kept.units)
        return super().step(event)


class Amnesiac(Engine):
    """Begins anew at every start."""

    def restore(self, snapshot: Snapshot | None, facts: Iterable[Fact]) -> int:
        return super().restore(None, ())


class Unwritten(BanFile):
    """Lets a ban be forgotten with the process."""

    def __init__(self) -> None:
        self._until = {}

    def note(self, held_until_ns: Mapping[str, int], now_ns: int) -> None:
        """Write nothing down."""


def forgets_bans(connections: Connections) -> None:
    """Put it in the place of the file."""
    connections.bans = Unwritten()


class Repeating(Engine):
    """Sends again, once an account is there, every order of which it does not know the end: as naive programs recover."""

    def step(self, event: Event) -> Sequence[Effect]:
        effects = super().step(event)
        if isinstance(event, AccountLinkUp):
            left = [order for order, _ in self.desk.unfinished() if order.venue == event.venue]
            effects = [*(PlaceOrder(msgspec.structs.replace(order, valid_until_ns=0)) for order in left), *effects]
        return effects


class Headstrong(Engine):
    """Believes that every market always trades."""

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, InstrumentsRead):
            rows = tuple(msgspec.structs.replace(row, status=TradingStatus.TRADING) for row in event.instruments)
            event = msgspec.structs.replace(event, instruments=rows)
        if isinstance(event, OrderEnded):
            event = OrderEnded(event.at_ns, event.client_order_id, event.state, event.filled_quantity_e8, "no")
        return super().step(event)


class Careless(Engine):
    """Looks at no wallet."""

    def step(self, event: Event) -> Sequence[Effect]:
        return super().step(msgspec.structs.replace(event, suspended=()) if isinstance(event, WalletsRead) else event)


class Compliant(Engine):
    """Adopts whatever rule a venue states."""

    def step(self, event: Event) -> Sequence[Effect]:
        effects = super().step(event)
        return [*effects, *self.board.accept_instruments()] if isinstance(event, InstrumentsRead) else effects


class Greedy(Engine):
    """Wants more profit than there is."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        risk = msgspec.structs.replace(self.settings.risk, profit_min="400")
        self.guard.configure(risk, self.settings.market_data, self.settings.strategy)


@dataclasses.dataclass(frozen=True)
class Broken:
    """What is broken, and what the drill must say of it."""

    drill: str
    because: str
    engine: type[Engine] = Engine
    prepare: Callable[[Connections], None] | None = None
    patience: float = 0.4

    @property
    def parts(self) -> Parts:
        return Parts(self.engine, self.prepare, self.patience)


BROKEN = (
    Broken("lost-ack", "exactly one order stands for the intent", prepare=resending, patience=1.0),
    Broken("leg-reject", "the arbitrage ended recovered", HedgeForgotten),
    Broken("leg-reject", "is left unhedged", FillTwice, patience=0.15),
    Broken("partial-dust", "hedged once a venue takes so much", HedgeForgotten, patience=0.15),
    Broken("cancel-fill-race", "a fill that crossed its cancel is booked, once", CancelIsFinal),
    Broken("gap", "the gap is noticed", GapIgnored),
    Broken("frozen-feed", "doubted once it is older than its limit", StaleTraded),
    Broken("fx-gone", "nothing is entered without a rate", Nostalgic),
    Broken("silent-private-stream", "the silence is noticed", AccountLossIgnored, patience=1.0),
    Broken("restart-with-fills", "the arbitrage of before has its end", Amnesiac, patience=0.25),
    Broken("ban", "written down for a restart", prepare=forgets_bans),
    Broken("clock-skew", "the offset is measured", ClockIgnored),
    Broken("venue-halt", "the market is known to be halted", Headstrong, patience=0.15),
    Broken("wallet-suspended", "the wallet is known to be closed", Careless),
    Broken("wrong-tick", "the market is held", Compliant),
)
