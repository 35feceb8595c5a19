"""Upbit's own `upbit-sdk`, as published, trades on the simulated Upbit: REST, public and private streams, errors by class."""

from __future__ import annotations

import asyncio
import datetime
import time
from collections.abc import Awaitable, Callable

import pytest
import upbit
from upbit_lab import ASK, BID, READER, STEP, TRADER, WITHDRAWER, OutsideWatch, UpbitLab, run_lab

from arbitrage.model.instruments import Side
from arbitrage.model.money import parse_e8
from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.sim.exchange.nouns import ApiKey

pytestmark = pytest.mark.integration
WATCH = OutsideWatch()
WAIT_S = 10


def client_of(lab: UpbitLab, key: ApiKey = TRADER, **options: int) -> upbit.AsyncUpbit:
    settings = {"max_retries": 0, **options}
    return upbit.AsyncUpbit(
        access_key=key.access_key, secret_key=key.secret, base_url=lab.rest, websocket_base_url=lab.ws, **settings
    )


def trading(check: Callable[[UpbitLab, upbit.AsyncUpbit], Awaitable[None]]) -> None:
    async def run(lab: UpbitLab) -> None:
        async with client_of(lab) as client:
            await check(lab, client)

    run_lab(run)
    assert WATCH.outside == [], "nothing leaves loopback"


async def soon(reading: Awaitable):
    return await asyncio.wait_for(reading, WAIT_S)


def test_it_reads_markets_books_instruments_and_tickers() -> None:
    async def check(lab: UpbitLab, client: upbit.AsyncUpbit) -> None:
        pairs = await client.trading_pairs.list(is_details=True)
        assert [pair.market for pair in pairs] == ["KRW-BTC", "KRW-USDT", "USDT-BTC"]
        assert pairs[0].market_event.warning is False and pairs[0].market_event.caution.price_fluctuations is False
        (book,) = await client.orderbooks.list(markets="KRW-BTC", count=5)
        assert len(book.orderbook_units) == 5 and float(book.orderbook_units[0].ask_price) == ASK
        rows = await client.orderbooks.list_instruments(markets="KRW-BTC,KRW-USDT")
        assert [(row.market, row.tick_size) for row in rows] == [("KRW-BTC", "1000"), ("KRW-USDT", "0.5")]
        lab.trade("KRW-BTC", str(ASK), "0.01")
        (ticker,) = await client.tickers.list_by_trading_pairs(markets="KRW-BTC")
        assert float(ticker.trade_price) == ASK

    trading(check)


def test_it_reads_the_account() -> None:
    async def check(lab: UpbitLab, client: upbit.AsyncUpbit) -> None:
        accounts = {row.currency: (row.balance, row.locked) for row in await client.accounts.list()}
        assert accounts == {"KRW": ("10000000.0", "0.0"), "BTC": ("0.5", "0.0"), "USDT": ("1000.0", "0.0")}
        chance = await client.orders.retrieve_chance(market="KRW-BTC")
        assert (chance.bid_fee, chance.market.bid.min_total, chance.market.state) == ("0.0005", "5000", "active")
        assert "limit_ioc" in chance.market.bid_types and chance.ask_account.balance == "0.5"
        assert {row.currency: row.wallet_state for row in await client.wallet_status.list()} == {
            "BTC": "working", "USDT": "working",
        }  # fmt: skip
        keys = await client.api_keys.list()
        assert TRADER.access_key in {key.access_key for key in keys}
        with pytest.raises(upbit.AuthenticationError) as refused:
            await client.withdraws.retrieve_chance(currency="BTC", net_type="BTC")
        assert refused.value.name == "out_of_scope"
        async with client_of(lab, WITHDRAWER) as other:
            assert (await other.withdraws.retrieve_chance(currency="BTC", net_type="BTC")).currency.code == "BTC"

    trading(check)


def test_an_order_lives_from_its_test_to_its_cancel() -> None:
    async def check(lab: UpbitLab, client: upbit.AsyncUpbit) -> None:
        words = {"market": "KRW-BTC", "side": "bid", "ord_type": "limit", "price": "148000000", "volume": "0.01"}
        tested = await client.orders.test_create(**words, identifier="sdk-1")
        assert tested.locked == "1480740" and lab.exchange.orders() == []
        placed = await client.orders.create(**words, identifier="sdk-1", smp_type="cancel_taker")
        assert (placed.state, placed.identifier, placed.smp_type) == ("wait", "sdk-1", "cancel_taker")
        assert (await client.orders.retrieve(identifier="sdk-1")).trades == []
        listed = [row async for row in client.orders.list_open(states=["wait", "watch"], market="KRW-BTC")]
        assert [row.uuid for row in listed] == [placed.uuid]
        assert [row.uuid for row in await client.orders.list_by_uuids(uuids=[placed.uuid, "none"])] == [placed.uuid]
        cancelled = await client.orders.cancel(uuid=placed.uuid)
        assert cancelled.state == "wait", "accepted, not done"
        assert (await client.orders.retrieve(uuid=placed.uuid)).state == "cancel"
        start = (datetime.datetime.now().astimezone() - datetime.timedelta(hours=1)).isoformat(timespec="seconds")
        closed = await client.orders.list_closed(states=["done", "cancel"], start_time=start)
        assert [row.uuid for row in closed] == [placed.uuid], "arrays and the plus sign of a zone are hashed alike"
        assert not lab.server.violations

    trading(check)


