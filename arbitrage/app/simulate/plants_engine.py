"""Bugs on purpose inside the engine's rooms: what is believed, booked, judged, kept. Each class is one mistake, said in a line.

They reach into rooms by name, as a wrong edit would; `plants.py` lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from arbitrage.engine.dust import Dust
from arbitrage.engine.engine import Engine
from arbitrage.execution.hedging import Residue
from arbitrage.ledger.ledger import Ledger
from arbitrage.ledger.reservations import Hold
from arbitrage.market.diff_book import DiffBook
from arbitrage.model.effects import CancelOrder, Effect
from arbitrage.model.entries import Posting
from arbitrage.model.events import (
    AccountLinkDown,
    AccountRead,
    BookDiff,
    Command,
    CommandKind,
    Event,
    LinkAlive,
    LinkDown,
    OrderAbsent,
    OrderEnded,
    OrderFilled,
    OrdersHeld,
    OrderUnanswered,
    Reloaded,
)
from arbitrage.model.facts import Fact, KillSwitched
from arbitrage.model.instruments import Instrument, Side
from arbitrage.model.money import PPM
from arbitrage.model.orders import ClientOrderId, Fill, OrderState
from arbitrage.model.settings import TradingSettings
from arbitrage.model.snapshots import Snapshot
from arbitrage.sim.town import RATE

DAY_MS = 86_400_000


class FillTwice(Engine):
    """Books every fill twice, as if stream and answer gave it different trade ids."""

    def step(self, event: Event) -> Sequence[Effect]:
        effects = [*super().step(event)]
        if isinstance(event, OrderFilled):
            again = msgspec.structs.replace(event.fill, trade_id=f"{event.fill.trade_id}r")
            effects += super().step(msgspec.structs.replace(event, fill=again))
        return effects


class Undeduplicated(Engine):
    """Does not remember which fills it has booked."""

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, OrderFilled):
            key = (event.fill.venue, event.fill.market, event.fill.trade_id)
            self.desk._trades.discard(key)
            self.ledger._trades.discard(key)
        return super().step(event)


class AbsenceBelieved(Engine):
    """Takes "does not exist" for the end of an order, the first time it hears it."""

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, OrderAbsent):
            event = OrderEnded(event.at_ns, event.client_order_id, OrderState.REJECTED, 0, "not found")
        return super().step(event)


class SilenceIsRefusal(Engine):
    """Takes an order without an answer for one that was refused."""

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, OrderUnanswered):
            event = OrderEnded(event.at_ns, event.client_order_id, OrderState.REJECTED, 0, "no answer")
        return super().step(event)


class CancelIsFinal(Engine):
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


class PartIsWhole(Engine):
    """Takes the order's quantity for the fill's."""

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, OrderFilled) and (worked := self.desk.worked(event.fill.client_order_id)) is not None:
            event = msgspec.structs.replace(event, fill=self._whole(event.fill, worked.order.quantity_e8))
        return super().step(event)

    def _whole(self, fill: Fill, quantity_e8: int) -> Fill:
        quote_e8 = fill.quote_e8 * quantity_e8 // fill.quantity_e8
        return msgspec.structs.replace(fill, quantity_e8=quantity_e8, quote_e8=quote_e8)


class FeeAssetIgnored(Engine):
    """Books every fee in the quote asset."""

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, OrderFilled) and (rules := self.board.instruments[event.fill.market]) is not None:
            event = msgspec.structs.replace(event, fill=msgspec.structs.replace(event.fill, fee_asset=rules.quote))
        return super().step(event)


class RoundingForUs(Engine):
    """Computes fees itself instead of reading them, and cuts them off."""

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, OrderFilled) and (rules := self.board.instruments[event.fill.market]) is not None:
            fill = event.fill
            of_e8 = fill.quantity_e8 if fill.side is Side.BUY and fill.fee_asset == rules.base else fill.quote_e8
            if fill.fee_asset in (rules.base, rules.quote):
                fee_e8 = of_e8 * rules.fees.taker_ppm // PPM
                event = msgspec.structs.replace(event, fill=msgspec.structs.replace(fill, fee_e8=fee_e8))
        return super().step(event)


class _NeverHedges(Dust):
    """Never hedges what is left over."""

    def hedge(self, *values: Any, **named: Any) -> list[Effect]:
        return []


class HedgeForgotten(Engine):
    """Neither mends a leg that fell short nor hedges what is left over."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self.desk.settings = msgspec.structs.replace(self.desk.settings, governor_attempts_max=0)
        self.dust = _NeverHedges(self.desk, self.quotes)


