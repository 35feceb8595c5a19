"""Unknown outcomes at Binance: the daemon's own parts in seeded storms end with one order, the right fill, equal balances.

A few seeds here; a thousand by `make soak-orders`.
"""

from __future__ import annotations

import pytest
from binance_storm import binance_storm
from soak_orders import live_through

pytestmark = [pytest.mark.integration, pytest.mark.slow]
SEEDS = 40
MUST_HAPPEN = (
    "session crashes", "session orders_unanswered", "session orders_rejected", "session answers_late", "session silences",
    "session reports_repeated", "session looks while held", "session links_down", "fault skew", "fault not_found", "fault ban",
    "fault error_after", "fault lost", "plan completed", "plan recovered",
)  # fmt: skip


def test_every_storm_ends_with_one_order_the_right_fill_and_equal_balances() -> None:
    story, failed = live_through(binance_storm, 0, SEEDS)
    assert failed == {}
    assert [name for name in MUST_HAPPEN if not story[name]] == [], "the storm was one"


def test_a_seed_is_lived_through_the_same_way_again() -> None:
    assert binance_storm(22) == binance_storm(22)
