"""Messages of the fact sheet, as they are there, for the codec tests."""

from __future__ import annotations

import json
from typing import Any

from arbitrage.model.instruments import FeePayment, FeeSchedule, Instrument, Side, TickTable, TradingStatus, Venue
from arbitrage.model.money import Asset, parse_e8
from arbitrage.model.orders import ClientOrderId, Order, PlanId, TimeInForce
from arbitrage.venues.binance.orders_wire import OrdersCodec

VENUE = Venue("binance")
OURS = ClientOrderId("arb-7f3a-1")
FULL: dict[str, Any] = {
    "symbol": "BTCUSDT", "orderId": 28113245, "orderListId": -1, "clientOrderId": "arb-7f3a-1", "transactTime": 1785000000123,
    "price": "64000.20000000", "origQty": "0.01000000", "executedQty": "0.01000000", "origQuoteOrderQty": "0.000000",
    "cummulativeQuoteQty": "640.00200000", "status": "FILLED", "timeInForce": "IOC", "type": "LIMIT", "side": "BUY",
    "workingTime": 1785000000123, "selfTradePreventionMode": "EXPIRE_MAKER",
    "fills": [{"price": "64000.20000000", "qty": "0.01000000", "commission": "0.00001000", "commissionAsset": "BTC",
               "tradeId": 56112}],
}  # fmt: skip
STATUS: dict[str, Any] = {
    "symbol": "BTCUSDT", "orderId": 28113245, "orderListId": -1, "clientOrderId": "arb-7f3a-1", "price": "64000.20000000",
    "origQty": "0.01000000", "executedQty": "0.00400000", "cummulativeQuoteQty": "256.00080000", "status": "EXPIRED",
    "timeInForce": "IOC", "type": "LIMIT", "side": "BUY", "stopPrice": "0.00000000", "icebergQty": "0.00000000",
    "time": 1785000000123, "updateTime": 1785000000123, "isWorking": True, "workingTime": 1785000000123,
    "origQuoteOrderQty": "0.00000000", "selfTradePreventionMode": "EXPIRE_MAKER",
}  # fmt: skip
CANCELLED: dict[str, Any] = {
    "symbol": "BTCUSDT", "origClientOrderId": "arb-7f3a-1", "orderId": 28113245, "orderListId": -1,
    "clientOrderId": "zX9cancelReq1", "transactTime": 1785000001123, "price": "64000.20000000", "origQty": "0.01000000",
    "executedQty": "0.00000000", "origQuoteOrderQty": "0.000000", "cummulativeQuoteQty": "0.00000000", "status": "CANCELED",
    "timeInForce": "GTC", "type": "LIMIT", "side": "BUY", "selfTradePreventionMode": "EXPIRE_MAKER",
}  # fmt: skip
TRADE: dict[str, Any] = {
    "symbol": "BTCUSDT", "id": 56112, "orderId": 28113245, "orderListId": -1, "price": "64000.20000000", "qty": "0.01000000",
    "quoteQty": "640.00200000", "commission": "0.00001000", "commissionAsset": "BTC", "time": 1785000000123, "isBuyer": True,
    "isMaker": False, "isBestMatch": True,
}  # fmt: skip
REPORT: dict[str, Any] = {
    "e": "executionReport", "E": 1785000000200, "s": "BTCUSDT", "c": "arb-7f3a-1", "S": "BUY", "o": "LIMIT", "f": "IOC",
    "q": "0.01000000", "p": "64000.20000000", "P": "0.00000000", "F": "0.00000000", "g": -1, "C": "", "x": "TRADE",
    "X": "FILLED", "r": "NONE", "i": 28113245, "l": "0.01000000", "z": "0.01000000", "L": "64000.20000000", "n": "0.00001000",
    "N": "BTC", "T": 1785000000199, "t": 56112, "I": 8641984, "w": False, "m": False, "M": True, "O": 1785000000123,
    "Z": "640.00200000", "Y": "640.00200000", "Q": "0.00000000", "W": 1785000000123, "V": "EXPIRE_MAKER",
}  # fmt: skip


def raw(message: object) -> bytes:
    return json.dumps(message).encode()


def instrument(market: int) -> Instrument | None:
    if market != 0:
        return None
    return Instrument(
        id=0,
        venue=VENUE,
        symbol="BTCUSDT",
        base=Asset("BTC"),
        quote=Asset("USDT"),
        ticks=TickTable.single(parse_e8("0.01")),
        lot_e8=1_000,
        quantity_e8_min=1_000,
        quantity_e8_max=10**20,
        notional_e8_min=0,
        status=TradingStatus.TRADING,
        fees=FeeSchedule(1_000, 1_000, FeePayment.RECEIVED),
    )


def codec() -> OrdersCodec:
    return OrdersCodec(VENUE, {"BTCUSDT": 0, "ETHUSDT": 1}, instrument)


def order(
    price: str = "64000.20", quantity: str = "0.01", side: Side = Side.BUY, force: TimeInForce = TimeInForce.IOC
) -> Order:
    return Order(OURS, PlanId("p"), 0, VENUE, 0, side, parse_e8(price), parse_e8(quantity), force, 1)