class _WrongSide(Dust):
    """Sells what is missing and buys what is left over."""

    def _plan(self, residue: Residue, instruments: list[Instrument]) -> list[Effect]:
        return super()._plan(msgspec.structs.replace(residue, amount_e8=-residue.amount_e8), instruments)


class HedgeOnWrongSide(Engine):
    """Hedges leftovers on the wrong side."""

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__(*values, **named)
        self.dust = _WrongSide(self.desk, self.quotes)


class LateFillDropped(Engine):
    """Drops a fill of an order that has ended already."""

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, OrderFilled):
            worked = self.desk.worked(event.fill.client_order_id)
            if worked is not None and worked.state.is_terminal:
                return ()
        return super().step(event)


class DifferenceExplainedAway(Engine):
    """Takes whatever an account differs by for a deposit or a withdrawal."""

    def step(self, event: Event) -> Sequence[Effect]:
        effects = [*super().step(event)]
        if isinstance(event, AccountRead) and self.reconciler.differences():
            effects += super().step(Command(event.at_ns, CommandKind.ACCEPT_DIFFERENCES, "engine", "a deposit"))
        return effects


class GapIgnored(Engine):
    """Applies an update of a book whether or not one before it is missing."""

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, BookDiff):
            book = self.board.books[event.market]
            if isinstance(book, DiffBook) and 0 < book.last_id < event.first_id - 1:
                event = msgspec.structs.replace(event, first_id=book.last_id + 1)
        return super().step(event)


class LinkLossIgnored(Engine):
    """Goes on with the books it has when a connection ends."""

    def step(self, event: Event) -> Sequence[Effect]:
        return () if isinstance(event, LinkDown) else super().step(event)


class AccountLossIgnored(Engine):
    """Does not hear that an account's link is lost."""

    def step(self, event: Event) -> Sequence[Effect]:
        return () if isinstance(event, AccountLinkDown) else super().step(event)


class HoldIgnored(Engine):
    """Does not hear that a venue takes no order for a while."""

    def step(self, event: Event) -> Sequence[Effect]:
        return () if isinstance(event, OrdersHeld) else super().step(event)


class RateOfAnotherTime(Engine):
    """Takes the won's rate for fresh as long as its connection lives, and so converts at a rate of another time."""

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, LinkAlive) and event.venue == RATE[0]:
            self.board.books[self.markets.index(RATE)].updated_at_ns = event.at_ns
        return super().step(event)


class _Misreading(Engine):
    """Reads a part of its configuration wrong, at the start and at every reload."""

    def __init__(self, settings: TradingSettings, *values: Any, **named: Any) -> None:
        super().__init__(self.misread(settings), *values, **named)

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, Reloaded):
            event = msgspec.structs.replace(event, settings=self.misread(event.settings))
        return super().step(event)

    def misread(self, settings: TradingSettings) -> TradingSettings:
        """Return what it takes the settings for."""
        return settings


class StaleTraded(_Misreading):
    """Trusts a book however old it is."""

    def misread(self, settings: TradingSettings) -> TradingSettings:
        data = msgspec.structs.replace(settings.market_data, symbol_age_ms_max=DAY_MS, link_age_ms_max=DAY_MS)
        return msgspec.structs.replace(settings, market_data=data)


class NeverAsks(_Misreading):
    """Waits for an answer for ever instead of asking."""

    def misread(self, settings: TradingSettings) -> TradingSettings:
        execution = msgspec.structs.replace(settings.execution, acknowledgement_ms_max=DAY_MS)
        return msgspec.structs.replace(settings, execution=execution)


