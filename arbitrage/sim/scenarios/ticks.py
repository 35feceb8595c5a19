"""Upbit's published price grids (reference sheet, section 8) and shorthand for market rules. Holds no prices."""

from __future__ import annotations

from arbitrage.model.instruments import TickBand, TickTable
from arbitrage.model.money import parse_e8
from arbitrage.sim.scenarios.scenario import MarketSpec


def _table(*bands: tuple[str, str]) -> TickTable:
    return TickTable(tuple(TickBand(parse_e8(price), parse_e8(tick)) for price, tick in bands))


UPBIT_KRW = _table(
    ("0", "0.00000001"), ("0.00001", "0.0000001"), ("0.0001", "0.000001"), ("0.001", "0.00001"), ("0.01", "0.0001"),
    ("0.1", "0.001"), ("1", "0.01"), ("10", "0.1"), ("100", "1"), ("1000", "1"), ("5000", "5"), ("10000", "10"),
    ("50000", "50"), ("100000", "100"), ("500000", "500"), ("1000000", "1000"),
)  # fmt: skip
"""In force since 2025-07-31."""
UPBIT_KRW_STABLE = TickTable.single(parse_e8("0.5"))
"""KRW-USDT's exception of 2025-03-21. Whether it still holds is not confirmed: clients must ask `orderbook/instruments`."""
UPBIT_USDT = _table(
    ("0", "0.00000001"), ("0.0001", "0.0000001"), ("0.001", "0.000001"), ("0.01", "0.00001"), ("0.1", "0.0001"),
    ("1", "0.001"), ("10", "0.01"),
)  # fmt: skip
UPBIT_BTC = TickTable.single(1)
_UPBIT_RULES = {"KRW": (UPBIT_KRW, "5000"), "BTC": (UPBIT_BTC, "0.00005"), "USDT": (UPBIT_USDT, "0.5")}


def upbit_market(code: str, *, origin: str, ticks: TickTable | None = None) -> MarketSpec:
    """Make the rules of an Upbit market from its code (QUOTE-BASE), by the published tables."""
    quote, _, base = code.partition("-")
    table, notional_min = _UPBIT_RULES[quote]
    if code in {"KRW-USDT", "KRW-USDC"}:
        table = UPBIT_KRW_STABLE
    return MarketSpec(
        venue="upbit",
        symbol=code,
        base=base,
        quote=quote,
        ticks=ticks or table,
        lot_e8=1,
        quantity_e8_min=0,
        quantity_e8_max=parse_e8("1000000000000"),
        notional_e8_min=parse_e8(notional_min),
        origin=origin,
    )


def binance_market(pair: str, *, tick: str, lot: str, notional_min: str = "5", origin: str) -> MarketSpec:
    """Make the rules of a Binance market from its pair (such as `ETH/BTC`) and its filters."""
    base, _, quote = pair.partition("/")
    return MarketSpec(
        venue="binance",
        symbol=base + quote,
        base=base,
        quote=quote,
        ticks=TickTable.single(parse_e8(tick)),
        lot_e8=parse_e8(lot),
        quantity_e8_min=parse_e8(lot),
        quantity_e8_max=parse_e8("9000000000"),
        notional_e8_min=parse_e8(notional_min),
        origin=origin,
    )
