"""ccxt, as published, trades on the simulated Upbit: REST by both its clients, books and private stream by ccxt.pro."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import ccxt
import ccxt.pro
import pytest
from upbit_lab import ASK, BID, READER, STEP, TRADER, OutsideWatch, UpbitLab, run_lab, until

from arbitrage.model.instruments import Side
from arbitrage.model.money import format_e8
from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.sim.exchange.nouns import ApiKey

pytestmark = pytest.mark.integration
WATCH = OutsideWatch()
PAIR = "BTC/KRW"
WAIT_S = 10


def point(client: ccxt.Exchange, lab: UpbitLab) -> None:
    """Change a client's base addresses, and nothing else."""
    client.urls["api"] = {"public": lab.rest, "private": lab.rest, "ws": f"{lab.ws}/websocket/v1"}


def trading(check: Callable[[UpbitLab, ccxt.pro.upbit], Awaitable[None]], key: ApiKey = TRADER) -> None:
    """Run a check with a client that keeps ccxt's own pace."""

    async def run(lab: UpbitLab) -> None:
        client = ccxt.pro.upbit({"apiKey": key.access_key, "secret": key.secret})
        point(client, lab)
        try:
            await client.load_markets()
            await check(lab, client)
        finally:
            await client.close()

    run_lab(run)
    assert WATCH.outside == [], "nothing leaves loopback"


async def soon(reading: Awaitable):
    return await asyncio.wait_for(reading, WAIT_S)


def test_it_reads_markets_books_and_tickers() -> None:
    async def check(lab: UpbitLab, client: ccxt.pro.upbit) -> None:
        assert sorted(client.markets) == ["BTC/KRW", "BTC/USDT", "USDT/KRW"]
        book = await client.fetch_order_book(PAIR)
        assert book["bids"][:2] == [[BID, 0.1], [BID - STEP, 0.1]] and len(book["asks"]) == 30
        lab.trade("KRW-BTC", str(ASK), "0.01")
        ticker = await client.fetch_ticker(PAIR)
        assert (ticker["last"], ticker["baseVolume"]) == (ASK, 0.01)
        (trade,) = await client.fetch_trades(PAIR)
        assert (trade["price"], trade["amount"], trade["side"]) == (ASK, 0.01, "buy")
        assert set(await client.fetch_tickers()) == {"BTC/KRW", "BTC/USDT", "USDT/KRW"}
        fee = await client.fetch_trading_fee("BTC/USDT")
        assert (fee["maker"], fee["taker"]) == (0.0025, 0.0025)

    trading(check)


def test_an_order_rests_locks_is_listed_and_is_cancelled() -> None:
    async def check(lab: UpbitLab, client: ccxt.pro.upbit) -> None:
        placed = await client.create_order(PAIR, "limit", "buy", 0.01, 148_000_000, {"clientOrderId": "rest-1"})
        assert (placed["status"], placed["clientOrderId"], placed["filled"]) == ("open", "rest-1", 0)
        balance = await client.fetch_balance()
        assert balance["KRW"] == {"free": 8_519_260.0, "used": 1_480_740.0, "total": 10_000_000.0}
        assert [order["id"] for order in await client.fetch_open_orders(PAIR)] == [placed["id"]]
        cancelled = await client.cancel_order(placed["id"])
        assert cancelled["status"] == "open", "the venue has only accepted it"
        assert (await client.fetch_order(placed["id"]))["status"] == "canceled"
        assert [order["id"] for order in await client.fetch_canceled_orders(PAIR)] == [placed["id"]]
        assert (await client.fetch_balance())["KRW"]["free"] == 10_000_000.0
        assert not lab.server.violations

    trading(check)


def test_a_market_buy_by_cost_is_canceled_in_ccxts_words_although_it_filled() -> None:
    async def check(lab: UpbitLab, client: ccxt.pro.upbit) -> None:
        placed = await client.create_order(PAIR, "market", "buy", 1, None, {"cost": 100_000})
        order = await client.fetch_order(placed["id"])
        (held,) = lab.exchange.orders()
        assert (order["status"], order["filled"]) == ("canceled", 0.00067293)
        assert [(trade["price"], trade["amount"]) for trade in order["trades"]] == [(ASK, 0.00067293)]
        assert order["info"]["paid_fee"] == format_e8(held.paid_fee_e8) == "49.99937193"
        balance = await client.fetch_balance()
        assert balance["BTC"]["free"] == 0.50067293
        assert balance["KRW"]["free"] == pytest.approx(lab.exchange.account.free_e8("KRW") / 1e8, abs=1e-6)

    trading(check)


