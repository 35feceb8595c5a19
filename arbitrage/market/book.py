"""What every book shares: the touch as plain floats, its age, its flaw, and the plausibility of a jump. Holds no levels."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from arbitrage.market.doubt import Doubt
from arbitrage.model.effects import Effect
from arbitrage.model.events import Level
from arbitrage.model.instruments import Side
from arbitrage.model.settings import MarketDataSettings

NOTHING: tuple[Effect, ...] = ()
"""The shared answer of an event that wants nothing done."""
NEVER = 2**63
"""An update id or a time that nothing from a venue reaches."""
INFINITE = float("inf")
SMALLEST = 1e-9
"""Below any price on the 1e-8 grid: smaller is padding, and a side known down to here is known whole."""


TAKEN_LEVELS_MAX = 200
"""How deep a fill of ours is looked for."""


class Book(ABC):
    """The touch of one market. `flaw` is None exactly while the picture itself may be trusted; ages are the board's task."""

    __slots__ = (
        "_band_high", "_band_low", "_candidate", "_confirmations", "_confirmations_wanted", "_jump_ratio", "_mid", "_taken",
        "best_ask", "best_ask_quantity", "best_bid", "best_bid_quantity", "counters", "flaw", "market", "updated_at_ns",
        "venue_ms", "version",
    )  # fmt: skip

    def __init__(self, market: int, settings: MarketDataSettings, counters: dict[str, int]) -> None:
        assert market >= 0, "a market is a position in the configured list"
        self.market = market
        self.counters = counters
        self.best_bid = self.best_bid_quantity = self.best_ask = self.best_ask_quantity = 0.0
        self.version = 0
        self.updated_at_ns = 0
        self.venue_ms = 0
        self.flaw: Doubt | None = Doubt.NEVER_SYNCED
        self._mid = self._candidate = 0.0
        self._confirmations = 0
        self._taken: dict[Side, dict[float, tuple[float, float]]] = {}
        """What we took, by side of our order and price: the quantity that was shown then, and ours."""
        self.configure(settings)

    def configure(self, settings: MarketDataSettings) -> None:
        """Judge jumps by new limits from the next update on."""
        assert settings.price_jump_ppm_max > 0, "some movement is always plausible"
        self._jump_ratio = settings.price_jump_ppm_max / 1_000_000
        self._confirmations_wanted = settings.price_jump_confirmations
        self._band_low, self._band_high = INFINITE, 0.0

    def levels(self, side: Side, limit: int) -> list[Level]:
        """Return at most `limit` levels that an order of `side` would hit, best first, less what we took of them.

        The feed shows our own fills late, or never (on paper). What we took stays taken until an update changes that level.
        """
        taken = self._taken.get(side)
        if not taken:
            return self.shown(side, limit)
        shown = self.shown(side, max(limit + len(taken), TAKEN_LEVELS_MAX))
        quantities = dict(shown)
        kept = {price: row for price, row in taken.items() if quantities.get(price) == row[0]}
        self._taken[side] = kept
        left = [(price, quantity - kept[price][1] if price in kept else quantity) for price, quantity in shown]
        return [level for level in left if level[1] > 0.0][:limit]

    def take(self, side: Side, price: float, quantity: float) -> None:
        """Note that an order of ours of this side took so much at a price."""
        assert quantity > 0.0, "a fill takes something"
        shown = dict(self.shown(side, TAKEN_LEVELS_MAX)).get(price)
        if shown is not None:
            known = self._taken.setdefault(side, {}).get(price)
            before = known[1] if known is not None and known[0] == shown else 0.0
            self._taken[side][price] = (shown, min(shown, before + quantity))

    @abstractmethod
    def shown(self, side: Side, limit: int) -> list[Level]:
        """Return the levels as the venue shows them; none while the book is unusable."""

    @abstractmethod
    def link_up(self) -> Sequence[Effect]:
        """Start from nothing behind a new connection."""

    @abstractmethod
    def link_down(self) -> None:
        """Become unusable until a connection is up again."""

    @abstractmethod
    def contradicted_since_ns(self) -> int:
        """Return since when an independent best price disagrees, or 0."""

    def _clear_touch(self) -> None:
        """Show no price at all: what cannot be trusted cannot be screened either."""
        assert self.flaw is not None, "only a flawed book is emptied"
        self.best_bid = self.best_bid_quantity = self.best_ask = self.best_ask_quantity = 0.0
        self.version += 1

    def _forget_price(self) -> None:
        """Accept any next mid price: behind a new connection there is nothing to compare it with."""
        self._mid = self._candidate = 0.0
        self._confirmations = 0
        self._band_low, self._band_high = INFINITE, 0.0

    def _judge_mid(self, doubled_mid: float) -> bool:
        """Tell whether a (doubled) mid outside the quiet band is plausible, and move the band when it is.

        Inside the band any two mids are within the jump limit of each other, so the hot path compares with its ends only:
        `(1 + x) / (1 - x) == 1 + jump` for `x = jump / (2 + jump)`.
        """
        assert doubled_mid > 0.0, "a mid needs both sides"
        is_near = self._mid == 0.0 or abs(doubled_mid - self._mid) <= self._mid * self._jump_ratio
        if not is_near:
            if self._candidate and abs(doubled_mid - self._candidate) <= self._candidate * self._jump_ratio:
                self._confirmations += 1
            else:
                self._confirmations = 0
            self._candidate = doubled_mid
            if self._confirmations < self._confirmations_wanted:
                self._band_low = INFINITE
                return False
        self._mid = doubled_mid
        self._candidate = 0.0
        self._confirmations = 0
        width = self._jump_ratio / (2.0 + self._jump_ratio)
        self._band_low = doubled_mid * (1.0 - width)
        self._band_high = doubled_mid * (1.0 + width)
        assert self._band_low <= doubled_mid <= self._band_high, "the band holds its own centre"
        return True
