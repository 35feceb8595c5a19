"""Which refused opportunities are kept whole: of one cycle and one reason one in SAMPLE_INTERVAL_NS. Keeps none itself.

Every opening of a cycle is an episode anyway, with its first and best opportunity and the count of each reason; what is kept
beside shows how it went on.
"""

from __future__ import annotations

from arbitrage.model.effects import Judged
from arbitrage.model.opportunities import Refusal, Refused

SAMPLE_INTERVAL_NS = 10_000_000_000
REMEMBERED_MAX = 10_000
"""Pairs of cycle and reason whose last sample is remembered; past it all are forgotten, and sampled anew."""


class Samples:
    """What was sampled last."""

    def __init__(self) -> None:
        self._kept_at_ns: dict[tuple[int, Refusal], int] = {}

    def wants(self, judged: Judged) -> bool:
        """Say whether to keep this one: all that were taken, and a sample of the refused."""
        verdict = judged.verdict
        if not isinstance(verdict, Refused):
            return True
        key, at_ns = (judged.opportunity.cycle, verdict.reason), judged.opportunity.at_ns
        kept_ns = self._kept_at_ns.get(key)
        if kept_ns is not None and at_ns < kept_ns + SAMPLE_INTERVAL_NS:
            return False
        if len(self._kept_at_ns) >= REMEMBERED_MAX:
            self._kept_at_ns.clear()
        self._kept_at_ns[key] = at_ns
        return True
