"""Frames shaped like the exchanges' own, from a seed: Binance diffs of 5 to 60 levels, Upbit pictures of 15 and 30 units.

Sizes and mix follow the public formats (about 22 levels a diff, 27 % deletions, books of about 700 levels a side, 60 %
Binance). How often the best prices move follows a recorded session (a third of the diffs, an eighth of the pictures).
Premia revert to zero, so that cycles gain now and then and not all the time. Prices and sizes are integers here, so that the
text is exact. Feeds nothing and measures nothing.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random

BINANCE_TICK_E8 = 1_000_000
KRW_PER_USDT = 1_400
BOOK_LEVELS = 700
DELETION_SHARE = 0.27
BINANCE_MOVE_SHARE = 0.35
UPBIT_MOVE_SHARE = 0.15
PREMIUM_KEPT = 0.9
PREMIUM_STEP_PPM = 300.0
FX_CODE = "KRW-USDT"
FX_RANGE = 2
"""The won market of the dollar token stays within so many ticks of its centre."""
UPBIT_TICKS_KRW = ((2_000_000, 1_000), (1_000_000, 500), (500_000, 100), (0, 50))
"""By price from, as Upbit prints its table for prices from 100,000 won; a coin keeps the tick it starts with."""

encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclasses.dataclass
class Frame:
    """One message: `raw` as our client and cryptofeed subscribe (SIMPLE on Upbit), `raw_default` as ccxt.pro does."""

    venue: str
    symbol: str
    raw: bytes
    raw_default: bytes


@dataclasses.dataclass
class Coin:
    """The truth of one coin: its Binance book in ticks, and where Upbit stands."""

    name: str
    center: int
    bids: dict[int, int]
    asks: dict[int, int]
    last_id: int
    upbit_tick: int
    premium_ppm: float = 0.0
    upbit_center: int = 0
    """Its best bid there, in ticks."""

    @property
    def binance_symbol(self) -> str:
        return f"{self.name}USDT"

    @property
    def upbit_code(self) -> str:
        return f"KRW-{self.name}"


def decimal_text(value_e8: int) -> str:
    """Write an integer of 1e-8 as the exchanges do, with eight decimals."""
    return f"{value_e8 // 100_000_000}.{value_e8 % 100_000_000:08d}"


class Universe:
    """N coins on two venues and the won market of the dollar token."""

    def __init__(self, coins: int, seed: int, premium_step_ppm: float = PREMIUM_STEP_PPM) -> None:
        self.rng = random.Random(seed)
        self._premium_step_ppm = premium_step_ppm
        self.coins = [self._coin(i) for i in range(coins)]
        self.snapshots = {coin.binance_symbol: snapshot_of(coin) for coin in self.coins}
        self.fx_price = KRW_PER_USDT
        self.at_ms = 1_800_000_000_000

    @property
    def binance_symbols(self) -> list[str]:
        return [coin.binance_symbol for coin in self.coins]

    @property
    def upbit_codes(self) -> list[str]:
        return [*(coin.upbit_code for coin in self.coins), FX_CODE]

    def frames(self, count: int) -> list[Frame]:
        """Make `count` frames, 60 % of them Binance's, the first ones giving every Upbit book its picture."""
        first = self.pictures()
        return first + [self.next_frame() for _ in range(count - len(first))]

    def pictures(self) -> list[Frame]:
        """Make one picture of every Upbit book."""
        return [*(self.upbit(coin, 15) for coin in self.coins), self._fx(15)]

    def next_frame(self) -> Frame:
        """Make the next frame of any market."""
        coin = self.rng.choice(self.coins)
        if self.rng.random() < 0.6:
            return self.diff(coin)
        units = self.rng.choice((15, 30))
        return self._fx(units) if self.rng.random() < 0.03 else self.upbit(coin, units)

    def diff(self, coin: Coin) -> Frame:
        """Change a coin's Binance book and write the diff."""
        self.at_ms += 1
        count = min(60, max(5, int(self.rng.gammavariate(2.2, 10))))
        bids, asks = self._move(coin) if self.rng.random() < BINANCE_MOVE_SHARE else ({}, {})
        self._change(coin, coin.bids, bids, -1, (count + 1) // 2)
        self._change(coin, coin.asks, asks, +1, (count + 1) // 2)
        return self._write_diff(coin, bids, asks)

    def back_to(self, coin: Coin, bids: dict[int, int], asks: dict[int, int]) -> Frame:
        """Write the diff that gives a coin's Binance book these levels again."""
        changes = []
        for now, then in ((coin.bids, bids), (coin.asks, asks)):
            gone = dict.fromkeys(now.keys() - then.keys(), 0)
            changes.append({**gone, **{tick: quantity for tick, quantity in then.items() if now.get(tick) != quantity}})
        coin.bids, coin.asks = dict(bids), dict(asks)
        return self._write_diff(coin, *changes)

    def _write_diff(self, coin: Coin, bids: dict[int, int], asks: dict[int, int]) -> Frame:
        """Write changes (quantity by tick, 0 deletes) as the next diff of the coin's stream."""
        first_id = coin.last_id + 1
        coin.last_id += self.rng.randrange(1, 40)
        sides = [[[decimal_text(p * BINANCE_TICK_E8), decimal_text(q)] for p, q in side.items()] for side in (bids, asks)]
        body = {"e": "depthUpdate", "E": self.at_ms, "s": coin.binance_symbol, "U": first_id, "u": coin.last_id}
        message = {"stream": f"{coin.binance_symbol.lower()}@depth@100ms", "data": {**body, "b": sides[0], "a": sides[1]}}
        raw = encode(message).encode()
        return Frame("binance", coin.binance_symbol, raw, raw)

    def upbit(self, coin: Coin, units: int) -> Frame:
        """Write a picture of a coin's Upbit book, sometimes at a new premium."""
        if self.rng.random() < UPBIT_MOVE_SHARE or not coin.upbit_center:
            coin.premium_ppm = coin.premium_ppm * PREMIUM_KEPT + self.rng.gauss(0.0, self._premium_step_ppm)
            price_krw = coin.center * KRW_PER_USDT * (1_000_000 + round(coin.premium_ppm)) // 100_000_000
            coin.upbit_center = price_krw // coin.upbit_tick
        return self._picture(coin.upbit_code, coin.upbit_center, coin.upbit_tick, units)

    def _fx(self, units: int) -> Frame:
        if self.rng.random() < UPBIT_MOVE_SHARE:
            moved = self.fx_price + self.rng.choice((-1, 1))
            self.fx_price = max(KRW_PER_USDT - FX_RANGE, min(KRW_PER_USDT + FX_RANGE, moved))
        return self._picture(FX_CODE, self.fx_price, 1, units)

    def _coin(self, index: int) -> Coin:
        center = self.rng.randrange(20_000, 400_000)
        bids = {center - 1 - i: self._quantity() for i in range(BOOK_LEVELS)}
        asks = {center + 1 + i: self._quantity() for i in range(BOOK_LEVELS)}
        price_krw = center * KRW_PER_USDT // 100
        tick = next(tick for price_from, tick in UPBIT_TICKS_KRW if price_krw >= price_from)
        coin = Coin(f"C{index:03d}", center, bids, asks, self.rng.randrange(10**9), tick)
        coin.premium_ppm = self.rng.gauss(0.0, self._premium_step_ppm / math.sqrt(1.0 - PREMIUM_KEPT**2))
        return coin

    def _quantity(self) -> int:
        return self.rng.randrange(1, 10**4) * 10**5

    def _move(self, coin: Coin) -> tuple[dict[int, int], dict[int, int]]:
        """Move the price by a tick or two: what it runs over is deleted, what it leaves behind is filled up."""
        step = self.rng.choice((-2, -1, 1, 2))
        coin.center += step
        bids, asks = {coin.center - 1: self._quantity()}, {coin.center + 1: self._quantity()}
        for tick in range(coin.center - abs(step), coin.center + abs(step) + 1):
            if tick >= coin.center and tick in coin.bids:
                bids[tick] = 0
            if tick <= coin.center and tick in coin.asks:
                asks[tick] = 0
        for levels, rows in ((coin.bids, bids), (coin.asks, asks)):
            for tick, quantity in rows.items():
                _set(levels, tick, quantity)
        return bids, asks

    def _change(self, coin: Coin, levels: dict[int, int], rows: dict[int, int], sign: int, count: int) -> None:
        while len(rows) < count:
            tick = coin.center + sign * (1 + int(self.rng.expovariate(1 / 60.0)) % BOOK_LEVELS)
            # The best rungs of each side stay, so that a book never empties at its top.
            is_deletion = self.rng.random() < DELETION_SHARE and abs(tick - coin.center) > 3
            rows[tick] = 0 if is_deletion else self._quantity()
            _set(levels, tick, rows[tick])

    def _picture(self, code: str, center: int, tick: int, units: int) -> Frame:
        self.at_ms += 1
        scale = 10**12 if code == FX_CODE else 10**8
        rows = [
            {
                "ap": float((center + 1 + i) * tick),
                "bp": float((center - i) * tick),
                "as": self._size(scale),
                "bs": self._size(scale),
            }
            for i in range(units)
        ]
        return self._write_picture(code, rows)

    def _write_picture(self, code: str, rows: list[dict[str, float]]) -> Frame:
        """Write a picture in both of Upbit's layouts, stamped with the time of the moment."""
        total_ask, total_bid = round(sum(r["as"] for r in rows), 8), round(sum(r["bs"] for r in rows), 8)
        simple = {
            "ty": "orderbook", "cd": code, "tms": self.at_ms, "tas": total_ask, "tbs": total_bid, "obu": rows,
            "st": "REALTIME", "lv": 0,
        }  # fmt: skip
        long_rows = [{"ask_price": r["ap"], "bid_price": r["bp"], "ask_size": r["as"], "bid_size": r["bs"]} for r in rows]
        default = {
            "type": "orderbook", "code": code, "timestamp": self.at_ms,
            "total_ask_size": total_ask, "total_bid_size": total_bid, "orderbook_units": long_rows,
            "stream_type": "SNAPSHOT", "level": 0,
        }  # fmt: skip
        return Frame("upbit", code, encode(simple).encode(), encode(default).encode())

    def _size(self, scale: int) -> float:
        # A few sizes are so small that JSON writes them with an exponent, as the exchange does.
        return 1e-08 if self.rng.random() < 0.01 else round(self.rng.randrange(10**4, 10 * scale) / 1e8, 8)


def snapshot_of(coin: Coin) -> bytes:
    """Write the answer of Binance's depth endpoint for a coin as it stands."""

    def side(levels: dict[int, int], *, is_descending: bool) -> list[list[str]]:
        return [[decimal_text(p * BINANCE_TICK_E8), decimal_text(levels[p])] for p in sorted(levels, reverse=is_descending)]

    asks, bids = side(coin.asks, is_descending=False), side(coin.bids, is_descending=True)
    return encode({"lastUpdateId": coin.last_id, "bids": bids, "asks": asks}).encode()


def coin_of(frame: Frame) -> str | None:
    """Return the coin a frame is about, or None for the won market."""
    if frame.symbol == FX_CODE:
        return None
    return frame.symbol.removesuffix("USDT") if frame.venue == "binance" else frame.symbol.removeprefix("KRW-")


def _set(levels: dict[int, int], tick: int, quantity: int) -> None:
    if quantity:
        levels[tick] = quantity
    else:
        levels.pop(tick, None)
