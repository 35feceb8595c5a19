"""Facts as an operator reads them, for those who follow events live. Leaves out what is only bookkeeping; changes no number."""

from __future__ import annotations

import msgspec

from arbitrage.model.facts import (
    Fact,
    FillBooked,
    KillProven,
    KillSwitched,
    LegDecided,
    PairSwitched,
    Paused,
    PlanClosed,
    PlanOpened,
    Reconciled,
)
from arbitrage.model.money import format_e8
from arbitrage.store.ledger_nouns import Moment, Money


class Happening(msgspec.Struct, frozen=True):
    """One thing that happened."""

    at: Moment
    kind: str
    """Such as `plan_opened`, `fill`, `plan_closed`, `kill_switched`."""
    text: str
    plan_id: str = ""
    order_id: str = ""
    money: dict[str, Money] = {}
    """By name, such as `expected`, `realised`, `fee`."""


def happening_of(fact: Fact, reporting_asset: str) -> Happening | None:
    """Tell a fact, or nothing."""
    at = Moment.of(fact.at_ns)
    match fact:
        case PlanOpened():
            offer = fact.opportunity
            asset = str(offer.reporting_asset)
            money = {"expected": Money.of(offer.net_e8, asset), "notional": Money.of(offer.notional_e8, asset)}
            return Happening(at, "plan_opened", f"{offer.name}: {len(fact.orders)} orders", str(fact.plan_id), "", money)
        case FillBooked():
            fill = fact.fill
            text = f"{fill.side.value} {format_e8(fill.quantity_e8)} at {format_e8(fill.price_e8)}"
            money = {"fee": Money.of(fill.fee_e8, str(fill.fee_asset))}
            return Happening(at, "fill", text, "", str(fill.client_order_id), money)
        case LegDecided():
            return Happening(at, "leg_decided", fact.choice.value, str(fact.plan_id))
        case PlanClosed():
            outcome = fact.outcome
            asset = str(outcome.reporting_asset)
            money = {"expected": Money.of(outcome.expected_e8, asset), "realised": Money.of(outcome.realised_e8, asset)}
            return Happening(at, "plan_closed", outcome.state.value, str(outcome.plan_id), "", money)
        case KillSwitched() | Paused():
            kind = "kill_switched" if isinstance(fact, KillSwitched) else "paused"
            return Happening(at, kind, f"{'on' if fact.is_on else 'off'} by {fact.actor}: {fact.reason}")
        case KillProven():
            return Happening(at, "kill_proven", f"{len(fact.receipt.answers)} venues say that nothing of ours is open")
        case Reconciled():
            differences = sum(len(each.differences) for each in fact.report.venues)
            return Happening(at, "reconciled", f"{fact.report.occasion}: {differences} differences")
        case PairSwitched():
            text = f"{fact.pair} {'off' if fact.is_off else 'on'} by {fact.actor}: {fact.reason}"
            return Happening(at, "pair_switched", text)
        case _:
            assert reporting_asset, "profit is told in one asset"
            return None
