"""Settings refuse unknown keys, wrong types and values out of range, with the path to the mistake."""

from __future__ import annotations

import typing

import msgspec
import pytest

from arbitrage.model.settings import Settings, TradingSettings

VENUE: dict[str, object] = {
    "kind": "binance",
    "rest_url": "http://127.0.0.1:1",
    "stream_url": "ws://127.0.0.1:1",
    "symbols": ["BTCUSDT", "ETHUSDT"],
    "fees": {"maker_ppm": 1000, "taker_ppm": 1000, "payment": "received"},
}
UPBIT = VENUE | {"kind": "upbit", "symbols": ["KRW-BTC"]}
WHOLE: dict[str, object] = {"venues": {"binance": VENUE, "upbit": UPBIT}}


def read(raw: dict[str, object]) -> Settings:
    return msgspec.convert(raw, Settings)


def test_two_venues_are_a_whole_configuration() -> None:
    settings = read(WHOLE)
    assert settings.mode == "paper"
    assert settings.market_symbols == (("binance", "BTCUSDT"), ("binance", "ETHUSDT"), ("upbit", "KRW-BTC"))


def test_the_part_that_enters_the_engine_is_the_trading_part_unchanged() -> None:
    settings = read(WHOLE | {"risk": {"open_plans_max": 9}, "execution": {"cooldown_ms": 5}})
    assert settings.trading == TradingSettings(settings.market_data, settings.strategy, settings.risk, settings.execution)
    assert (settings.trading.risk.open_plans_max, settings.trading.execution.cooldown_ms) == (9, 5)


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ({"risk": {"open_plan_max": 1}}, "$.risk"),
        ({"colour": 1}, "unknown field `colour`"),
        ({"paper": {"latency": 1}}, "$.paper"),
        ({"risk": {"open_plans_max": "many"}}, "$.risk.open_plans_max"),
        ({"risk": {"open_plans_max": 1.5}}, "$.risk.open_plans_max"),
        ({"risk": {"open_plans_max": 0}}, "$.risk.open_plans_max"),
        ({"risk": {"loss_today_max": 200}}, "$.risk.loss_today_max"),
        ({"risk": {"loss_today_max": "1e3"}}, "$.risk.loss_today_max"),
        ({"risk": {"loss_today_max": "0.123456789"}}, "$.risk.loss_today_max"),
        ({"risk": {"edge_ppm_min": 1_000_001}}, "$.risk.edge_ppm_min"),
        ({"strategy": {"legs_max": 9}}, "$.strategy.legs_max"),
        ({"strategy": {"legs_max": 1}}, "$.strategy.legs_max"),
        ({"strategy": {"fx_policy": "hope"}}, "$.strategy.fx_policy"),
        ({"market_data": {"link_age_ms_max": 0}}, "$.market_data.link_age_ms_max"),
        ({"mode": "LIVE"}, "$.mode"),
        ({"venues": {"bad name": VENUE}}, "venues"),
        ({"venues": {"binance": VENUE | {"rest_url": "ftp://x"}}}, "rest_url"),
        ({"venues": {"binance": VENUE | {"kind": "kraken"}}}, "kind"),
        ({"venues": {"binance": VENUE | {"symbols": [""]}}}, "symbols"),
        ({"venues": {"binance": {"kind": "binance"}}}, "venues"),
        ({"store": {"postgres_port": 65_536}}, "$.store.postgres_port"),
        ({"paper": {"latency_sigma": -0.1}}, "$.paper.latency_sigma"),
        ({"paper": {"inventory": {"binance": {"BTC": 1.5}}}}, "$.paper.inventory"),
    ],
)
def test_a_mistake_is_refused_with_its_path(raw: dict[str, object], where: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        read(WHOLE | raw)
    assert where in str(refused.value)


def test_no_venues_is_no_configuration() -> None:
    with pytest.raises(msgspec.ValidationError, match="venues"):
        read({})


def sections(section: type[msgspec.Struct]) -> set[type[msgspec.Struct]]:
    found = {section}
    pending = list(typing.get_type_hints(section).values())
    while pending:
        hint = pending.pop()
        pending += typing.get_args(hint)
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct) and hint not in found:
            found |= sections(hint)
    return found


def test_every_section_is_frozen_and_refuses_unknown_keys() -> None:
    found = sections(Settings)
    assert len(found) >= 13
    for section in found:
        assert section.__struct_config__.frozen, section
        assert section.__struct_config__.forbid_unknown_fields, section


def test_a_setting_cannot_be_changed_in_place() -> None:
    settings = read(WHOLE)
    with pytest.raises(AttributeError):
        settings.mode = "live"  # type: ignore[misc] - this is the fact under test
