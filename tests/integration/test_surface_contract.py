"""The OpenAPI document is true: schemathesis asks a really running daemon, and every answer is a documented one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[2] / "scripts" / "surface"))

from contract import FAST, ask_all
from surface_house import surface_house

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_no_answer_of_a_running_daemon_is_undocumented() -> None:
    with surface_house(FAST) as house:
        verdict = ask_all(house, examples=4, seed=20_261_121, is_quick=True)
        answered = house.ask("GET", "/metrics").body.decode()
    assert verdict.is_good, verdict.text
    assert verdict.generated >= 150
    assert 'status="500"' not in answered
    assert answered.count('status="200"') >= 30, "most endpoints were asked something that they could answer"
