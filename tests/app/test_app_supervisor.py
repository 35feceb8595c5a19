"""Every task has an owner: the first failure stops the house, and nothing outlives it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
import uvloop

from arbitrage.app.daemon import is_broken
from arbitrage.app.supervisor import Supervisor

Scene = Callable[[], Awaitable[None]]


def play(scene: Scene, *, on_uvloop: bool = False) -> None:
    async def timed() -> None:
        async with asyncio.timeout(5):
            await scene()

    (uvloop.run if on_uvloop else asyncio.run)(timed())


async def forever() -> None:
    await asyncio.Event().wait()


async def fail(error: Exception) -> None:
    raise error


def test_the_first_failure_stops_the_house_and_is_the_one_that_is_kept() -> None:
    async def scene() -> None:
        supervisor = Supervisor()
        first, second = KeyError("first"), KeyError("second")
        supervisor.spawn("steady", forever())
        supervisor.spawn("weak", fail(first))
        supervisor.spawn("weaker", fail(second))
        await supervisor.wait()
        await asyncio.sleep(0)
        assert supervisor.is_stopping
        assert supervisor.failure is first and supervisor.failed_task == "weak"
        await supervisor.close()
        assert supervisor.failure is first

    play(scene)


def test_a_task_may_end_by_itself_without_stopping_anything() -> None:
    async def scene() -> None:
        supervisor = Supervisor()
        supervisor.spawn("short", asyncio.sleep(0))
        for _ in range(5):
            await asyncio.sleep(0)
        assert not supervisor.is_stopping and supervisor.failure is None
        await supervisor.close()

    play(scene)


def test_closing_cancels_what_still_runs_waits_for_it_and_calls_that_no_failure() -> None:
    cleaned: list[str] = []

    async def worker(name: str) -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            cleaned.append(name)

    async def scene() -> None:
        supervisor = Supervisor()
        supervisor.spawn("a", worker("a"))
        supervisor.spawn("b", worker("b"))
        await asyncio.sleep(0)
        supervisor.stop()
        await supervisor.wait()
        await supervisor.close()
        assert sorted(cleaned) == ["a", "b"]
        assert supervisor.failure is None and len(asyncio.all_tasks()) == 1

    play(scene)


def test_a_task_that_fails_while_it_is_cancelled_is_still_told() -> None:
    async def stubborn() -> None:
        try:
            await forever()
        finally:
            raise RuntimeError("on the way out")

    async def scene() -> None:
        supervisor = Supervisor()
        supervisor.spawn("stubborn", stubborn())
        await asyncio.sleep(0)
        await supervisor.close()
        assert isinstance(supervisor.failure, RuntimeError)

    play(scene)


@pytest.mark.parametrize("on_uvloop", [False, True])
def test_a_callback_that_no_task_owns_fails_like_a_task(on_uvloop: bool) -> None:
    broken = AssertionError("an invariant")

    def decide() -> None:
        raise broken

    async def scene() -> None:
        supervisor, loop = Supervisor(), asyncio.get_running_loop()
        loop.set_exception_handler(supervisor.on_unowned)
        loop.call_soon(decide)
        loop.call_later(0, decide)
        await supervisor.wait()
        assert supervisor.failure is broken and supervisor.failed_task == "callback"
        await supervisor.close()

    play(scene, on_uvloop=on_uvloop)


def test_what_the_loop_only_mentions_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        supervisor, loop = Supervisor(), asyncio.get_running_loop()
        supervisor.on_unowned(loop, {"message": "a transport closed oddly"})
        supervisor.on_unowned(loop, {"message": "a future was never read", "exception": OSError("reset")})
        assert not supervisor.is_stopping

    play(scene)
    assert "a transport closed oddly" in caplog.text and "never read" in caplog.text


def test_a_broken_invariant_is_known_alone_and_among_others() -> None:
    assert is_broken(AssertionError("alone"))
    assert is_broken(ExceptionGroup("stores", [OSError("x"), ExceptionGroup("inner", [AssertionError("deep")])]))
    assert not is_broken(OSError("x"))
    assert not is_broken(ExceptionGroup("stores", [OSError("x")]))
