"""The benchmark's own parts: frames from a seed, stamped frames the codec still reads, laps that continue, honest summaries."""

from __future__ import annotations

from itertools import pairwise

import msgspec
from bench import booking, decision, memory, surface
from bench.figures import Chunk, at_least, at_most, summarise
from bench.frames import FX_CODE, Universe
from bench.server import DIGITS, STAMP_BASE, stamp, wired
from bench.subject import Subject

from arbitrage.model.events import BookDiff, BookFull

AT_NS = 1_800_000_000_000_000_001


def test_equal_seeds_give_equal_frames_and_other_seeds_others() -> None:
    first, again, other = (Universe(3, seed).frames(300) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    shares = sum(frame.venue == "binance" for frame in first) / len(first)
    assert 0.5 < shares < 0.7


def test_frames_have_the_sizes_that_are_promised() -> None:
    universe = Universe(1, 5)
    diffs = [msgspec.json.decode(universe.diff(universe.coins[0]).raw)["data"] for _ in range(400)]
    levels = [len(diff["b"]) + len(diff["a"]) for diff in diffs]
    assert min(levels) >= 5
    assert max(levels) <= 62
    assert 18 < sum(levels) / len(levels) < 26
    assert all(diff["U"] == before["u"] + 1 for before, diff in pairwise(diffs))
    assert {len(msgspec.json.decode(universe.upbit(universe.coins[0], units).raw)["obu"]) for units in (15, 30)} == {15, 30}


def test_a_stamped_frame_is_read_as_the_frame_that_it_was() -> None:
    universe = Universe(1, 5)
    subject = Subject(universe, AT_NS)
    for frame, header in ((universe.diff(universe.coins[0]), 4), (universe.upbit(universe.coins[0], 15), 4)):
        sent = wired(frame.raw)
        stamp(sent, 123_456)
        payload = bytes(sent[header:])
        assert int(payload[-DIGITS - 1 : -1]) == STAMP_BASE + 123_456
        decode = subject.decoders[frame.venue]
        (plain,), (stamped,) = decode(frame.raw, AT_NS), decode(payload, AT_NS)
        assert type(stamped) in (BookDiff, BookFull)
        assert msgspec.to_builtins(stamped) == msgspec.to_builtins(plain)


def test_laps_of_the_memory_run_continue_each_other() -> None:
    found = memory.run(3, 4_000, ring_size=1_000)
    assert 0 < found.p50_us <= found.p99_us
    assert found.frames >= 4_000
    assert found.gaps == 0
    assert found.lowest_mb > 0


def test_a_run_without_peers_measures_ours_beside_the_same_walk() -> None:
    universe = Universe(2, 5)
    found = decision.run(universe, universe.frames(900), [], 1)
    assert set(found.rows) == {"ours", "our books + the peers' walk"}
    assert found.cycles == 2 * 2 + 2
    assert decision.floors(found) == [], "promises are made for 100 symbols"


def test_booking_alone_takes_less_than_a_decision() -> None:
    found = booking.run(5, 60, [], 1)
    assert set(found.us) == set(booking.KINDS)
    assert booking.floors(found) == []


def test_our_levels_are_those_of_the_frames() -> None:
    universe = Universe(1, 5)
    subject = Subject(universe, AT_NS)
    frame = universe.pictures()[-1]
    subject.feed(subject.decoders[frame.venue](frame.raw, AT_NS))
    units = msgspec.json.decode(frame.raw)["obu"]
    ladders = subject.ladders(FX_CODE)
    assert list(ladders.asks()) == [(unit["ap"], unit["as"]) for unit in units]
    assert list(ladders.bids()) == [(unit["bp"], unit["bs"]) for unit in units]


def test_every_figure_is_that_of_its_own_median_chunk() -> None:
    quiet, disturbed = Chunk([1_000] * 100, 100_000), Chunk([1_000] * 98 + [4_000_000] * 2, 100_000)
    found = summarise([quiet, disturbed, quiet])
    assert (found.p50_us, found.p99_us, found.frames_per_s) == (1.0, 1.0, 1_000_000)
    assert summarise([disturbed]).p99_us == 4_000.0


def test_a_floor_is_met_at_its_bound() -> None:
    assert at_least("rate", 50_000, 50_000).is_met
    assert not at_least("rate", 49_999, 50_000).is_met
    assert at_most("time", 80.0, 80.0).is_met
    assert not at_most("time", 80.1, 80.0).is_met
    assert str(at_most("time", 80.1, 80.0)).startswith("FAIL")


def test_the_cost_of_the_surface_is_held_by_its_bars_and_by_every_answer() -> None:
    side = {"samples": 9, "decisions": 8, "late_us_p50": 170, "late_us_p99": 2_500, "late_us_worst": 9_000}
    side |= {"decision_us_p50": 100.6, "decision_us_p99": 3_700.0}
    ratios = {"late_p50": {"ratio": 1.26, "bar": 1.25}, "decision_p99": {"ratio": 1.0, "bar": 1.25}}
    line = {"without": side, "with": side, "clients": [{"failed": 0}, {"failed": 1}], "ratios": ratios, "is_held": False}
    found = msgspec.json.decode(msgspec.json.encode(line), type=surface.Cost)
    assert [floor.is_met for floor in surface.floors(found)] == [False, True, False]
    assert "frame to decision p50 101, p99 3,700 us (8)" in str(found.loaded)
