"""How a plan ends: its state, its profit from fills alone, and its residuals at executable books. Never a profit by default."""

from __future__ import annotations

from arbitrage.execution.balance import Imbalance
from arbitrage.execution.plans import WorkedPlan
from arbitrage.execution.quotes import Quotes, value_e8
from arbitrage.execution.waterfall import waterfall_of
from arbitrage.model.effects import Append, Effect, Report, Severity
from arbitrage.model.facts import PlanClosed
from arbitrage.model.opportunities import Outcome, PlanState, Residual


def end_state(plan: WorkedPlan, left: list[Imbalance]) -> PlanState:
    """Return the terminal state of a plan whose fills left these imbalances."""
    assert plan.outcome is None, "a plan ends once"
    if left or not plan.is_settled:
        return PlanState.CLOSED_WITH_RESIDUAL
    if not plan.trades:
        return PlanState.MISSED
    is_mended = any(worked.filled_quantity_e8 for worked in plan.orders[len(plan.orders) - plan.attempts :])
    return PlanState.RECOVERED if is_mended else PlanState.COMPLETED


def close(plan: WorkedPlan, left: list[Imbalance], now_ns: int, quotes: Quotes) -> list[Effect]:
    """End a plan: the fact with its outcome, and a report of what an operator must know."""
    opportunity = plan.opportunity
    reporting = opportunity.reporting_asset
    residuals = []
    for asset in sorted(asset for asset, amount_e8 in plan.deltas.items() if amount_e8 and asset != reporting):
        value = value_e8(quotes, reporting, asset, plan.deltas[asset])
        reason = "" if value is not None else f"no usable book values {asset}"
        residuals.append(Residual(asset, plan.deltas[asset], value or 0, reason))
    realised_e8 = plan.deltas.get(reporting, 0) + sum(residual.value_e8 for residual in residuals)
    outcome = Outcome(
        plan_id=plan.plan_id,
        opportunity_id=opportunity.id,
        state=end_state(plan, left),
        reporting_asset=reporting,
        expected_e8=opportunity.net_e8,
        realised_e8=realised_e8,
        residuals=tuple(residuals),
        opened_at_ns=plan.opened_at_ns,
        closed_at_ns=now_ns,
        waterfall=waterfall_of(plan, realised_e8, quotes),
    )
    assert now_ns >= plan.opened_at_ns, "a plan ends after it began"
    return [Append(PlanClosed(now_ns, outcome)), *_reports(plan, outcome)]


def _reports(plan: WorkedPlan, outcome: Outcome) -> list[Effect]:
    fields: dict[str, str | int | float | bool | None] = {"plan": plan.plan_id, "state": outcome.state.value}
    reports: list[Effect] = []
    unsettled = [worked.order.client_order_id for worked in plan.orders if not worked.is_settled]
    if unsettled:
        text = "the plan closed before its venue answered; the orders' reservations stay until it does"
        reports.append(Report(Severity.ERROR, "order_unknown_at_close", text, {**fields, "orders": " ".join(unsettled)}))
    elif outcome.state is PlanState.CLOSED_WITH_RESIDUAL:
        reports.append(Report(Severity.WARNING, "plan_residual", "the plan closed with a residual", fields))
    unvalued = [residual.asset for residual in outcome.residuals if residual.unvalued_reason]
    if unvalued:
        text = "residuals count as 0 in this profit: no usable book values them"
        reports.append(Report(Severity.WARNING, "residual_unvalued", text, {**fields, "assets": " ".join(unvalued)}))
    assert outcome.plan_id == plan.plan_id, "a plan reports its own end"
    return reports
