"""Sums of profit by group, as `ledger_sql.profit` returns them, made into lines with a total. Pure; converts nothing itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from arbitrage.store.ledger_nouns import Money, Profit, ProfitLine
from arbitrage.store.ledger_sql import KEYS, STEP_COLUMNS

Row = Mapping[str, Any]
BY = tuple(KEYS)
ROUNDING = "rounding"
"""What converting each component by itself loses against the whole: under a unit of 1e-8 for each component of each plan."""


def told(by: str, currency: str, rows: Sequence[Row]) -> Profit:
    """Return profit by groups with its total; what no rate converts stays in its own asset, beside."""
    total = _line("total", rows, currency)
    keys = dict.fromkeys(row["key"] for row in rows)
    lines = [_line(key, [row for row in rows if row["key"] == key], currency) for key in keys]
    if by == "component":
        lines = _components(rows, total, currency)
    return Profit(by, currency, tuple(lines), total, tuple(_notes(by, currency, rows)))


def _line(key: str, rows: Sequence[Row], currency: str) -> ProfitLine:
    good = [row for row in rows if row["rate"] != "none"]
    fees = [row["paid_e8"] for row in good]
    left: dict[str, int] = {}
    for row in rows:
        if row["rate"] == "none":
            left[row["reporting_asset"]] = left.get(row["reporting_asset"], 0) + int(row["realised_raw_e8"])
    return ProfitLine(
        key=key,
        plans=sum(row["plans"] for row in rows),
        expected=Money.of(sum(int(row["expected_e8"]) for row in good), currency),
        realised=Money.of(sum(int(row["realised_e8"]) for row in good), currency),
        fees=None if None in fees else Money.of(sum(map(int, fees)), currency),
        unconverted=tuple(Money.of(e8, asset) for asset, e8 in sorted(left.items())),
    )


def _components(rows: Sequence[Row], total: ProfitLine, currency: str) -> list[ProfitLine]:
    """Return one line for each step of the waterfall; they sum to the total exactly."""
    good = [row for row in rows if row["rate"] != "none"]
    sums = {step: sum(int(row[f"{step}_e8"]) for row in good) for step in STEP_COLUMNS}
    rest_e8 = total.realised.e8 - sum(sums.values())
    if rest_e8:
        sums[ROUNDING] = rest_e8
    nothing = Money.of(0, currency)
    return [ProfitLine(step, total.plans, nothing, Money.of(e8, currency), None, ()) for step, e8 in sums.items()]


def _notes(by: str, currency: str, rows: Sequence[Row]) -> list[str]:
    counts = {kind: sum(row["plans"] for row in rows if row["rate"] == kind) for kind in ("near", "none")}
    notes = []
    if counts["none"]:
        notes.append(
            f"{counts['none']} plans are not converted into {currency}: no executable rate was stored with them, nor with a "
            "plan of the day before"
        )
    if counts["near"]:
        notes.append(f"{counts['near']} plans without a rate of their own are told by the newest one that a plan before stored")
    if by == "venue":
        notes.append("profit arises between venues: each plan counts once, under all of its venues together")
    return notes
