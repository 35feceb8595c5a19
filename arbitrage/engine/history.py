"""What happened lately, for people: counts since the start of the process, the last opportunities, the last outcomes.

Nothing reads it to decide; it is not durable and forgets all but the newest lines.
"""

from __future__ import annotations

from collections import deque

from arbitrage.engine.dust import is_hedge
from arbitrage.engine.views import OpportunityLine, OutcomeLine, Tally
from arbitrage.model.effects import Report, Severity
from arbitrage.model.facts import PlanClosed
from arbitrage.model.money import Asset
from arbitrage.model.opportunities import Opportunity, PlanState, Refused, Verdict, Waterfall
from arbitrage.model.waterfalls import edge_waterfall, planned_edge
from arbitrage.strategy.found import Missed

LINES_KEPT = 50


class History:
    """Counts and lines."""

    def __init__(self) -> None:
        self.tally = Tally()
        self.opportunities: deque[OpportunityLine] = deque(maxlen=LINES_KEPT)
        self.outcomes: deque[OutcomeLine] = deque(maxlen=LINES_KEPT)

    def judged(self, found: Opportunity, verdict: Verdict, now_ns: int) -> None:
        """Note an opportunity and what was said of it."""
        assert found.at_ns == now_ns, "an opportunity is judged in the decision that found it"
        self.tally.seen += 1
        word, detail = "taken", ""
        if isinstance(verdict, Refused):
            word, detail = verdict.reason.value, verdict.detail
            self._refused(word, 1)
        else:
            self.tally.taken += 1
        figures = (found.edge_ppm, found.net_e8, found.notional_e8, found.reporting_asset)
        self.opportunities.append(OpportunityLine(now_ns, found.name, word, detail, *figures))

    def missed(self, missed: Missed, reporting: Asset) -> None:
        """Note cycles that gained on paper and were no opportunity, with their reason."""
        assert missed.cycles > 0, "a line stands for at least one cycle"
        self.tally.seen += missed.cycles
        self._refused(missed.reason.value, missed.cycles)
        figures = (missed.edge_ppm, 0, 0, reporting)
        line = OpportunityLine(missed.at_ns, missed.name, missed.reason.value, missed.detail, *figures)
        self.opportunities.append(line)

    def closed(self, fact: PlanClosed, opportunity: Opportunity) -> Report:
        """Note how a plan ended, and say so."""
        outcome, tally = fact.outcome, self.tally
        assert outcome.state.is_terminal, "an outcome is an end"
        if is_hedge(opportunity):
            tally.hedged += 1
        elif outcome.state is PlanState.COMPLETED:
            tally.completed += 1
        elif outcome.state is PlanState.RECOVERED:
            tally.recovered += 1
        elif outcome.state is PlanState.CLOSED_WITH_RESIDUAL:
            tally.residual += 1
        else:
            tally.missed += 1
        state = outcome.state.value
        line = OutcomeLine(
            fact.at_ns, outcome.plan_id, state, outcome.expected_e8, outcome.realised_e8,
            opportunity.id, opportunity.name, _steps(opportunity, outcome.waterfall),
        )  # fmt: skip
        self.outcomes.append(line)
        fields: dict[str, str | int | float | bool | None] = {
            "plan": outcome.plan_id,
            "state": state,
            "expected_e8": outcome.expected_e8,
            "realised_e8": outcome.realised_e8,
        }
        what = "hedge" if is_hedge(opportunity) else "arbitrage"
        return Report(Severity.INFO, "plan_closed", f"{what} {outcome.plan_id} ended {state}", fields)

    def _refused(self, reason: str, count: int) -> None:
        assert count > 0, "a refusal is of something"
        self.tally.refused[reason] = self.tally.refused.get(reason, 0) + count


def _steps(opportunity: Opportunity, became: Waterfall | None) -> tuple[tuple[str, int], ...]:
    """Join what was expected with what became of it; nothing where a plan of an older version closed."""
    return edge_waterfall(planned_edge(opportunity), became).steps() if became is not None else ()
