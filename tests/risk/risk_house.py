"""A house in good order for the guard's tests: one cross-venue opportunity and a view that refuses nothing."""

from __future__ import annotations

import msgspec

from arbitrage.model.instruments import Node, Side, Venue
from arbitrage.model.money import E8, PPM, Asset
from arbitrage.model.opportunities import EdgeBreakdown, Leg, Opportunity, Transfer, VenueHealth
from arbitrage.model.settings import MarketDataSettings, RiskSettings, StrategySettings, TransferSettings
from arbitrage.risk import Guard, RiskView

NOW_NS = 1_760_000_000_000_000_000
BINANCE, UPBIT = Venue("binance"), Venue("upbit")
USDT, KRW, BTC = Asset("USDT"), Asset("KRW"), Asset("BTC")
RISK = RiskSettings()
MARKET_DATA = MarketDataSettings()
STRATEGY = StrategySettings(transfers={"BTC": TransferSettings(), "USDT": TransferSettings()})


def usdt_e8(text: str) -> int:
    """Read USDT in a test's own words, exactly."""
    whole, _, fraction = text.partition(".")
    return int(whole) * E8 + int((fraction + "00000000")[:8])


def leg(market: int, side: Side, *, spent: tuple[Node, int], received: tuple[Node, int], is_carried: bool = False) -> Leg:
    """Make one leg; prices do not matter to the guard."""
    return Leg(
        market=market, side=side, spent=spent[0], received=received[0], quantity_e8=E8, price_limit_e8=E8, spent_e8=spent[1],
        received_e8=received[1], fee_e8=0, fee_asset=spent[0].asset, top_price_e8=E8, age_ms=10, is_carried=is_carried,
    )  # fmt: skip


def kimchi(
    notional_e8: int = 1_000 * E8, net_e8: int = 2 * E8, *, is_carried: bool = False, coin: str = "BTC", cycle: int = 7
) -> Opportunity:
    """Buy a coin at Binance, sell it for won at Upbit, turn (or carry) the won into USDT there."""
    asset = Asset(coin)
    won_e8, out_e8 = 1_400 * notional_e8, notional_e8 + net_e8
    return Opportunity(
        id="o-1",
        at_ns=NOW_NS,
        cycle=cycle,
        name=f"USDT@binance > {coin} > KRW@upbit > USDT",
        legs=(
            leg(0, Side.BUY, spent=(Node(BINANCE, USDT), notional_e8), received=(Node(BINANCE, asset), E8)),
            leg(1, Side.SELL, spent=(Node(UPBIT, asset), E8), received=(Node(UPBIT, KRW), won_e8)),
            leg(2, Side.BUY, spent=(Node(UPBIT, KRW), won_e8), received=(Node(UPBIT, USDT), out_e8), is_carried=is_carried),
        ),
        transfers=(
            Transfer(Node(BINANCE, asset), Node(UPBIT, asset), E8, 0),
            Transfer(Node(UPBIT, USDT), Node(BINANCE, USDT), out_e8, 0),
        ),
        start=Node(BINANCE, USDT),
        amount_in_e8=notional_e8,
        amount_out_e8=out_e8,
        reporting_asset=USDT,
        notional_e8=notional_e8,
        edge_ppm=net_e8 * PPM // notional_e8,
        breakdown=EdgeBreakdown(net_e8 + E8, E8 // 2, E8 // 4, E8 // 4, net_e8),
    )  # fmt: skip


def reverse_kimchi(notional_e8: int = 1_000 * E8) -> Opportunity:
    """The other way round, its won carried: they are spent at Upbit out of what was kept before."""
    won_e8 = 1_400 * notional_e8
    legs = (
        leg(2, Side.SELL, spent=(Node(UPBIT, USDT), notional_e8), received=(Node(UPBIT, KRW), won_e8), is_carried=True),
        leg(1, Side.BUY, spent=(Node(UPBIT, KRW), won_e8), received=(Node(UPBIT, BTC), E8)),
        leg(0, Side.SELL, spent=(Node(BINANCE, BTC), E8), received=(Node(BINANCE, USDT), notional_e8 + 2 * E8)),
    )  # fmt: skip
    return msgspec.structs.replace(kimchi(notional_e8), legs=legs)


def health(venue: Venue, *, is_connected: bool = True, alive_age_ms: int = 20, clock_offset_ms: int | None = 3) -> VenueHealth:
    """A venue in good order, unless told."""
    return VenueHealth(venue, is_connected, alive_age_ms, clock_offset_ms, "" if is_connected else "link down")


def view(**changes: object) -> RiskView:
    """A house in good order, with changes."""
    return msgspec.structs.replace(RiskView(venues={BINANCE: health(BINANCE), UPBIT: health(UPBIT)}), **changes)


def guard(strategy: StrategySettings = STRATEGY, **limits: object) -> Guard:
    """A guard with default limits, with changes."""
    return Guard(msgspec.structs.replace(RISK, **limits), MARKET_DATA, strategy)
