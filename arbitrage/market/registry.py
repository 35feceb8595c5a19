"""The venues' rules per market as accepted, and what they say now when that differs. Never adopts a changed rule by itself."""

from __future__ import annotations

import msgspec

from arbitrage.market.doubt import Doubt
from arbitrage.model.effects import Effect, Report, Severity
from arbitrage.model.events import FeesRead, InstrumentsRead, MarketClosed
from arbitrage.model.instruments import FeeSchedule, Instrument, TickTable, TradingStatus, changed_fields
from arbitrage.model.money import format_e8

TICK_PRICE_SLACK = 0.01
"""A stated tick is compared with the bands within so much of the touch: the price moved between reading and now."""


class Registry:
    """Accepted instruments by market, held candidates beside them."""

    def __init__(self, markets: tuple[tuple[str, str], ...]) -> None:
        self._ids: dict[tuple[str, str], int] = {key: market for market, key in enumerate(markets)}
        assert len(self._ids) == len(markets), "a market is configured once"
        self.instruments: list[Instrument | None] = [None] * len(markets)
        self.doubts: list[Doubt | None] = [Doubt.MISSING] * len(markets)
        self.version = 0
        self.unverified_ticks: set[int] = set()
        self._held: dict[int, Instrument] = {}
        self._fees: dict[int, FeeSchedule] = {}
        """The account's own fees by market; they take the place of the configured ones."""
        self._notional_e8_mins: dict[int, int] = {}
        """The account's own smallest order values, alike."""
        self._inactive: set[int] = set()
        self._closed: set[int] = set()
        """Markets that refused an order as closed since their rules were last read."""
        self._missing: set[int] = set()

    def read(self, event: InstrumentsRead, touches: list[tuple[float, float]]) -> list[Effect]:
        """Accept what is new, hold what changed, note what is not listed. `touches`: (best bid, best ask) by market."""
        effects: list[Effect] = []
        unread = {market for (venue, _), market in self._ids.items() if venue == event.venue}
        for instrument in event.instruments:
            market = instrument.id
            assert self._ids.get((instrument.venue, instrument.symbol)) == market, "an instrument carries its market's id"
            unread.discard(market)
            self._missing.discard(market)
            self._closed.discard(market)
            effects += self._take(instrument, touches[market])
        for market in sorted(unread - self._missing):
            self._missing.add(market)
            effects.append(self._report_missing(event, market))
        self._refresh()
        return effects

    def read_fees(self, event: FeesRead) -> list[Effect]:
        """Take the account's own terms. The first reading replaces what was configured; a later change holds the symbol."""
        effects: list[Effect] = []
        self._notional_e8_mins.update(event.notional_e8_mins)
        for market, fees in event.fees:
            is_first = market not in self._fees
            self._fees[market] = fees
            effects += self._note_activity(event, market)
            accepted, held = self.instruments[market], self._held.get(market)
            if accepted is None:
                continue
            assert accepted.venue == event.venue, "fees are of their venue's markets"
            if is_first and (own := self._on_own_terms(accepted)) != accepted:
                self.instruments[market] = accepted = own
                self.version += 1
            effects += self._compare(accepted, self._on_own_terms(held or accepted))
        self._refresh()
        return effects

    def note_closed(self, event: MarketClosed) -> list[Effect]:
        """Halt a market that says it is closed, until its rules are read again or an operator accepts them."""
        if event.market in self._closed:
            return []
        self._closed.add(event.market)
        self._refresh()
        symbol = self._symbol(event.market)
        assert self.doubts[event.market] is not None, "what is closed is not traded"
        text = f"{symbol} at {event.venue} refused an order as closed: it is not traded until its rules are read again"
        return [
            Report(Severity.WARNING, "market_closed", text, {"venue": event.venue, "symbol": symbol, "market": event.market})
        ]

    def verify_tick(self, market: int, touch: tuple[float, float]) -> list[Effect]:
        """Settle at the first known price which table agrees with the stated tick: the venue's own word is the authority."""
        assert market in self.unverified_ticks, "a tick is verified once"
        self.unverified_ticks.discard(market)
        accepted = self.instruments[market]
        assert accepted is not None, "only an accepted instrument waits for its price"
        ticks = _ticks_in_force(accepted, accepted, touch)
        if ticks == accepted.ticks:
            return []
        self.instruments[market] = msgspec.structs.replace(accepted, ticks=ticks)
        self.version += 1
        return [_report_tick(accepted)]

    def accept(self) -> list[Effect]:
        """Adopt every held candidate: an operator's word."""
        effects: list[Effect] = []
        for market, candidate in sorted(self._held.items()):
            text = f"the rules of {candidate.symbol} at {candidate.venue} as last read are accepted"
            effects.append(Report(Severity.INFO, "instrument_accepted", text, _where(candidate)))
            self.instruments[market] = candidate
            self.version += 1
        self._held.clear()
        self._closed.clear()
        self._refresh()
        return effects

    def _take(self, read: Instrument, touch: tuple[float, float]) -> list[Effect]:
        market = read.id
        accepted = self.instruments[market]
        printed = read.ticks
        read = self._on_own_terms(read)
        if read.tick_read_e8:
            self.unverified_ticks.discard(market)
            if not (touch[0] and touch[1]):
                self.unverified_ticks.add(market)
            read = msgspec.structs.replace(read, ticks=_ticks_in_force(read, accepted, touch))
        if accepted is None:
            self.instruments[market] = read
            self.version += 1
            return [] if read.ticks == printed else [_report_tick(read)]
        return self._compare(accepted, read)

    def _on_own_terms(self, read: Instrument) -> Instrument:
        """Return a market's rules with what the account itself was told."""
        fees = self._fees.get(read.id, read.fees)
        least_e8 = self._notional_e8_mins.get(read.id, read.notional_e8_min)
        assert least_e8 >= 0, "an order is worth something"
        return msgspec.structs.replace(read, fees=fees, notional_e8_min=least_e8)

    def _note_activity(self, event: FeesRead, market: int) -> list[Effect]:
        """Note whether the account can trade in a market; say it when that changed."""
        is_inactive = market in event.inactive
        if is_inactive == (market in self._inactive):
            return []
        (self._inactive.add if is_inactive else self._inactive.discard)(market)
        symbol = self._symbol(market)
        text = f"{symbol} at {event.venue} is {'not active: it is not traded' if is_inactive else 'active again'}"
        return [Report(Severity.WARNING, "market_activity", text, {"venue": event.venue, "symbol": symbol, "market": market})]

    def _compare(self, accepted: Instrument, read: Instrument) -> list[Effect]:
        """Hold what differs from the accepted rules, by name; let go what agrees again."""
        market = read.id
        assert accepted.id == market, "rules are compared with those of their market"
        names = changed_fields(accepted, read)
        held = self._held.get(market)
        if not names:
            if self._held.pop(market, None) is None:
                return []
            text = f"the rules of {read.symbol} at {read.venue} are again as accepted"
            return [Report(Severity.INFO, "instrument_restored", text, _where(read))]
        self._held[market] = read
        is_known = held is not None and not changed_fields(held, read)
        return [] if is_known else [_report_change(accepted, read, name) for name in names]

    def _report_missing(self, event: InstrumentsRead, market: int) -> Report:
        symbol = self._symbol(market)
        is_said = "named as not listed" if symbol in event.missing else "absent from the answer"
        text = f"{symbol} at {event.venue} is configured but {is_said}; it is not traded"
        return Report(Severity.WARNING, "instrument_missing", text, {"venue": event.venue, "symbol": symbol})

    def _symbol(self, market: int) -> str:
        return next(symbol for (_, symbol), its_market in self._ids.items() if its_market == market)

    def _refresh(self) -> None:
        for market, instrument in enumerate(self.instruments):
            doubt = self._doubt_of(market, instrument)
            if doubt is not self.doubts[market]:
                self.doubts[market] = doubt
                self.version += 1

    def _doubt_of(self, market: int, instrument: Instrument | None) -> Doubt | None:
        if instrument is None or market in self._missing:
            return Doubt.MISSING
        newest = self._held.get(market, instrument)
        assert newest.id == market, "a candidate stands at its own market"
        if newest.status is not TradingStatus.TRADING or market in self._inactive or market in self._closed:
            return Doubt.HALTED
        return Doubt.HELD if market in self._held else None


