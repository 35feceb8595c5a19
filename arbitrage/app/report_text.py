"""Restart reports and kill receipts in words, for logs and the terminal. Reads them only."""

from __future__ import annotations

from collections.abc import Iterator

from arbitrage.model.accounts import KillReceipt, RestartReport, VenueStanding
from arbitrage.model.money import format_e8

LISTED_MAX = 20
"""Of each kind of thing; the rest is counted. `--json` has all."""
MS_NS = 1_000_000


def report_text(report: RestartReport) -> str:
    """Lay a restart report out, one thing a line; the last line is `armed` or `not armed because ...`."""
    return "\n".join([*_report_lines(report), verdict(report)])


def verdict(report: RestartReport) -> str:
    """Return the one line that counts."""
    return "armed" if report.is_armed else f"not armed because {'; '.join(report.not_armed_because)}"


def receipt_text(receipt: KillReceipt) -> str:
    """Say in a few lines what the kill switch did and what the venues said."""
    took_ms = (receipt.proven_at_ns - receipt.killed_at_ns) // MS_NS
    lines = [f"killed by {receipt.actor}: {receipt.reason}", f"{len(receipt.cancelled)} orders were cancelled"]
    for answer in receipt.answers:
        foreign = f", {answer.foreign_orders} of somebody else, untouched" if answer.foreign_orders else ""
        lines.append(f"{answer.venue}: {answer.own_orders} open orders of ours{foreign}")
    if not receipt.answers:
        lines.append("no venue was asked: orders never left the house")
    lines.append(f"proven after {took_ms} ms" if receipt.proven_at_ns else "not proven yet")
    return "\n".join(lines)


def _report_lines(report: RestartReport) -> Iterator[str]:
    yield f"restart report ({report.occasion})"
    yield f"left open: {len(report.left_plans)} arbitrages, {len(report.left_orders)} orders"
    yield from _listed(
        f"  {order.client_order_id} at {order.venue}: {order.state.value}, "
        f"{format_e8(order.filled_quantity_e8)} of {format_e8(order.quantity_e8)} filled"
        for order in report.left_orders
    )
    for standing in report.venues:
        yield from _standing_lines(standing)
    if not report.venues:
        yield "no venue was asked: this mode has no account of its own there"


def _standing_lines(standing: VenueStanding) -> Iterator[str]:
    held = sum(1 for balance in standing.balances if balance.free_e8 + balance.locked_e8)
    yield f"{standing.venue} says: {held} assets held, {len(standing.foreign)} open orders of somebody else"
    if standing.funded:
        yield f"  taken over at the first start: {', '.join(balance.asset for balance in standing.funded)}"
    for words, ids in (("adopted", standing.adopted), ("cancelled", standing.cancelled)):
        if ids:
            yield f"  {words}: {len(ids)} orders of ours"
            yield from _listed(f"    {client_order_id}" for client_order_id in ids)
    if standing.booked:
        yield f"  booked: {len(standing.booked)} fills that were not known"
        yield from _listed(
            f"    {fill.client_order_id} {fill.side.value} {format_e8(fill.quantity_e8)} (trade {fill.trade_id})"
            for fill in standing.booked
        )
    yield from _listed(
        f"  somebody else's, untouched: {order.symbol} {order.side.value} {format_e8(order.quantity_e8)}"
        for order in standing.foreign
    )
    yield from _listed(f"  differs: {difference}; accept it by `{difference.name}`" for difference in standing.differences)
    if not standing.differences:
        yield "  differences: none"


def _listed(lines: Iterator[str]) -> Iterator[str]:
    for number, line in enumerate(lines):
        if number < LISTED_MAX:
            yield line
        elif number == LISTED_MAX:
            yield "    ... and more (--json lists all)"