class ClockIgnored(_Misreading):
    """Trusts a venue however wrong its clock is."""

    def misread(self, settings: TradingSettings) -> TradingSettings:
        data = msgspec.structs.replace(settings.market_data, clock_offset_ms_max=DAY_MS)
        return msgspec.structs.replace(settings, market_data=data)


class ReloadForgotten(Engine):
    """Says that a new configuration is in force, and judges by the old limits."""

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, Reloaded):
            event = msgspec.structs.replace(event, settings=msgspec.structs.replace(event.settings, risk=self.settings.risk))
        return super().step(event)


class KillForgotten(Engine):
    """Cancels when the kill switch is set, and enters again as soon as something pays."""

    def _apply(self, fact: Fact) -> list[Effect]:
        effects = super()._apply(fact)
        if isinstance(fact, KillSwitched):
            self.guard._windows._change(kill_reason="")
            self.desk._is_killed = False
        return effects


class KillIgnoredByGovernor(Engine):
    """Enters nothing under the kill switch, but goes on mending legs with new orders."""

    def _apply(self, fact: Fact) -> list[Effect]:
        effects = super()._apply(fact)
        self.desk._is_killed = False
        return effects


class KillForgottenAtStart(Engine):
    """Starts with the kill switch released."""

    def restore(self, snapshot: Snapshot | None, facts: Iterable[Fact]) -> int:
        count = super().restore(snapshot, facts)
        self.guard._windows._change(kill_reason="")
        self.desk._is_killed = False
        return count


class _Leaking(Ledger):
    """Gives back nothing of what an ended order no longer takes."""

    def _release(self, hold: Hold, spent_e8: int) -> Sequence[Posting]:
        hold.reserved_e8 -= spent_e8
        return ()


class ReservationLeaked(Engine):
    """Keeps the rest of every reservation for ever."""

    def _apply(self, fact: Fact) -> list[Effect]:
        self.ledger.__class__ = _Leaking
        return super()._apply(fact)


class SnapshotWithoutFills(Engine):
    """Keeps in its snapshots what fills did, and not which they were."""

    def snapshot(self, session_id: str, at_ns: int, journal_sequence: int) -> Snapshot:
        kept = super().snapshot(session_id, at_ns, journal_sequence)
        desk = msgspec.json.decode(kept.sections["desk"])
        ledger = msgspec.json.decode(kept.sections["ledger"])
        for plan in (*desk["plans"], *ledger["plans"]):
            plan["trades"] = []
        sections = kept.sections | {
            "desk": msgspec.Raw(msgspec.json.encode(desk)), "ledger": msgspec.Raw(msgspec.json.encode(ledger)),
        }  # fmt: skip
        return msgspec.structs.replace(kept, sections=sections)


class SnapshotWithoutReservations(Engine):
    """Frees every reservation in its snapshots."""

    def snapshot(self, session_id: str, at_ns: int, journal_sequence: int) -> Snapshot:
        kept = super().snapshot(session_id, at_ns, journal_sequence)
        ledger = msgspec.json.decode(kept.sections["ledger"])
        freed = {tuple(row["node"].items()): row["amount_e8"] for row in ledger["balances"] if row["account"] == "reserved"}
        for row in ledger["balances"]:
            held = freed.get(tuple(row["node"].items()), 0)
            row["amount_e8"] += held if row["account"] == "free" else -held if row["account"] == "reserved" else 0
        for hold in ledger["holds"]:
            hold["reserved_e8"] = 0
        return msgspec.structs.replace(kept, sections=kept.sections | {"ledger": msgspec.Raw(msgspec.json.encode(ledger))})


class SnapshotAhead(Engine):
    """Says that a snapshot holds one fact more than it does."""

    def snapshot(self, session_id: str, at_ns: int, journal_sequence: int) -> Snapshot:
        return super().snapshot(session_id, at_ns, journal_sequence + 1)


class JournalForgotten(Engine):
    """Starts from its snapshot and leaves out what came after it."""

    def restore(self, snapshot: Snapshot | None, facts: Iterable[Fact]) -> int:
        return super().restore(snapshot, facts if snapshot is None else ())
