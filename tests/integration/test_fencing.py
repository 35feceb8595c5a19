"""Never two traders, on real processes: whoever is killed, frozen or parted from the database is followed, never overlapped."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

import pytest
from fences import command

pytestmark = pytest.mark.integration
PATIENCE_ON_A_BUSY_MACHINE = 10
KINDS = ("frozen", "silent", "db-killed")


def rounds(capfd: pytest.CaptureFixture[str], kinds: Sequence[str], *words: str) -> tuple[int, dict[str, Any], str]:
    """Run one round of each kind; return status, last line and everything printed."""
    is_quiet = os.getloadavg()[0] < (os.cpu_count() or 1)
    patience = str(1 if is_quiet else PATIENCE_ON_A_BUSY_MACHINE)
    chosen = [word for kind in kinds for word in ("--kind", kind)]
    status = command.main(["--rounds", str(len(kinds)), "--seed", "1", "--patience", patience, *chosen, *words])
    printed = capfd.readouterr().out
    return status, json.loads(printed.splitlines()[-1]), printed


def test_no_order_of_two_starts_overlaps_whatever_happens_to_the_holder(capfd: pytest.CaptureFixture[str]) -> None:
    status, told, printed = rounds(capfd, KINDS)
    assert status == 0, printed
    assert told["rounds"] == len(KINDS) and told["overlaps"] == 0 and told["epochs"] >= 3, printed
    assert told["woke_fenced"] == told["samples"]["frozen"] == 1 and told["samples"]["silences"] == 1, printed
    assert told["samples"]["refused"] == len(KINDS) and told["orders"] > 20, printed


def test_a_holder_that_does_not_look_at_its_lease_is_seen_to_overlap(capfd: pytest.CaptureFixture[str]) -> None:
    status, told, printed = rounds(capfd, ("silent",), "--plant", "deaf")
    assert status == 1 and told["overlaps"] > 0, printed
    assert "missed: " in printed and "orders of two epochs overlap (seed 1)" in printed
