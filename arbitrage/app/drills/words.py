"""A drill's story as lines and figures, and the daemon's facts in words. Judges nothing."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arbitrage.model.facts import (
    Fact,
    FillBooked,
    KillProven,
    KillSwitched,
    LegDecided,
    OrderChanged,
    OrderIntended,
    PairSwitched,
    PlanClosed,
    PlanOpened,
    Reconciled,
)
from arbitrage.model.money import format_e8
from arbitrage.model.orders import Order

Markets = Sequence[tuple[str, str]]


class Line(msgspec.Struct, frozen=True):
    """One thing that happened, so many seconds after the drill began."""

    at_s: float
    who: str
    """`drill`, or `daemon`."""
    text: str


class Risk(msgspec.Struct, frozen=True):
    """Money at risk: the value of what stood unhedged over all venues, by the exchanges' own truth."""

    currency: str
    highest: str
    naked_s: float
    """So long more than the configured dust was unhedged."""
    final: str
    samples: tuple[tuple[float, str], ...] = ()
    """Seconds since the drill began, and value: after each fill."""


class Failed(Exception):
    """Something that must hold does not; the text says what."""


class Unfit(Exception):
    """The configuration cannot be drilled; the text says why, and what to change."""


def fact_text(fact: Fact, markets: Markets) -> str:
    """Put a fact into words; nothing for those that only repeat others."""
    match fact:
        case PlanOpened(opportunity=opportunity, orders=orders):
            wanted = "; ".join(_order_text(order, markets) for order in orders)
            return f"enters {opportunity.name}, expecting {format_e8(opportunity.net_e8)}: {wanted}"
        case OrderIntended(order=order):
            return f"sends {_order_text(order, markets)}"
        case OrderChanged():
            return f"order {fact.client_order_id} is {fact.state.value}{f' ({fact.reason})' if fact.reason else ''}"
        case FillBooked(fill=fill):
            what = f"{fill.side.value} {format_e8(fill.quantity_e8)} at {format_e8(fill.price_e8)}"
            return f"books a fill of {fill.client_order_id}: {what}"
        case LegDecided():
            priced = ", ".join(_choice_text(choice.choice.value, choice.cost_e8) for choice in fact.alternatives)
            return f"a leg is naked: chooses to {fact.choice.value} ({priced})"
        case PlanClosed(outcome=outcome):
            return f"ends {outcome.plan_id} as {outcome.state.value}, realised {format_e8(outcome.realised_e8)}"
        case Reconciled(report=report):
            return f"compared its accounts ({report.occasion})"
        case KillSwitched():
            return f"kill switch {'on' if fact.is_on else 'off'}: {fact.reason}"
        case KillProven():
            return "the venues have shown that no order of ours is open"
        case PairSwitched():
            return f"pair {fact.pair} {'off' if fact.is_off else 'on'}: {fact.reason}"
    return ""


def _order_text(order: Order, markets: Markets) -> str:
    venue, symbol = markets[order.market]
    return f"{order.side.value} {format_e8(order.quantity_e8)} {symbol} at {venue} to {format_e8(order.price_e8)}"


def _choice_text(name: str, cost_e8: int | None) -> str:
    return f"{name} {'not possible' if cost_e8 is None else f'costs {format_e8(cost_e8)}'}"
