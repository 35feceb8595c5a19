"""What became of a cycle that passed the screen and is not an opportunity. A value; decides nothing."""

from __future__ import annotations

import msgspec

from arbitrage.model.opportunities import Opportunity, Refusal


class Missed(msgspec.Struct, frozen=True):
    """A cycle, or several with one cause, that passed the screen and was not offered, with the reason and what it showed."""

    cycle: int
    """The best of them."""
    name: str
    reason: Refusal
    detail: str
    edge_ppm: int
    """Of the best, at the top of the book after fees and proportional transfer costs, rounded down. An estimate: not sized."""
    at_ns: int
    cycles: int = 1
    """How many cycles this one line stands for in this decision."""

    def __post_init__(self) -> None:
        assert self.cycles >= 1, "a line stands for at least one cycle"

    def once_more(self) -> Missed:
        """Return the line with one more cycle behind it."""
        assert self.detail, "a line says what it is about"
        return msgspec.structs.replace(self, cycles=self.cycles + 1)


Found = Opportunity | Missed
