"""Keys that are set over the files: topmost, named by who set them, and never one that a running process cannot take over."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest

from arbitrage.ops.config import compare, flat, flat_of, load
from arbitrage.ops.overrides import KEYS_MAX, Override, read_overrides, write_overrides
from arbitrage.ops.problems import ConfigError

CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"PATH": os.defpath, "ARBITRAGE__STORE__DATA_DIR": str(tmp_path), "ARBITRAGE__RISK__PROFIT_MIN": "0.30"}


def override(value: object) -> Override:
    return Override(value, "anna", 5, "why")


def test_an_override_wins_over_everything_and_says_who_set_it(tmp_path: Path, environ: dict[str, str]) -> None:
    before = load(CONFIG, environ)
    assert before.settings.risk.profit_min == "0.30"
    write_overrides(tmp_path, {"risk.profit_min": override("0.70"), "strategy.price_slack_ppm": override(7)})
    after = load(CONFIG, environ)
    assert (after.settings.risk.profit_min, after.settings.strategy.price_slack_ppm) == ("0.70", 7)
    assert "set by anna" in str(after.origins["risk.profit_min"])
    assert compare(before, after).is_accepted
    assert load(CONFIG, environ, overrides={}).version == before.version, "others may be laid in their place"
    assert read_overrides(tmp_path)["risk.profit_min"].reason == "why"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("risk.profit_min", "much"), ("risk.no_such", 1), ("risk.open_plans_max", 0), ("risk", {"profit_min": "1"}),
        ("store.data_dir", "/elsewhere"), ("venues.upbit.rest_url", "https://evil.example"), ("web.host", "0.0.0.0"),
        ("store.postgres_password", "x"), ("mode", "live"), ("confirm_live", "x"), ("keys_dir", "x"), ("risk.profit_min", None),
    ],
)  # fmt: skip
def test_what_is_not_valid_or_shapes_the_start_is_refused_whole(
    tmp_path: Path, environ: dict[str, str], key: str, value: object
) -> None:
    write_overrides(tmp_path, {"risk.edge_ppm_min": override(50), key: override(value)})
    if (key, value) == ("risk", {"profit_min": "1"}):
        assert load(CONFIG, environ).settings.risk.profit_min == "1", "a block is the same as its keys"
        return
    with pytest.raises(ConfigError):
        load(CONFIG, environ)


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"risk.profit_min": 3}', b"\xff"])
def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path, environ: dict[str, str], content: bytes) -> None:
    (tmp_path / "overrides.json").write_bytes(content)
    with pytest.raises(ConfigError, match=r"overrides\.json"):
        load(CONFIG, environ)


def test_the_number_of_keys_is_bounded_and_an_unreadable_file_is_named(tmp_path: Path) -> None:
    write_overrides(tmp_path, {f"a.b{number}": override(1) for number in range(KEYS_MAX + 1)})
    with pytest.raises(ConfigError, match="more than"):
        read_overrides(tmp_path)
    (tmp_path / "overrides.json").unlink()
    (tmp_path / "overrides.json").mkdir()
    with pytest.raises(ConfigError, match="cannot be read"):
        read_overrides(tmp_path)
    assert read_overrides(tmp_path / "nothing") == {}


def test_a_configuration_kept_as_json_compares_equal_with_itself(environ: dict[str, str]) -> None:
    settings = load(CONFIG, environ).settings
    kept = msgspec.json.decode(msgspec.json.encode(settings))
    assert flat_of(kept) == flat_of(msgspec.to_builtins(settings))
    assert flat_of(kept).keys() == flat(settings).keys()
