"""What closed plans left over: shown as dust with age and value, hedged once a venue takes an order so small. Sizes nothing.

The amounts are the ledger's and survive with it; what is kept here is only when each asset was last looked at and hedged.
"""

from __future__ import annotations

from collections.abc import Iterable

from arbitrage.engine.quotes import BookQuotes
from arbitrage.engine.views import DustLine
from arbitrage.execution.desk import Desk
from arbitrage.execution.hedging import HEDGE_CYCLE, Residue, find_hedge, markets_for, takes
from arbitrage.ledger.state import Leftover
from arbitrage.model.effects import Append, Effect, Report, Severity
from arbitrage.model.facts import Fact, FillBooked, PlanClosed, PlanOpened
from arbitrage.model.instruments import Instrument
from arbitrage.model.money import Asset, format_e8, parse_e8
from arbitrage.model.opportunities import Opportunity
from arbitrage.model.settings import TradingSettings

MS_NS = 1_000_000
LOOK_NS = 1_000 * MS_NS
"""Dust is valued this often; nothing hurries."""
VALUE_E8_UNLIMITED = 10**30


class Dust:
    """Leftovers of every asset, valued."""

    def __init__(self, desk: Desk, quotes: BookQuotes) -> None:
        self.lines: tuple[DustLine, ...] = ()
        self.naked: dict[Asset, str] = {}
        """Assets of which a tradable amount is left, or one that no book can value, in words: their pairs take no new entry."""
        self._desk = desk
        self._quotes = quotes
        self._next_look_ns = 0
        self._is_stale = True
        """Something may have been left over since it was last valued."""
        self._hedged_ns: dict[Asset, int] = {}

    def apply(self, fact: Fact) -> None:
        """Note that a fact may have left something over."""
        if isinstance(fact, PlanClosed | FillBooked):
            self._is_stale = True
            assert fact.at_ns >= 0, "what is left is left since a time"

    def look(self, settings: TradingSettings, instruments: Iterable[Instrument | None], now_ns: int) -> bool:
        """Value what is left, at most once in `LOOK_NS`; return whether it did."""
        if now_ns < self._next_look_ns:
            return False
        self._next_look_ns, self._quotes.now_ns = now_ns + LOOK_NS, now_ns
        self._value(settings, instruments)
        return True

    def refresh(self, settings: TradingSettings, instruments: Iterable[Instrument | None]) -> None:
        """Value what is left as of the quotes' own time, if anything may have come to it since the last look."""
        if self._is_stale:
            self._value(settings, instruments)

    def _value(self, settings: TradingSettings, instruments: Iterable[Instrument | None]) -> None:
        self._is_stale = False
        known = [each for each in instruments if each is not None]
        dust_e8_max = parse_e8(settings.execution.dust_value_max)
        self.lines = tuple(self._line(residue) for residue in self._quotes.ledger.residues())
        self.naked = {
            line.asset: f"{line.asset}: {format_e8(line.amount_e8)} left unhedged by earlier plans"
            for line in self._hedgeable(settings, known)
            if line.value_e8 is None
            or (abs(line.value_e8) > dust_e8_max and self._is_tradable(_residue(line, settings), known))
        }
        assert len(self.naked) <= len(self.lines), "what is naked is left over"

    def hedge(self, settings: TradingSettings, instruments: Iterable[Instrument | None], value_e8_max: int) -> list[Effect]:
        """Open a plan for the first asset whose leftover a venue takes; at most one a call, and each asset at its pace."""
        now_ns, pace_ns = self._quotes.now_ns, settings.execution.hedge_interval_ms * MS_NS
        known = [each for each in instruments if each is not None]
        uncertain = self._uncertain(known)
        for line in self._hedgeable(settings, known):
            if line.asset in uncertain:
                continue
            is_due = now_ns - self._hedged_ns.get(line.asset, -pace_ns) >= pace_ns
            plan = self._plan(_residue(line, settings, value_e8_max), known) if is_due else []
            if plan:
                self._hedged_ns[line.asset] = now_ns
                text = f"{format_e8(line.amount_e8)} {line.asset} left by earlier plans is being hedged"
                return [*plan, Report(Severity.INFO, "dust_hedged", text, {"asset": line.asset})]
        assert pace_ns > 0, "hedges keep a pace"
        return []

    def _hedgeable(self, settings: TradingSettings, instruments: list[Instrument]) -> list[DustLine]:
        """Return the lines that an order could make smaller: not what pays fees, and nothing that an open plan trades."""
        apart = {Asset(settings.strategy.reporting_asset), *(each.fees.named_asset for each in instruments)}
        worked = {
            node.asset
            for plan in self._desk.open_plans()
            for leg in plan.opportunity.legs
            for node in (leg.spent, leg.received)
        }
        return [line for line in self.lines if line.asset not in apart and line.asset not in worked]

    def is_hedged_now(self, asset: Asset) -> bool:
        """Say whether a hedge of this asset is under way: a leftover that is written off beside it arises anew."""
        hedges = (plan.opportunity for plan in self._desk.open_plans() if is_hedge(plan.opportunity))
        return any(asset in (leg.spent.asset, leg.received.asset) for hedge in hedges for leg in hedge.legs)

    def _uncertain(self, instruments: list[Instrument]) -> set[Asset]:
        """Return the assets that an unanswered order may have traded: what is left of them is not known."""
        markets = {order.market for order, _ in self._desk.unfinished()}
        traded = [each for each in instruments if each.id in markets]
        assert len(traded) <= len(markets), "each market has one set of rules"
        return {asset for each in traded for asset in (each.base, each.quote)}

    def _is_tradable(self, residue: Residue, instruments: list[Instrument]) -> bool:
        assert residue.amount_e8, "what is even is not left over"
        return any(takes(residue, instrument, self._quotes) for instrument in markets_for(residue, instruments))

    def _plan(self, residue: Residue, instruments: list[Instrument]) -> list[Effect]:
        for instrument in markets_for(residue, instruments):
            if instrument.venue in self._desk.closed_venues:
                continue
            found = find_hedge(residue, instrument, self._quotes, self._quotes.now_ns)
            if isinstance(found, str):
                continue
            plan = self._desk.hedge(found, self._quotes.now_ns)
            first = plan[0]
            assert isinstance(first, Append) and isinstance(first.fact, PlanOpened), "a plan begins with its intent"
            if self._quotes.ledger.uncovered(first.fact, self._quotes.locked_e8) is None:
                return plan
        return []

    def _line(self, residue: Leftover) -> DustLine:
        assert residue.amount_e8, "what is even is not left over"
        value_e8 = self._quotes.value_in_reporting(residue.asset, residue.amount_e8)
        return DustLine(residue.asset, residue.amount_e8, value_e8, residue.since_ns)


def _residue(line: DustLine, settings: TradingSettings, value_e8_max: int = VALUE_E8_UNLIMITED) -> Residue:
    reporting, slippage_ppm = Asset(settings.strategy.reporting_asset), settings.execution.governor_slippage_ppm_max
    assert line.asset != reporting, "profit is not left over"
    return Residue(line.asset, line.amount_e8, reporting, slippage_ppm, value_e8_max)


def is_hedge(opportunity: Opportunity) -> bool:
    """Say whether a plan only brings back what others left."""
    assert opportunity.legs, "a plan has legs"
    return opportunity.cycle == HEDGE_CYCLE
