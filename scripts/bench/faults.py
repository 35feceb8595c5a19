"""A wire that loses, repeats, delays, swaps and damages frames, from a seed. Knows what it did; judges nobody.

What it damaged on purpose carries no information: the reference skips it by that knowledge, not by looking.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Callable, Iterator
from decimal import Decimal

from bench.frames import BINANCE_TICK_E8, Coin, Frame, Universe, decimal_text

HISTORY = 6
"""Old frames kept for each market, to be delivered again late."""
NUMBER = re.compile(rb'(?<=["\[:,])(\d+\.\d+(?:e-?\d+)?)(?=["\],}])')
"""A decimal number, quoted or not."""


@dataclasses.dataclass
class Delivery:
    """What arrives: a frame as it was, or damaged."""

    frame: Frame
    raw: bytes
    is_damaged: bool = False


def with_exponents(raw: bytes) -> bytes:
    """Write every decimal number as a mantissa with an exponent."""
    return NUMBER.sub(lambda found: f"{Decimal(found[1].decode()):E}".encode(), raw)


def ticker(coin: Coin, last_id: int) -> bytes:
    """Write Binance's best prices as they stand at an update id."""
    bid, ask = max(coin.bids), min(coin.asks)
    bid_text, ask_text = decimal_text(bid * BINANCE_TICK_E8), decimal_text(ask * BINANCE_TICK_E8)
    sizes = decimal_text(coin.bids[bid]), decimal_text(coin.asks[ask])
    stream = f"{coin.binance_symbol.lower()}@bookTicker"
    body = f'"u":{last_id},"s":"{coin.binance_symbol}","b":"{bid_text}","B":"{sizes[0]}","a":"{ask_text}","A":"{sizes[1]}"'
    return f'{{"stream":"{stream}","data":{{{body}}}}}'.encode()


def _first_price(raw: bytes, text: bytes) -> bytes:
    levels = raw.find(b"obu" if raw.startswith(b'{"ty"') else b'"b":')
    found = NUMBER.search(raw, levels)
    assert levels > 0 and found is not None, "a frame has levels; the totals before them nobody reads"
    return raw[: found.start()] + text + raw[found.end() :]


DAMAGES: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut short": lambda raw, rng: raw[: rng.randrange(1, len(raw))],
    "noise": lambda raw, rng: rng.randbytes(rng.randrange(1, 200)),
    "not UTF-8": lambda raw, _: raw.replace(b'"s":"', b'"s":"\xff').replace(b'"cd":"', b'"cd":"\xff'),
    "negative": lambda raw, _: _first_price(raw, b"-1.0"),
    "not a number": lambda raw, _: _first_price(raw, b"NaN"),
    "infinite": lambda raw, _: _first_price(raw, b"1e999"),
    "a word": lambda raw, _: _first_price(raw, b"many"),
    "another symbol": lambda raw, _: raw.replace(b'"C0', b'"X9').replace(b"KRW-C", b"KRW-X").replace(b"KRW-U", b"KRW-X"),
    "a list instead": lambda raw, _: b'{"stream":"c000usdt@depth@100ms","data":[]}',
    "empty": lambda raw, _: b"",
}
"""Each turns a good frame into one that no reader may take for data."""


class Wire:
    """Deliveries without end; each good frame is also remembered, so that it can come again, late."""

    def __init__(self, universe: Universe, seed: int) -> None:
        self.universe = universe
        self.rng = random.Random(seed)
        self.done: dict[str, int] = {}
        """How often each thing happened."""
        self._old: dict[str, list[Frame]] = {}
        self._held: dict[str, Frame] = {}
        self._coins = {coin.binance_symbol: coin for coin in universe.coins}

    def deliver(self) -> list[Delivery]:
        """Let the venues send one frame; return what arrives."""
        frame = self.universe.next_frame()
        kinds = ("lost", "repeated", "stale", "swapped", "damaged", "damaged besides", "exponents", "ticker")
        kind = self.rng.choices(("good", *kinds), (70, 2, 3, 3, 3, 4, 5, 5, 5))[0]
        self.done[kind] = self.done.get(kind, 0) + 1
        arrived = list(self._by_kind(kind, frame))
        held = self._held.pop(frame.symbol, None) if kind != "swapped" else None
        self._old.setdefault(frame.symbol, []).append(frame)
        del self._old[frame.symbol][:-HISTORY]
        return [*arrived, Delivery(held, held.raw)] if held is not None else arrived

    def flush(self) -> list[Delivery]:
        """Send one last undisturbed frame of every market."""
        self._held.clear()
        frames = [*(self.universe.diff(coin) for coin in self.universe.coins), *self.universe.pictures()]
        return [Delivery(frame, frame.raw) for frame in frames]

    def _by_kind(self, kind: str, frame: Frame) -> Iterator[Delivery]:
        good = Delivery(frame, frame.raw)
        match kind:
            case "lost":
                return
            case "swapped":
                self._held[frame.symbol] = frame
            case "repeated":
                yield from (good, good)
            case "stale":
                yield good
                old = self.rng.choice(self._old.get(frame.symbol, [frame]))
                yield Delivery(old, old.raw)
            case "damaged":
                yield self._damaged(frame)
            case "damaged besides":
                yield from (self._damaged(frame), good)
            case "exponents":
                yield Delivery(frame, with_exponents(frame.raw))
            case "ticker" if frame.venue == "binance":
                coin = self._coins[frame.symbol]
                best = Delivery(frame, ticker(coin, coin.last_id))
                yield from self.rng.sample((good, best), 2)
            case _:
                yield good

    def _damaged(self, frame: Frame) -> Delivery:
        name = self.rng.choice(tuple(DAMAGES))
        self.done[name] = self.done.get(name, 0) + 1
        return Delivery(frame, DAMAGES[name](frame.raw, self.rng), is_damaged=True)
