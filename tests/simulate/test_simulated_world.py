"""Whole lives of daemon and exchanges: fresh ones every time, and all that ever failed. Not measured for coverage."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest

from arbitrage.app.simulate.batch import Batch, Job, live_many, live_one
from arbitrage.app.simulate.kept import Kept, live_again, read_kept
from arbitrage.app.simulate.shrink import shrink
from arbitrage.app.simulate.story import Shape

SEEDS = int(os.environ.get("ARBITRAGE_SEEDS", "1000"))
KEPT = tuple(read_kept(Path(__file__).parent / "kept_lives.jsonl"))
HASH = "from arbitrage.app.simulate.batch import *; print([live_one(seed, Job()).digest for seed in range(6)])"


def test_fresh_seeds_break_no_rule() -> None:
    start = secrets.randbelow(10**9)
    print(f"first seed: {start}")
    batch = Batch()
    for life in live_many(range(start, start + SEEDS), Job(), os.cpu_count() or 1):
        batch.add(life)
        if life.failure is not None:
            text = "\n".join((*(shrunk := shrink(life.seed, Shape(), "")).strikes, *shrunk.trace))
            said = f"seed {life.seed}: {life.failure.checker}: {life.failure.message}"
            pytest.fail(f"{said}\n{text}\nagain: arbitrage simulate --seeds 1 --start {life.seed}")
    assert batch.seeds == SEEDS
    assert batch.fills > 5 * SEEDS, "lives without fills prove little"
    assert batch.crashes > SEEDS // 10


@pytest.mark.parametrize("kept", KEPT, ids=lambda kept: f"{kept.seed}-{kept.checker}")
def test_lives_that_failed_once_fail_no_more(kept: Kept) -> None:
    assert live_again(kept).failure is None, kept.found


def test_the_same_seed_is_the_same_life_whatever_python_hashes_by() -> None:
    said = set()
    for hash_seed in ("1", "2"):
        environ = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", HASH]
        done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120, check=True)
        said.add(done.stdout)
    assert len(said) == 1
    assert said.pop().strip() == str([live_one(seed, Job()).digest for seed in range(6)])
