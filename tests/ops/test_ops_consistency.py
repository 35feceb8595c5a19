"""Settings that are each fine and do not fit together, and the fees of the cheapest cycle."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from ops_config_files import write_config

from arbitrage.model.settings import Settings
from arbitrage.ops.config import load
from arbitrage.ops.consistency import cheapest_cycle, clashes
from arbitrage.ops.preflight import LIVE_PHRASE, fee_report, folder_problems, open_wires, real_money_problems
from arbitrage.ops.problems import ConfigError


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("risk: {notional_per_order_max: '10001'}", "order_max: 10001 is above risk.notional_per_opportunity_max"),
        ("risk: {notional_per_opportunity_max: '20001'}", "is above risk.notional_per_pair_max (20000)"),
        ("risk: {notional_per_pair_max: '50001'}", "is above risk.notional_per_venue_max (50000)"),
        ("risk: {exposure_per_asset_max: '4999'}", "is above risk.exposure_per_asset_max (4999)"),
        ("risk: {loss_today_max: '0'}", "risk.loss_today_max: 0 is not above zero"),
        ("risk: {carried_fx_max: '-1'}", "risk.carried_fx_max: -1 is negative"),
        ("risk: {profit_min: '-0.1'}", "risk.profit_min: -0.1 is negative"),
        ("risk: {orders_per_minute_max: 3}", "is below strategy.legs_max (4)"),
        ("risk: {profit_min: '500.01'}", "500.01 is out of reach"),
        ("risk: {edge_ppm_min: -1}", "demands no more than the fees of the cheapest cycle"),
        ("risk: {edge_ppm_min: 0, profit_min: '0'}", "demands no more than the fees of the cheapest cycle"),
        ("risk: {edge_ppm_min: 50000}", "risk.edge_ppm_min: 50000 is not below risk.edge_ppm_max"),
        ("risk: {edge_ppm_max: 2299}", "is not above the fees of the cheapest cycle (2299 ppm)"),
        ("strategy: {screen_edge_ppm: 50000}", "strategy.screen_edge_ppm: 50000 is not below"),
        ("execution: {plan_deadline_ms: 3000}", "acknowledgement_ms_max: 3000 is not below execution.plan_deadline_ms"),
        ("execution: {plan_deadline_ms: 14000}", "make 14000, which is not below execution.plan_deadline_ms (14000)"),
        ("execution: {answer_horizon_ms: 14000}", "which is not below execution.answer_horizon_ms (14000)"),
        ("paper: {acknowledgement_ms: 3000}", "paper.acknowledgement_ms: 3000 is not below"),
        ("venues: {upbit: {backoff_ms_min: 30001}}", "venues.upbit.backoff_ms_min: 30001 is not below"),
        ("venues: {upbit: {ping_interval_ms: 6000}}", "is not below venues.upbit.silence_ms_max"),
        ("market_data: {link_age_ms_max: 1000}", "is not below market_data.link_age_ms_max"),
        ("venues: {upbit: {symbols: [KRW-BTC, KRW-BTC]}}", "lists a symbol twice"),
        ("venues: {upbit: {rest_url: 'ws://127.0.0.1:1'}}", "are swapped"),
        ("venues: {upbit: {fees: {payment: named}}}", "name the asset exactly when"),
        ("venues: {upbit: {quote_fees: {BTC: {maker_ppm: 1, taker_ppm: 1, payment: quote, named_asset: X}}}}", "is X"),
        ("paper: {inventory: {gate: {KRW: '1'}}}", "paper.inventory.gate"),
        ("paper: {inventory: {upbit: {KRW: '-1'}}}", "paper.inventory.upbit.KRW: -1 is negative"),
        ("execution: {dust_value_max: '-1'}", "execution.dust_value_max: -1 is negative"),
        ("session_name: '..'", "session_name"),
        ("web: {host: 0.0.0.0}", "web.host: 0.0.0.0 is not loopback, and passwords would cross the wire unencrypted"),
        ("web: {host: trading.example}", "web.host: trading.example is not loopback"),
        ("web: {certificate_file: a.pem}", "web.certificate_file: and web.private_key_file go together"),
        ("web: {allowed_addresses: [10.0.0.0/8, ten]}", "web.allowed_addresses: 'ten' is no address"),
        ("web: {trusted_proxies: [proxy.example]}", "web.trusted_proxies: 'proxy.example' is no address"),
        ("web: {public_url: 'trading.example'}", "web.public_url: is not how a browser reaches a host"),
        ("web: {public_url: 'https://a.example/path'}", "web.public_url: is not how"),
        ("web: {session_idle_minutes_max: 800}", "web.session_idle_minutes_max: 800 is above web.session_minutes_max (720)"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_with_their_place(tmp_path: Path, text: str, words: str) -> None:
    folder = write_config(tmp_path, development=text + "\n")
    with pytest.raises(ConfigError) as caught:
        load(folder, {})
    assert words in str(caught.value)
    assert "development.yaml:1" in str(caught.value) or "default" in str(caught.value) or "base.yaml" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "{host: '::1'}", "{host: localhost}", "{host: 0.0.0.0, certificate_file: a.pem, private_key_file: b.pem}",
        "{host: 0.0.0.0, trusted_proxies: [10.0.0.1], public_url: 'https://a.example'}", "{enabled: false, host: 0.0.0.0}",
    ],
)  # fmt: skip
def test_a_surface_that_nobody_can_overhear_is_taken(tmp_path: Path, text: str) -> None:
    assert load(write_config(tmp_path, development=f"web: {text}\n"), {}).settings.web is not None


def test_no_venue_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="names no venue"):
        load(write_config(tmp_path, base="venues: {}\n"), {})


def test_an_edge_ceiling_just_above_the_fees_is_accepted(tmp_path: Path) -> None:
    loaded = load(write_config(tmp_path, development="risk: {edge_ppm_max: 2300}\n"), {})
    assert loaded.settings.risk.edge_ppm_max == 2300


def test_the_cheapest_cycle_compounds_all_fees_and_rebalancing_costs(tmp_path: Path) -> None:
    loaded = load(write_config(tmp_path), {})
    cheapest = cheapest_cycle(loaded.settings)
    assert cheapest is not None
    assert set(cheapest.markets) == {"binance:BTCUSDT", "upbit:KRW-BTC", "upbit:KRW-USDT"}
    kept = 0.9990 * 0.9995 * 0.9995 * 0.9998 * 0.9999  # Binance, Upbit twice, BTC moved, USDT moved back
    assert cheapest.fees_ppm == pytest.approx((1 - kept) * 1e6, abs=1) and cheapest.fees_ppm >= (1 - kept) * 1e6
    assert "so gross 2399 ppm" in fee_report(loaded)


def test_without_an_fx_market_there_is_no_such_cycle(tmp_path: Path) -> None:
    loaded = load(write_config(tmp_path, development="venues: {upbit: {symbols: [KRW-BTC, KRW-XRP]}}\n"), {})
    assert cheapest_cycle(loaded.settings) is None
    assert "no confirmed asset is traded at two venues" in fee_report(loaded)


def test_an_asset_that_is_not_confirmed_is_in_no_cycle(tmp_path: Path) -> None:
    text = "strategy: {transfers: {BTC: {is_identity_confirmed: false}}}\n"
    assert cheapest_cycle(load(write_config(tmp_path, development=text), {}).settings) is None


def test_equal_quotes_need_no_fx_market_and_quote_fees_count(tmp_path: Path) -> None:
    text = "venues: {upbit: {symbols: [USDT-BTC], quote_fees: {USDT: {maker_ppm: 2500, taker_ppm: 2500, payment: quote}}}}\n"
    cheapest = cheapest_cycle(load(write_config(tmp_path, development=text), {}).settings)
    assert cheapest is not None and len(cheapest.markets) == 2
    assert cheapest.fees_ppm == pytest.approx((1 - 0.999 * 0.9975 * 0.9998 * 0.9999) * 1e6, abs=1)


def test_an_ambiguous_symbol_is_in_no_cycle(tmp_path: Path) -> None:
    venues = "venues:\n  binance: {symbols: [GALAEUR]}\n  upbit: {symbols: [EUR-GALA, AEUR-GAL]}\n"
    coins = ", ".join(f"{asset}: {{is_identity_confirmed: true}}" for asset in ("EUR", "AEUR", "GAL", "GALA"))
    text = f"{venues}strategy: {{transfers: {{{coins}}}}}\n"
    assert cheapest_cycle(load(write_config(tmp_path, development=text), {}).settings) is None


def test_real_money_needs_the_phrase_to_the_letter_and_addresses(tmp_path: Path) -> None:
    bare = load(write_config(tmp_path), {}).settings
    found = real_money_problems(bare)
    assert len(found) == 3 and LIVE_PHRASE in found[0] and found[2] == "venues.upbit.account_url is not set"
    named = {name: msgspec.structs.replace(venue, account_url="wss://x") for name, venue in bare.venues.items()}
    settings = msgspec.structs.replace(bare, venues=named)
    for nearly in ("", LIVE_PHRASE.lower(), LIVE_PHRASE + ".", "yes", " " + LIVE_PHRASE):
        assert len(real_money_problems(msgspec.structs.replace(settings, confirm_live=nearly))) == 1
    assert real_money_problems(msgspec.structs.replace(settings, confirm_live=LIVE_PHRASE)) == []


@pytest.mark.parametrize(
    ("url", "is_open"),
    [("http://api.example.com", True), ("https://api.example.com", False), ("http://127.0.0.1:8080", False),
     ("http://localhost:1", False), ("http://[::1]:1", False), ("http://127.0.0.1.example.com", True)],
)  # fmt: skip
def test_a_signed_request_never_travels_open_but_on_this_machine(tmp_path: Path, url: str, is_open: bool) -> None:
    settings = load(write_config(tmp_path), {}).settings
    venue = msgspec.structs.replace(settings.venues["upbit"], rest_url=url, account_url=url.replace("http", "ws", 1))
    changed = msgspec.structs.replace(settings, venues={**settings.venues, "upbit": venue})
    assert len(open_wires(changed)) == 2 * is_open


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    loaded = load(write_config(tmp_path / "c"), {
        "ARBITRAGE__STORE__DATA_DIR": str(tmp_path / "file" / "var"), "ARBITRAGE__LOG__DIRECTORY": str(tmp_path / "logs"),
    })
    found = folder_problems(loaded)
    assert [problem.where for problem in found] == ["environment variable ARBITRAGE__STORE__DATA_DIR store.data_dir"]
    assert (tmp_path / "logs").is_dir()


CHANNELS = [
    ({"kind": "webhook", "url": "https://a.example/x"}, ""),
    ({"kind": "webhook", "url": "http://127.0.0.1:9/x"}, ""),
    ({"kind": "webhook"}, "url"),
    ({"kind": "webhook", "url": "http://a.example/x"}, "url"),
    ({"kind": "telegram", "chat": "1"}, ""),
    ({"kind": "telegram"}, "chat"),
    ({"kind": "slack"}, ""),
    ({"kind": "discord"}, ""),
    ({"kind": "email", "smtp_host": "m", "sender": "a@b", "recipients": ["c@d"]}, ""),
    ({"kind": "email", "smtp_host": "m", "sender": "a@b"}, "smtp_host"),
    ({"kind": "email", "smtp_host": "m", "sender": "a@b", "recipients": ["c@d\nBcc: e@f"]}, "recipients"),
    (
        {"kind": "email", "smtp_host": "m", "sender": "a@b", "recipients": ["c@d"], "smtp_user": "u", "smtp_security": "none"},
        "smtp_security",
    ),
]


@pytest.mark.parametrize(("channel", "key"), CHANNELS)
def test_a_channel_that_cannot_tell_or_would_tell_everybody_is_refused(channel: dict[str, object], key: str) -> None:
    settings = msgspec.convert({"venues": {}, "alerts": {"channels": {"ops": channel}}}, Settings)
    found = [clash.key for clash in clashes(settings) if clash.key.startswith("alerts")]
    assert found == ([f"alerts.channels.ops.{key}"] if key else [])


@pytest.mark.parametrize(
    ("source", "key"),
    [
        ({"url": "https://bank.example/usd", "pointer": "/0/rate"}, ""), ({"url": "http://127.0.0.1:9/x"}, ""),
        ({"url": "http://bank.example/usd"}, "url"), ({"url": "https://b", "pointer": "rate"}, "pointer"),
        ({"url": "https://b/usd?base=USD"}, ""), ({"url": "https://me:mine@b/usd"}, "url"),
        ({"url": "https://b?apiKey=x"}, "url"),
        ({"url": "https://b", "every_s": 61, "age_s_max": 60}, "age_s_max"),
    ],
)  # fmt: skip
def test_a_banks_rate_that_others_could_change_on_the_way_or_that_is_never_known_is_refused(
    source: dict[str, object], key: str
) -> None:
    settings = msgspec.convert({"venues": {}, "web": {"bank_rates": {"KRW": source}}}, Settings)
    found = [clash.key for clash in clashes(settings) if clash.key.startswith("web")]
    assert found == ([f"web.bank_rates.KRW.{key}"] if key else [])


def test_quiet_hours_in_no_zone_are_refused() -> None:
    settings = msgspec.convert({"venues": {}, "alerts": {"quiet_zone": "Mars/Olympus"}}, Settings)
    assert "alerts.quiet_zone" in [clash.key for clash in clashes(settings)]
