"""The rolling minute, the loop's lateness, and the daemon's status file."""

from __future__ import annotations

import asyncio
from collections import deque
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.ops.loop_lag import lateness_us, sample_loop_lag
from arbitrage.ops.metrics import Metrics, Quantiles, RollingSum
from arbitrage.ops.status import FeedStatus, PostgresAddress, RedisAddress, Status, read_status, write_status
from arbitrage.store.redis_metrics import METRICS

SECOND = 1_000_000_000


@given(st.lists(st.tuples(st.integers(0, 90 * SECOND), st.integers(-1000, 1000)), max_size=60))
def test_a_rolling_sum_is_that_of_the_last_sixty_whole_seconds(steps: list[tuple[int, int]]) -> None:
    rolling, seen, now = RollingSum(), deque[tuple[int, int]](), 1_763_716_210 * SECOND
    for wait, value in steps:
        now += wait
        rolling.add(now, value)
        seen.append((now // SECOND, value))
        recent = [value for second, value in seen if second > now // SECOND - 60]
        assert rolling.count(now) == len(recent)
        assert rolling.total(now) == sum(recent)
        assert rolling.largest(now) == max([0, *recent])
    assert rolling.count(now + 61 * SECOND) == rolling.total(now + 61 * SECOND) == rolling.largest(now + 61 * SECOND) == 0


@pytest.mark.parametrize("later", range(60, 181))
def test_nothing_of_an_old_minute_is_left_however_long_the_silence(later: int) -> None:
    rolling = RollingSum()
    rolling.add(100 * SECOND, 5)
    assert rolling.count((100 + later) * SECOND) == 0


def test_a_clock_that_stands_still_or_steps_back_counts_as_now() -> None:
    rolling = RollingSum()
    rolling.add(100 * SECOND, 1)
    rolling.add(50 * SECOND, 1)
    assert rolling.count(100 * SECOND) == 2


def test_the_hash_has_the_six_figures_of_the_last_minute() -> None:
    metrics, now = Metrics(), 1_000 * SECOND
    for _ in range(3):
        metrics.trade(now)
    metrics.error(now)
    metrics.guard_trigger(now)
    metrics.guard_trigger(now)
    metrics.wire_latency(now, 1_500)
    metrics.wire_latency(now, 2_500)
    metrics.wire_latency(now, -500)
    metrics.loop_latency(now, 250)
    metrics.realised(now, 123_456_789)
    metrics.realised(now, -23_456_789)
    assert metrics.fields(now) == {
        "trades_per_minute": "3", "errors_per_minute": "1", "avg_ws_latency_ms": "1.333", "avg_loop_latency_ms": "0.250",
        "guard_triggers_per_minute": "2", "pnl_change_1min": "1", "updated_at_ns": str(now),
    }
    assert set(METRICS) < set(metrics.fields(now))
    assert metrics.loop_latency_ms_worst(now) == 0.25
    later = metrics.fields(now + 60 * SECOND)
    assert [later[key] for key in METRICS] == ["0", "0", "0.000", "0.000", "0", "0"]


def test_lateness_is_what_a_sleep_took_too_long() -> None:
    assert lateness_us(0, 130_000_000, 100) == 30_000
    assert lateness_us(0, 99_000_000, 100) == 0


def test_the_sampler_reports_a_stalled_loop() -> None:
    """The clock, not the wall, says how long a sleep took: here every look at it costs 40 ms."""
    times = iter(range(0, 10**12, 40_000_000))
    reports: list[tuple[int, int]] = []

    async def sample() -> None:
        def report(now_ns: int, late_us: int) -> None:
            reports.append((now_ns, late_us))
            if len(reports) == 3:
                raise asyncio.CancelledError

        await sample_loop_lag(lambda: next(times), report, interval_ms=1)

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(sample())
    assert reports == [(40_000_000, 39_000), (120_000_000, 39_000), (200_000_000, 39_000)]


def test_a_status_is_read_as_it_was_written_and_only_by_its_owner(tmp_path: Path) -> None:
    status = Status(
        pid=7, session_id="s", env="staging", mode="paper", armed=False, not_armed_reasons=("books are not in sync",),
        postgres=PostgresAddress("127.0.0.1", 5432, "a", "b"), redis=RedisAddress("127.0.0.1", 6379),
        feeds={"upbit": FeedStatus(True, 12, 6, 5)}, last_snapshot_at_ns=None, at_ns=9, loop_latency_ms=0.5, started_at_ns=1,
    )
    write_status(tmp_path, status)
    write_status(tmp_path, msgspec.structs.replace(status, at_ns=10))
    assert read_status(tmp_path) == msgspec.structs.replace(status, at_ns=10)
    assert [path.name for path in tmp_path.iterdir()] == ["status.json"]
    assert (tmp_path / "status.json").stat().st_mode & 0o777 == 0o600


@given(st.lists(st.integers(0, 10**8), min_size=1, max_size=50))
def test_a_quantile_is_at_most_a_quarter_above_what_it_stands_for(values: list[int]) -> None:
    quantiles = Quantiles()
    for value in values:
        quantiles.add(5, value)
    exact = sorted(values)[-1]
    assert exact <= quantiles.quantile(1.0) <= max(3, exact * 5 // 4 + 1)


def test_a_quantile_forgets_what_is_older_than_a_minute() -> None:
    quantiles = Quantiles()
    assert quantiles.quantile(0.99) == 0
    quantiles.add(0, 1_000)
    quantiles.add(31 * SECOND, 10)
    assert quantiles.quantile(0.99) >= 1_000
    quantiles.add(61 * SECOND, 10)
    assert quantiles.quantile(0.99) < 20


def test_engine_time_is_known_from_outside_however_the_wall_clock_was_set(tmp_path: Path) -> None:
    hour_ns = 3_600_000_000_000
    status = Status(
        pid=7, session_id="s", env="staging", mode="paper", armed=True, not_armed_reasons=(), postgres=None, redis=None,
        feeds={}, last_snapshot_at_ns=None, at_ns=9 * hour_ns, loop_latency_ms=0.5, wall_ns=10 * hour_ns,
    )  # fmt: skip
    assert status.engine_ns(10 * hour_ns + 7) == 9 * hour_ns + 7
    assert msgspec.structs.replace(status, wall_ns=0).engine_ns(5) == 5, "a status of an older program"


def test_a_missing_or_damaged_status_is_said_in_words(tmp_path: Path) -> None:
    assert "has not run here" in str(read_status(tmp_path))
    for raw in (b"", b"{}", b"\xff", b'{"pid": "x"}'):
        (tmp_path / "status.json").write_bytes(raw)
        assert "is damaged" in str(read_status(tmp_path))
    (tmp_path / "status.json").unlink()
    (tmp_path / "status.json").mkdir()
    assert "cannot be read" in str(read_status(tmp_path))
