"""The opportunity ledger in words: pages as tables, one opportunity's story as one screen. Plain text; reads nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from arbitrage.store.ledger_nouns import (
    EpisodeLine,
    OpportunityLine,
    OrderLine,
    Profit,
    ProfitLine,
    Story,
    WaterfallLine,
)

Table = tuple[Sequence[str], list[list[str]]]
"""Names of the columns, and rows."""
BAR_WIDTH = 30
FOLLOWED_MS = (50, 100, 250, 500)
EPISODE_COLUMNS = (
    "first seen", "pair", "life ms", "looks", "edge %", "net", "asset", "taken", "most refused for",
    *(f"+{delay} ms" for delay in FOLLOWED_MS), "state", "id",
)  # fmt: skip
TAKEN_COLUMNS = ("at", "pair", "edge %", "expected", "realised", "asset", "state", "plan", "id")
PROFIT_COLUMNS = ("plans", "expected", "realised", "fees", "currency", "not converted")


def percent(ppm: int) -> str:
    """Print parts per million as per cent, signed."""
    return f"{ppm / 10_000:+.4f}"


def episodes_table(lines: Iterable[EpisodeLine]) -> Table:
    """Lay out episodes; what a refused one would have paid later stands under its delay."""
    rows = []
    for line in lines:
        later = {each.delay_ms: each.net.amount if each.net is not None else "unusable" for each in line.follow_ups}
        most = max(line.refusals, key=lambda reason: line.refusals[reason], default="")
        net, asset = (line.net_peak.amount, line.net_peak.asset) if line.net_peak is not None else ("", "")
        rows.append([
            line.first_seen.at, line.pair, str(line.life_ms), str(line.looks), percent(line.edge_ppm_peak), net, asset,
            str(line.taken_count), most, *(later.get(delay, "") for delay in FOLLOWED_MS), line.state, line.id,
        ])  # fmt: skip
    return EPISODE_COLUMNS, rows


def taken_table(lines: Iterable[OpportunityLine]) -> Table:
    """Lay out opportunities that became plans."""
    rows = [
        [
            line.at.at, line.pair, percent(line.edge_ppm), line.net.amount,
            line.realised.amount if line.realised is not None else "", line.net.asset, line.plan_state or "",
            line.plan_id or "", line.id,
        ]
        for line in lines
    ]  # fmt: skip
    return TAKEN_COLUMNS, rows


def profit_table(profit: Profit) -> Table:
    """Lay out profit by groups, with the total last."""
    rows = [_profit_row(line) for line in (*profit.lines, profit.total)]
    if profit.by == "component":
        rows[:-1] = [[*row[:2], "", *row[3:]] for row in rows[:-1]]  # one part of a profit was not expected by itself
    return (profit.by, *PROFIT_COLUMNS), rows


def text_of(table: Table) -> str:
    """Print a table in columns; numbers to the right."""
    names, rows = table
    widths = [max(len(name), *(len(row[column]) for row in rows), 0) for column, name in enumerate(names)] if rows else []
    numeric = [all(_is_number(row[column]) for row in rows) for column in range(len(widths))]
    lines = [names, *rows] if rows else []
    return "\n".join(
        "  ".join(
            cell.rjust(width) if is_right else cell.ljust(width)
            for cell, width, is_right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in lines
    )


def csv_of(table: Table) -> str:
    """Print a table as CSV with a line of names."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    names, rows = table
    writer.writerow([name.replace(" ", "_").replace("%", "percent") for name in names])
    writer.writerows(rows)
    return stream.getvalue().rstrip("\n")


def story_text(story: Story) -> str:
    """Tell one opportunity on one screen: where its edge went, and the evidence."""
    found = story.opportunity
    head = [
        f"{found.id}   {found.pair}   {found.verdict}" + (f": {found.detail}" if found.detail else ""),
        f"{found.at}   {found.name}",
        f"edge {percent(found.edge_ppm)} %, net {found.net} of {found.notional}; oldest market {found.age_ms_max} ms",
    ]
    parts = [head, waterfall_lines(story.waterfall), _quotes(story)]
    if story.plan is not None:
        parts.append(_plan(story))
    if story.episode is not None:
        parts.append(_opening(story.episode))
    return "\n\n".join("\n".join(lines) for lines in parts if lines)


