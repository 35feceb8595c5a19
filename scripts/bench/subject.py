"""The thing that is measured: the real codecs and the real engine over one universe of frames. Adds nothing to either."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec

from arbitrage.engine.engine import Engine
from arbitrage.market.book import Book
from arbitrage.model.effects import Effect
from arbitrage.model.events import ClockMeasured, Event, FeedEvent, Funded, InstrumentsRead, Level, LinkUp, StoreReported
from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, Side, TickTable, TradingStatus, Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.settings import (
    FeeSettings,
    RiskSettings,
    StrategySettings,
    TradingSettings,
    TransferSettings,
    VenueSettings,
)
from arbitrage.venues.binance.codec import BinanceCodec
from arbitrage.venues.upbit.codec import UpbitCodec
from bench.frames import BINANCE_TICK_E8, FX_CODE, Coin, Universe
from bench.walk import Ladders

BINANCE, UPBIT = Venue("binance"), Venue("upbit")
USDT, KRW = Asset("USDT"), Asset("KRW")
LOT_E8 = 1_000
BINANCE_FEE_PPM, UPBIT_FEE_PPM = 1_000, 500
LEVELS_FIRST, LEVELS_WALKED = 4, 30
PROFIT_OUT_OF_REACH = "1000000"
"""`risk.profit_min`: every opportunity is sized and judged, and refused there, so that no order is left open."""
FUNDS = {(BINANCE, USDT): 1_000_000, (UPBIT, USDT): 1_000_000, (UPBIT, KRW): 1_000_000_000}
COIN_FUNDS = 10_000
Decode = Callable[[bytes, int], Sequence[FeedEvent]]


SHIPPED = StrategySettings(legs_max=4, price_slack_ppm=100, resize_interval_ms=20)
"""The strategy block of `config/base.yaml`, whose transfer costs follow below."""
COIN_TRANSFER_PPM, USDT_TRANSFER_PPM = 200, 100


def trading_settings(universe: Universe, **strategy: int) -> TradingSettings:
    """Return what the engine is configured with: as shipped, every coin confirmed, nothing ever profitable enough."""
    transfers = {coin.name: TransferSettings(COIN_TRANSFER_PPM, is_identity_confirmed=True) for coin in universe.coins}
    transfers[USDT] = TransferSettings(USDT_TRANSFER_PPM, is_identity_confirmed=True)
    return TradingSettings(
        strategy=msgspec.structs.replace(SHIPPED, transfers=transfers, **strategy),
        risk=RiskSettings(profit_min=PROFIT_OUT_OF_REACH),
    )


class Subject:
    """A fresh engine that knows its instruments, has its links up, its clocks measured, money, and every snapshot."""

    def __init__(self, universe: Universe, at_ns: int, settings: TradingSettings | None = None) -> None:
        self.universe = universe
        self.symbols = {
            **{symbol: market for market, symbol in enumerate(universe.binance_symbols)},
            **{code: market for market, code in enumerate(universe.upbit_codes, start=len(universe.coins))},
        }
        count = len(universe.coins)
        markets = tuple(("binance" if market < count else "upbit", symbol) for symbol, market in self.symbols.items())
        self.engine = Engine(settings or trading_settings(universe), markets, id_prefix="b")
        binance = {symbol: self.symbols[symbol] for symbol in universe.binance_symbols}
        upbit = {code: self.symbols[code] for code in universe.upbit_codes}
        self.binance_codec = BinanceCodec(BINANCE, binance, _venue("binance", tuple(binance), BINANCE_FEE_PPM))
        upbit_codec = UpbitCodec(UPBIT, upbit, _venue("upbit", tuple(upbit), UPBIT_FEE_PPM))
        self.decoders: dict[str, Decode] = {"binance": self.binance_codec.decode, "upbit": upbit_codec.decode}
        self._open(at_ns)

    @property
    def instruments(self) -> list[Instrument]:
        """Return the rules of every market, by id."""
        coins = self.universe.coins
        made = [_on_binance(coin, market) for market, coin in enumerate(coins)]
        made += [_on_upbit(coin.upbit_code, coin.upbit_tick, market) for market, coin in enumerate(coins, start=len(coins))]
        return [*made, _on_upbit(FX_CODE, 1, 2 * len(coins))]

    def feed(self, events: Sequence[Event]) -> list[Effect]:
        """Step through events and return everything they wanted done."""
        return [effect for event in events for effect in self.engine.step(event)]

    def snapshot(self, symbol: str, answer: bytes, at_ns: int) -> list[Effect]:
        """Hand over a REST snapshot."""
        return self.feed([self.binance_codec.decode_snapshot(answer, self.symbols[symbol], at_ns)])

    def ladders(self, symbol: str) -> Ladders:
        """Return one market's levels for a depth walk."""
        market, books = self.symbols[symbol], self.engine.board.books
        return Ladders(lambda: _levels(books[market], Side.SELL), lambda: _levels(books[market], Side.BUY))

    def _open(self, at_ns: int) -> None:
        rules, binance_count = self.instruments, len(self.universe.coins)
        self.feed([StoreReported(at_ns, is_postgres_up=True, is_redis_up=True, journal_bytes_waiting=0, is_journal_full=False)])
        for venue, part in ((BINANCE, rules[:binance_count]), (UPBIT, rules[binance_count:])):
            markets = tuple(instrument.id for instrument in part)
            self.feed([InstrumentsRead(at_ns, venue, tuple(part)), LinkUp(at_ns, venue, venue, markets)])
            self.feed([ClockMeasured(at_ns, venue, 3, 10)])
        coins = {(venue, Asset(coin.name)): COIN_FUNDS for coin in self.universe.coins for venue in (BINANCE, UPBIT)}
        for (venue, asset), units in {**FUNDS, **coins}.items():
            self.feed([Funded(at_ns, venue, asset, units * E8, "benchmark")])
        for symbol, answer in self.universe.snapshots.items():
            self.snapshot(symbol, answer, at_ns)