def test_every_type_of_order_ends_as_published() -> None:
    async def check(lab: UpbitLab, client: upbit.AsyncUpbit) -> None:
        async def end(**words: str) -> tuple[str, str, str | None, str | None]:
            placed = await client.orders.create(market="KRW-BTC", **words)
            order = await client.orders.retrieve(uuid=placed.uuid)
            return order.state, order.executed_volume, order.price, order.volume

        assert await end(side="bid", ord_type="price", price="100000") == ("cancel", "0.00067293", "100000", None)
        assert await end(side="ask", ord_type="market", volume="0.01") == ("done", "0.01", None, "0.01")
        best = await end(side="bid", ord_type="best", price="200000", time_in_force="fok")
        assert best[:2] == ("cancel", "0.00134587")
        ioc = await end(side="ask", ord_type="limit", price=str(BID), volume="0.2", time_in_force="ioc")
        assert ioc == ("cancel", "0.09", str(BID), "0.2")
        fok = await end(side="ask", ord_type="limit", price=str(BID - STEP), volume="0.2", time_in_force="fok")
        assert fok[:2] == ("cancel", "0")
        post_only = await end(side="ask", ord_type="limit", price=str(ASK), volume="0.01", time_in_force="post_only")
        assert post_only[:2] == ("wait", "0")
        lab.exchange.account.check()

    trading(check)


def test_orders_are_cancelled_in_batches_and_replaced() -> None:
    async def check(lab: UpbitLab, client: upbit.AsyncUpbit) -> None:
        words = {"market": "KRW-BTC", "side": "bid", "ord_type": "limit", "volume": "0.001"}
        uuids = [(await client.orders.create(**words, price=str(BID - STEP * number))).uuid for number in range(1, 5)]
        batch = await client.orders.cancel_by_uuids(uuids=uuids[:2])
        assert [row.uuid for row in batch.success.orders] == uuids[:2] and batch.failed.count == 0
        again = await client.orders.cancel_by_uuids(uuids=uuids[:1])
        assert (again.success.count, again.failed.count) == (0, 1)
        replaced = await client.orders.cancel_and_new(
            prev_order_uuid=uuids[2], new_ord_type="limit", new_price=str(BID - 9 * STEP), new_volume="remain_only"
        )
        assert replaced.uuid == uuids[2], "the answer is the old order"
        assert (await client.orders.retrieve(uuid=replaced.new_order_uuid)).price == str(BID - 9 * STEP)
        swept = await client.orders.cancel_open(cancel_side="bid")
        assert swept.success.count == 2 and lab.exchange.orders(is_open=True) == []

    trading(check)


def test_refusals_become_the_sdks_own_classes_with_their_names() -> None:
    async def check(lab: UpbitLab, client: upbit.AsyncUpbit) -> None:
        async def refused(error: type[upbit.APIStatusError], name: str | None, call: Awaitable) -> None:
            with pytest.raises(error) as caught:
                await call
            assert caught.value.name == name

        words = {"market": "KRW-BTC", "side": "bid", "ord_type": "limit", "price": "148000000", "volume": "0.01"}
        await refused(upbit.BadRequestError, "insufficient_funds_bid", client.orders.create(**{**words, "volume": "1"}))
        await refused(upbit.BadRequestError, "invalid_price_bid", client.orders.create(**{**words, "price": "148000500"}))
        await refused(upbit.BadRequestError, "under_min_total_bid", client.orders.create(**{**words, "volume": "0.00001"}))
        await refused(upbit.NotFoundError, "order_not_found", client.orders.retrieve(identifier="never"))
        async with client_of(lab, READER) as reader:
            await refused(upbit.AuthenticationError, "out_of_scope", reader.orders.create(**words))
        async with client_of(lab, ApiKey(TRADER.access_key, "x" * 64)) as forger:
            await refused(upbit.AuthenticationError, "jwt_verification", forger.accounts.list())
        lab.faults.add(Fault(Kind.ERROR_BEFORE, endpoint="GET /v1/accounts", status=502))
        await refused(upbit.InternalServerError, None, client.accounts.list())
        lab.faults.add(Fault(Kind.HTML, endpoint="GET /v1/accounts", status=403))
        await refused(upbit.PermissionDeniedError, None, client.accounts.list())
        lab.faults.add(Fault(Kind.LOST, endpoint="GET /v1/accounts"))
        with pytest.raises(upbit.APITimeoutError):
            await client.accounts.list(timeout=0.3)
        await asyncio.sleep(1.0 - time.time() % 1.0)
        with pytest.raises(upbit.RateLimitError):
            for _ in range(9):
                await client.orders.test_create(**words)
        lab.faults.add(Fault(Kind.BAN, for_s=5.0))
        await refused(upbit.RateLimitPenaltyError, None, client.accounts.list())

    trading(check)


