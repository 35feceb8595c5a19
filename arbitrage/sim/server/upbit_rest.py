"""Upbit-shaped public REST: market list, books, instruments, tickers, Remaining-Req, integer error names (sections 4, 5, 9)."""

from __future__ import annotations

import datetime
from collections.abc import Callable

from arbitrage.model.money import parse_e8
from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.server.upbit_errors import encode
from arbitrage.sim.server.upbit_limits import UpbitLimits
from arbitrage.sim.server.upbit_market import KST, TRADES_REMEMBERED_MAX, UNITS_MAX, UpbitMarket

_CAUTIONS = (
    "PRICE_FLUCTUATIONS", "TRADING_VOLUME_SOARING", "DEPOSIT_AMOUNT_SOARING", "GLOBAL_PRICE_DIFFERENCES",
    "CONCENTRATION_OF_SMALL_ACCOUNTS",
)  # fmt: skip
_NAMES = {
    "BTC": ("비트코인", "Bitcoin"), "ETH": ("이더리움", "Ethereum"), "XRP": ("엑스알피(리플)", "XRP"),
    "SOL": ("솔라나", "Solana"), "DOGE": ("도지코인", "Dogecoin"), "USDT": ("테더", "Tether"),
}  # fmt: skip
Endpoint = Callable[[dict[str, str]], object]


class VenueError(Exception):
    """A refusal of market data: its name is an integer, the status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


_INVALID = "Invalid parameter. Check the given value!"


class UpbitRest:
    """Routes one request."""

    def __init__(self, markets: dict[str, UpbitMarket], now_ms: Callable[[], int], limits: UpbitLimits) -> None:
        self._markets = markets
        self._now_ms = now_ms
        self._limits = limits
        self._routes: dict[str, tuple[str, Endpoint]] = {
            "/v1/market/all": ("market", self._market_all),
            "/v1/orderbook": ("orderbook", self._orderbook),
            "/v1/orderbook/instruments": ("orderbook", self._instruments),
            "/v1/trades/ticks": ("trade", self._ticks),
            "/v1/ticker": ("ticker", self._ticker),
            "/v1/ticker/all": ("ticker", self._ticker_all),
        }

    def respond(self, request: Request) -> Response:
        """Answer one request with its Remaining-Req header."""
        route = self._routes.get(request.path)
        if route is None:
            return Response(404, _error(404, "no Route matched with those values"))
        if request.method != "GET":
            return Response(405, _error(405, "Method not allowed"))
        group, endpoint = route
        over = self._limits.take_origin() if "origin" in request.headers else None
        if over is not None:
            return over
        headers = self._limits.take(group)
        if isinstance(headers, Response):
            return headers
        try:
            return Response(200, encode(endpoint(dict(request.query))), headers)
        except VenueError as refusal:
            return Response(refusal.status, _error(refusal.status, refusal.message), headers)

    def _market_all(self, parameters: dict[str, str]) -> object:
        is_detailed = parameters.get("is_details", parameters.get("isDetails", "false")).lower() == "true"
        rows = []
        for market in self._markets.values():
            korean, english = _NAMES.get(market.spec.base, (market.spec.base, market.spec.base))
            row: dict[str, object] = {"market": market.spec.symbol, "korean_name": korean, "english_name": english}
            if is_detailed:
                row["market_event"] = {"warning": False, "caution": dict.fromkeys(_CAUTIONS, False)}
            rows.append(row)
        return rows

    def _orderbook(self, parameters: dict[str, str]) -> object:
        count = _whole(parameters, "count", UNITS_MAX)
        try:
            level_e8 = parse_e8(parameters.get("level", "0"))
        except ValueError:
            raise VenueError(400, _INVALID) from None
        rows = []
        for market in self._select(parameters):
            book = market.orderbook(min(count, UNITS_MAX), level_e8)
            if book is not None:
                kept = ("timestamp", "total_ask_size", "total_bid_size", "orderbook_units", "level")
                rows.append({"market": market.spec.symbol, **{name: book[name] for name in kept}})
        return rows

    def _ticks(self, parameters: dict[str, str]) -> object:
        market = self._markets.get(parameters.get("market", ""))
        if market is None:
            raise VenueError(404, "Code not found") if "market" in parameters else VenueError(400, _INVALID)
        cursor = _whole(parameters, "cursor", 1) if "cursor" in parameters else None
        return market.ticks_before(min(_whole(parameters, "count", 1), TRADES_REMEMBERED_MAX), cursor)

    def _instruments(self, parameters: dict[str, str]) -> object:
        return [market.instrument() for market in self._select(parameters)]

    def _ticker(self, parameters: dict[str, str]) -> object:
        return [row for market in self._select(parameters) for row in _ticker_row(market, self._now_ms())]

    def _ticker_all(self, parameters: dict[str, str]) -> object:
        quotes = parameters.get("quote_currencies", parameters.get("quoteCurrencies", "KRW,BTC,USDT")).upper().split(",")
        chosen = [market for market in self._markets.values() if market.spec.quote in quotes]
        return [row for market in chosen for row in _ticker_row(market, self._now_ms())]

    def _select(self, parameters: dict[str, str]) -> list[UpbitMarket]:
        codes = parameters.get("markets", "")
        if not codes:
            raise VenueError(400, _INVALID)
        try:
            return [self._markets[code.strip()] for code in codes.split(",")]
        except KeyError:
            raise VenueError(404, "Code not found") from None


def _whole(parameters: dict[str, str], name: str, default: int) -> int:
    text = parameters.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and int(text[:18]) >= 1):
        raise VenueError(400, _INVALID)
    return int(text[:18])


def _ticker_row(market: UpbitMarket, now_ms: int) -> list[dict[str, object]]:
    message = market.ticker()
    if message is None:
        return []
    stamp = message["trade_timestamp"]
    assert isinstance(stamp, int), "a ticker carries its trade's time"
    moment = datetime.datetime.fromtimestamp(stamp / 1000, datetime.UTC)
    local = moment.astimezone(KST)
    dates = {
        "trade_date": moment.strftime("%Y%m%d"),
        "trade_time": moment.strftime("%H%M%S"),
        "trade_date_kst": local.strftime("%Y%m%d"),
        "trade_time_kst": local.strftime("%H%M%S"),
        "trade_timestamp": stamp,
    }
    year = {name: message[name] for name in message if "52_week" in name}
    return [{"market": market.spec.symbol, **dates, **market.day_figures(), **year, "timestamp": now_ms}]


def _error(status: int, message: str) -> bytes:
    return encode({"error": {"name": status, "message": message}})
