"""How long an order takes to reach its venue, as distributions that plug in. Draws from a handed generator; owns no clock."""

from __future__ import annotations

import math
import random
from typing import Protocol

import msgspec

from arbitrage.model.settings import PaperSettings

LATENCY_NS_MAX = 60_000_000_000
"""No draw is longer than this: the tail of a distribution is not a lost order."""
MS_NS = 1_000_000


class Latency(Protocol):
    """A distribution of order entry latencies."""

    def draw_ns(self, rng: random.Random) -> int:
        """Draw one latency in nanoseconds, at least 0 and at most `LATENCY_NS_MAX`."""
        ...


class ConstantLatency(msgspec.Struct, frozen=True):
    """Always the same."""

    latency_ns: int

    def __post_init__(self) -> None:
        assert 0 <= self.latency_ns <= LATENCY_NS_MAX, "a latency is within its limits"

    def draw_ns(self, rng: random.Random) -> int:
        return self.latency_ns


class LogNormalLatency(msgspec.Struct, frozen=True):
    """Most answers near the median, a tail of late ones: what order entry over the internet looks like."""

    median_ns: int
    sigma: float

    def __post_init__(self) -> None:
        assert 0 < self.median_ns <= LATENCY_NS_MAX, "a median is within its limits"
        assert self.sigma >= 0, "a spread is not negative"

    def draw_ns(self, rng: random.Random) -> int:
        drawn_ns = round(self.median_ns * math.exp(self.sigma * rng.gauss(0.0, 1.0)))
        return min(drawn_ns, LATENCY_NS_MAX)


class EmpiricalLatency(msgspec.Struct, frozen=True):
    """Measured latencies, each as likely as it was seen."""

    samples_ns: tuple[int, ...]

    def __post_init__(self) -> None:
        assert self.samples_ns, "a measurement has samples"
        assert all(0 <= sample_ns <= LATENCY_NS_MAX for sample_ns in self.samples_ns), "samples are within the limits"

    def draw_ns(self, rng: random.Random) -> int:
        return self.samples_ns[rng.randrange(len(self.samples_ns))]


def configured_latency(settings: PaperSettings) -> LogNormalLatency:
    """Make the log-normal that the configuration describes."""
    return LogNormalLatency(settings.latency_ms_median * MS_NS, settings.latency_sigma)
