"""The layers, their order, their origins, and what is refused: each with its place and how to mend it."""

from __future__ import annotations

from pathlib import Path

import pytest
from ops_config_files import write_config

from arbitrage.ops.config import Overlay, compare, find_config_dir, flat, load
from arbitrage.ops.environment import NAMED, variable_table
from arbitrage.ops.problems import ConfigError

PROJECT = Path(__file__).resolve().parents[2]


def problems_of(folder: Path, environ: dict[str, str] | None = None, overlay: Overlay | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, environ or {}, overlay)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("env", ["development", "staging", "production"])
def test_the_configuration_that_ships_is_valid_in_every_environment(env: str) -> None:
    loaded = load(PROJECT / "config", {"ENV": env})
    assert loaded.settings.env == env
    assert loaded.settings.venues["binance"].rest_url == "https://api.binance.com"
    assert loaded.settings.venues["upbit"].stream_url == "wss://api.upbit.com/websocket/v1"
    assert {"KRW-USDT", "KRW-BTC"} <= set(loaded.settings.venues["upbit"].symbols)


def test_each_layer_wins_over_the_one_below_and_is_named_as_the_origin(tmp_path: Path) -> None:
    base = write_config(tmp_path)
    key = "risk.open_plans_max"
    low = load(base, {})
    assert (low.settings.risk.open_plans_max, str(low.origins[key])) == (4, f"{base}/base.yaml:18")
    write_config(tmp_path, development="risk: {open_plans_max: 5}\n")
    environment = load(base, {})
    assert (environment.settings.risk.open_plans_max, str(environment.origins[key])) == (
        5, f"{base}/environments/development.yaml:1",
    )
    scenario = load(base, {}, Overlay("scenario kimchi", {"risk": {"open_plans_max": 6}}))
    assert (scenario.settings.risk.open_plans_max, str(scenario.origins[key])) == (6, "scenario kimchi")
    variable = {"ARBITRAGE__RISK__OPEN_PLANS_MAX": "7"}
    named = load(base, variable, Overlay("scenario kimchi", {"risk": {"open_plans_max": 6}}))
    assert named.settings.risk.open_plans_max == 7
    assert str(named.origins[key]) == "environment variable ARBITRAGE__RISK__OPEN_PLANS_MAX"
    write_config(tmp_path, secrets="risk: {open_plans_max: 8}\n")
    secret = load(base, variable)
    assert (secret.settings.risk.open_plans_max, str(secret.origins[key])) == (8, f"{base}/secrets.yaml:1")


def test_every_leaf_has_an_origin(tmp_path: Path) -> None:
    loaded = load(write_config(tmp_path), {"REDIS_HOST": "localhost"})
    assert set(loaded.origins) == set(flat(loaded.settings))
    assert str(loaded.origins["risk.edge_ppm_max"]) == "default"
    assert str(loaded.origins["store.redis_host"]) == "environment variable REDIS_HOST"


def test_every_named_variable_sets_the_key_of_the_table(tmp_path: Path) -> None:
    texts = {"MODE": "live", "LOG_LEVEL": "ERROR", "REDIS_PORT": "7001", "REDIS_DB": "3", "POSTGRES_PORT": "7002"}
    environ = {name: texts.get(name, f"text-of-{name}") for name in NAMED}
    values = flat(load(write_config(tmp_path), environ).settings)
    for name, path in NAMED.items():
        assert str(values[".".join(path)]) == environ[name]
    assert [name for name, _ in variable_table()] == ["ENV", *NAMED]


def test_an_empty_named_variable_counts_as_not_set(tmp_path: Path) -> None:
    loaded = load(write_config(tmp_path), {"REDIS_HOST": "", "ENV": "", "MODE": ""})
    assert loaded.settings.store.redis_host == "" and loaded.settings.mode == "paper"
    assert loaded.settings.env == "development"