def test_sales_by_market_limit_ioc_and_best_fill_across_levels() -> None:
    async def check(lab: UpbitLab, client: ccxt.pro.upbit) -> None:
        ways = [
            ("market", None, {}), ("limit", BID - STEP, {"timeInForce": "IOC"}),
            ("market", None, {"ordType": "best", "timeInForce": "IOC"}),
        ]  # fmt: skip
        filled = []
        for kind, price, params in ways:
            placed = await client.create_order(PAIR, kind, "sell", 0.15, price, params)
            filled.append((await client.fetch_order(placed["id"]))["filled"])
        assert filled == [0.15, 0.05, 0.1], "our first sale is missing from the book, and best takes one level alone"
        assert [order["filled"] for order in await client.fetch_closed_orders(PAIR)] == [0.15]
        assert {order["filled"] for order in await client.fetch_canceled_orders(PAIR)} == {0.05, 0.1}
        await client.create_order(PAIR, "limit", "sell", 0.01, ASK + STEP, {"postOnly": True})
        tested = await client.create_order(PAIR, "limit", "sell", 0.01, ASK + STEP, {"test": True})
        assert tested["id"] not in [order["id"] for order in await client.fetch_open_orders(PAIR)]
        assert not lab.server.violations

    trading(check)


def test_editing_an_order_cancels_it_and_makes_a_new_one() -> None:
    async def check(lab: UpbitLab, client: ccxt.pro.upbit) -> None:
        old = await client.create_order(PAIR, "limit", "buy", 0.01, 148_000_000)
        new = await client.edit_order(old["id"], PAIR, "limit", "buy", 0.02, 147_000_000, {"newClientOrderId": "edited"})
        assert (await client.fetch_order(old["id"]))["status"] == "canceled"
        found = await client.fetch_order(new["id"])
        assert (found["clientOrderId"], found["price"], found["amount"]) == ("edited", 147_000_000, 0.02)

    trading(check)


def test_books_trades_and_tickers_stream_side_by_side() -> None:
    async def check(lab: UpbitLab, client: ccxt.pro.upbit) -> None:
        first = await soon(client.watch_order_book(PAIR))
        assert first["asks"][0] == [ASK, 0.1]
        assert (await soon(client.watch_order_book("USDT/KRW")))["bids"][0] == [1411.0, 5000.0]
        watching = asyncio.ensure_future(client.watch_order_book(PAIR))
        await asyncio.sleep(0.05)
        lab.book("KRW-BTC", {str(BID): "0.7"}, {})
        assert (await soon(watching))["bids"][0] == [BID, 0.7], "the second wish did not replace the first"
        lab.trade("KRW-BTC", str(BID), "0.003", Side.SELL)
        trades = await soon(client.watch_trades(PAIR))
        assert (trades[-1]["price"], trades[-1]["amount"], trades[-1]["side"]) == (BID, 0.003, "sell")
        assert (await soon(client.watch_ticker(PAIR)))["last"] == BID

    trading(check)


def test_orders_fills_and_balances_arrive_on_the_private_stream() -> None:
    async def check(lab: UpbitLab, client: ccxt.pro.upbit) -> None:
        watches = [asyncio.ensure_future(one()) for one in (client.watch_orders, client.watch_my_trades, client.watch_balance)]
        await until(lambda: any(("myAsset", "") in session.wishes for session in lab.server.pocket.sessions()))
        placed = await client.create_order(PAIR, "limit", "buy", 0.05, BID, {"clientOrderId": "maker-1"})
        orders = await soon(watches[0])
        assert (orders[-1]["id"], orders[-1]["status"], orders[-1]["clientOrderId"]) == (placed["id"], "open", "maker-1")
        lab.trade("KRW-BTC", str(BID), "0.13", Side.SELL)
        (trade,) = await soon(watches[1])
        assert (trade["price"], trade["amount"], trade["takerOrMaker"]) == (BID, 0.03, "maker")
        assert trade["fee"]["currency"] == "KRW" and trade["fee"]["cost"] == pytest.approx(0.03 * BID * 0.0005)
        fetched = await client.fetch_order(placed["id"])
        assert fetched["trades"][0]["id"] == trade["id"], "stream and query name the fill alike"
        watching = asyncio.ensure_future(client.watch_orders())
        await asyncio.sleep(0)
        await client.cancel_order(placed["id"])
        orders = await soon(watching)
        assert (orders[-1]["status"], orders[-1]["filled"], orders[-1]["amount"]) == ("canceled", 0.03, 0.05)
        await soon(watches[2])
        assert client.balance["BTC"]["free"] == 0.53 and client.balance["KRW"]["used"] == 0
        assert not lab.server.violations

    trading(check)


