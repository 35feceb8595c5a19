"""A pair has one name, and a filter takes it as people write it."""

from __future__ import annotations

import pytest

from arbitrage.store.pair_names import asked_assets


@pytest.mark.parametrize(
    ("text", "assets"),
    [
        ("", []), ("  ", []), ("BTC", ["BTC"]), ("eth+btc", ["BTC", "ETH"]), ("BTC/ETH, SOL", ["BTC", "ETH", "SOL"]),
        ("BTC+BTC", ["BTC"]), ("+", []),
    ],
)  # fmt: skip
def test_a_filter_names_assets_in_any_order_and_case(text: str, assets: list[str]) -> None:
    assert asked_assets(text) == assets
