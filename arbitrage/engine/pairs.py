"""What each pair realised of what it expected in its last arbitrages that traded. Switches a pair off; judges no opportunity.

A pair that does not earn what its opportunities promise is wrong somewhere (fees, latency, a book that flatters), and going on
does not find out where. Its memory is durable and changes by facts alone.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from arbitrage.execution.hedging import HEDGE_CYCLE
from arbitrage.model.facts import Fact, PairSwitched, PlanClosed
from arbitrage.model.money import PPM, Asset, div_down
from arbitrage.model.opportunities import Opportunity, Outcome, PlanState
from arbitrage.model.settings import ExecutionSettings

RESULTS_KEPT_MAX = 200
"""Of one pair; `execution.realised_plans` is at most that."""
PAIRS_MAX = 10_000
"""Pairs remembered; of those that are on, the one that traded longest ago is forgotten first."""
OURSELVES = "the engine"

AssetsOf = Callable[[Opportunity], frozenset[Asset]]
"""The guard's naming of an opportunity's pair."""


class Result(msgspec.Struct, frozen=True):
    """One arbitrage that traded, in 1e-8 of the reporting asset."""

    expected_e8: int
    realised_e8: int


class PairRecord(msgspec.Struct, frozen=True):
    """One pair's last results, oldest first, and why it is off (empty when it is not)."""

    results: tuple[Result, ...] = ()
    off_reason: str = ""


class PairsState(msgspec.Struct, frozen=True):
    """The memory as a snapshot section."""

    pairs: dict[str, PairRecord] = {}


class PairBook:
    """Every pair that traded."""

    def __init__(self, assets_of: AssetsOf) -> None:
        self._assets_of = assets_of
        self._records: dict[str, PairRecord] = {}

    @property
    def state(self) -> PairsState:
        """Return the whole memory; later changes do not reach it."""
        return PairsState(dict(self._records))

    def restore(self, state: PairsState) -> None:
        """Take over a snapshot's memory."""
        assert not self._records, "only a fresh memory is restored"
        self._records = dict(state.pairs)

    def name_of(self, opportunity: Opportunity) -> str:
        """Name an opportunity's pair, such as `BTC` or `BTC+ETH`."""
        name = "+".join(sorted(self._assets_of(opportunity)))
        assert name, "a pair has a name"
        return name

    def off(self) -> dict[str, str]:
        """Return the pairs that are off, with their reasons."""
        return {pair: record.off_reason for pair, record in self._records.items() if record.off_reason}

    def off_reason(self, opportunity: Opportunity) -> str:
        """Say why an opportunity's pair is off; empty when it is not."""
        record = self._records.get(self.name_of(opportunity))
        return record.off_reason if record is not None else ""

    def judge(self, opportunity: Opportunity, outcome: Outcome, settings: ExecutionSettings) -> PairSwitched | None:
        """Switch a pair off when its last results, this one included, fall under the limit."""
        pair = self.name_of(opportunity)
        record = self._records.get(pair)
        if record is None or record.off_reason or len(record.results) < settings.realised_plans:
            return None
        last = record.results[-settings.realised_plans :]
        expected_e8, realised_e8 = sum(each.expected_e8 for each in last), sum(each.realised_e8 for each in last)
        assert expected_e8 > 0, "what expected nothing is not judged by it"
        ratio_ppm = div_down(realised_e8 * PPM, expected_e8)
        if ratio_ppm >= settings.realised_ratio_ppm_min:
            return None
        reason = (
            f"realised {ratio_ppm} ppm of what its last {len(last)} arbitrages expected,"
            f" realised_ratio_ppm_min is {settings.realised_ratio_ppm_min}"
        )
        return PairSwitched(outcome.closed_at_ns, pair, True, OURSELVES, reason)

    def quarantine(self, opportunity: Opportunity, limit_ppm: int, now_ns: int) -> PairSwitched | None:
        """Switch a pair off whose prices lie so far apart that the two sides cannot be the same coin."""
        if opportunity.edge_ppm < limit_ppm or self.off_reason(opportunity):
            return None
        assert limit_ppm > 0, "no edge is no reason"
        reason = f"an edge of {opportunity.edge_ppm} ppm is another coin or unit, edge_ppm_quarantine is {limit_ppm}"
        return PairSwitched(now_ns, self.name_of(opportunity), True, OURSELVES, reason)

    def apply(self, fact: Fact, opportunity: Opportunity | None) -> None:
        """Take in a fact; `opportunity` is that of a closing plan."""
        match fact:
            case PlanClosed(outcome=outcome) if opportunity is not None:
                self._add(opportunity, outcome)
            case PairSwitched(pair=pair, is_off=is_off, reason=reason):
                kept = self._records.get(pair, PairRecord()).results if is_off else ()
                self._records[pair] = PairRecord(kept, reason if is_off else "")
            case _:
                pass

    def _add(self, opportunity: Opportunity, outcome: Outcome) -> None:
        is_hedge = opportunity.cycle == HEDGE_CYCLE
        if is_hedge or outcome.state is PlanState.MISSED or outcome.expected_e8 <= 0:
            return
        pair = self.name_of(opportunity)
        record = self._records.pop(pair, PairRecord())
        results = (*record.results, Result(outcome.expected_e8, outcome.realised_e8))[-RESULTS_KEPT_MAX:]
        self._records[pair] = PairRecord(results, record.off_reason)
        # The pair that just traded is on, or was switched off while this plan was open: then another one is on.
        if len(self._records) > PAIRS_MAX:
            del self._records[next(name for name, known in self._records.items() if not known.off_reason)]
        assert len(self._records) <= PAIRS_MAX, "memory is bounded"