def _ticks_in_force(read: Instrument, accepted: Instrument | None, touch: tuple[float, float]) -> TickTable:
    """Find the table that agrees with the tick which the venue stated at its price; one band of that tick when none does.

    Upbit states one tick, the one at the current price, so a price that moved to another band of a known table is no change.
    """
    assert read.tick_read_e8 > 0, "a stated tick is positive"
    known = [read.ticks] if accepted is None else [accepted.ticks, read.ticks]
    bid, ask = touch
    for table in known:
        if bid and ask:
            prices = (bid * (1.0 - TICK_PRICE_SLACK), bid, ask, ask * (1.0 + TICK_PRICE_SLACK))
            ticks = {table.tick_e8_at(round(price * 1e8)) for price in prices}
        else:
            ticks = {band.tick_e8 for band in table.bands}
        if read.tick_read_e8 in ticks:
            return table
    return TickTable.single(read.tick_read_e8)


def _where(instrument: Instrument) -> dict[str, str | int | float | bool | None]:
    return {"venue": instrument.venue, "symbol": instrument.symbol, "market": instrument.id}


def _report_change(before: Instrument, after: Instrument, name: str) -> Report:
    words = _words(getattr(before, name)), _words(getattr(after, name))
    assert words[0] != words[1], "a change can be seen in words"
    text = f"{name} of {after.symbol} at {after.venue} changed from {words[0]} to {words[1]}; held until accepted"
    fields = {**_where(after), "field": name, "before": words[0], "after": words[1]}
    return Report(Severity.WARNING, "instrument_changed", text, fields)


def _report_tick(read: Instrument) -> Report:
    text = (
        f"{read.symbol} at {read.venue} states a tick of {format_e8(read.tick_read_e8)} where the printed table has another; "
        "the stated one is used"
    )
    return Report(Severity.WARNING, "tick_differs", text, _where(read))


def _words(value: object) -> str:
    match value:
        case TickTable(bands=bands):
            return ", ".join(f"{format_e8(band.tick_e8)} from {format_e8(band.price_from_e8)}" for band in bands)
        case FeeSchedule():
            return f"{value.maker_ppm}/{value.taker_ppm} ppm {value.payment.value} {value.named_asset or ''}".rstrip()
        case TradingStatus():
            return value.value
        case int():
            return format_e8(value)
        case _:
            return str(value)