def test_the_general_form_finds_free_names_whatever_their_case(tmp_path: Path) -> None:
    environ = {
        "ARBITRAGE__VENUES__UPBIT__SYMBOLS": "[KRW-USDT, KRW-DOGE]",
        "ARBITRAGE__STRATEGY__TRANSFERS__BTC__COST_PPM": "7",
        "ARBITRAGE__STRATEGY__FX_POLICY_BY_PAIR": "{XRP: carry}",
        "ARBITRAGE__RISK__PROFIT_MIN": "3",
        "ARBITRAGE__HOT_PATH__BUSY_POLL": "true",
    }
    settings = load(write_config(tmp_path), environ).settings
    assert settings.venues["upbit"].symbols == ("KRW-USDT", "KRW-DOGE")
    assert settings.strategy.transfers["BTC"].cost_ppm == 7
    assert settings.strategy.fx_policy_by_pair == {"XRP": "carry"}
    assert settings.risk.profit_min == "3"
    assert settings.hot_path.busy_poll is True


def test_a_scenario_can_take_a_venue_away(tmp_path: Path) -> None:
    loaded = load(write_config(tmp_path), {}, Overlay("one", {"venues": {"binance": None}}))
    assert list(loaded.settings.venues) == ["upbit"]


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("risk:\n  open_plan_max: 3\n", "development.yaml:2 risk.open_plan_max", "did you mean `open_plans_max`"),
        ("risk:\n  open_plans_max: three\n", "development.yaml:2 risk.open_plans_max", "'three' is refused"),
        ("risk:\n\n  open_plans_max: 0\n", "development.yaml:3 risk.open_plans_max", "from 1 to 1000000"),
        ("risk:\n  profit_min: 0.5\n", "development.yaml:2 risk.profit_min", "a decimal number in quotes"),
        ("risk:\n  profit_min: '0.123456789'\n", "development.yaml:2 risk.profit_min", "at most 8 decimals"),
        ("log:\n  level: LOUD\n", "development.yaml:2 log.level", "one of DEBUG, ERROR, INFO, WARNING"),
        ("risk:\n", "development.yaml:1 risk", "is not a block of settings"),
        ("venues:\n  upbit:\n    symbols:\n      - KRW-BTC\n      - 7\n", "yaml:5 venues.upbit.symbols", "7 is refused"),
        ("venues:\n  gate:\n    kind: binance\n", "development.yaml:2 venues.gate.rest_url", "is required and missing"),
        ("mode: {a: b}\n", "development.yaml:1 mode", "should be one value"),
        ("mode: paper\nmode: paper\n", "development.yaml:2 mode", "is written twice (first on line 1)"),
        ("hot_path:\n  busy_poll: yes\n", "development.yaml:2 hot_path.busy_poll", "could mean true, false or text"),
        ("risk:\n  open_plans_max: 010\n", "development.yaml:2 risk.open_plans_max", "not a plain decimal number"),
        ("risk:\n  open_plans_max: 1:30\n", "development.yaml:2 risk.open_plans_max", "not a plain decimal number"),
        ("risk: &a\n  open_plans_max: 1\n", "development.yaml:1", "anchor or alias"),
        ("mode: !!python/name:os.system x\n", "development.yaml:1 mode", "of a kind no setting has"),
        ("risk: [1, {a: b}]\n", "development.yaml:1 risk", "not a plain value"),
        ("risk: {open_plans_max: 1\n", "development.yaml:2", "is not YAML"),
        ("- a\n", "development.yaml:1", "holds no block of settings"),
        ("env: staging\n", "development.yaml:1 env", "set the environment variable ENV"),
        ("\x07: 1\n", "development.yaml", "not allow"),
        ('mode: "\\ud800"\n', "development.yaml:1 mode", "half a character"),
        ("a: " + "[" * 40 + "]" * 40, "development.yaml:1", "nested deeper"),
        ("risk:\n  edge_ppm_max: " + "9" * 5000 + "\n", "development.yaml:2 risk.edge_ppm_max", "not a plain decimal number"),
        ("venues:\n  a b:\n    kind: upbit\n", "development.yaml:2 venues.a b", "is not a name"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_place_and_remedy(tmp_path: Path, text: str, place: str, words: str) -> None:
    found = problems_of(write_config(tmp_path, development=text))
    assert any(place in line and words in line for line in found), found


def test_all_problems_are_listed_and_each_is_one_line(tmp_path: Path) -> None:
    folder = write_config(tmp_path, development="risk:\n  profit_min: 1\n  foo: 2\nlog: {level: x}\n", secrets="mode: real\n")
    found = problems_of(folder, {"REDIS_PORT": "no", "ARBITRAGE__BAR": "1"})
    assert len(found) == 6
    assert not any("\n" in line for line in found)


def test_an_environment_without_a_file_is_refused_with_the_names_that_exist(tmp_path: Path) -> None:
    folder = write_config(tmp_path)
    assert problems_of(folder, {"ENV": "prod"})[0].endswith("set it to one of development, production, staging")
    assert "is not a name" in problems_of(folder, {"ENV": "../../etc"})[0]


def test_a_missing_folder_is_one_problem_a_file(tmp_path: Path) -> None:
    found = problems_of(tmp_path / "nowhere")
    assert "base.yaml: cannot be read (No such file or directory)" in found[0]


def test_wrong_environment_variables_are_named(tmp_path: Path) -> None:
    folder = write_config(tmp_path)
    assert "did you mean" in problems_of(folder, {"ARBITRAGE__RISK__OPEN_PLAN_MAX": "3"})[0]
    assert "set ENV instead" in problems_of(folder, {"ARBITRAGE__ENV": "staging"})[0]
    assert "environment variable REDIS_PORT store.redis_port: 'x' is refused" in problems_of(folder, {"REDIS_PORT": "x"})[0]
    assert "is not UTF-8" in problems_of(folder, {"REDIS_HOST": "\udcff"})[0]
    assert "more than" in problems_of(folder, {f"ARBITRAGE__X{n}": "1" for n in range(1001)})[0]


def test_a_list_replaces_the_list_below_it(tmp_path: Path) -> None:
    folder = write_config(tmp_path, development="venues: {binance: {symbols: [DOGEUSDT]}}\n")
    assert load(folder, {}).settings.venues["binance"].symbols == ("DOGEUSDT",)


def test_equal_settings_have_equal_versions_and_secrets_do_not_count(tmp_path: Path) -> None:
    folder = write_config(tmp_path)
    plain = load(folder, {})
    assert plain.version == load(folder, {"POSTGRES_PASSWORD": "hunter2"}).version
    assert plain.version != load(folder, {"LOG_LEVEL": "ERROR"}).version


def test_the_configuration_folder_is_the_named_one_else_the_projects(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_config_dir({"ARBITRAGE_CONFIG_DIR": "/etc/arbitrage"}) == Path("/etc/arbitrage")
    monkeypatch.chdir(tmp_path)
    assert find_config_dir({}) == PROJECT / "config"
    write_config(tmp_path / "config")
    assert find_config_dir({}) == Path("config")


def test_a_reload_of_limits_is_accepted_whole_and_names_each_change(tmp_path: Path) -> None:
    folder = write_config(tmp_path)
    before = load(folder, {})
    after = load(write_config(tmp_path, development="risk: {open_plans_max: 2}\nlog: {level: ERROR}\n"), {})
    reload = compare(before, after)
    assert reload.is_accepted
    assert [(change.key, change.before, change.after) for change in reload.changes] == [
        ("log.level", '"INFO"', '"ERROR"'), ("risk.open_plans_max", "4", "2"),
    ]
    assert str(reload).startswith("configuration reloaded: log.level")
    assert str(compare(before, before)) == "configuration reloaded: nothing changed"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("venues: {upbit: {rest_url: 'http://127.0.0.1:9'}}\n", "venues.upbit.rest_url"),
        ("store: {data_dir: elsewhere}\n", "store.data_dir"),
        ("mode: live\n", "mode"),
        ("strategy: {legs_max: 3}\n", "strategy.legs_max"),
        ("paper: {inventory: {upbit: {KRW: '5'}}}\n", "paper.inventory.upbit.KRW"),
    ],
)
def test_a_reload_that_needs_a_restart_is_refused_whole(tmp_path: Path, text: str, key: str) -> None:
    before = load(write_config(tmp_path), {})
    after = load(write_config(tmp_path, development=f"risk: {{open_plans_max: 2}}\n{text}"), {})
    reload = compare(before, after)
    assert not reload.is_accepted
    assert key in reload.needs_restart and "risk.open_plans_max" not in reload.needs_restart
    assert "restart to change" in str(reload)
