"""Binance-shaped public REST: exchangeInfo, depth, tickers, time; error bodies and weights (sheet, sections 4 to 6)."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec

from arbitrage.model.money import format_e8
from arbitrage.sim.scenarios.scenario import MarketSpec
from arbitrage.sim.server.binance_market import BinanceMarket, decimal_text
from arbitrage.sim.server.http import Request, Response

WEIGHT_PER_MINUTE_MAX = 6_000
DEPTH_LEVELS_MAX = 5_000
_DEPTH_WEIGHTS = ((100, 5), (500, 25), (1000, 50), (5000, 250))
_RATE_LIMITS = [
    {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_PER_MINUTE_MAX},
    {"rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": 100},
    {"rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": 200_000},
    {"rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000},
]


class VenueError(Exception):
    """A refusal with the venue's code and words."""

    def __init__(self, code: int, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status


class Answer(msgspec.Struct, frozen=True):
    """A body and what asking for it weighs."""

    body: bytes
    weight: int


Parameters = dict[str, str]
Endpoint = Callable[[Parameters], Answer]


class BinanceRest:
    """Routes one request to its answer and counts weight by calendar minute."""

    def __init__(self, markets: dict[str, BinanceMarket], now_ms: Callable[[], int]) -> None:
        self._markets = markets
        self._now_ms = now_ms
        self._weights = (0, 0)
        """(minute, weight used in it)."""
        self._routes: dict[str, tuple[Endpoint, frozenset[str]]] = {
            "/api/v3/ping": (lambda _: Answer(b"{}", 1), frozenset()),
            "/api/v3/time": (lambda _: Answer(b'{"serverTime":%d}' % now_ms(), 1), frozenset()),
            "/api/v3/exchangeInfo": (
                self._exchange_info,
                frozenset({"symbol", "symbols", "permissions", "showPermissionSets", "symbolStatus"}),
            ),
            "/api/v3/depth": (self._depth, frozenset({"symbol", "limit", "symbolStatus"})),
            "/api/v3/ticker/bookTicker": (self._book_ticker, frozenset({"symbol", "symbols", "symbolStatus"})),
            "/api/v3/ticker/price": (self._price, frozenset({"symbol", "symbols", "symbolStatus"})),
        }

    def respond(self, request: Request) -> Response:
        """Answer one request with its weight header."""
        route = self._routes.get(request.path)
        if route is None:
            return Response(404, b"<html><body><h2>404 Not found</h2></body></html>", content_type="text/html")
        if request.method != "GET":
            return Response(405, b"", headers=(("Allow", "GET"),))
        endpoint, known = route
        minute, used = self._now_ms() // 60_000, 0
        if minute == self._weights[0]:
            used = self._weights[1]
        if used >= WEIGHT_PER_MINUTE_MAX:
            return self._limited(used)
        try:
            parameters = _parameters(request, known)
            answer, status = endpoint(parameters), 200
        except VenueError as refusal:
            answer, status = Answer(_error(refusal.code, refusal.message), 1), refusal.status
        used += answer.weight
        self._weights = (minute, used)
        return Response(status, answer.body, headers=_weight_headers(used))

    def _limited(self, used: int) -> Response:
        wait_s = 60 - self._now_ms() // 1000 % 60
        words = f"Too much request weight used; current limit is {WEIGHT_PER_MINUTE_MAX} request weight per 1 MINUTE."
        return Response(429, _error(-1003, words), headers=(*_weight_headers(used), ("Retry-After", str(wait_s))))

    def _exchange_info(self, parameters: Parameters) -> Answer:
        markets = self._select(parameters)
        body = {
            "timezone": "UTC",
            "serverTime": self._now_ms(),
            "rateLimits": _RATE_LIMITS,
            "exchangeFilters": [],
            "symbols": [_symbol_info(market.spec) for market in markets],
            "sors": [],
        }
        return Answer(_encode(body), 20)

    def _depth(self, parameters: Parameters) -> Answer:
        market = self._one(parameters)
        limit = min(_integer(parameters, "limit", 100), DEPTH_LEVELS_MAX) or 100
        weight = next(weight for levels, weight in _DEPTH_WEIGHTS if limit <= levels)
        return Answer(market.picture(limit), weight)

    def _book_ticker(self, parameters: Parameters) -> Answer:
        rows = [market.ticker() for market in self._select(parameters)]
        return Answer(_encode(rows[0] if "symbol" in parameters else rows), 2 if "symbol" in parameters else 4)

    def _price(self, parameters: Parameters) -> Answer:
        rows = [market.price() for market in self._select(parameters)]
        return Answer(_encode(rows[0] if "symbol" in parameters else rows), 2 if "symbol" in parameters else 4)

    def _select(self, parameters: Parameters) -> list[BinanceMarket]:
        if "symbol" in parameters and "symbols" in parameters:
            raise VenueError(-1128, "Combination of optional parameters invalid.")
        if "symbol" in parameters:
            return [self._one(parameters)]
        if "symbols" not in parameters:
            return list(self._markets.values())
        try:
            names = json.loads(parameters["symbols"])
        except ValueError:
            names = None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise VenueError(-1100, "Illegal characters found in parameter 'symbols'.")
        return [self._find(name) for name in names]

    def _one(self, parameters: Parameters) -> BinanceMarket:
        symbol = parameters.get("symbol", "")
        if not symbol:
            raise VenueError(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
        return self._find(symbol)

    def _find(self, symbol: str) -> BinanceMarket:
        if symbol not in self._markets:
            raise VenueError(-1121, "Invalid symbol.")
        return self._markets[symbol]


def _parameters(request: Request, known: frozenset[str]) -> Parameters:
    pairs = request.query
    sent = [name for name, _ in pairs]
    if len(sent) != len(set(sent)):
        name = next(name for name in sent if sent.count(name) > 1)
        raise VenueError(-1101, f"Duplicate values for parameter '{name}'.")
    read = [name for name in sent if name in known]
    if len(read) != len(sent):
        raise VenueError(
            -1104, f"Not all sent parameters were read; read '{len(read)}' parameter(s) but was sent '{len(sent)}'."
        )
    return dict(pairs)


def _integer(parameters: Parameters, name: str, default: int) -> int:
    text = parameters.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= 20):
        raise VenueError(-1100, f"Illegal characters found in parameter '{name}'; legal range is '^[0-9]{{1,20}}$'.")
    return int(text)


def _weight_headers(used: int) -> tuple[tuple[str, str], ...]:
    return (("X-MBX-USED-WEIGHT", str(used)), ("X-MBX-USED-WEIGHT-1M", str(used)))


def _error(code: int, message: str) -> bytes:
    return _encode({"code": code, "msg": message})


def _encode(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _symbol_info(spec: MarketSpec) -> dict[str, object]:
    return {
        "symbol": spec.symbol,
        "status": "TRADING",
        "baseAsset": spec.base,
        "baseAssetPrecision": 8,
        "quoteAsset": spec.quote,
        **dict.fromkeys(("quotePrecision", "quoteAssetPrecision", "baseCommissionPrecision", "quoteCommissionPrecision"), 8),
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"],
        **dict.fromkeys(
            (
                "icebergAllowed", "ocoAllowed", "otoAllowed", "opoAllowed", "quoteOrderQtyMarketAllowed", "allowTrailingStop",
                "cancelReplaceAllowed", "amendAllowed", "pegInstructionsAllowed", "isSpotTradingAllowed",
            ),
            True,
        ),
        "isMarginTradingAllowed": False,
        "filters": _filters(spec),
        "permissions": [],
        "permissionSets": [["SPOT", "TRD_GRP_004"]],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER"],
    }  # fmt: skip


def _filters(spec: MarketSpec) -> list[dict[str, object]]:
    tick = decimal_text(spec.ticks.tick_e8_at(0))
    sides = {f"{side}Multiplier{way}": "5" if way == "Up" else "0.2" for side in ("bid", "ask") for way in ("Up", "Down")}
    quantity_max = decimal_text(spec.quantity_e8_max)
    return [
        {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
        {
            "filterType": "LOT_SIZE",
            "minQty": decimal_text(spec.quantity_e8_min),
            "maxQty": quantity_max,
            "stepSize": decimal_text(spec.lot_e8),
        },
        {"filterType": "ICEBERG_PARTS", "limit": 100},
        {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": quantity_max, "stepSize": "0.00000000"},
        {"filterType": "PERCENT_PRICE_BY_SIDE", **sides, "avgPriceMins": 5},
        {
            "filterType": "NOTIONAL",
            "minNotional": decimal_text(spec.notional_e8_min),
            "applyMinToMarket": True,
            "maxNotional": format_e8(9_000_000 * 10**8) + ".00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 5,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5},
    ]
