"""Every complaint of docs/PAINS.md has its test under its number, and every test that is named there exists."""

from __future__ import annotations

import re

from house_source import ROOT, functions, suite, tell

ROWS = range(1, 26)
DOCUMENT = ROOT / "docs" / "PAINS.md"


def all_tests(folder: str = "tests/") -> set[str]:
    found = (function.name for source in suite() if source.name.startswith(folder) for function in functions(source.tree))
    return {name for name in found if name.startswith("test_")}


def rows_of(text: str) -> dict[int, set[str]]:
    """Return the tests that each row of the table names."""
    rows = re.findall(r"^\| (\d+) \|(.*)$", text, re.M)
    return {int(number): set(re.findall(r"`(test_\w+)`", rest)) for number, rest in rows}


def faults_of(rows: dict[int, set[str]], known: set[str]) -> list[str]:
    faults = [f"row {number} names no test of its own" for number in ROWS if not named_for(number, rows.get(number, set()))]
    faults += [f"row {number}: no such test, {name}" for number, names in rows.items() for name in sorted(names - known)]
    written = {name for names in rows.values() for name in names}
    return faults + [f"in no row: {name}" for name in sorted(known - written) if name.startswith("test_pain_")]


def named_for(number: int, names: set[str]) -> set[str]:
    return {name for name in names if name.startswith(f"test_pain_{number:02}_")}


def test_a_missing_row_an_invented_test_and_one_that_is_not_listed_are_seen() -> None:
    whole = {number: {f"test_pain_{number:02}_x"} for number in ROWS}
    known = {name for names in whole.values() for name in names}
    assert faults_of(whole, known) == []
    assert faults_of({**whole, 3: set()}, known) == ["row 3 names no test of its own", "in no row: test_pain_03_x"]
    assert faults_of({**whole, 4: whole[4] | {"test_no"}}, known) == ["row 4: no such test, test_no"]
    assert faults_of(whole, known | {"test_pain_05_y"}) == ["in no row: test_pain_05_y"]


def test_every_pain_has_its_test_and_every_test_named_exists() -> None:
    faults = faults_of(rows_of(DOCUMENT.read_text(encoding="utf-8")), all_tests())
    assert not faults, tell(faults, "bring docs/PAINS.md and tests/pains together")
    assert all(named_for(number, all_tests("tests/pains/")) for number in ROWS)
