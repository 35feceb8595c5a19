"""Binance's public calls, the same for REST and WebSocket API: exchangeInfo, depth, tickers, time. Sheet, section 5."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.nouns import Rules
from arbitrage.sim.exchange.policy import BINANCE_POLICY, make_rules
from arbitrage.sim.server.binance_limits import BinanceLimits
from arbitrage.sim.server.binance_market import BinanceMarket
from arbitrage.sim.server.binance_orders import DEFAULT_SELF_TRADE, PRICE_E8_MAX, SELF_TRADES, TYPES, Row
from arbitrage.sim.server.binance_wire import Call, Parameters, Raw, VenueError, decimal_text, weighs

DEPTH_LEVELS_MAX = 5_000
_DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))
_DAY_WEIGHTS = ((20, 2), (100, 40), (1_000, 80))
TRADES_DEFAULT, TRADES_MAX = 500, 1_000
_WINDOW = frozenset({"startTime", "endTime"})
_SELECT = frozenset({"symbol", "symbols", "symbolStatus"})
_UNSERVED = (
    "icebergAllowed", "ocoAllowed", "otoAllowed", "opoAllowed", "allowTrailingStop", "amendAllowed", "pegInstructionsAllowed",
    "isMarginTradingAllowed",
)  # fmt: skip
"""What the simulated venue does not take, and says so."""


class BinancePublic:
    """What anybody may ask."""

    def __init__(
        self,
        markets: Mapping[str, BinanceMarket],
        exchange: Exchange | None,
        limits: BinanceLimits,
        now_ms: Callable[[], int],
    ) -> None:
        self._markets = markets
        self._exchange = exchange
        self._limits = limits
        self._now_ms = now_ms
        info = _SELECT | {"permissions", "showPermissionSets"}
        self.calls = {
            "ping": Call(lambda _: {}, weighs(1)),
            "time": Call(lambda _: {"serverTime": now_ms()}, weighs(1)),
            "exchangeInfo": Call(self._exchange_info, weighs(20), info),
            "depth": Call(self._depth, _depth_weight, frozenset({"symbol", "limit", "symbolStatus"})),
            "ticker.book": Call(self._book_ticker, _ticker_weight, _SELECT),
            "ticker.price": Call(self._price, _ticker_weight, _SELECT),
            "ticker.24hr": Call(self._day, self._day_weight, _SELECT),
            "trades.recent": Call(self._trades, weighs(25), frozenset({"symbol", "limit"})),
            "trades.aggregate": Call(self._aggregates, weighs(4), _WINDOW | {"symbol", "limit", "fromId"}),
        }

    def _exchange_info(self, parameters: Parameters) -> Row:
        return {
            "timezone": "UTC",
            "serverTime": self._now_ms(),
            "rateLimits": [window.row() for window in self._limits.published],
            "exchangeFilters": [],
            "symbols": [self._symbol(market) for market in self._select(parameters)],
            "sors": [],
        }

    def _depth(self, parameters: Parameters) -> Raw:
        market = self._one(parameters)
        return Raw(market.picture(_depth_limit(parameters)))

    def _book_ticker(self, parameters: Parameters) -> object:
        rows = [market.ticker() for market in self._select(parameters)]
        return rows[0] if "symbol" in parameters else rows

    def _price(self, parameters: Parameters) -> object:
        rows = [market.price() for market in self._select(parameters)]
        return rows[0] if "symbol" in parameters else rows

    def _day(self, parameters: Parameters) -> object:
        rows = [market.day() for market in self._select(parameters)]
        return rows[0] if "symbol" in parameters else rows

    def _day_weight(self, parameters: Parameters) -> int:
        count = len(self._select(parameters)) if "symbol" in parameters or "symbols" in parameters else 1_000
        return next(weight for symbols, weight in _DAY_WEIGHTS if count <= symbols)

    def _trades(self, parameters: Parameters) -> object:
        return self._one(parameters).tape.rows(_trades_limit(parameters))

    def _aggregates(self, parameters: Parameters) -> object:
        """Return the newest trades, or the oldest from an id or a time on."""
        first_id, start_ms = parameters.integer("fromId", 0), parameters.integer("startTime", 0)
        window_ms = (start_ms, parameters.integer("endTime", 2**62))
        rows, limit = self._one(parameters).tape.aggregates(first_id, window_ms), _trades_limit(parameters)
        return rows[:limit] if first_id or start_ms else rows[-limit:]

    def _select(self, parameters: Parameters) -> list[BinanceMarket]:
        if "symbol" in parameters and "symbols" in parameters:
            raise VenueError(-1128, "Combination of optional parameters invalid.")
        if "symbol" in parameters:
            return [self._one(parameters)]
        if "symbols" not in parameters:
            return list(self._markets.values())
        try:
            names = json.loads(parameters.text("symbols"))
        except ValueError:
            names = None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise VenueError(-1100, "Illegal characters found in parameter 'symbols'.")
        return [self._find(name) for name in names]

    def _one(self, parameters: Parameters) -> BinanceMarket:
        return self._find(parameters.text("symbol"))

    def _find(self, symbol: str) -> BinanceMarket:
        if symbol not in self._markets:
            raise VenueError(-1121, "Invalid symbol.")
        return self._markets[symbol]

    def _symbol(self, market: BinanceMarket) -> Row:
        symbol = market.spec.symbol
        is_halted = self._exchange is not None and symbol in self._exchange.halted
        rules = make_rules(market.spec, BINANCE_POLICY) if self._exchange is None else self._exchange.rules(symbol)
        return _symbol_row(rules, status="HALT" if is_halted else "TRADING")


def _symbol_row(rules: Rules, *, status: str) -> Row:
    return {
        "symbol": rules.symbol, "status": status, "baseAsset": rules.base, "baseAssetPrecision": 8, "quoteAsset": rules.quote,
        **dict.fromkeys(("quotePrecision", "quoteAssetPrecision", "baseCommissionPrecision", "quoteCommissionPrecision"), 8),
        "orderTypes": list(TYPES), "quoteOrderQtyMarketAllowed": True, "cancelReplaceAllowed": True,
        "isSpotTradingAllowed": True, **dict.fromkeys(_UNSERVED, False), "filters": _filters(rules), "permissions": [],
        "permissionSets": [["SPOT", "TRD_GRP_004"]], "defaultSelfTradePreventionMode": DEFAULT_SELF_TRADE,
        "allowedSelfTradePreventionModes": [mode for mode in SELF_TRADES if mode != "NONE"],
    }  # fmt: skip


def _filters(rules: Rules) -> list[Row]:
    tick = decimal_text(rules.ticks.tick_e8_at(0))
    sides = {f"{side}Multiplier{way}": "5" if way == "Up" else "0.2" for side in ("bid", "ask") for way in ("Up", "Down")}
    quantity_max, policy = decimal_text(rules.quantity_e8_max), BINANCE_POLICY
    lot = {"minQty": decimal_text(rules.quantity_e8_min), "maxQty": quantity_max, "stepSize": decimal_text(rules.lot_e8)}
    notional: Row = {
        "minNotional": decimal_text(rules.notional_e8_min), "applyMinToMarket": True,
        "maxNotional": decimal_text(policy.notional_e8_max), "applyMaxToMarket": False, "avgPriceMins": 0,
    }  # fmt: skip
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": decimal_text(PRICE_E8_MAX), "tickSize": tick},
        {"filterType": "LOT_SIZE", **lot},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": quantity_max, "stepSize": "0.00000000"},
        {"filterType": "ICEBERG_PARTS", "limit": 100},
        {"filterType": "PERCENT_PRICE_BY_SIDE", **sides, "avgPriceMins": 0},
        {"filterType": "NOTIONAL", **notional},
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": policy.open_orders_max},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ]


def _depth_limit(parameters: Parameters) -> int:
    return min(parameters.integer("limit", 100), DEPTH_LEVELS_MAX) or 100


def _trades_limit(parameters: Parameters) -> int:
    return max(1, min(parameters.integer("limit", TRADES_DEFAULT), TRADES_MAX))


def _depth_weight(parameters: Parameters) -> int:
    return next(weight for levels, weight in _DEPTH_WEIGHTS if _depth_limit(parameters) <= levels)


def _ticker_weight(parameters: Parameters) -> int:
    return 2 if "symbol" in parameters else 4
