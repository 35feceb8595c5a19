"""Latency distributions: what they draw, and that a tail has an end."""

from __future__ import annotations

import random
import statistics

import pytest

from arbitrage.model.settings import PaperSettings
from arbitrage.sim.latency import LATENCY_NS_MAX, ConstantLatency, EmpiricalLatency, LogNormalLatency, configured_latency


def test_a_constant_is_constant() -> None:
    rng = random.Random(1)
    assert {ConstantLatency(7).draw_ns(rng) for _ in range(5)} == {7}


def test_the_configured_log_normal_has_its_median_and_its_spread() -> None:
    latency = configured_latency(PaperSettings(latency_ms_median=40, latency_sigma=0.4))
    rng = random.Random(2)
    drawn_ms = sorted(latency.draw_ns(rng) / 1e6 for _ in range(20_000))
    assert statistics.median(drawn_ms) == pytest.approx(40, rel=0.02)
    assert drawn_ms[int(0.8413 * 20_000)] == pytest.approx(40 * 2.718281828**0.4, rel=0.03)
    assert drawn_ms[0] > 0


def test_no_spread_is_the_median_itself() -> None:
    assert LogNormalLatency(123, 0.0).draw_ns(random.Random(3)) == 123


def test_a_tail_has_an_end() -> None:
    latency = LogNormalLatency(LATENCY_NS_MAX, 3.0)
    drawn_ns = [latency.draw_ns(random.Random(seed)) for seed in range(50)]
    assert max(drawn_ns) == LATENCY_NS_MAX
    assert min(drawn_ns) < LATENCY_NS_MAX


def test_measured_latencies_are_drawn_as_often_as_they_were_seen() -> None:
    latency = EmpiricalLatency((10, 10, 10, 90))
    rng = random.Random(4)
    drawn = [latency.draw_ns(rng) for _ in range(4_000)]
    assert set(drawn) == {10, 90}
    assert 0.70 < drawn.count(10) / 4_000 < 0.80


@pytest.mark.parametrize(
    "make",
    [
        lambda: ConstantLatency(-1),
        lambda: ConstantLatency(LATENCY_NS_MAX + 1),
        lambda: LogNormalLatency(0, 0.4),
        lambda: LogNormalLatency(1, -0.1),
        lambda: EmpiricalLatency(()),
        lambda: EmpiricalLatency((1, -1)),
    ],
)
def test_a_latency_out_of_range_has_no_constructor(make: object) -> None:
    assert callable(make)
    with pytest.raises(AssertionError):
        make()