def _levels(book: Book, side: Side) -> Iterator[Level]:
    """Read a book as the sizer does: a few levels, and the others only when they are asked for."""
    yield from book.levels(side, LEVELS_FIRST)
    yield from book.levels(side, LEVELS_WALKED)[LEVELS_FIRST:]


def _on_binance(coin: Coin, market: int) -> Instrument:
    fees = FeeSchedule(BINANCE_FEE_PPM, BINANCE_FEE_PPM, FeePayment.RECEIVED)
    return Instrument(
        id=market, venue=BINANCE, symbol=coin.binance_symbol, base=Asset(coin.name), quote=USDT,
        ticks=TickTable.single(BINANCE_TICK_E8), lot_e8=LOT_E8, quantity_e8_min=LOT_E8, quantity_e8_max=10**17,
        notional_e8_min=5 * E8, status=TradingStatus.TRADING, fees=fees,
    )  # fmt: skip


def _on_upbit(code: str, tick: int, market: int) -> Instrument:
    fees = FeeSchedule(UPBIT_FEE_PPM, UPBIT_FEE_PPM, FeePayment.QUOTE)
    return Instrument(
        id=market, venue=UPBIT, symbol=code, base=Asset(code.removeprefix("KRW-")), quote=KRW,
        ticks=TickTable.single(tick * E8), lot_e8=1, quantity_e8_min=1, quantity_e8_max=10**18,
        notional_e8_min=5_000 * E8, status=TradingStatus.TRADING, fees=fees,
    )  # fmt: skip


def _venue(kind: str, symbols: tuple[str, ...], fee_ppm: int) -> VenueSettings:
    fees = FeeSettings(fee_ppm, fee_ppm, "received" if kind == "binance" else "quote")
    urls = "http://127.0.0.1:1", "ws://127.0.0.1:1"
    assert kind in ("binance", "upbit")
    return VenueSettings(kind, *urls, symbols, fees)  # type: ignore[arg-type]  # the assertion above narrows it for people only
