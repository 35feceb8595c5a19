"""Boards with a planted cycle, and how to ask a detector about them."""

from __future__ import annotations

from collections.abc import Sequence

from strategy_world import NOW_NS, PlainBoard, PlainBook, confirmed, instrument, rich

from arbitrage.model.instruments import FeePayment, Instrument
from arbitrage.model.money import E8
from arbitrage.model.opportunities import Opportunity
from arbitrage.model.settings import StrategySettings
from arbitrage.strategy.detector import Detector
from arbitrage.strategy.found import Found, Missed
from arbitrage.strategy.sizer import FreeE8

BTC_USDT, KRW_BTC, KRW_USDT, ETH_USDT, KRW_ETH = range(5)
BOTH = {asset: confirmed() for asset in ("BTC", "ETH", "USDT")}


def kimchi_board(coins: int = 1, *, payment: FeePayment = FeePayment.RECEIVED, lot_e8: int = 1000) -> PlainBoard:
    """Make Binance and Upbit with BTC (and ETH) 2.6 % dearer in Korea, one ask and two bids of depth."""
    named = "BNB" if payment is FeePayment.NAMED else None
    instruments: list[Instrument | None] = [
        instrument(
            BTC_USDT, "binance", "BTC/USDT", fee_ppm=1000, payment=payment, named=named, tick_e8=E8 // 100,
            lot_e8=lot_e8, quantity_e8_min=1000, notional_e8_min=5 * E8,
        ),
        instrument(
            KRW_BTC, "upbit", "BTC/KRW", fee_ppm=500, payment=FeePayment.QUOTE, tick_e8=1000 * E8, notional_e8_min=5000 * E8
        ),
        instrument(KRW_USDT, "upbit", "USDT/KRW", fee_ppm=500, payment=FeePayment.QUOTE, tick_e8=E8, notional_e8_min=5000 * E8),
    ]  # fmt: skip
    books = [
        PlainBook([(59_990.0, 5.0)], [(60_000.0, 0.5), (60_010.0, 1.0)]),
        PlainBook([(85_000_000.0, 0.3), (84_900_000.0, 1.0)], [(85_100_000.0, 1.0)]),
        PlainBook([(1379.0, 500_000.0)], [(1380.0, 30_000.0), (1381.0, 200_000.0)]),
    ]
    if coins == 2:
        instruments.append(instrument(ETH_USDT, "binance", "ETH/USDT", fee_ppm=1000, tick_e8=E8 // 100, lot_e8=10_000))
        instruments.append(instrument(KRW_ETH, "upbit", "ETH/KRW", fee_ppm=500, payment=FeePayment.QUOTE, tick_e8=1000 * E8))
        books.append(PlainBook([(3000.0, 20.0)], [(3001.0, 20.0)]))
        books.append(PlainBook([(4_140_000.0, 20.0)], [(4_141_000.0, 20.0)]))
    return PlainBoard(instruments, books)


def detect(
    board: PlainBoard, chosen: StrategySettings, free_e8: FreeE8 = rich, *, notional_e8_max: int | None = None
) -> list[Found]:
    detector = Detector(chosen, notional_e8_max=notional_e8_max)
    return detector.detect(board, free_e8, set(board.all_markets), NOW_NS)


def only(found: Sequence[Found]) -> Opportunity:
    assert len(found) == 1, found
    assert isinstance(found[0], Opportunity), found[0]
    return found[0]


def missed(found: Sequence[Found]) -> Missed:
    assert len(found) == 1, found
    assert isinstance(found[0], Missed), found[0]
    return found[0]


def ceil_div(numerator: int, denominator: int) -> int:
    return -(-numerator // denominator)


def triangle(*, has_usdt: bool = True) -> PlainBoard:
    """Make BTC > ETH > BNB > BTC, which gains 1 %, and BTC/USDT beside it."""
    instruments: list[Instrument | None] = [
        instrument(0, "v", "ETH/BTC", lot_e8=100_000),
        instrument(1, "v", "BNB/ETH", lot_e8=100_000),
        instrument(2, "v", "BNB/BTC", lot_e8=100_000),
    ]
    books = [
        PlainBook([(0.0499, 10.0)], [(0.05, 10.0)]),
        PlainBook([(0.199, 100.0)], [(0.2, 100.0)]),
        PlainBook([(0.0101, 40.0)], [(0.0102, 40.0)]),
    ]
    if has_usdt:
        instruments.append(instrument(3, "v", "BTC/USDT", fee_ppm=1000, lot_e8=1000))
        books.append(PlainBook([(60_000.0, 0.001), (59_000.0, 10.0)], [(60_100.0, 10.0)]))
    return PlainBoard(instruments, books)
