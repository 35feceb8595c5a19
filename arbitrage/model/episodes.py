"""Episodes: every opening of a cycle, from the first look at which it gained to the last, as one value. Decides nothing."""

from __future__ import annotations

import enum

import msgspec

from arbitrage.model.money import Asset
from arbitrage.model.opportunities import Opportunity

FOLLOW_UP_DELAYS_MS = (50, 100, 250, 500)
"""How long after a refused opportunity its cycle is priced again, on the books that followed."""


class EpisodeState(enum.Enum):
    """Whether it still gains, and else why it is over."""

    OPEN = "open"
    GONE = "gone"
    """It no longer gained."""
    INTERRUPTED = "interrupted"
    """Markets, fees or settings changed, so that its cycle is another one now."""
    STOPPED = "stopped"
    """Nobody looked any more: the process ended."""


class FollowUp(msgspec.Struct, frozen=True, gc=False):
    """What the same cycle at no more than the same size would have paid later, on the books of then."""

    delay_ms: int
    """One of FOLLOW_UP_DELAYS_MS."""
    at_ns: int
    """When the books were looked at: the first decision or wake at which it was due."""
    net_e8: int | None
    """In the reporting asset after every cost, rounded against us; negative where it would have lost."""
    reason: str = ""
    """Why there is no answer: a market that could not be used, minimums no longer met."""

    def __post_init__(self) -> None:
        assert (self.net_e8 is None) == bool(self.reason), "an answer or a reason"


class Episode(msgspec.Struct, frozen=True, gc=False):
    """One opening, as far as it is known at `noted_at_ns`; a later note of the same id replaces it."""

    id: str
    cycle: int
    name: str
    pair: str
    """The assets that it trades besides fiat and the reporting asset, joined by `+`."""
    reporting_asset: Asset
    state: EpisodeState
    first_seen_ns: int
    last_seen_ns: int
    """While it is open: the last look. Over: the look at which it was found to gain no more."""
    noted_at_ns: int
    looks: int
    """Decisions in which it gained."""
    edge_ppm_peak: int
    """At the top of the books after fees and proportional transfer costs: an estimate, not sized."""
    first: Opportunity | None
    """The first one that was sized and judged; None where none was."""
    peak: Opportunity | None
    """The one of the highest net."""
    taken: tuple[str, ...]
    """Ids of opportunities that became plans, the newest few."""
    taken_count: int
    refusals: dict[str, int]
    """Looks at which it was refused, by reason; looks that passed it over in between (`resize_interval_ms`) are in none."""
    follow_ups: tuple[FollowUp, ...]
    """Of the first one, where that was refused."""

    def __post_init__(self) -> None:
        assert self.first_seen_ns <= self.last_seen_ns <= self.noted_at_ns, "time does not go back"
        assert self.looks >= 1, "an opening was seen"
        assert len(self.taken) <= self.taken_count, "what is named was taken"

    @property
    def life_ns(self) -> int:
        return self.last_seen_ns - self.first_seen_ns
