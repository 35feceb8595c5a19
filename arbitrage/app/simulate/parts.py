"""What a simulated daemon is made of. A plant (`plants.py`) is this with one part replaced; nothing else knows of plants.

How to plant a bug: subclass the part that would have it (`Engine`, `Door`, a feed, a link) or make a function that builds one
and breaks a room inside it, and return `msgspec.structs.replace(PARTS, engine=...)`. Everything is made anew at each start of
the process, so a bug survives crashes. Parts are called with exactly what the real composition root gives them:

- `engine(settings, markets, id_prefix=..., account_venues=...)`: break a room in `__init__` (`self.dust = ...`), an event in
  `step`, a fact in `_apply`, what is kept in `snapshot`.
- `door(engine, timing, journal, recorder)`: what is carried out in which order (`_carry_out`, `_make_durable`).
- `feeds[venue]`, `links[venue]`: what is read, held back, asked and sent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from arbitrage.app.door import Door
from arbitrage.app.simulate.binance_link import BinanceLink
from arbitrage.app.simulate.feeds import BinanceFeed, Feed, UpbitFeed
from arbitrage.app.simulate.links import AccountLink
from arbitrage.app.simulate.upbit_link import UpbitLink
from arbitrage.engine.engine import Engine


class Parts(msgspec.Struct, frozen=True):
    """Makers of everything that is not the world's."""

    engine: Callable[..., Engine]
    door: Callable[..., Door]
    feeds: Mapping[str, Callable[..., Feed]]
    links: Mapping[str, Callable[..., AccountLink]]


PARTS = Parts(
    Engine, Door, {"binance": BinanceFeed, "upbit": UpbitFeed}, {"binance": BinanceLink, "upbit": UpbitLink}
)  # fmt: skip
"""The real ones."""
