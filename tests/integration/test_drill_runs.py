"""Drills begun over the surface: one at a time, never beside live orders, ended with the daemon; nothing is left of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil
import pytest

sys.path.append(str(Path(__file__).parents[1] / "app"))  # the daemon's own tests keep `app_world` there

from app_world import running, trading_door

from arbitrage.app.drill_runs import FILE_NAME, DrillRuns
from arbitrage.app.supervisor import Supervisor
from arbitrage.ops.standing import Standing
from arbitrage.web.callers import Caller, How, Role
from arbitrage.web.ports import DrillRun

pytestmark = pytest.mark.integration
KIM = Caller("kim", Role.OPERATOR, How.SESSION, "::1", "s-1")
PAPER = Standing(1, "paper", "demo", 1, True, (), "", "", (), 0, 0, "0", "USDT", (), None, "", {}, 1, 1)
LIVE = msgspec.structs.replace(PAPER, mode="live")


class House:
    """The drills of one daemon that stands as it is told."""

    def __init__(self, folder: Path) -> None:
        self.standing = PAPER
        self.supervisor = Supervisor()
        self._running = running(trading_door(), folder)
        self.drills = self.again()

    def again(self) -> DrillRuns:
        """Return them as another start would make them."""
        return DrillRuns(self._running, self.supervisor, lambda: self.standing)

    def run(self, name: str) -> DrillRun:
        return self.drills.runs[name]

    async def until(self, holds: Callable[[], object]) -> None:
        for _ in range(1_500):
            if holds():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("not within 30 s")

    async def folder(self) -> Path:
        """Return where the drill that runs may write."""
        await self.until(children)
        return Path(children()[0].environ()["TMPDIR"])


def children() -> list[psutil.Process]:
    found = psutil.Process().children(recursive=True)
    return [each for each in found if each.status() != psutil.STATUS_ZOMBIE and "drill" in each.cmdline()]


def test_a_drill_that_comes_to_no_verdict_says_its_last_words_and_is_remembered(tmp_path: Path) -> None:
    async def scene() -> None:
        house = House(tmp_path)
        (tmp_path / "overrides.json").write_text("{")
        assert house.drills.begin(KIM, "gap") == (True, "gap has begun; GET /api/v1/drills says how it goes")
        assert house.drills.begin(KIM, "ban") == (False, "gap is running; one at a time")
        assert (house.run("gap").state, house.run("gap").actor) == ("running", "session:kim@::1")
        folder = await house.folder()
        await house.until((tmp_path / FILE_NAME).exists)
        run = house.run("gap")
        assert run.state == "not_run" and "overrides.json" in run.text and run.proven_ns == 0 and run.ended_ns > run.began_ns
        assert not folder.exists() and not children() and house.supervisor.failure is None
        assert house.again().runs == {"gap": run} and house.drills.refusal() == ""

    asyncio.run(scene())


@pytest.mark.parametrize("more", [{}, {"armed": False, "open_orders": 1}, {"armed": False, "open_plans": 1}])
def test_where_live_orders_may_travel_no_drill_begins(tmp_path: Path, more: dict[str, object]) -> None:
    async def scene() -> None:
        house = House(tmp_path)
        house.standing = msgspec.structs.replace(LIVE, **more)
        is_begun, why = house.drills.begin(KIM, "gap")
        assert not is_begun and "pause, or run it at another machine" in why and house.drills.runs == {}
        house.standing = msgspec.structs.replace(LIVE, armed=False)
        assert house.drills.refusal() == ""

    asyncio.run(scene())


def test_a_drill_ends_when_live_trading_is_armed_beside_it(tmp_path: Path) -> None:
    async def scene() -> None:
        house = House(tmp_path)
        house.drills.begin(KIM, "gap")
        folder = await house.folder()
        await house.until(lambda: children()[0].nice() == 19)
        house.standing = LIVE
        await house.until(lambda: house.run("gap").state != "running")
        assert house.run("gap").state == "not_run" and house.run("gap").text.startswith("ended early: live trading is armed")
        await house.until(lambda: not folder.exists())
        assert not children()

    asyncio.run(scene())


def test_a_stop_of_the_daemon_ends_a_drill_and_keeps_what_was_proven_before(tmp_path: Path) -> None:
    proven = DrillRun("passed", 1, 2, "session:kim@::1", "held", (), 2)
    (tmp_path / FILE_NAME).write_bytes(msgspec.json.encode({"gap": proven, "a drill of another version": proven}))

    async def scene() -> None:
        house = House(tmp_path)
        assert house.drills.runs == {"gap": proven}
        house.drills.begin(KIM, "gap")
        folder = await house.folder()
        await house.supervisor.close()
        run = house.run("gap")
        assert (run.state, run.text, run.proven_ns) == ("not_run", "the daemon stopped", 2)
        assert not children() and not folder.exists()

    asyncio.run(scene())


def test_results_that_cannot_be_read_prove_nothing(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("[]")

    async def scene() -> None:
        assert House(tmp_path).drills.runs == {}

    asyncio.run(scene())
