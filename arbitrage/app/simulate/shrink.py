"""Makes a failing life short: leaves out what it does not need to fail by the same rule, tells the rest."""

from __future__ import annotations

import msgspec

from arbitrage.app.simulate.parts import Parts
from arbitrage.app.simulate.plants import parts_of
from arbitrage.app.simulate.scene import Life, Scene
from arbitrage.app.simulate.story import Shape, Story, tell_story
from arbitrage.sim.sites import VenueKeys, make_keys
from arbitrage.sim.weather import Strike, Strikes

LIVES_MAX = 120
"""So many lives are lived to shrink one."""
TRACE_LINES = 150
LINE_CHARACTERS = 240
ASKED_ALL_THE_TIME = (
    "/api/v3/time", "/v1/orderbook/instruments", "/v1/market/all", "exchangeInfo", "capital/config", "status/wallet",
    "account/commission", "orders/chance", "ClockMeasured", "WalletsRead", "FeesRead",
)  # fmt: skip
"""Left out of a trace: it happens all the time and seldom explains anything."""


class Shrunk(msgspec.Struct, frozen=True):
    """A failing seed for people."""

    seed: int
    checker: str
    at: float
    """In seconds of the life's own time."""
    message: str
    weather: Strikes
    """The strikes that are still needed."""
    strikes: tuple[str, ...]
    """The same in words."""
    trace: tuple[str, ...]
    lives: int
    """How many were lived to find this."""


class _Search:
    """Looks for a shorter weather with the same end."""

    def __init__(self, story: Story, parts: Parts, keys: VenueKeys, checker: str) -> None:
        self.story = story
        self.lives = 0
        self._parts = parts
        self._keys = keys
        self._checker = checker

    def live(self, strikes: Strikes, *, is_traced: bool = False) -> Life:
        self.lives += 1
        story = msgspec.structs.replace(self.story, strikes=strikes)
        return Scene(story, self._parts, self._keys, is_traced=is_traced).live()

    def fails(self, strikes: Strikes) -> bool:
        """Say whether a life with this weather fails by the same rule."""
        if self.lives >= LIVES_MAX:
            return False
        failure = self.live(strikes).failure
        return failure is not None and failure.checker == self._checker

    def shortest(self) -> Strikes:
        """Leave out the later half, the earlier half, and at last one after the other."""
        strikes = self.story.strikes
        size = len(strikes) // 2
        while size >= 1:
            start = 0
            while start < len(strikes):
                fewer = strikes[:start] + strikes[start + size :]
                if self.fails(fewer):
                    strikes = fewer
                else:
                    start += size
            size //= 2
        return strikes


def shrink(seed: int, shape: Shape, plant: str) -> Shrunk:
    """Live a failing seed again, ever shorter; return what is left of it with its trace."""
    story, parts, keys = tell_story(seed, shape), parts_of(plant), make_keys(1)
    first = Scene(story, parts, keys).live()
    assert first.failure is not None, "only what fails is shrunk"
    search = _Search(story, parts, keys, first.failure.checker)
    strikes = search.shortest()
    life = search.live(strikes, is_traced=True)
    failure = life.failure
    assert failure is not None, "the shortest weather that was found fails"
    return Shrunk(
        seed, failure.checker, failure.at_ms / 1000, failure.message, strikes,
        tuple(_strike_line(strike) for strike in strikes), trace_lines(life), search.lives,
    )  # fmt: skip


def trace_lines(life: Life, *, is_whole: bool = False) -> tuple[str, ...]:
    """Return the end of a life in lines for people, or the whole of it with all that is asked all the time."""
    told = [line for line in life.trace if is_whole or not any(word in line[2] for word in ASKED_ALL_THE_TIME)]
    kept = told if is_whole else told[-TRACE_LINES:]
    return tuple(f"{at_ns / 1e9:9.3f} s  {who:8}  {what[:LINE_CHARACTERS]}" for at_ns, who, what in kept)


def _strike_line(strike: Strike) -> str:
    return f"{strike.at_ms / 1000:9.3f} s  {strike}"
