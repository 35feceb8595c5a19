"""Upbit's order words both ways: the sheet's own messages, any bytes at all, and amounts to the last unit."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import ccxt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from upbit.lib.ws._parser import parse_websocket_data

from arbitrage.model.events import AccountBalance, FeedFault
from arbitrage.model.instruments import FeePayment, FeeSchedule, Side, Venue
from arbitrage.model.money import parse_e8
from arbitrage.model.orders import ClientOrderId, Order, OrderState, PlanId, TimeInForce
from arbitrage.venues.upbit.account_wire import Chance, read_chance, read_keys, read_suspended
from arbitrage.venues.upbit.amounts import e8, rate_ppm_up
from arbitrage.venues.upbit.orders_wire import OrderPicture, OrdersCodec, ended_as, order_pairs, read_refusal
from arbitrage.venues.upbit.private_wire import AssetsWord, OrderWord, StatusWord, StreamError, decode, subscription

UPBIT = Venue("upbit")
CODEC = OrdersCodec(UPBIT, {"KRW-BTC": 4})
REST_ORDER = (
    b'{"market":"KRW-BTC","uuid":"9ca023a5-851b-4fec-9f0a-48cd83c2eaae","side":"bid","ord_type":"limit","price":"148601000",'
    b'"state":"done","created_at":"2026-11-20T13:56:53+09:00","volume":"0.001","remaining_volume":"0","executed_volume":"0.001",'
    b'"reserved_fee":"74.3005","remaining_fee":"0","paid_fee":"74.3005","locked":"0","prevented_volume":"0",'
    b'"prevented_locked":"0","trades_count":1,"time_in_force":"ioc","identifier":"arb-7f3a-1","smp_type":"cancel_maker",'
    b'"executed_funds":"148601","trades":[{"market":"KRW-BTC","uuid":"795dff29-bba6-49b2-baab-63473ab7931c",'
    b'"price":"148601000","volume":"0.001","funds":"148601","trend":"up","created_at":"2026-11-20T13:56:53.597751+09:00",'
    b'"side":"bid"}]}'
)
MY_ORDER = (
    b'{"type":"myOrder","code":"KRW-BTC","uuid":"9ca023a5-851b-4fec-9f0a-48cd83c2eaae","ask_bid":"BID","order_type":"limit",'
    b'"state":"trade","trade_uuid":"795dff29-bba6-49b2-baab-63473ab7931c","price":148601000,"avg_price":148601000,"volume":0.001,'
    b'"remaining_volume":0,"executed_volume":0.001,"trades_count":1,"reserved_fee":74.3005,"remaining_fee":0,"paid_fee":74.3005,'
    b'"locked":0,"executed_funds":148601,"time_in_force":"ioc","trade_fee":74.3005,"is_maker":false,"identifier":"arb-7f3a-1",'
    b'"smp_type":"cancel_maker","prevented_volume":0,"prevented_locked":0,"trade_timestamp":1795150613597,'
    b'"order_timestamp":1795150613000,"timestamp":1795150613610,"stream_type":"REALTIME"}'
)
MY_ASSET = (
    b'{"type":"myAsset","asset_uuid":"e635f223-1609-4969-8fb6-4376937baad6","assets":[{"currency":"KRW","balance":851324.6995,'
    b'"locked":0}],"asset_timestamp":1795150613600,"timestamp":1795150613620,"stream_type":"REALTIME"}'
)
CHANCE: dict[str, Any] = {
    "bid_fee": "0.0005", "ask_fee": "0.0005", "maker_bid_fee": "0.0003", "maker_ask_fee": "0.0005",
    "market": {
        "id": "KRW-BTC", "bid_types": ["limit", "limit_ioc"], "ask_types": ["limit", "limit_ioc"],
        "bid": {"currency": "KRW", "min_total": "5000"}, "ask": {"currency": "BTC", "min_total": "5000"}, "state": "active",
    },
}  # fmt: skip
BALANCES = b'[{"currency":"KRW","balance":"1000000.0","locked":"0.0","avg_buy_price":"0","unit_currency":"KRW"}]'
WALLETS = (
    b'[{"currency":"BTC","wallet_state":"working","block_state":"normal","net_type":"BTC"},{"currency":"USDT","wallet_state":'
    b'"paused","block_state":"normal"},{"currency":"USDT","wallet_state":"working","block_state":"inactive"},'
    b'{"currency":"XRP","wallet_state":"withdraw_only","block_state":"normal"}]'
)
ORDER = Order(
    ClientOrderId("arb-1"), PlanId("p"), 0, UPBIT, 4, Side.BUY, parse_e8("148601000"), parse_e8("0.00012"), TimeInForce.IOC
)
SEEDS = [
    REST_ORDER, b"[" + REST_ORDER + b"]", MY_ORDER, MY_ASSET, BALANCES, WALLETS, json.dumps(CHANCE).encode(),
    b'{"status":"UP"}', b'{"error":{"name":"nonce_used","message":"x"}}', b'{"error":{"name":404,"message":"x"}}',
    b'[{"access_key":"AK"}]', b"<html>",
    b'{"method":"LIST_SUBSCRIPTIONS","result":[]}',
]  # fmt: skip
TOKENS = [
    b"NaN", b'"NaN"', b'"sNaN"', b"Infinity", b'"-Infinity"', b"-1", b"1e999999", b"1E-999999", b'"1e400"', b"null", b"true",
    b"[]", b"{}", b'""', b"\xff", b"\\ud800", b"9" * 400, b"0." + b"0" * 400 + b"1", b",", b'"', b"[" * 2000, b'{"a":' * 2000,
]  # fmt: skip


def told(raw: bytes | str) -> Any:
    return decode(raw, UPBIT, 1)


def changed(raw: bytes, **fields: Any) -> bytes:
    return json.dumps({**json.loads(raw), **fields}).encode()


def test_a_limit_ioc_order_is_written_in_texts_with_its_self_match_rule() -> None:
    assert order_pairs(ORDER, "KRW-BTC") == [
        ("market", "KRW-BTC"), ("side", "bid"), ("ord_type", "limit"), ("price", "148601000"), ("volume", "0.00012"),
        ("time_in_force", "ioc"), ("identifier", "arb-1"), ("smp_type", "cancel_maker"),
    ]  # fmt: skip


def test_ccxt_writes_the_same_order_but_for_the_self_match_rule_that_it_drops() -> None:
    exchange = ccxt.upbit({"apiKey": "AK", "secret": "s" * 64})
    exchange.set_markets(exchange.parse_markets([{"market": "KRW-BTC", "korean_name": "x", "english_name": "Bitcoin"}]))
    seen: dict[str, Any] = {}

    def capture(url: str, method: str = "GET", headers: Any = None, body: Any = None) -> None:
        seen.update(method=method, url=url, body=json.loads(body))
        raise ccxt.ExchangeNotAvailable("captured")

    exchange.fetch = capture
    with pytest.raises(ccxt.ExchangeNotAvailable):
        exchange.create_order(
            "BTC/KRW", "limit", "buy", 0.00012, 148601000,
            {"clientOrderId": "arb-1", "timeInForce": "IOC"},
        )  # fmt: skip
    assert seen["url"].endswith("/v1/orders") and seen["method"] == "POST"
    assert seen["body"] | {"smp_type": "cancel_maker"} == dict(order_pairs(ORDER, "KRW-BTC"))


def test_a_resting_sale_leaves_the_time_in_force_out() -> None:
    order = Order(ClientOrderId("arb-2"), PlanId("p"), 0, UPBIT, 4, Side.SELL, 10**8, 10**8, TimeInForce.GTC)
    pairs = dict(order_pairs(order, "KRW-BTC"))
    assert "time_in_force" not in pairs
    assert (pairs["side"], pairs["price"], pairs["volume"]) == ("ask", "1", "1")


def test_the_sheets_order_is_read_to_the_last_unit() -> None:
    picture = CODEC.order(REST_ORDER, 1)
    assert isinstance(picture, OrderPicture)
    assert picture.is_ended and picture.end_state is OrderState.FILLED
    assert (picture.executed_e8, picture.paid_fee_e8) == (100_000, 7_430_050_000)
    (trade,) = picture.trades
    assert (trade.price_e8, trade.quantity_e8, trade.quote_e8) == (parse_e8("148601000"), 100_000, parse_e8("148601"))
    assert CODEC.open_order(picture).market == 4


@pytest.mark.parametrize(
    ("quantity_e8", "executed_e8", "state"),
    [
        (100, 100, OrderState.FILLED),
        (100, 40, OrderState.CANCELLED),
        (100, 0, OrderState.CANCELLED),
        (None, 40, OrderState.FILLED),
        (None, 0, OrderState.CANCELLED),
    ],
)
def test_executed_volume_decides_how_an_order_ended(quantity_e8: int | None, executed_e8: int, state: OrderState) -> None:
    assert ended_as(quantity_e8, executed_e8) is state


def test_a_market_buy_that_ends_cancel_is_filled() -> None:
    body = changed(REST_ORDER, ord_type="price", state="cancel", volume=None, remaining_volume=None, price="150000")
    picture = CODEC.order(body, 1)
    assert isinstance(picture, OrderPicture)
    assert picture.is_ended and picture.end_state is OrderState.FILLED and picture.quantity_e8 is None


def test_an_unknown_state_is_not_an_end() -> None:
    picture = CODEC.order(changed(REST_ORDER, state="prevented"), 1)
    assert isinstance(picture, OrderPicture) and not picture.is_ended


def test_fields_that_do_not_apply_may_be_absent() -> None:
    picture = CODEC.order(b'{"market":"KRW-BTC","uuid":"u","side":"ask","state":"wait"}', 1)
    assert isinstance(picture, OrderPicture)
    assert (picture.price_e8, picture.quantity_e8, picture.identifier, picture.trades) == (0, None, "", ())


def test_one_unreadable_order_spoils_the_list_so_that_none_looks_gone() -> None:
    body = b"[" + REST_ORDER + b"," + changed(REST_ORDER, volume="-1") + b"]"
    assert isinstance(CODEC.orders(body, 1), FeedFault)


def test_balances_are_read_free_and_locked() -> None:
    assert CODEC.balances(BALANCES, 1) == (AccountBalance("KRW", parse_e8("1000000"), 0),)  # type: ignore[arg-type]  # Asset


def test_the_sheets_fill_is_read_digit_by_digit() -> None:
    word = told(MY_ORDER)
    assert isinstance(word, OrderWord) and word.trade is not None
    assert (word.trade.price, word.trade.quantity, word.trade.fee_e8) == (Decimal(148601000), Decimal("0.001"), 7_430_050_000)
    assert word.quantity_e8 is None
    assert isinstance(told(MY_ASSET), AssetsWord)
    assert told(b'{"status":"UP"}') == StatusWord()
    assert told('{"error":{"name":"INVALID_AUTH","message":"x"}}') == StreamError("INVALID_AUTH")


def test_the_exchanges_own_sdk_reads_the_same_amounts() -> None:
    theirs = parse_websocket_data(MY_ORDER, endpoint="private")
    word = told(MY_ORDER)
    assert word.trade.trade_id == theirs.trade_uuid
    assert (word.trade.price, word.trade.quantity) == (Decimal(str(theirs.price)), Decimal(str(theirs.volume)))
    assert word.trade.fee_e8 == e8(Decimal(str(theirs.trade_fee)))


@pytest.mark.parametrize("digits", ["123456789.12345678", "999999999999.99999999", "0.00000001", "1e-8"])
def test_json_numbers_lose_no_digit(digits: str) -> None:
    raw = MY_ORDER.replace(b'"executed_funds":148601', f'"executed_funds":{digits}'.encode())
    assert told(raw).executed_funds == Decimal(digits)


@pytest.mark.parametrize("field", ["trade_uuid", "price", "volume", "trade_fee"])
def test_a_fill_that_lacks_a_part_is_a_fault_and_no_fill(field: str) -> None:
    assert isinstance(told(changed(MY_ORDER, **{field: None})), FeedFault)


@pytest.mark.parametrize("fields", [{"state": "odd"}, {"ask_bid": "odd"}])
def test_a_word_that_nobody_knows_is_named(fields: dict[str, str]) -> None:
    fault = told(changed(MY_ORDER, **fields))
    assert isinstance(fault, FeedFault) and "odd" in fault.detail


@pytest.mark.parametrize("state", ["wait", "watch", "done", "cancel", "prevented"])
def test_states_other_than_trade_carry_no_fill(state: str) -> None:
    word = told(changed(MY_ORDER, state=state))
    assert isinstance(word, OrderWord) and word.trade is None and word.quantity_e8 == 100_000


def test_both_types_are_subscribed_in_one_message_without_codes_for_assets() -> None:
    assert json.loads(subscription("t")) == [{"ticket": "t"}, {"type": "myOrder"}, {"type": "myAsset"}, {"format": "DEFAULT"}]


def test_terms_are_read_with_the_dearer_side_and_the_types() -> None:
    chance = read_chance(json.dumps(CHANCE).encode(), UPBIT, 1, 4)
    cheap, same = FeeSchedule(300, 500, FeePayment.QUOTE), FeeSchedule(500, 500, FeePayment.QUOTE)
    assert chance == Chance(cheap, same, parse_e8("5000"), True, True)
    assert chance.fees == same
    dearer = {**CHANCE, "ask_fee": "0.0025", "maker_bid_fee": "0.0003", "maker_ask_fee": None}
    dear = read_chance(json.dumps(dearer).encode(), UPBIT, 1, 4)
    assert isinstance(dear, Chance) and (dear.fees.maker_ppm, dear.fees.taker_ppm) == (2500, 2500)
    assert dear.fees_of(Side.BUY) == FeeSchedule(300, 500, FeePayment.QUOTE)
    assert dear.fees_of(Side.SELL) == FeeSchedule(2500, 2500, FeePayment.QUOTE)


def test_a_keys_end_is_read_with_its_zone_or_not_at_all() -> None:
    body = b'[{"access_key":"AK","expire_at":"%s"}]'
    assert read_keys(body % b"2027-03-01T00:00:00+09:00") == {"AK": 1_803_826_800 * 10**9}
    assert read_keys(body % b"2027-03-01T00:00:00") is None
    assert read_keys(body % b"soon") is None


@pytest.mark.parametrize(("rate", "ppm"), [("0.0005", 500), ("0.00000001", 1), ("0.0000139", 14), ("0", 0), ("-0.0001", -100)])
def test_a_rate_is_rounded_up(rate: str, ppm: int) -> None:
    assert rate_ppm_up(Decimal(rate)) == ppm


def test_an_asset_is_suspended_unless_a_network_of_it_works_whole() -> None:
    wanted = {"KRW", "BTC", "USDT", "XRP", "SOL"}
    assert read_suspended(WALLETS, wanted, UPBIT, 1) == ("SOL", "USDT", "XRP")  # type: ignore[arg-type]  # texts for assets


def test_refusals_are_named_by_word_or_number() -> None:
    refusal = read_refusal(b'{"error":{"name":404,"message":"Code not found"}}')
    assert refusal is not None and refusal.name == "404"
    assert read_refusal(b"<html>nonce_used</html>") is None


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_any_bytes_give_words_or_a_named_fault(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.one_of(st.sampled_from(SEEDS), st.binary(max_size=60))))
    for _ in range(data.draw(st.integers(0, 4))):
        start = data.draw(st.integers(0, len(raw)))
        end = min(len(raw), start + data.draw(st.integers(0, 12)))
        raw[start:end] = data.draw(st.one_of(st.sampled_from(TOKENS), st.binary(max_size=8)))
    body = bytes(raw)
    judged = [
        decode(body, UPBIT, 1), CODEC.order(body, 1), CODEC.orders(body, 1), CODEC.balances(body, 1),
        read_chance(body, UPBIT, 1, 4), read_suspended(body, {"BTC"}, UPBIT, 1), read_keys(body), read_refusal(body),  # type: ignore[arg-type]  # an asset
    ]  # fmt: skip
    for one in judged:
        if isinstance(one, FeedFault):
            assert one.detail.isprintable() and len(one.detail) <= 200
        assert "Infinity" not in repr(one) or isinstance(one, FeedFault)


def replaced(seed: bytes, key: str, value: bytes) -> bytes:
    head, _, tail = seed.partition(f'"{key}":'.encode())
    _, mark, rest = tail.partition(b",")
    return head + f'"{key}":'.encode() + value + mark + rest


@pytest.mark.parametrize("value", [b"NaN", b'"NaN"', b'"sNaN"', b'"Infinity"', b"1e999999", b"-1", b"1E-999999", b"9" * 30])
@pytest.mark.parametrize("key", ["price", "volume", "executed_volume", "executed_funds", "trade_fee", "paid_fee", "bid_fee"])
def test_no_absurd_number_gets_through_or_raises(key: str, value: bytes) -> None:
    for seed in SEEDS:
        raw = replaced(seed, key, value)
        word, picture, chance = told(raw), CODEC.order(raw, 1), read_chance(raw, UPBIT, 1, 4)
        for one in (word, picture, chance):
            if not isinstance(one, FeedFault) and one is not None:
                assert not any(absurd in repr(one) for absurd in ("NaN", "Infinity", "E+999999", "9" * 30))
