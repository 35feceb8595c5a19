"""Rolling figures of the last 60 seconds, as the METRICS hash shows them. Reads no clock: every call brings its time.

Kept in sixty buckets of one second, so memory does not grow and a figure covers between 59 and 60 seconds.
"""

from __future__ import annotations

from arbitrage.model.money import format_e8
from arbitrage.ops.hops import Hops

WINDOW_S = 60
NANOSECONDS = 1_000_000_000
HALF_WINDOW_NS = 30 * NANOSECONDS
BUCKETS = 160
"""Four an octave: enough for any value below 2**40."""


class RollingSum:
    """Counts and sums what came in during the last 60 seconds."""

    def __init__(self) -> None:
        self._counts = [0] * WINDOW_S
        self._totals = [0] * WINDOW_S
        self._largest = [0] * WINDOW_S
        self._second = 0
        """The newest second that a bucket stands for."""

    def add(self, now_ns: int, value: int = 0) -> None:
        """Add one occurrence with its value. One that is late (a clock that stood still) counts as now."""
        slot = self._move_to(now_ns)
        self._counts[slot] += 1
        self._totals[slot] += value
        self._largest[slot] = max(self._largest[slot], value)

    def count(self, now_ns: int) -> int:
        self._move_to(now_ns)
        return sum(self._counts)

    def total(self, now_ns: int) -> int:
        self._move_to(now_ns)
        return sum(self._totals)

    def largest(self, now_ns: int) -> int:
        """Return the largest value, or 0 when there was none above."""
        self._move_to(now_ns)
        return max(self._largest)

    def _move_to(self, now_ns: int) -> int:
        """Empty the buckets that the time has passed by and return the one of `now_ns`."""
        second = max(now_ns // NANOSECONDS, self._second)
        for passed in range(max(self._second + 1, second - WINDOW_S + 1), second + 1):
            slot = passed % WINDOW_S
            self._counts[slot] = self._totals[slot] = self._largest[slot] = 0
        self._second = second
        return second % WINDOW_S


class Quantiles:
    """Counts values (microseconds) in buckets a fifth wide at most, over the last 30 to 60 seconds."""

    def __init__(self) -> None:
        self._now = [0] * BUCKETS
        self._before = [0] * BUCKETS
        self._half = 0

    def add(self, now_ns: int, value_us: int) -> None:
        """Add one value."""
        if now_ns // HALF_WINDOW_NS != self._half:
            self._before = self._now if now_ns // HALF_WINDOW_NS == self._half + 1 else [0] * BUCKETS
            self._now, self._half = [0] * BUCKETS, now_ns // HALF_WINDOW_NS
        size = value_us.bit_length()
        place = value_us if size < 3 else (size - 2) * 4 + (value_us >> (size - 3) & 3)
        self._now[min(place, BUCKETS - 1)] += 1

    def quantile(self, share: float) -> int:
        """Return the upper end of the bucket that holds this share of the values; 0 when there are none."""
        counts = [now + before for now, before in zip(self._now, self._before, strict=True)]
        left = share * sum(counts)
        for place, count in enumerate(counts):
            left -= count
            if count and left <= 0:
                return place if place < 4 else (place % 4 + 5) << (place // 4 - 1)
        return 0


class Metrics:
    """The figures of section 'Redis' in the README, fed by one call an occurrence."""

    def __init__(self) -> None:
        self._trades = RollingSum()
        self._errors = RollingSum()
        self._wire_us = RollingSum()
        self._loop_us = RollingSum()
        self._refusals = RollingSum()
        self._decisions = Quantiles()
        self._profit_e8 = RollingSum()
        self.hops = Hops()

    def trade(self, now_ns: int) -> None:
        """Count a fill."""
        self._trades.add(now_ns)

    def error(self, now_ns: int) -> None:
        """Count an error: a log line at ERROR or above, or a venue fault."""
        self._errors.add(now_ns)

    def wire_latency(self, now_ns: int, latency_us: int, venue: str = "") -> None:
        """Note how old a frame was on arrival by the venue's own stamp, clock offset taken off; below zero counts as zero."""
        self._wire_us.add(now_ns, max(0, latency_us))
        self.hops.add("exchange_to_receive", latency_us, venue)

    def loop_latency(self, now_ns: int, lateness_us: int) -> None:
        """Note how late the event loop was."""
        self._loop_us.add(now_ns, max(0, lateness_us))

    def decided(self, now_ns: int, since_frame_us: int) -> None:
        """Note how long after its frame a decision was done."""
        self._decisions.add(now_ns, max(0, since_frame_us))
        self.hops.add("receive_to_decision", since_frame_us)

    def decision_us_p99(self) -> int:
        """Return how long frame to decision took, at the 99th percentile, over the last 30 to 60 seconds."""
        return self._decisions.quantile(0.99)

    def guard_trigger(self, now_ns: int) -> None:
        """Count a refusal by the risk guard."""
        self._refusals.add(now_ns)

    def realised(self, now_ns: int, profit_e8: int) -> None:
        """Add realised profit (1e-8 of the reporting asset, signed) when it is booked."""
        self._profit_e8.add(now_ns, profit_e8)

    def errors(self, now_ns: int) -> int:
        """Return how many errors were counted."""
        return self._errors.count(now_ns)

    def loop_latency_ms(self, now_ns: int) -> float:
        """Return the mean lateness of the loop."""
        return _mean_ms(self._loop_us, now_ns)

    def loop_latency_ms_worst(self, now_ns: int) -> float:
        """Return the worst lateness of the loop."""
        return self._loop_us.largest(now_ns) / 1_000

    def fields(self, now_ns: int) -> dict[str, str]:
        """Return the hash: the six figures, and when they were taken (nanoseconds since 1970)."""
        return {
            "trades_per_minute": str(self._trades.count(now_ns)),
            "errors_per_minute": str(self._errors.count(now_ns)),
            "avg_ws_latency_ms": f"{_mean_ms(self._wire_us, now_ns):.3f}",
            "avg_loop_latency_ms": f"{self.loop_latency_ms(now_ns):.3f}",
            "guard_triggers_per_minute": str(self._refusals.count(now_ns)),
            "pnl_change_1min": format_e8(self._profit_e8.total(now_ns)),
            "updated_at_ns": str(now_ns),
        }


def _mean_ms(sums: RollingSum, now_ns: int) -> float:
    count = sums.count(now_ns)
    return sums.total(now_ns) / count / 1_000 if count else 0.0
