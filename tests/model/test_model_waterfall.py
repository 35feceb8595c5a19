"""A waterfall that does not end where it says has no constructor."""

from __future__ import annotations

import pytest

from arbitrage.model.opportunities import Waterfall


def test_the_steps_lead_from_expected_to_realised() -> None:
    steps = Waterfall(100, 5, -30, -2, -80, -7)
    assert steps.realised_e8 == -7
    with pytest.raises(AssertionError, match="ends where it says"):
        Waterfall(100, 5, -30, -2, -80, -8)
