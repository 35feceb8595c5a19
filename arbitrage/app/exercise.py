"""The daily exercise of the kill switch: a small house on paper, in time of its own, in which it must do all that it promises.

It runs the daemon's own engine, door and paper venue with the operator's execution settings, and touches nothing of the daemon
that runs beside it. The switch is set while orders travel, with every price gone and a journal that takes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

from arbitrage.app.door import Door, JournalUnavailable
from arbitrage.app.modes import Transport, VirtualTiming, paper_transport
from arbitrage.engine.engine import Engine
from arbitrage.model.accounts import KillReceipt
from arbitrage.model.effects import Append, Judged, PlaceOrder, Report, VenueEffect
from arbitrage.model.episodes import Episode
from arbitrage.model.events import (
    BookDiff,
    BookFull,
    BookSnapshot,
    BookUnit,
    ClockMeasured,
    Command,
    CommandKind,
    Event,
    Funded,
    InstrumentsRead,
    LinkDown,
    LinkUp,
    StoreReported,
    Wake,
)
from arbitrage.model.facts import Fact, KillProven
from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, TickTable, TradingStatus, Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.settings import (
    ExecutionSettings,
    PaperSettings,
    RiskSettings,
    Settings,
    StrategySettings,
    TradingSettings,
    TransferSettings,
)

MS_NS = 1_000_000
WAKE_MS = 100
LONG_MS = 180_000
"""For so long no order may leave after the kill, however well it would pay."""
PROOF_MS = 30_000
"""The venues must have shown within so long that nothing is open."""
VENUES = (Venue("binance"), Venue("upbit"))
COIN, MONEY = Asset("COIN"), Asset("USDT")
MARKETS = (("binance", "COINUSDT"), ("upbit", "USDT-COIN"))
PRICE, PREMIUM, SIZE = 100.0, 1.02, 5.0
ACTOR = "exercise"


class ExerciseFailed(Exception):
    """The kill switch did not do what it promises; the text says what."""


def exercise(execution: ExecutionSettings, at_ns: int, kind: type[Engine] = Engine) -> str:
    """Prove the kill switch on paper; return what was seen, in words. Raises ExerciseFailed. Takes some 50 ms of one core."""
    house = _House(execution, at_ns, kind)
    house.open()
    house.show(PREMIUM)
    _demand(house.sent > 0, "nothing was under way, so nothing was proven")
    under_way = len(house.engine.desk.unfinished())
    _demand(under_way > 0, "no order was on its way when the switch was set")
    house.lose_prices()
    house.journal.is_away = True
    sent_before = house.sent
    house.command(CommandKind.KILL)
    house.wait(PROOF_MS)
    receipt = house.receipt()
    _demand(not house.engine.desk.unfinished(), "orders are still open")
    house.journal.is_away = False  # or its refusal would keep entries away, and not the switch
    house.open_links()
    for premium in (PREMIUM, 1.0, PREMIUM):
        house.show(premium)
        house.wait(LONG_MS // 3)
    _demand(house.sent == sent_before, f"{house.sent - sent_before} orders left after the switch was set")
    heir = house.heir()
    heir.show(PREMIUM)
    heir.wait(WAKE_MS)
    _demand(heir.sent == 0 and bool(heir.engine.guard.memory.kill_reason), "the switch did not outlive a restart")
    heir.command(CommandKind.RELEASE)
    heir.show(1.0)
    heir.wait(LONG_MS)
    heir.show(PREMIUM)
    _demand(heir.sent > 0, "trading did not go on after the release, so the silence before proves nothing")
    took_ms = (receipt.proven_at_ns - receipt.killed_at_ns) // MS_NS
    return (
        f"{under_way} orders under way, no prices, no journal: none left afterwards, {len(receipt.answers)} venues showed none "
        f"open after {took_ms} ms, a restart kept the switch on, a release ended it"
    )


def _demand(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ExerciseFailed(otherwise)


class _Journal:
    """Keeps facts in memory, or refuses them as a database and a disk that are gone do."""

    def __init__(self) -> None:
        self.is_away = False
        self._count = 0

    def append(self, appends: Sequence[Append]) -> int:
        if self.is_away:
            raise JournalUnavailable("away, for the exercise")
        self._count += len(appends)
        return self._count


class _Recorder:
    """Keeps nothing."""

    def facts(self, facts: Sequence[Fact]) -> None: ...

    def judged(self, judged: Judged) -> None: ...

    def episode(self, episode: Episode) -> None: ...

    def report(self, report: Report) -> None: ...


class _House:
    """One engine behind one door, over a paper venue, in virtual time."""

    def __init__(self, execution: ExecutionSettings, at_ns: int, kind: type[Engine]) -> None:
        transfers = {str(asset): TransferSettings(is_identity_confirmed=True) for asset in (COIN, MONEY)}
        strategy = StrategySettings(reporting_asset=str(MONEY), legs_max=3, transfers=transfers)
        self._trading = TradingSettings(strategy=strategy, risk=RiskSettings(), execution=execution)
        self._kind = kind
        self.engine = kind(self._trading, MARKETS, id_prefix="x")
        self.journal = _Journal()
        self.timing = VirtualTiming()
        self.timing.run_until(at_ns)
        self.sent = 0
        self._is_connected = False
        self._door = Door(self.engine, self.timing, self.journal, _Recorder())
        self._last_id = 100

    def open(self) -> None:
        """Give it stores that work, money, rules and prices at which nothing pays."""
        now_ns = self.timing.now_ns()
        for venue in VENUES:
            for asset in (COIN, MONEY):
                self._feed(Funded(now_ns, venue, asset, 1_000 * E8, ACTOR))
        self.open_links()
        self.show(1.0)

    def open_links(self) -> None:
        """Bring stores, venues, rules and paper transport up."""
        now_ns = self.timing.now_ns()
        self._feed(
            StoreReported(now_ns, is_postgres_up=True, is_redis_up=True, journal_bytes_waiting=0, is_journal_full=False)
        )
        if not self._is_connected:
            self._is_connected = True
            transport = paper_transport(Settings(venues={}, paper=PaperSettings()), self._door, self.timing)
            self._door.connect(_Counting(self, transport), lambda market: None)
        for market, venue in enumerate(VENUES):
            rules = Instrument(
                id=market, venue=venue, symbol=MARKETS[market][1], base=COIN, quote=MONEY, ticks=TickTable.single(E8 // 100),
                lot_e8=E8 // 1000, quantity_e8_min=E8 // 1000, quantity_e8_max=10**15, notional_e8_min=E8,
                status=TradingStatus.TRADING, fees=FeeSchedule(1_000, 1_000, FeePayment.QUOTE),
            )  # fmt: skip
            self._feed(InstrumentsRead(now_ns, venue, (rules,)), LinkUp(now_ns, venue, venue, (market,)))
            self._feed(ClockMeasured(now_ns, venue, 0, 1))
        self._feed(BookSnapshot(now_ns, 0, self._last_id, [(PRICE - 1, SIZE)], [(PRICE, SIZE)]))

    def lose_prices(self) -> None:
        """Cut every market-data link."""
        now_ns = self.timing.now_ns()
        for market, venue in enumerate(VENUES):
            self._feed(LinkDown(now_ns, venue, venue, (market,), ACTOR))

    def show(self, premium: float) -> None:
        """Show the coin dearer at the second venue, and let the engine decide."""
        now_ns, ms = self.timing.now_ns(), self.timing.now_ns() // MS_NS
        self._last_id += 1
        self._feed(BookDiff(now_ns, 0, self._last_id, self._last_id, [(PRICE - 1, SIZE)], [(PRICE, SIZE)], ms))
        bid = round(PRICE * premium - 0.5, 2)
        self._feed(BookFull(now_ns, 1, [BookUnit(round(bid + 1, 2), bid, SIZE, SIZE)], ms, is_snapshot=False))

    def command(self, kind: CommandKind) -> None:
        """Say an operator's word."""
        self._feed(Command(self.timing.now_ns(), kind, ACTOR, "the daily exercise"))

    def wait(self, milliseconds: int) -> None:
        """Let time pass, with the daemon's wakes in it."""
        until_ns = self.timing.now_ns() + milliseconds * MS_NS
        while self.timing.now_ns() < until_ns:
            self.timing.run_until(min(until_ns, self.timing.now_ns() + WAKE_MS * MS_NS))
            self._feed(Wake(self.timing.now_ns()))

    def receipt(self) -> KillReceipt:
        """Return the proof that the venues gave. Raises ExerciseFailed."""
        receipt = self.engine.kill.state.receipt
        _demand(receipt is not None, "the switch was not set")
        assert receipt is not None, "demanded"
        _demand(receipt.proven_at_ns > 0, "the venues were not asked, or did not show that nothing is open")
        _demand(all(not answer.own_orders for answer in receipt.answers), "a venue showed an open order")
        _demand(len(receipt.answers) == len(VENUES), "not every venue was asked")
        waiting = [each.fact for each in self._door.unwritten]
        _demand(any(isinstance(fact, KillProven) for fact in waiting), "the proof was not kept for the journal's return")
        return receipt

    def heir(self) -> _House:
        """Return the house that a restart would make of this one."""
        heir = _House(self._trading.execution, self.timing.now_ns(), self._kind)
        heir.engine.restore(self.engine.snapshot(ACTOR, self.timing.now_ns(), 1), ())
        heir.open_links()
        heir.show(1.0)
        return heir

    def _feed(self, *events: Event) -> None:
        self._door.feed(events)
        self.timing.run_until(self.timing.now_ns())


class _Counting:
    """Counts the orders on their way to the paper venue."""

    def __init__(self, house: _House, transport: Transport) -> None:
        self._house = house
        self._transport = transport

    def submit(self, effect: VenueEffect) -> None:
        self._house.sent += isinstance(effect, PlaceOrder)
        self._transport.submit(effect)

