"""The bars on tests and on the project's text: no sleeps, no patches, no empty tests, nothing of one machine, known names."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import house_checks as checks
import pytest
from house_source import ROOT, Source, suite, tell, tracked

TOP_LEVEL = {
    ".ci", ".gitattributes", ".github", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
    "SECURITY.md", "arbitrage", "bench", "config", "db", "deploy", "docs", "healthcheck.py", "pyproject.toml", "requirements",
    "scripts", "systemd", "tests", "tools",
}  # fmt: skip
TEXT_SUFFIXES = {
    "", ".cfg", ".conf", ".env", ".example", ".ini", ".json", ".md", ".py", ".service", ".sh", ".sql", ".toml", ".txt", ".yaml",
    ".yml",
}  # fmt: skip
MACHINE = re.compile(r"(?<![\w.])/(wo[r]k|root|home/[a-z][a-z0-9_-]*|Users/\w+)/[\w.]")
REGISTRY = re.compile(
    r"pypi[.]org|pythonhosted[.]org|registry[.]npmjs[.]org|--(extra-)?index[-]url|trusted[-]host|artif[a]ctory|jf[r]og", re.I
)
OPTIMISED = re.compile(r"python[0-9.]*\s+(-\w+\s+)*-O{1,2}(\s|$)|PYTHONOPTIMIZE\s*=\s*[\"']?[1-9]")
Check = Callable[[Source], Iterator[str]]

REMEDIES: dict[Check, str] = {
    checks.sleeps: "advance a simulated clock; a test that must wait for the world lives in tests/integration",
    checks.patches: "a test that needs patching shows a hidden dependency: hand the part in",
    checks.empty_tests: "assert the fact that the test's name states",
}
PATCHED = "def test_x(monkeypatch):\n    monkeypatch.{}('a', 'b')\n"
RAISING = "def test_x():\n    with pytest.raises(ValueError):\n        f()\n"
DIRECTIONS: list[tuple[Check, str, str]] = [
    (checks.sleeps, "import time\ntime.sleep(0.1)\n", "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n"),
    (checks.sleeps, "from asyncio import sleep as nap\nasync def f():\n    await nap(1)\n", "sleep = 1\n"),
    (checks.patches, "from unittest import mock\n", "import unittest\n"),
    (checks.patches, "from unittest.mock import MagicMock\n", "from mockingbird import x\n"),
    (checks.patches, PATCHED.format("setattr"), PATCHED.format("setenv")),
    (checks.patches, "def test_x(mocker): ...\n", "def test_x(maker): ...\n"),
    (checks.empty_tests, "def test_x():\n    f()\n", "def test_x():\n    assert f()\n"),
    (checks.empty_tests, "async def test_x():\n    await f()\n", RAISING),
    (checks.empty_tests, "def test_x():\n    run(1)\n", "def test_x():\n    check_conservation(1)\n"),
    (
        checks.empty_tests,
        "def run(x):\n    x()\ndef test_x():\n    run(1)\n",
        "def run(x):\n    assert x\ndef test_x():\n    run(1)\n",
    ),
]


@pytest.mark.parametrize(("check", "bad", "good"), DIRECTIONS)
def test_each_checker_of_tests_sees_a_violation_and_lets_the_right_way_pass(check: Check, bad: str, good: str) -> None:
    assert len(list(check(Source("tests/model/test_example.py", bad)))) == 1
    assert list(check(Source("tests/model/test_example.py", good))) == []


@pytest.mark.parametrize("check", REMEDIES, ids=lambda check: check.__name__)
def test_every_test_keeps_the_bar(check: Check) -> None:
    outside = [source for source in suite() if check is not checks.sleeps or not source.name.startswith("tests/integration/")]
    faults = [fault for source in outside for fault in check(source)]
    assert not faults, tell(faults, REMEDIES[check])


def twice(names: list[str]) -> list[str]:
    bare = [Path(name).name for name in names if not name.endswith(("__init__.py", "conftest.py"))]
    return sorted({name for name in bare if bare.count(name) > 1})


def test_test_files_have_one_name_each() -> None:
    assert twice(["tests/a/test_x.py", "tests/b/test_x.py", "tests/a/conftest.py", "tests/b/conftest.py"]) == ["test_x.py"]
    faults = twice([source.name for source in suite()])
    assert not faults, tell(faults, "pytest imports test files by their bare name: put the room into it")


def rows_with(text: str, pattern: re.Pattern[str]) -> list[str]:
    return [f"{number} {line.strip()[:100]}" for number, line in enumerate(text.splitlines(), 1) if pattern.search(line)]


def project_texts() -> dict[str, str]:
    if not tracked():
        pytest.skip("not a git checkout: which files belong to the project is not known")
    named = [name for name in tracked() if Path(name).suffix in TEXT_SUFFIXES]
    return {name: (ROOT / name).read_text(encoding="utf-8", errors="replace") for name in named}


@pytest.mark.parametrize(
    ("pattern", "bad", "good"),
    [
        (MACHINE, "path = '/{}/main/x'".format("wo" + "rk"), "WorkingDirectory=/var/lib/arbitrage"),
        (MACHINE, "see /{}/alice/bot".format("home"), "case /root/* | /home/*) ProtectHome hides /home and /root"),
        (REGISTRY, "pip install --index{} x".format("-url"), "pip install -r requirements/run.txt"),
        (REGISTRY, "https://pypi.{}/simple".format("org"), "https://api.binance.com"),
        (OPTIMISED, "ExecStart=/usr/bin/python3 {} -m arbitrage".format("-O"), "python -m arbitrage -o x"),
        (OPTIMISED, "PYTHONOPTIMIZE{}".format("=1"), "unset PYTHONOPTIMIZE"),
    ],
)
def test_each_pattern_sees_a_violation_and_lets_the_right_way_pass(pattern: re.Pattern[str], bad: str, good: str) -> None:
    assert len(rows_with(bad, pattern)) == 1
    assert rows_with(good, pattern) == []


@pytest.mark.parametrize(
    ("pattern", "remedy"),
    [
        pytest.param(MACHINE, "name it from the project's root, a setting or a temporary folder", id="machine paths"),
        pytest.param(REGISTRY, "where packages come from is the user's choice", id="registries"),
        pytest.param(OPTIMISED, "assertions stay on in production", id="optimised python"),
    ],
)
def test_the_projects_text_is_nobodys_machine(pattern: re.Pattern[str], remedy: str) -> None:
    faults = [f"{name}:{row}" for name, text in project_texts().items() for row in rows_with(text, pattern)]
    assert not faults, tell(faults, remedy)


def strangers(names: tuple[str, ...]) -> list[str]:
    return sorted({name.split("/")[0] for name in names} - TOP_LEVEL)


def test_the_top_level_is_fixed() -> None:
    assert strangers(("arbitrage/x.py", "notes.txt", "src/a.py")) == ["notes.txt", "src"]
    if not tracked():
        pytest.skip("not a git checkout: which files belong to the project is not known")
    faults = strangers(tracked())
    assert not faults, tell(faults, "put it below one of the fixed names, or agree on a new one and list it here")


def test_the_daemon_refuses_to_run_without_its_assertions() -> None:
    command = [sys.executable, "-O", "-m", "arbitrage", "config", "show"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    remedy = "let start-up refuse in one line with exit status 2 while `__debug__` is false"
    assert result.returncode == 2, tell([f"exit status {result.returncode}", result.stderr[-300:]], remedy)
    assert "-O" in result.stderr, tell([result.stderr[-300:]], remedy)
