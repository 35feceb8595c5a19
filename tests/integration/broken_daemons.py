"""Daemons that are broken on purpose, one for each drill: what it guards against is what they do. Handed in as `Parts`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from arbitrage.app.connections import Connections
from arbitrage.app.drills.parts import Parts
from arbitrage.engine.dust import Dust
from arbitrage.engine.engine import Engine
from arbitrage.market.diff_book import DiffBook
from arbitrage.model.effects import CancelOrder, Effect, PlaceOrder, QueryOrder, VenueEffect
from arbitrage.model.events import (
    AccountLinkDown,
    AccountLinkUp,
    BookDiff,
    BookFull,
    ClockMeasured,
    Event,
    InstrumentsRead,
    OrderAbsent,
    OrderEnded,
    OrderFilled,
    WalletsRead,
)
from arbitrage.model.facts import Fact
from arbitrage.model.instruments import TradingStatus
from arbitrage.model.orders import ClientOrderId, Order, OrderState
from arbitrage.model.snapshots import Snapshot

DAY_MS = 86_400_000


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


class Negligent(Engine):
    """Never mends a leg that fell short."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self.desk.settings = msgspec.structs.replace(self.desk.settings, governor_attempts_max=0)


class Hoarding(Dust):
    """Never hedges what is left over."""

    def hedge(self, *values: Any, **named: Any) -> list[Effect]:
        return []


class Hoarder(Engine):
    """An engine with it."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self.dust = Hoarding(self.desk, self.quotes)


class Doubling(Engine):
    """Books every fill twice: as if stream and REST gave it different trade ids."""

    def step(self, event: Event) -> Sequence[Effect]:
        effects = list(super().step(event))
        if isinstance(event, OrderFilled):
            fill = msgspec.structs.replace(event.fill, trade_id=f"{event.fill.trade_id}r")
            effects += super().step(msgspec.structs.replace(event, fill=fill))
        return effects


class Credulous(Engine):
    """Takes a cancel that was sent for the end of its order, and hears nothing of it any more."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self._cancelled: set[ClientOrderId] = set()

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, OrderFilled) and event.fill.client_order_id in self._cancelled:
            return ()
        if isinstance(event, OrderEnded) and event.client_order_id in self._cancelled:
            event = msgspec.structs.replace(event, filled_quantity_e8=0)
        effects = super().step(event)
        self._cancelled |= {effect.client_order_id for effect in effects if isinstance(effect, CancelOrder)}
        return effects


class Gapless(Engine):
    """Applies an update of a book whether or not one before it is missing."""

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, BookDiff):
            book = self.board.books[event.market]
            if isinstance(book, DiffBook) and 0 < book.last_id < event.first_id - 1:
                event = msgspec.structs.replace(event, first_id=book.last_id + 1)
        return super().step(event)


class Trusting(Engine):
    """Trusts a book however old it is, and a venue however wrong its clock."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        settings = self.settings.market_data
        self.board.configure(msgspec.structs.replace(settings, symbol_age_ms_max=DAY_MS, clock_offset_ms_max=DAY_MS))


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


class Deaf(Engine):
    """Does not hear that an account's link is lost."""

    def step(self, event: Event) -> Sequence[Effect]:
        return () if isinstance(event, AccountLinkDown) else super().step(event)


class Amnesiac(Engine):
    """Begins anew at every start."""

    def restore(self, snapshot: Snapshot | None, facts: Iterable[Fact]) -> int:
        return super().restore(None, ())


def forgets_bans(connections: Connections) -> None:
    """Let a ban be forgotten with the process."""
    setattr(connections, "note_bans", lambda: None)  # noqa: B010 - a method in the place of another, which mypy rightly refuses


class Repeating(Engine):
    """Sends again, once an account is there, every order of which it does not know the end: as naive programs recover."""

    def step(self, event: Event) -> Sequence[Effect]:
        effects = super().step(event)
        if isinstance(event, AccountLinkUp):
            left = [order for order, _ in self.desk.unfinished() if order.venue == event.venue]
            effects = [*(PlaceOrder(msgspec.structs.replace(order, valid_until_ns=0)) for order in left), *effects]
        return effects


class Gullible(Engine):
    """Believes the first "does not exist"."""

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, OrderAbsent):
            event = OrderEnded(event.at_ns, event.client_order_id, OrderState.REJECTED, 0, "does not exist")
        return super().step(event)


class Timeless(Engine):
    """Measures no clock."""

    def step(self, event: Event) -> Sequence[Effect]:
        return () if isinstance(event, ClockMeasured) else super().step(event)


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
    Broken("leg-reject", "the arbitrage ended recovered", Negligent),
    Broken("leg-reject", "is left unhedged", Doubling, patience=0.15),
    Broken("partial-dust", "hedged once a venue takes so much", Hoarder, patience=0.15),
    Broken("cancel-fill-race", "a fill that crossed its cancel is booked, once", Credulous),
    Broken("gap", "the gap is noticed", Gapless),
    Broken("frozen-feed", "doubted once it is older than its limit", Trusting),
    Broken("fx-gone", "nothing is entered without a rate", Nostalgic),
    Broken("silent-private-stream", "the silence is noticed", Deaf, patience=1.0),
    Broken("restart-with-fills", "the arbitrage of before has its end", Amnesiac, patience=0.25),
    Broken("ban", "written down for a restart", prepare=forgets_bans),
    Broken("clock-skew", "the offset is measured", Trusting),
    Broken("venue-halt", "the market is known to be halted", Headstrong, patience=0.15),
    Broken("wallet-suspended", "the wallet is known to be closed", Careless),
    Broken("wrong-tick", "the market is held", Compliant),
)