def test_its_own_retry_after_a_lost_answer_cannot_double_an_order_that_has_an_identifier() -> None:
    async def check(lab: UpbitLab, client: upbit.AsyncUpbit) -> None:
        words = {"market": "KRW-BTC", "side": "bid", "ord_type": "limit", "price": "148000000", "volume": "0.001"}
        async with client_of(lab, max_retries=1) as stubborn:
            lab.faults.add(Fault(Kind.ERROR_AFTER, endpoint="POST /v1/orders", status=503))
            with pytest.raises(upbit.BadRequestError) as refused:
                await stubborn.orders.create(**words, identifier="once")
            assert refused.value.name == "duplicated_identifier" and len(lab.exchange.orders()) == 1
            lab.faults.add(Fault(Kind.ERROR_AFTER, endpoint="POST /v1/orders", status=503))
            await stubborn.orders.create(**words)
            assert len(lab.exchange.orders()) == 3, "without one it places twice"

    trading(check)


def test_the_private_stream_tells_orders_and_assets() -> None:
    async def check(lab: UpbitLab, client: upbit.AsyncUpbit) -> None:
        async with client.ws_stream.subscribe_private(my_order=["KRW-BTC"], my_asset=True) as stream:
            control = await soon(stream.list_subscriptions())
            assert [row.type for row in control.result] == ["myOrder", "myAsset"]
            placed = await client.orders.create(
                market="KRW-BTC", side="bid", ord_type="limit", price=str(BID), volume="0.01", identifier="maker"
            )
            lab.trade("KRW-BTC", str(BID), "0.104", Side.SELL)
            events = [await soon(stream.recv()) for _ in range(4)]
            wait, locked, trade, assets = events
            assert (wait.state, wait.uuid, wait.identifier, wait.volume) == ("wait", placed.uuid, "maker", "0.01")
            assert [(row.currency, row.locked) for row in locked.assets] == [("KRW", "1486753.005")]
            assert (trade.state, trade.volume, int(trade.price), trade.is_maker) == ("trade", "0.004", BID, True)
            assert {row.currency for row in assets.assets} == {"KRW", "BTC"}
            fetched = await client.orders.retrieve(uuid=placed.uuid)
            (fill,) = fetched.trades
            assert (fill.uuid, fill.volume) == (trade.trade_uuid, trade.volume)
            assert parse_e8(fetched.paid_fee) == parse_e8(str(trade.trade_fee))

    trading(check)


@pytest.mark.parametrize("form", ["DEFAULT", "SIMPLE", "JSON_LIST", "SIMPLE_LIST"])
def test_public_streams_come_in_every_format(form: str) -> None:
    async def check(lab: UpbitLab, client: upbit.AsyncUpbit) -> None:
        async with client.ws_stream.subscribe(orderbook=["KRW-BTC.5"], ticker=["KRW-BTC"], format=form) as stream:
            events = [await soon(stream.recv()) for _ in range(2)]
            lab.book("KRW-BTC", {str(BID): "0.7"}, {})
            events.append(await soon(stream.recv()))
        events = [event[0] if isinstance(event, list) else event for event in events]
        simple = form.startswith("SIMPLE")
        names = ["SimpleTicker", "SimpleOrderbook", "SimpleOrderbook"] if simple else ["Ticker", "Orderbook", "Orderbook"]
        assert [type(event).__name__ for event in events] == names
        unit = events[2].obu[0].bs if simple else events[2].orderbook_units[0].bid_size
        assert (unit, len(events[1].obu if simple else events[1].orderbook_units)) == ("0.7", 5)

    trading(check)


def test_the_blocking_client_trades_and_listens_too() -> None:
    def trade(lab: UpbitLab) -> list[str]:
        client = upbit.Upbit(
            access_key=TRADER.access_key, secret_key=TRADER.secret, base_url=lab.rest, websocket_base_url=lab.ws, max_retries=0
        )
        with client, client.ws_stream.my_order([]) as stream:
            stream.list_subscriptions()
            client.orders.create(market="KRW-BTC", side="ask", ord_type="market", volume="0.15")
            return [stream.recv().state for _ in range(4)]

    async def check(lab: UpbitLab) -> None:
        assert await asyncio.to_thread(trade, lab) == ["wait", "trade", "trade", "done"]
        assert not lab.server.violations

    run_lab(check)
    assert WATCH.outside == []
