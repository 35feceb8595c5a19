"""When the daemon is killed, drawn from a seed: at every labelled moment, and at random ones. Kills nobody."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

from arbitrage.app.crash_points import AFTER_ACKNOWLEDGEMENT, AFTER_INTENT, AFTER_SEND
from arbitrage.store.moments import BEFORE_COMMIT, DURING_APPEND, DURING_MIGRATION, SNAPSHOT_FILE, SNAPSHOT_ROW

RANDOM = "random"
NTHS = {
    AFTER_INTENT: 3,
    f"{AFTER_SEND}@binance": 3,
    f"{AFTER_SEND}@upbit": 3,
    f"{AFTER_ACKNOWLEDGEMENT}@binance": 4,
    f"{AFTER_ACKNOWLEDGEMENT}@upbit": 4,
    DURING_APPEND: 12,
    BEFORE_COMMIT: 6,
    SNAPSHOT_FILE: 3,
    SNAPSHOT_ROW: 3,
}
"""Every moment of a running daemon, and at most how many times it passes before the kill."""
POINTS = (*NTHS, DURING_MIGRATION)
RANDOM_SHARE = 6
"""So many of each deck are killed at a random instant, beside one at each moment."""
STARTING_SHARE, STARTING_S_MAX, TRADING_S_MAX = 0.25, 1.6, 3.5
"""Of the random instants so many lie within the first moments of a start, the others in the time after it."""
KILLS_PER_COMPARISON = 10


@dataclass(frozen=True)
class Kill:
    """One death."""

    number: int
    point: str
    """A label of `crash_points`, with its venue; or `random`."""
    nth: int = 1
    after_s: float = 0.0
    """A random one: so long after the start is explained; negative: so long after the process began."""
    is_compared: bool = False
    """Before it, the market is left alone until all is flat, and the books are compared."""
    is_upgrade: bool = False
    """The database is first made an older program's, so that there is something to migrate."""

    @property
    def word(self) -> str:
        """What the environment variable says; empty for a random instant."""
        return "" if self.point == RANDOM else f"{self.point}:{self.nth}"


def plan(seed: int, kills: int, migrations: int) -> Iterator[Kill]:
    """Yield the deaths of one sweep: first of a new folder's own start, in each of its migrations, then by shuffled decks."""
    dice = random.Random(f"kills {seed}")
    in_migrations = min(migrations, kills // 4)  # so that few kills still come to every other moment
    first = [(RANDOM, 1), *((DURING_MIGRATION, min(number, 2)) for number in range(1, in_migrations + 1))]
    deck: list[tuple[str, int]] = []
    for number in range(1, kills + 1):
        if number % KILLS_PER_COMPARISON == 0:
            yield Kill(number, RANDOM, after_s=dice.uniform(0.0, TRADING_S_MAX), is_compared=True)
        elif first:
            point, nth = first.pop(0)
            yield Kill(number, point, nth, after_s=-dice.uniform(0.1, STARTING_S_MAX))
        else:
            if not deck:
                deck = shuffled(dice)
                if number < KILLS_PER_COMPARISON:
                    deck.sort(key=lambda card: card[0] != RANDOM)  # a short sweep comes to every moment, too
            point, nth = deck.pop()
            is_start = dice.random() < STARTING_SHARE
            after_s = -dice.uniform(0.0, STARTING_S_MAX) if is_start else dice.uniform(0.0, TRADING_S_MAX)
            yield Kill(number, point, nth, after_s, is_upgrade=point == DURING_MIGRATION)


def shuffled(dice: random.Random) -> list[tuple[str, int]]:
    """Return one deck: every moment once, and the random ones."""
    deck = [(point, dice.randint(1, most)) for point, most in NTHS.items()]
    deck += [(DURING_MIGRATION, 1), *[(RANDOM, 1)] * RANDOM_SHARE]
    dice.shuffle(deck)
    return deck
