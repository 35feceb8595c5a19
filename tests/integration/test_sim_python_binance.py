"""python-binance, as published, trades on the simulated Binance: blocking REST, depth cache, user socket, WebSocket API."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from binance import AsyncClient, BinanceSocketManager, Client, DepthCacheManager
from binance.exceptions import BinanceAPIException
from binance_live import LiveLab, OutsideWatch, live_binance

pytestmark = [
    pytest.mark.integration,
    pytest.mark.filterwarnings("ignore:websockets"),
    pytest.mark.filterwarnings("ignore:There is no current event loop"),
]
WATCH = OutsideWatch()
SYMBOL = "BTCUSDT"
WAIT_S = 10
RESTING = {"symbol": SYMBOL, "quantity": "0.01", "price": "60000"}


@pytest.fixture
def lab() -> Iterator[LiveLab]:
    with live_binance() as live:
        yield live
    assert WATCH.outside == []


def at_loopback(lab: LiveLab, **words) -> Client:
    client = Client(lab.key.access_key, ping=False, **(words or {"api_secret": lab.key.secret}))
    client.API_URL, client.MARGIN_API_URL = f"{lab.rest}/api", f"{lab.rest}/sapi"
    return client


def test_python_binance_reads_rules_books_balances_and_wallets(lab):
    client = at_loopback(lab)
    assert client.ping() == {} and client.get_server_time()["serverTime"] > 0
    filters = {row["filterType"]: row for row in client.get_symbol_info(SYMBOL)["filters"]}
    assert filters["PRICE_FILTER"]["tickSize"] == "0.01000000"
    assert client.get_order_book(symbol=SYMBOL, limit=5)["asks"][0] == ["64000.20000000", "1.20000000"]
    assert client.get_orderbook_ticker(symbol=SYMBOL)["bidPrice"] == "64000.10000000"
    assert client.get_asset_balance("BTC") == {"asset": "BTC", "free": "1.00000000", "locked": "0.00000000"}
    assert {coin["coin"] for coin in client.get_all_coins_info()} == {"BNB", "BTC", "ETH", "USDT"}
    assert client.get_account_api_permissions()["enableWithdrawals"] is False
    assert client.get_ticker(symbol=SYMBOL)["bidPrice"] == "64000.10000000" and client.get_recent_trades(symbol=SYMBOL) == []
    assert client.get_trade_fee(symbol=SYMBOL)[0]["takerCommission"] == "0.001000"
    assert (client.get_deposit_history(), client.get_withdraw_history()) == ([], [])
    assert lab.server.violations.total() == 0


def test_python_binance_places_queries_cancels_and_sees_its_fills(lab):
    client = at_loopback(lab)
    assert client.create_test_order(side="BUY", type="LIMIT", timeInForce="GTC", **RESTING) == {}
    order = client.order_limit_buy(**RESTING)
    assert client.get_order(symbol=SYMBOL, orderId=order["orderId"])["status"] == "NEW"
    assert len(client.get_open_orders(symbol=SYMBOL)) == 1
    assert client.cancel_order(symbol=SYMBOL, orderId=order["orderId"])["status"] == "CANCELED"
    bought = client.order_market_buy(symbol=SYMBOL, quoteOrderQty="100")
    assert (bought["status"], bought["origQuoteOrderQty"], bought["executedQty"]) == ("FILLED", "100.00000000", "0.00156000")
    assert client.get_my_trades(symbol=SYMBOL)[0]["commissionAsset"] == "BTC"
    assert [row["status"] for row in client.get_all_orders(symbol=SYMBOL)] == ["CANCELED", "FILLED"]
    assert lab.server.violations.total() == 0


def test_python_binance_signs_with_ed25519_as_well(lab):
    client = at_loopback(lab, private_key=lab.key.ed25519_pem)
    assert client.order_limit_buy(**RESTING)["status"] == "NEW"
    assert client.get_account()["canTrade"] is True
    assert lab.server.violations.total() == 0


@pytest.mark.parametrize(
    ("act", "status", "code"),
    [
        (lambda client: client.cancel_order(symbol=SYMBOL, orderId=1), 400, -2011),
        (lambda client: client.get_order(symbol=SYMBOL, orderId=1), 400, -2013),
        (lambda client: client.order_limit_buy(symbol=SYMBOL, quantity="5", price="60000"), 400, -2010),
        (lambda client: client.order_limit_buy(symbol=SYMBOL, quantity="0.00001", price="60000"), 400, -1013),
        (lambda client: client.order_limit_buy(symbol="NOPE", quantity="1", price="1"), 400, -1121),
        (lambda client: client.get_order_book(symbol="NOPE"), 400, -1121),
        (lambda client: client.stream_get_listen_key(), 410, -1000),
        (lambda client: client.withdraw(coin="BTC", address="x", amount="1"), 401, -2015),
    ],
)
def test_python_binance_carries_code_and_status_of_each_refusal(lab, act, status, code):
    with pytest.raises(BinanceAPIException) as refused:
        act(at_loopback(lab))
    assert (refused.value.status_code, refused.value.code) == (status, code)


def run_async(lab: LiveLab, act) -> None:
    async def main() -> None:
        client = AsyncClient(lab.key.access_key, lab.key.secret)
        client.API_URL, client.MARGIN_API_URL = f"{lab.rest}/api", f"{lab.rest}/sapi"
        client.ws_api._url = f"{lab.ws}/ws-api/v3"
        client.ws_api.TIMEOUT = 1  # it waits for one silent read when it is closed
        sockets = BinanceSocketManager(client)
        sockets.STREAM_URL = f"{lab.ws}/"
        try:
            async with asyncio.timeout(WAIT_S):
                await act(client, sockets)
        finally:
            await client.close_connection()

    asyncio.run(main())
    assert lab.server.violations.total() == 0


def test_python_binance_keeps_the_book_of_the_venue(lab):
    async def act(client, sockets):
        async with DepthCacheManager(client, SYMBOL, bm=sockets, ws_interval=100) as cache:
            await cache.recv()
            lab.do(lambda: lab.book(bids=(("64000.15", "0.7"),), asks=(("64000.30", "0"),)))
            while (book := await cache.recv()).get_bids()[0] != [64000.15, 0.7]:
                pass
            assert book.get_asks() == [[64000.2, 1.2]]

    run_async(lab, act)


def test_python_binance_sees_fills_on_its_user_socket(lab):
    async def act(client, sockets):
        async with sockets.user_socket() as events:
            order = await client.create_order(
                symbol=SYMBOL, side="BUY", type="LIMIT", timeInForce="IOC", quantity="0.01", price="64000.20"
            )
            seen = [await events.recv() for _ in range(4)]
        names = [event["e"] for event in seen]
        assert names == ["executionReport", "outboundAccountPosition"] * 2
        assert [(event["x"], event["X"], event["i"]) for event in seen[::2]] == [
            ("NEW", "NEW", order["orderId"]), ("TRADE", "FILLED", order["orderId"]),
        ]  # fmt: skip
        assert (seen[2]["z"], seen[2]["n"], seen[2]["N"]) == ("0.01000000", "0.00001000", "BTC")

    run_async(lab, act)


def test_python_binance_trades_over_the_websocket_api(lab):
    async def act(client, sockets):
        order = await client.ws_create_order(side="BUY", type="LIMIT", timeInForce="GTC", **RESTING)
        assert (await client.ws_get_order(symbol=SYMBOL, orderId=order["orderId"]))["status"] == "NEW"
        assert (await client.ws_cancel_order(symbol=SYMBOL, orderId=order["orderId"]))["status"] == "CANCELED"
        assert (await client.ws_get_order_book(symbol=SYMBOL))["lastUpdateId"] > 0
        with pytest.raises(BinanceAPIException) as refused:
            await client.ws_cancel_order(symbol=SYMBOL, orderId=order["orderId"])
        assert (refused.value.status_code, refused.value.code) == (400, -2011)

    run_async(lab, act)
