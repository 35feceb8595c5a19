"""The fault table's quick rows on the daemon as it is, and rows that a broken daemon must fail."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
sys.path.append(str(PROJECT / "scripts"))

from reliability.faults.catalog import ROWS  # noqa: E402 - the path is set above
from reliability.faults.lab import Cluster, lab_in  # noqa: E402 - the same
from reliability.faults.nouns import CGROUP, ROOT, TMPFS, Options, Row  # noqa: E402 - the same
from reliability.faults.table import attempt  # noqa: E402 - the same

pytestmark = pytest.mark.integration
OF_ROOT = {ROOT, TMPFS, CGROUP}
BROKEN_RUN = str(Path(__file__).with_name("broken_run.py"))
BROKEN = (
    ("half_open", "patient", "is trusted after 2.0 s"),
    ("clock_forward", "wall", "engine time goes on"),
    ("loop_stalled", "heedless", "on what waited while the loop stood still"),
    ("valkey_flushed", "doubling", "every balance is the ledger's to the last unit"),
)
"""A row, what is broken, and what the row must say of it."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster() as cluster:
        yield cluster


def row_named(name: str) -> Row:
    return next(row for row in ROWS if row.name == name)


def run(row: Row, cluster: Cluster, options: Options) -> tuple[str, str]:
    """Run a row; what it needs and this machine lacks fails, but for root's rights."""
    missing = row.missing()
    if missing and not OF_ROOT.isdisjoint(row.needs):
        pytest.skip(f"needs {', '.join(missing)}")
    assert not missing, missing
    with lab_in(cluster, options, lambda line: None) as lab:
        return attempt(row, lab)


@pytest.mark.parametrize("row", [row for row in ROWS if row.is_quick], ids=lambda row: row.name)
def test_the_daemon_as_it_is_passes(row: Row, cluster: Cluster) -> None:
    verdict, text = run(row, cluster, Options(rounds=3))
    print(f"{row.name}: {text}")
    assert verdict == "PASS", text


@pytest.mark.parametrize(("name", "broken", "because"), BROKEN)
def test_a_broken_daemon_fails(name: str, broken: str, because: str, cluster: Cluster) -> None:
    verdict, text = run(row_named(name), cluster, Options(program=(BROKEN_RUN, broken)))
    assert verdict == "FAIL" and because in text, text


def test_every_row_is_named_once_and_says_what_it_injects_and_demands() -> None:
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names)) >= 25
    assert all(row.injected and row.invariant for row in ROWS)
