"""What one seed means: its markets, its configuration, its weather. Drawn whole before anything happens; runs nothing."""

from __future__ import annotations

import random
from typing import Any

import msgspec

from arbitrage.model.settings import Settings
from arbitrage.sim.scenarios.scenario import Scenario
from arbitrage.sim.town import COINS, town_scenario
from arbitrage.sim.weather import Strikes, draw

STORM_MS = 11_000
OFFER_EVERY_MS = 2_500
INVENTORY_VALUE = 60_000
"""In USDT, of each asset at each venue, and as much again for each minute: what runs out is an operator's to move."""
LONG_MS, LONG_FAULT_SHARE = 60_000, 0.15
"""A long life has its faults further apart, or it would be down most of the time; and slower books, for its cost."""
FEES: dict[str, dict[str, Any]] = {
    "binance": {"maker_ppm": 1_000, "taker_ppm": 1_000, "payment": "received"},
    "upbit": {"maker_ppm": 500, "taker_ppm": 500, "payment": "quote"},
}


class Shape(msgspec.Struct, frozen=True):
    """How long and how large a life is; the rest is drawn."""

    storm_ms: int = STORM_MS
    coins: int = 0
    """0: one or two, drawn."""


class Story(msgspec.Struct, frozen=True):
    """One seed."""

    seed: int
    scenario: Scenario
    settings: Settings
    strikes: Strikes
    storm_ms: int
    requote_ms: int
    has_bnb: bool
    """Binance's fees are paid in BNB while it suffices."""


def tell_story(seed: int, shape: Shape) -> Story:
    """Draw everything that a seed means."""
    dice = random.Random(f"story {seed}")
    coins = shape.coins or dice.choice((1, 1, 1, 2))
    has_bnb = dice.random() < 0.12
    scenario = town_scenario(coins, value=INVENTORY_VALUE * (1 + shape.storm_ms // 60_000), has_bnb=has_bnb)
    is_long = shape.storm_ms >= LONG_MS
    settings = _settings(scenario, dice, slowness=2 if is_long else 1)
    share = LONG_FAULT_SHARE if is_long else 1.0
    strikes = draw(dice, COINS[:coins], shape.storm_ms, offer_every_ms=OFFER_EVERY_MS, fault_share=share)
    requote_ms = dice.choice((800, 1_200)) * (2 if is_long else 1)
    return Story(seed, scenario, settings, strikes, shape.storm_ms, requote_ms, has_bnb)


def _settings(scenario: Scenario, dice: random.Random, slowness: int) -> Settings:
    """Return a configuration whose patience is drawn, and short enough for a short life."""
    tree: dict[str, Any] = scenario.settings() | {"mode": "live"}
    for name, section in tree["venues"].items():
        section |= {
            "kind": name, "rest_url": "http://127.0.0.1:1", "stream_url": "ws://127.0.0.1:1", "fees": FEES[name],
            "account_url": "ws://127.0.0.1:1", "clock_measure_ms": 2_000, "silence_ms_max": 4_000, "book_levels": 5,
            "instruments_reload_ms": dice.choice((4_000, 8_000)),
        }  # fmt: skip
    tree["market_data"] = {"symbol_age_ms_max": 2_500 * slowness, "link_age_ms_max": 3_000}
    resize_ms = dice.choice((20, 150)) * slowness**3
    tree["strategy"] |= {"price_slack_ppm": dice.choice((100, 1_000)), "resize_interval_ms": resize_ms}
    tree["risk"] = {
        "notional_per_order_max": "5000", "notional_per_opportunity_max": str(dice.choice((800, 4_000))),
        "exposure_per_asset_max": "6000", "open_plans_max": dice.choice((1, 3)), "edge_ppm_min": 300,
        "loss_today_max": "5000", "drawdown_max": "5000",
    }  # fmt: skip
    tree["execution"] = {
        "order_validity_ms": dice.choice((700, 1_500)), "absence_horizon_ms": dice.choice((4_000, 6_000)),
        "acknowledgement_ms_max": dice.choice((800, 2_000)), "query_interval_ms": dice.choice((400, 1_000)),
        "plan_deadline_ms": dice.choice((6_000, 12_000)), "answer_horizon_ms": dice.choice((8_000, 20_000)),
        "cooldown_ms": 300, "hedge_interval_ms": dice.choice((1_000, 2_500)), "account_read_ms": dice.choice((3_000, 60_000)),
        "realised_ratio_ppm_min": -10_000_000,
    }  # fmt: skip
    tree["store"] = {"snapshot_interval_ms": dice.choice((1_500, 5_000, 60_000)), "journal_bytes_max": 65_536}
    return msgspec.convert(tree, Settings)