def waterfall_lines(waterfall: WaterfallLine) -> list[str]:
    """Draw a waterfall: words, signed amount, and a bar as long as its share of the largest step."""
    largest = max((abs(step.money.e8) for step in waterfall.steps), default=0) or 1
    width = max(len(step.text) for step in waterfall.steps)
    amounts = [f"{'' if step.money.e8 < 0 else '+'}{step.money.amount}" for step in waterfall.steps]
    room = max(map(len, amounts))
    lines = [f"where the edge went, in {waterfall.asset}" + ("" if waterfall.is_closed else " (as far as expected)")]
    for step, amount in zip(waterfall.steps, amounts, strict=True):
        bar = ("=" if step.is_total else "-" if step.money.e8 < 0 else "+") * round(BAR_WIDTH * abs(step.money.e8) / largest)
        lines.append(f"{'=' if step.is_total else ' '} {step.text.ljust(width)}  {amount.rjust(room)}  {bar}".rstrip())
    return lines


def _quotes(story: Story) -> list[str]:
    lines = ["what was seen"]
    for leg in story.legs:
        carried = ", carried, not traded" if leg.is_carried else ""
        lines.append(
            f"  {leg.venue} {leg.symbol}: {leg.side} {leg.quantity} at {leg.top_price} (best) to {leg.price_limit}, "
            f"{leg.age_ms} ms old; {leg.spent} into {leg.received}, fee {leg.fee}{carried}"
        )
    lines += [
        f"  rate {rate.symbol}: {rate.bid} ({rate.bid_quantity}) / {rate.ask} ({rate.ask_quantity}), {rate.age_ms} ms old"
        for rate in story.rates
    ]
    return lines


def _plan(story: Story) -> list[str]:
    plan = story.plan
    assert plan is not None, "a plan is told"
    ended = "open"
    if plan.closed_at is not None:
        ended = f"closed after {(plan.closed_at.ns - plan.opened_at.ns) / 1e6:.1f} ms"
    lines = [f"plan {plan.id}: {plan.state}, {ended}"]
    for order in story.orders:
        lines += _order(order, plan.opened_at.ns)
    for decision in story.decisions:
        choices = "; ".join(f"{each.choice} {each.cost or each.reason}" for each in decision.alternatives)
        lines.append(f"  governor, after {(decision.at.ns - plan.opened_at.ns) / 1e6:.1f} ms: {decision.choice} ({choices})")
    for left in plan.residuals:
        why = f" ({left.unvalued_reason})" if left.unvalued_reason else ""
        lines.append(f"  left: {left.amount}, worth {left.value}{why}")
    return lines


def _order(order: OrderLine, opened_ns: int) -> list[str]:
    why = f" ({order.reason})" if order.reason else ""
    lines = [
        f"  {order.client_order_id} {order.venue} {order.symbol}: {order.side} {order.quantity} at {order.price}: "
        f"{order.state}, {order.filled_quantity} filled{why}"
    ]
    for fill in order.fills:
        lines.append(
            f"    after {(fill.at.ns - opened_ns) / 1e6:.1f} ms: {fill.quantity} at {fill.price} for {fill.quote}, "
            f"fee {fill.fee} (trade {fill.trade_id})"
        )
    return lines


def _opening(episode: EpisodeLine) -> list[str]:
    refused = ", ".join(f"{reason} {count}" for reason, count in sorted(episode.refusals.items(), key=lambda item: -item[1]))
    peak = f"best {episode.net_peak}" if episode.net_peak is not None else "never sized"
    lines = [
        f"opening {episode.id}: {episode.life_ms} ms ({episode.state}), {episode.looks} looks, "
        f"{percent(episode.edge_ppm_peak)} % at its peak, {peak}; taken {episode.taken_count}, refused: {refused or 'never'}"
    ]
    for each in episode.follow_ups:
        paid = f"would have paid {each.net}" if each.net is not None else each.reason
        lines.append(f"  {each.delay_ms} ms later (looked at after {each.looked_ms} ms): {paid}")
    return lines


def _profit_row(line: ProfitLine) -> list[str]:
    fees = line.fees.amount if line.fees is not None else ""
    left = " ".join(str(each) for each in line.unconverted)
    return [line.key, str(line.plans), line.expected.amount, line.realised.amount, fees, line.realised.asset, left]


def _is_number(cell: str) -> bool:
    return not cell.strip("+-.0123456789")