def test_refusals_become_ccxts_own_classes() -> None:
    async def check(lab: UpbitLab, client: ccxt.pro.upbit) -> None:
        async def refused(error: type[Exception], word: str, call: Awaitable) -> None:
            with pytest.raises(error, match=word) as caught:
                await call
            assert type(caught.value) is error

        def buy(amount: float, price: float, **params: str) -> Awaitable:
            return client.create_order(PAIR, "limit", "buy", amount, price, params)

        await refused(ccxt.InsufficientFunds, "insufficient_funds_bid", buy(1, 148_000_000))
        sale = client.create_order(PAIR, "limit", "sell", 5, ASK)
        await refused(ccxt.InsufficientFunds, "insufficient_funds_ask", sale)
        await refused(ccxt.OrderNotFound, "order_not_found", client.fetch_order("9ca023a5-851b-4fec-9f0a-48cd83c2eaae"))
        await refused(ccxt.OrderNotFound, "order_not_found", client.cancel_order("9ca023a5-851b-4fec-9f0a-48cd83c2eaae"))
        await refused(ccxt.ExchangeError, "invalid_price_bid", buy(0.01, 148_000_500))
        await refused(ccxt.ExchangeError, "under_min_total_bid", buy(0.00001, 148_000_000))
        await refused(ccxt.ExchangeError, "duplicated_identifier", _twice(buy))
        assert lab.exchange.forbidden == set()
        lab.exchange.forbidden.add("KRW-BTC")
        await refused(ccxt.PermissionDenied, "thirdparty_agreement_required", buy(0.01, 148_000_000))
        client.secret = "x" * 64
        await refused(ccxt.AuthenticationError, "jwt_verification", client.fetch_balance())
        client.apiKey = "nobody"
        await refused(ccxt.AuthenticationError, "invalid_access_key", client.fetch_balance())
        client.apiKey, client.secret = READER.access_key, READER.secret
        await refused(ccxt.PermissionDenied, "out_of_scope", buy(0.01, 148_000_000))

    trading(check)


async def _twice(buy: Callable[..., Awaitable]) -> None:
    await buy(0.001, 140_000_000, clientOrderId="once")
    await buy(0.001, 140_000_000, clientOrderId="once")


def test_limits_bans_and_gateway_errors_become_network_errors() -> None:
    async def check(lab: UpbitLab, client: ccxt.pro.upbit) -> None:
        client.enableRateLimit = False
        await asyncio.sleep(1.0 - time.time() % 1.0)
        with pytest.raises(ccxt.RateLimitExceeded):
            for _ in range(11):
                await client.fetch_ticker(PAIR)
        lab.faults.add(Fault(Kind.BAN, for_s=0.2))
        with pytest.raises(ccxt.DDoSProtection, match="Blocked for"):
            await client.fetch_balance()
        await asyncio.sleep(0.3)
        lab.faults.add(Fault(Kind.ERROR_AFTER, endpoint="POST /v1/orders", status=504))
        with pytest.raises(ccxt.NetworkError):
            await client.create_order(PAIR, "limit", "buy", 0.01, 148_000_000, {"clientOrderId": "unknown-1"})
        found = await client.private_get_order({"identifier": "unknown-1"})
        assert found["state"] == "wait" and len(lab.exchange.orders()) == 1, "it had been carried out"
        lab.faults.add(Fault(Kind.CUT, endpoint="DELETE /v1/order"))
        with pytest.raises(ccxt.ExchangeError, match="nonce_used"):
            await client.cancel_order(found["uuid"])
        assert lab.server.tally.refused == {"nonce_used": 1}, "aiohttp sends a cut DELETE again, byte for byte"
        assert (await client.fetch_order(found["uuid"]))["status"] == "canceled"

    trading(check)


def test_the_blocking_client_trades_too() -> None:
    def trade(lab: UpbitLab) -> tuple[str, float, float]:
        client = ccxt.upbit({"apiKey": TRADER.access_key, "secret": TRADER.secret})
        point(client, lab)
        placed = client.create_order(PAIR, "limit", "sell", 0.02, BID, {"timeInForce": "FOK"})
        order = client.fetch_order(placed["id"])
        return order["status"], order["filled"], client.fetch_balance()["BTC"]["free"]

    async def check(lab: UpbitLab) -> None:
        assert await asyncio.to_thread(trade, lab) == ("closed", 0.02, 0.48)
        assert not lab.server.violations

    run_lab(check)
    assert WATCH.outside == []
