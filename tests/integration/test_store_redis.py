"""Metrics and log lines reach a real Valkey, bounded and expiring; its loss is a state that ends when it is back."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from arbitrage.store.embedded import Embedded, redis_of
from arbitrage.store.endpoints import RedisEndpoint
from arbitrage.store.redis_client import make_redis
from arbitrage.store.redis_link import RedisLink
from arbitrage.store.redis_logs import BATCH_MAX, RedisLogs, logs_key
from arbitrage.store.redis_metrics import EXPIRE_SECONDS, METRICS, RedisMetrics, metrics_key

pytestmark = pytest.mark.integration
Until = Callable[..., Coroutine[Any, Any, None]]


def make_link(redis: RedisEndpoint) -> RedisLink:
    return RedisLink(lambda: redis, time.monotonic_ns)


async def ask(redis: RedisEndpoint, *command: str) -> Any:
    client = make_redis(redis)
    try:
        return await client.execute_command(*command)
    finally:
        await client.aclose()


def test_metrics_stand_in_the_hash_and_expire(redis: RedisEndpoint) -> None:
    async def scene() -> None:
        link = make_link(redis)
        key = metrics_key("test", "one")
        assert key == "arbitrage:test:one:METRICS"
        metrics = RedisMetrics(link, key, lambda: 77)
        metrics.offer(dict.fromkeys(METRICS, 1.5) | {"pnl_change_1min": "-0.25"})
        assert await metrics.publish() and link.is_up and link.latency_ms > 0
        client = make_redis(redis)
        values = await client.hgetall(key)
        assert values == dict.fromkeys(METRICS, "1.5") | {"pnl_change_1min": "-0.25", "updated_at_ns": "77"}
        assert 0 < await client.ttl(key) <= EXPIRE_SECONDS
        await client.aclose()
        await link.close()

    asyncio.run(scene())


def test_log_lines_stand_in_the_stream_in_order_and_the_stream_is_bounded(redis: RedisEndpoint) -> None:
    async def scene() -> None:
        link = make_link(redis)
        logs = RedisLogs(link, logs_key("bounded"), length_max=500, queue_max=5_000)
        for number in range(3_000):
            logs.offer({"level": "INFO", "number": number})
        while logs.waiting:
            assert await logs.publish()
        assert (logs.sent, logs.dropped) == (3_000, 0)
        length = await ask(redis, "XLEN", "arbitrage:logs:bounded")
        assert 500 <= length < 1_000, "trimmed to whole nodes of the stream"
        client = make_redis(redis)
        newest = await client.xrevrange("arbitrage:logs:bounded", count=2)
        assert [fields["number"] for _, fields in newest] == ["2999", "2998"]
        await client.aclose()
        await link.close()

    asyncio.run(scene())


def test_lines_wait_for_a_lost_valkey_drop_the_oldest_and_arrive_when_it_is_back(data_folder: Path, until: Until) -> None:
    servers = Embedded(data_folder, wants_postgres=False, wants_redis=True)
    servers.start()

    async def scene() -> None:
        link = RedisLink(lambda: redis_of(servers.state), time.monotonic_ns)
        metrics, logs = RedisMetrics(link, "m", time.monotonic_ns), RedisLogs(link, "l", queue_max=BATCH_MAX)
        metrics.offer({"trades_per_minute": 1})
        tasks = [asyncio.ensure_future(metrics.run()), asyncio.ensure_future(logs.run())]
        await until(lambda: link.is_up)
        os.kill(servers.pids["valkey"], signal.SIGKILL)
        await until(lambda: not link.is_up)
        for number in range(BATCH_MAX + 50):
            logs.offer({"number": number})
        assert logs.dropped == 50 and link.last_error
        assert await asyncio.to_thread(servers.ensure_running)
        await until(lambda: link.is_up and logs.waiting == 0)
        stored = await ask(redis_of(servers.state), "XLEN", "l")
        assert stored == BATCH_MAX
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await link.close()

    asyncio.run(scene())
    servers.stop()


def test_a_frozen_valkey_never_holds_the_loop(data_folder: Path, until: Until) -> None:
    servers = Embedded(data_folder, wants_postgres=False, wants_redis=True)
    servers.start()

    async def scene() -> None:
        link = RedisLink(lambda: redis_of(servers.state), time.monotonic_ns)
        metrics = RedisMetrics(link, "m", time.monotonic_ns)
        metrics.offer({"trades_per_minute": 1})
        task = asyncio.ensure_future(metrics.run())
        await until(lambda: link.is_up)
        os.kill(servers.pids["valkey"], signal.SIGSTOP)
        worst = 0.0
        started = time.monotonic()
        while link.is_up:
            before = time.monotonic()
            await asyncio.sleep(0.005)
            worst = max(worst, time.monotonic() - before)
            assert time.monotonic() - started < 5.0
        os.kill(servers.pids["valkey"], signal.SIGCONT)
        assert worst < 0.5
        await until(lambda: link.is_up)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await link.close()

    asyncio.run(scene())
    servers.stop()


def test_a_batch_that_was_not_taken_goes_first_again_and_the_bound_still_holds() -> None:
    async def scene() -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            link = make_link(RedisEndpoint("127.0.0.1", closed.getsockname()[1], "", 0))
            logs = RedisLogs(link, "l", queue_max=BATCH_MAX + 2)
            for number in range(BATCH_MAX + 2):
                logs.offer({"number": number})
            sending = asyncio.ensure_future(logs.publish())
            await asyncio.sleep(0)
            assert logs.waiting == 2, "a batch is on its way"
            for number in range(5):
                logs.offer({"late": number})
            assert not await sending
            assert (logs.waiting, logs.dropped) == (BATCH_MAX + 2, 5)
            await link.close()

    asyncio.run(scene())


def test_a_wrong_password_is_a_state_and_is_not_shown(redis: RedisEndpoint) -> None:
    async def scene() -> None:
        link = make_link(RedisEndpoint(redis.host, redis.port, "hunter2-wrong", 0))
        assert not await link.send([("PING",)]) and not link.is_up
        assert link.last_error and "hunter2" not in link.last_error
        await link.close()

    asyncio.run(scene())
