"""A waterfall as rows: each step with its exact amount and its bar. Refuses steps that do not sum to the last unit."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arbitrage.web.screen import figures

FULL = 1_000
"""Width of the box that bars are drawn into."""
THIN = 3
"""A step that is not nothing is never drawn thinner."""


class Amount(msgspec.Struct, frozen=True):
    """One step, or the total of all steps before it, in 1e-8 of one asset."""

    name: str
    e8: int
    is_total: bool = False
    text: str = ""
    """What it means, in words."""


class FallRow(msgspec.Struct, frozen=True):
    """One row of the picture."""

    name: str
    amount: str
    tone: str
    """`good`, `bad`, `quiet` (nothing) or `total`."""
    x: int
    width: int
    text: str = ""


class Fall(msgspec.Struct, frozen=True):
    """The whole, with where zero stands."""

    rows: tuple[FallRow, ...]
    zero: int
    asset: str


def fall_of(amounts: Sequence[Amount], asset: str) -> Fall:
    """Lay a waterfall out. The totals among the amounts must be the sums of the steps before them."""
    ends = _ends(amounts)
    low, high = min(0, *(min(pair) for pair in ends), 0), max(0, *(max(pair) for pair in ends), 0)
    span = max(1, high - low)
    rows = []
    for amount, (start, end) in zip(amounts, ends, strict=True):
        x = (min(start, end) - low) * FULL // span
        width = abs(end - start) * FULL // span
        if amount.e8 and width < THIN:
            x, width = min(x, FULL - THIN), THIN
        tone = "total" if amount.is_total else "good" if amount.e8 > 0 else "bad" if amount.e8 < 0 else "quiet"
        rows.append(FallRow(amount.name, figures.signed(amount.e8), tone, x, width, amount.text))
    return Fall(tuple(rows), -low * FULL // span, asset)


def _ends(amounts: Sequence[Amount]) -> list[tuple[int, int]]:
    """Return where each bar begins and ends."""
    ends, so_far = [], 0
    for amount in amounts:
        if amount.is_total:
            assert so_far == amount.e8, f"{amount.name} is the sum of the steps before it"
            ends.append((0, amount.e8))
        else:
            ends.append((so_far, so_far + amount.e8))
            so_far += amount.e8
    return ends
