"""`arbitrage simulate`: what it prints, when it fails, and that a failing seed can be read by a person."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from arbitrage.app.cli import main
from arbitrage.app.simulate.batch import Job, live_many, live_one
from arbitrage.app.simulate.kept import live_again, read_kept
from arbitrage.app.simulate.shrink import shrink
from arbitrage.app.simulate.story import Shape, tell_story

PLANT = "fill-applied-twice"


def failing_seed() -> int:
    """Return a seed in which the plant shows: there must be a fill."""
    return next(life.seed for life in live_many(range(100), Job(plant=PLANT), 1) if life.failure is not None)


def test_seeds_are_lived_and_summed_up_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--seeds", "4", "--start", "11", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said.keys() == {"seeds", "events", "seconds", "plans", "fills", "crashes", "failures", "hash"}
    assert (said["seeds"], said["failures"]) == (4, [])
    assert said["events"] > 1_000
    assert main(["simulate", "--seeds", "4", "--start", "11", "--json", "--jobs", "2"]) == 0
    assert json.loads(capsys.readouterr().out)["hash"] == said["hash"], "the same seeds, however many cores"


def test_a_planted_bug_fails_with_a_shrunk_trace_and_may_be_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = tmp_path / "kept.jsonl"
    command = ["simulate", "--seeds", "2", "--start", str(failing_seed()), "--plant", PLANT, "--json", "--keep", str(kept)]
    assert main(command) == 1
    failures = json.loads(capsys.readouterr().out)["failures"]
    assert failures
    first = failures[0]
    assert first["checker"] == "booked_truly"
    assert any("offer" in line for line in first["strikes"]), "something had to pay"
    assert "FillBooked" in "\n".join(first["trace"])
    lives = tuple(read_kept(kept))
    assert [life.seed for life in lives] == [failure["seed"] for failure in failures]
    assert live_again(lives[0]).failure is None, "without the plant it is a good life"


def test_failures_are_told_in_words_too(capsys: pytest.CaptureFixture[str]) -> None:
    seed = str(failing_seed())
    assert main(["simulate", "--seeds", "1", "--start", seed, "--plant", PLANT]) == 1
    out = capsys.readouterr().out
    assert out.startswith(f"FAILED  seed {seed} at ")
    assert "weather that is needed" in out
    assert "what happened" in out


def test_a_life_can_be_read_from_its_beginning(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--start", "3", "--trace"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "start 1" in lines[0]
    assert any("PlanClosed" in line for line in lines)


def test_a_soak_ends_in_time_and_draws_its_first_seed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--soak", "0.3", "--start", "-1"]) == 0
    captured = capsys.readouterr()
    assert "first seed: " in captured.err
    assert " seeds, " in captured.out


def test_a_plant_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "--plants", "--plant", PLANT, "--starts", "2", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["plant"] for row in said["plants"]] == [PLANT]
    assert said["weak"] == []


def test_a_shrunk_life_needs_no_more_weather_than_the_whole_one() -> None:
    seed = failing_seed()
    shrunk = shrink(seed, Shape(), PLANT)
    assert 1 <= len(shrunk.weather) < len(tell_story(seed, Shape()).strikes)
    assert shrunk.lives > 2


def test_a_life_may_be_longer_and_larger() -> None:
    life = live_one(5, Job(Shape(storm_ms=20_000, coins=3)))
    assert life.failure is None
    assert life.plans > 5
    assert [each.seed for each in live_many(range(3, 5), Job(), 1)] == [3, 4]
