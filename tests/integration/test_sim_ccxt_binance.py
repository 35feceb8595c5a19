"""ccxt, as published, trades on the simulated Binance: REST by its blocking client, books and account events by ccxt.pro."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from urllib.parse import urlsplit

import ccxt
import ccxt.pro
import pytest
from binance_live import LiveLab, OutsideWatch, live_binance
from requests.adapters import HTTPAdapter

from arbitrage.model.instruments import Side
from arbitrage.sim.exchange.faults import Kind
from arbitrage.sim.scenarios.changes import Traded
from arbitrage.sim.server.binance_limits import ORDERS_SECOND, WEIGHT

pytestmark = pytest.mark.integration
WATCH = OutsideWatch()
PAIR = "BTC/USDT"
WAIT_S = 10


class Loopback(HTTPAdapter):
    """Carries requests for one real host to the simulated venue, and no other request at all."""

    def __init__(self, lab: LiveLab) -> None:
        super().__init__()
        self._rest = lab.rest

    def send(self, request, **options):
        parts = urlsplit(request.url)
        assert parts.hostname == "api.binance.com", f"nothing leaves loopback: {request.url}"
        request.url = self._rest + request.url[len("https://api.binance.com") :]
        return super().send(request, **options)


def options(lab: LiveLab) -> dict:
    spot_only = {"fetchMarkets": {"types": ["spot"]}, "recvWindow": 5000}
    return {"apiKey": lab.key.access_key, "secret": lab.key.secret, "enableRateLimit": False, "options": spot_only}


def at_real_address(lab: LiveLab) -> ccxt.binance:
    """Make a client that believes in the real host, which its error classes depend on."""
    client = ccxt.binance(options(lab))
    for scheme in ("https://", "http://"):
        client.session.mount(scheme, Loopback(lab))
    return client


def streaming(lab: LiveLab) -> ccxt.pro.binance:
    client = ccxt.pro.binance(options(lab))
    for name in ("public", "private"):
        client.urls["api"][name] = f"{lab.rest}/api/v3"
    client.urls["api"]["sapi"] = f"{lab.rest}/sapi/v1"
    client.urls["api"]["ws"]["spot"] = f"{lab.ws}/ws"
    client.urls["api"]["ws"]["ws-api"]["spot"] = f"{lab.ws}/ws-api/v3"
    return client


@pytest.fixture
def lab() -> Iterator[LiveLab]:
    with live_binance() as live:
        yield live
    assert WATCH.outside == []


def test_ccxt_reads_markets_currencies_books_and_balances(lab):
    client = at_real_address(lab)
    market = client.load_markets()[PAIR]
    assert (market["active"], market["precision"]["price"], market["precision"]["amount"]) == (True, 0.01, 0.00001)
    assert (market["limits"]["cost"]["min"], market["limits"]["amount"]["min"]) == (5.0, 0.00001)
    assert client.currencies["BTC"]["active"] and client.currencies["BTC"]["networks"]
    book = client.fetch_order_book(PAIR, 5)
    assert (book["bids"][0], book["asks"][0]) == ([64000.1, 0.431], [64000.2, 1.2])
    assert client.fetch_balance()["USDT"] == {"free": 10000.0, "used": 0.0, "total": 10000.0}
    assert client.fetch_trading_fee(PAIR)["taker"] == 0.001
    assert client.fetch_bids_asks([PAIR])[PAIR]["bid"] == 64000.1
    assert (client.fetch_status()["status"], client.fetch_deposits(), client.fetch_withdrawals()) == ("ok", [], [])
    assert lab.server.violations.total() == 0


def test_ccxt_reads_tickers_and_trades_and_lists_what_was_deposited(lab):
    client = at_real_address(lab)
    client.create_order(PAIR, "market", "buy", 0.01)
    ticker = client.fetch_ticker(PAIR)
    assert (ticker["last"], ticker["bid"], ticker["baseVolume"]) == (64000.2, 64000.1, 0.01)
    assert set(client.fetch_tickers()) == set(client.markets)
    [trade] = client.fetch_trades(PAIR)
    assert (trade["price"], trade["amount"], trade["side"]) == (64000.2, 0.01, "buy")
    lab.do(lambda: lab.exchange.grant("USDT", 250_000_000))
    lab.do(lambda: lab.exchange.grant("BTC", -50_000_000))
    [deposit], [withdrawal] = client.fetch_deposits(), client.fetch_withdrawals()
    assert (deposit["amount"], deposit["status"], withdrawal["amount"], withdrawal["status"]) == (2.5, "ok", 0.5, "ok")
    assert lab.server.violations.total() == 0


def test_every_type_of_order_ends_in_ccxts_words(lab):
    client = at_real_address(lab)
    lab.do(lambda: lab.book(asks=(("64000.20", "0.004"),)))
    fok = client.create_order(PAIR, "limit", "buy", 0.01, 64000.2, {"timeInForce": "FOK"})
    assert (fok["status"], fok["filled"]) == ("expired", 0)
    by_cost = client.create_market_buy_order_with_cost(PAIR, 100)
    assert (by_cost["status"], by_cost["filled"]) == ("closed", 0.00156)
    sold = client.create_market_sell_order_with_cost(PAIR, 100)
    assert (sold["status"], sold["average"]) == ("closed", 64000.1)
    waiting = client.create_order(PAIR, "limit", "buy", 0.001, 60000, {"postOnly": True})
    assert client.fetch_order(waiting["id"], PAIR)["postOnly"] is True
    client.create_order(PAIR, "limit", "sell", 0.001, 70000)
    assert len(client.cancel_all_orders(PAIR)) == 2 and client.fetch_open_orders(PAIR) == []
    assert client.fetch_balance()["used"] == {"USDT": 0.0, "BTC": 0.0}
    assert len(client.fetch_canceled_orders(PAIR)) == 2
    assert [trade["order"] for trade in client.fetch_my_trades(PAIR, limit=2)] == [by_cost["id"], sold["id"]]
    assert [trade["order"] for trade in client.fetch_order_trades(sold["id"], PAIR)] == [sold["id"]]
    assert lab.server.violations.total() == 0


def test_ccxt_places_queries_cancels_and_sees_its_fills(lab):
    client = at_real_address(lab)
    taken = client.create_order(PAIR, "limit", "buy", 0.01, 64000.2, {"clientOrderId": "abc-1", "timeInForce": "IOC"})
    assert (taken["status"], taken["filled"], taken["cost"]) == ("closed", 0.01, 640.002)
    assert taken["fees"] == [{"currency": "BTC", "cost": 0.00001}]
    assert client.fetch_order(taken["id"], PAIR)["average"] == 64000.2
    [trade] = client.fetch_my_trades(PAIR)
    assert (trade["order"], trade["takerOrMaker"], trade["amount"]) == (taken["id"], "taker", 0.01)
    resting = client.create_order(PAIR, "limit", "sell", 0.5, 65000)
    assert resting["status"] == "open"
    assert [order["id"] for order in client.fetch_open_orders(PAIR)] == [resting["id"]]
    assert client.fetch_balance()["BTC"]["used"] == 0.5
    moved = client.edit_order(resting["id"], PAIR, "limit", "sell", 0.5, 66000)
    assert (moved["price"], moved["status"]) == (66000.0, "open")
    assert client.cancel_order(moved["id"], PAIR)["status"] == "canceled"
    statuses = [order["status"] for order in client.fetch_orders(PAIR)]
    assert statuses == ["closed", "canceled", "canceled"]
    assert lab.server.violations.total() == 0


def test_an_ioc_that_fills_in_part_is_expired_with_its_fill(lab):
    lab.do(lambda: lab.book(asks=(("64000.20", "0.004"),)))
    order = at_real_address(lab).create_order(PAIR, "limit", "buy", 0.01, 64000.2, {"timeInForce": "IOC"})
    assert (order["info"]["status"], order["status"], order["filled"]) == ("EXPIRED", "expired", 0.004)


def wrong_secret(client: ccxt.binance) -> None:
    client.secret = "wrong"
    client.private_get_account()


def wrong_key(client: ccxt.binance) -> None:
    client.apiKey = "k" * 64
    client.private_get_account()


def twice(client: ccxt.binance) -> None:
    for _ in range(2):
        client.create_order(PAIR, "limit", "buy", 0.01, 60000, {"clientOrderId": "one"})


def too_late(client: ccxt.binance) -> None:
    client.nonce = lambda: client.milliseconds() - 6000
    client.private_get_account()


def raw_order(**fields) -> dict:
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001", "price": "60000"}
    return order | fields


def post_only(client: ccxt.binance) -> None:
    client.create_order(PAIR, "limit", "buy", 0.01, 64000.2, {"postOnly": True})


REFUSALS = [
    (lambda client: client.create_order(PAIR, "limit", "buy", 5, 64000.2), ccxt.InsufficientFunds),
    (lambda client: client.create_order(PAIR, "limit", "buy", 0.00001, 60000), ccxt.BadRequest),
    (lambda client: client.private_post_order(raw_order(quantity="0.000015")), ccxt.InvalidOrder),
    (lambda client: client.private_post_order(raw_order(price="60000.001")), ccxt.InvalidOrder),
    (lambda client: client.private_post_order(raw_order(price="60000.123456789")), ccxt.BadRequest),
    (post_only, ccxt.OrderImmediatelyFillable),
    (twice, ccxt.InvalidOrder),
    (lambda client: client.cancel_order("99", PAIR), ccxt.OrderNotFound),
    (lambda client: client.fetch_order("99", PAIR), ccxt.OrderNotFound),
    (lambda client: client.public_get_depth({"symbol": "NOPE"}), ccxt.BadSymbol),
    (too_late, ccxt.InvalidNonce),
    (wrong_secret, ccxt.AuthenticationError),
    (wrong_key, ccxt.AuthenticationError),
]


@pytest.mark.parametrize(("act", "expected"), REFUSALS)
def test_ccxt_maps_each_refusal_to_its_own_class(lab, act, expected):
    client = at_real_address(lab)
    client.load_markets()
    with pytest.raises(expected) as refused:
        act(client)
    assert type(refused.value) is expected


def test_ccxt_takes_limits_and_bans_for_a_protection_against_floods(lab):
    client = at_real_address(lab)
    client.load_markets()
    counts = lab.server.rest_limits
    lab.do(lambda: [counts.take_order() for _ in range(ORDERS_SECOND.limit)])
    with pytest.raises(ccxt.DDoSProtection, match="-1015"):
        client.create_order(PAIR, "limit", "buy", 0.01, 60000)
    lab.do(lambda: counts.admit(WEIGHT.limit - 100))
    with pytest.raises(ccxt.DDoSProtection, match="429"):
        for _ in range(WEIGHT.limit // 20 + 1):  # a few, unless a new minute begins just now
            client.public_get_exchangeinfo()
    lab.do(lambda: lab.fault(Kind.BAN, for_s=120))
    lab.do(lab.faults.advance)
    with pytest.raises(ccxt.DDoSProtection, match="418"):
        client.fetch_time()


@pytest.mark.parametrize(
    ("fault", "expected", "count"),
    [
        ({"kind": Kind.ERROR_AFTER, "status": 504}, ccxt.RequestTimeout, 1),
        ({"kind": Kind.ERROR_AFTER, "status": 503}, ccxt.OperationFailed, 1),
        ({"kind": Kind.ERROR_BEFORE, "status": 503}, ccxt.OperationFailed, 0),
        ({"kind": Kind.HTML, "status": 403}, ccxt.ExchangeNotAvailable, 0),
        ({"kind": Kind.CUT}, ccxt.NetworkError, 1),
    ],
)
def test_ccxt_meets_faults_and_the_venue_alone_knows_what_was_done(lab, fault, expected, count):
    client = at_real_address(lab)
    client.load_markets()
    lab.do(lambda: lab.fault(fault["kind"], endpoint="POST /api/v3/order", status=fault.get("status", 503)))
    with pytest.raises(expected):
        client.create_order(PAIR, "limit", "buy", 0.01, 64000.2, {"clientOrderId": "abc-1"})
    found = [order["clientOrderId"] for order in client.fetch_orders(PAIR)]
    assert found == ["abc-1"] * count


def test_a_fill_races_the_cancel_and_ccxt_learns_it_by_asking(lab):
    client = at_real_address(lab)
    order = client.create_order(PAIR, "limit", "buy", 0.01, 60000)
    lab.do(lambda: lab.fault(Kind.FILL_BEFORE_CANCEL, endpoint="DELETE /api/v3/order"))
    with pytest.raises(ccxt.OrderNotFound):
        client.cancel_order(order["id"], PAIR)
    assert client.fetch_order(order["id"], PAIR)["status"] == "closed"


def test_ccxt_signs_with_ed25519_as_well(lab):
    client = at_real_address(lab)
    client.secret = lab.key.ed25519_pem
    assert client.create_order(PAIR, "limit", "buy", 0.01, 60000)["status"] == "open"
    assert lab.server.violations.total() == 0


async def subscribed(lab: LiveLab) -> None:
    """Wait until somebody subscribed to account events."""
    for _ in range(500):
        if any(session.subscription is not None for session in lab.server.private.sessions()):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody subscribed")


def run_streaming(lab: LiveLab, act) -> None:
    async def main() -> None:
        client = streaming(lab)
        try:
            async with asyncio.timeout(WAIT_S):
                await act(client)
        finally:
            await client.close()

    asyncio.run(main())


def test_ccxt_pro_keeps_the_book_of_the_venue(lab):
    async def act(client):
        await client.watch_order_book(PAIR)
        lab.do(lambda: lab.book(bids=(("64000.15", "0.7"),), asks=(("64000.30", "0"),)))
        while (book := await client.watch_order_book(PAIR))["bids"][0] != [64000.15, 0.7]:
            pass
        assert [level[0] for level in book["bids"]] == [64000.15, 64000.1, 64000.0, 63000.0]
        assert book["asks"] == [[64000.2, 1.2]]

    run_streaming(lab, act)
    assert lab.server.violations.total() == 0


def test_ccxt_pro_watches_trades_and_tickers(lab):
    async def act(client):
        watches = [asyncio.ensure_future(watch(PAIR)) for watch in (client.watch_trades, client.watch_ticker)]
        while not watches[0].done():
            lab.do(lambda: lab.server.apply(Traded(0, "binance", "BTCUSDT", 6_400_020_000_000, 1_000_000, Side.BUY)))
            await asyncio.sleep(0.1)
        assert (await watches[0])[-1]["price"] == 64000.2
        while (ticker := await client.watch_ticker(PAIR))["baseVolume"] == 0:
            pass
        assert (ticker["last"], ticker["open"]) == (64000.2, 64000.2)

    run_streaming(lab, act)
    assert lab.server.violations.total() == 0


def test_ccxt_pro_sees_orders_fills_and_balances_as_events(lab):
    async def act(client):
        await client.load_markets()
        watches = [client.watch_orders(PAIR), client.watch_my_trades(PAIR), client.watch_balance()]
        tasks = [asyncio.ensure_future(watch) for watch in watches]
        await subscribed(lab)
        order = await client.create_order(PAIR, "limit", "buy", 0.01, 64000.2)
        orders, trades, balance = await asyncio.gather(*tasks)
        assert (orders[-1]["id"], trades[-1]["order"]) == (order["id"], order["id"])
        assert trades[-1]["fee"] == {"currency": "BTC", "cost": 0.00001}
        assert balance["USDT"]["total"] == 10000.0 or balance["BTC"]["free"] == 1.00999

    run_streaming(lab, act)
    assert lab.server.violations.total() == 0


def test_ccxt_pro_trades_over_the_websocket_api(lab):
    async def act(client):
        await client.load_markets()
        order = await client.create_order_ws(PAIR, "limit", "buy", 0.01, 60000)
        assert (await client.fetch_order_ws(order["id"], PAIR))["status"] == "open"
        balances = (await client.fetch_balance_ws())["info"]["balances"]  # ccxt parses none of them for spot accounts
        assert balances[0] == {"asset": "USDT", "free": "9400.00000000", "locked": "600.00000000"}
        assert len(await client.fetch_open_orders_ws(PAIR)) == 1
        assert (await client.cancel_order_ws(order["id"], PAIR))["status"] == "canceled"
        with pytest.raises(ccxt.OrderNotFound):
            await client.cancel_order_ws(order["id"], PAIR)
        with pytest.raises(ccxt.InsufficientFunds):
            await client.create_order_ws(PAIR, "limit", "buy", 10, 60000)

    run_streaming(lab, act)
    assert lab.server.violations.total() == 0
