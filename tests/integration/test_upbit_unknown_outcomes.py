"""Unknown outcomes at Upbit: the daemon's own parts in seeded storms end with one order, the right fill, equal balances.

A few seeds here; a thousand by `make soak-orders`.
"""

from __future__ import annotations

import pytest
from soak_orders import live_through
from upbit_storm import upbit_storm

pytestmark = [pytest.mark.integration, pytest.mark.slow]
SEEDS = 40
MUST_HAPPEN = (
    "session crashes", "session orders_unanswered", "session orders_rejected", "session silences", "session stream_gaps",
    "session looks while held", "session links_down", "fault not_found", "fault ban", "fault slow", "fault repeated",
    "fault error_after", "fault lost", "plan completed", "plan recovered",
)  # fmt: skip


def test_every_storm_ends_with_one_order_the_right_fill_and_equal_balances() -> None:
    story, failed = live_through(upbit_storm, 0, SEEDS)
    assert failed == {}
    assert [name for name in MUST_HAPPEN if not story[name]] == [], "the storm was one"
