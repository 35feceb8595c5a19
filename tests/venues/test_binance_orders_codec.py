"""Order answers and execution reports: exact amounts, one set of facts for one fill, and no bytes that raise."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest
from binance_wire_samples import CANCELLED, FULL, OURS, REPORT, STATUS, TRADE, codec, order, raw
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.model.events import FaultKind, FeedFault, OrderAccepted, OrderEnded, OrderFilled
from arbitrage.model.instruments import Side
from arbitrage.model.money import E8, format_e8
from arbitrage.model.orders import ClientOrderId, OrderState, TimeInForce
from arbitrage.venues.binance.orders_wire import ENDS, OPEN_WORDS, OrderNews, place_parameters

AT = 42
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["1e999", "-1", "NaN"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
SAMPLES = [FULL, STATUS, CANCELLED, REPORT]


def news_of(result: object) -> OrderNews:
    assert isinstance(result, OrderNews), result
    return result


def told(news: OrderNews) -> list[Any]:
    return [*news.accepted, *news.fills, *news.ended]


def test_a_full_answer_is_accepted_filled_and_ended() -> None:
    news = news_of(codec().placed(raw(FULL), order(), AT))
    accepted, filled, ended = told(news)
    assert accepted == OrderAccepted(AT, OURS, "28113245")
    assert ended == OrderEnded(AT, OURS, OrderState.FILLED, 1_000_000, "FILLED")
    fill = filled.fill
    assert (fill.price_e8, fill.quantity_e8, fill.quote_e8) == (6_400_020_000_000, 1_000_000, 64_000_200_000)
    assert fill.trade_id == "56112"
    assert (fill.fee_e8, fill.fee_asset, fill.side, fill.is_maker) == (1_000, "BTC", Side.BUY, False)
    assert (news.key, news.total_e8, news.is_ended, news.venue_ms) == (("BTCUSDT", 28113245), 1_000_000, True, 1785000000123)
    assert not news.lacks_fills


def test_the_same_fill_is_the_same_whichever_way_it_comes() -> None:
    by_answer = news_of(codec().placed(raw(FULL), order(), AT)).fills
    by_stream = news_of(codec().report(raw(REPORT), {}, AT)).fills
    asked = news_of(codec().status(raw(STATUS | {"executedQty": "0.01000000"}), OURS, 0, AT))
    by_list = codec().trades(raw([TRADE, TRADE | {"orderId": 1, "id": 9}]), asked, 0, AT)
    assert by_answer == by_stream == tuple(by_list)
    assert len(by_answer) == 1


@given(
    deal=st.tuples(st.integers(1, 10**15), st.integers(1, 10**12)), fee=st.integers(0, 10**9), parts=st.integers(1, 3),
    asset=st.sampled_from(["BTC", "USDT", "BNB"]), side=st.sampled_from(list(Side)),
)  # fmt: skip
def test_any_exact_fill_is_the_same_whichever_way_it_comes(
    deal: tuple[int, int], fee: int, parts: int, asset: str, side: Side
) -> None:
    price, quantity = deal
    quotes = [price * quantity // E8] * parts
    total, quote_total = format_e8(quantity * parts), format_e8(sum(quotes))
    entries = [
        {"price": format_e8(price), "qty": format_e8(quantity), "commission": format_e8(fee), "commissionAsset": asset,
         "tradeId": number} for number in range(parts)
    ]  # fmt: skip
    answer = FULL | {"executedQty": total, "cummulativeQuoteQty": quote_total, "fills": entries, "side": side.name}
    trades = [
        TRADE | {"id": number, "price": format_e8(price), "qty": format_e8(quantity), "quoteQty": format_e8(quote),
                 "commission": format_e8(fee), "commissionAsset": asset, "isBuyer": side is Side.BUY}
        for number, quote in enumerate(quotes)
    ]  # fmt: skip
    reports = [
        REPORT | {"t": number, "I": number, "L": format_e8(price), "l": format_e8(quantity), "Y": format_e8(quote),
                  "n": format_e8(fee), "N": asset, "S": side.name, "z": total}
        for number, quote in enumerate(quotes)
    ]  # fmt: skip
    placed = news_of(codec().placed(raw(answer), order(side=side), AT))
    listed = tuple(codec().trades(raw(trades), placed, 0, AT))
    streamed = tuple(news_of(codec().report(raw(report), {}, AT)).fills[0] for report in reports)
    assert listed == streamed
    is_exact = parts == 1 or price * quantity % E8 == 0
    assert placed.fills == (listed if is_exact else ())
    assert placed.lacks_fills == (not is_exact)
    assert placed.total_e8 == quantity * parts


def test_fills_that_do_not_add_up_to_the_orders_own_total_are_left_to_the_list_of_trades() -> None:
    second = FULL["fills"][0] | {"tradeId": 56113}
    answer = FULL | {"fills": [FULL["fills"][0], second], "executedQty": "0.02", "cummulativeQuoteQty": "1280.00300000"}
    news = news_of(codec().placed(raw(answer), order(quantity="0.02"), AT))
    assert news.fills == ()
    assert news.lacks_fills


def test_an_answer_about_another_order_is_a_fault_and_tells_nothing() -> None:
    other = ClientOrderId("arb-7f3a-2")
    assert isinstance(codec().placed(raw(FULL | {"clientOrderId": other}), order(), AT), FeedFault)
    assert isinstance(codec().status(raw(STATUS), other, 0, AT), FeedFault)
    assert isinstance(codec().status(raw(CANCELLED), other, 0, AT), FeedFault)


def test_the_state_after_a_cancellation_may_name_the_cancel_request() -> None:
    state = STATUS | {"status": "CANCELED", "clientOrderId": "zX9cancelReq1"}
    assert told(news_of(codec().status(raw(state), OURS, 0, AT)))[-1].client_order_id == OURS


def test_an_acknowledgement_without_a_status_is_only_accepted() -> None:
    ack = {"symbol": "BTCUSDT", "orderId": 5, "orderListId": -1, "clientOrderId": OURS, "transactTime": 1}
    assert told(news_of(codec().placed(raw(ack), order(), AT))) == [OrderAccepted(AT, OURS, "5")]


@pytest.mark.parametrize(
    ("status", "state"),
    [("FILLED", OrderState.FILLED), ("CANCELED", OrderState.CANCELLED), ("EXPIRED", OrderState.CANCELLED),
     ("EXPIRED_IN_MATCH", OrderState.CANCELLED), ("REJECTED", OrderState.REJECTED)],
)  # fmt: skip
def test_every_end_is_an_end_with_what_filled(status: str, state: OrderState) -> None:
    news = news_of(codec().status(raw(STATUS | {"status": status}), OURS, 0, AT))
    assert news.ended == (OrderEnded(AT, OURS, state, 400_000, status),)
    assert news.is_ended and news.lacks_fills
    assert bool(news.accepted) == (state is not OrderState.REJECTED)


@pytest.mark.parametrize("status", sorted(OPEN_WORDS))
def test_an_open_order_has_not_ended(status: str) -> None:
    news = news_of(codec().status(raw(STATUS | {"status": status}), OURS, 0, AT))
    assert news.ended == () and not news.is_ended


@given(st.text(min_size=1, max_size=20).filter(lambda word: word not in ENDS and word not in OPEN_WORDS))
def test_an_unknown_status_ends_nothing_and_is_named(status: str) -> None:
    news = news_of(codec().status(raw(STATUS | {"status": status}), OURS, 0, AT))
    (fault,) = news.ended
    assert isinstance(fault, FeedFault)
    assert fault.kind is FaultKind.UNKNOWN_FIELD_VALUE
    assert not news.is_ended


def test_why_an_order_expired_is_told() -> None:
    answer = STATUS | {"expiryReason": "INSUFFICIENT_LIQUIDITY"}
    (ended,) = news_of(codec().status(raw(answer), OURS, 0, AT)).ended
    assert ended.reason == "INSUFFICIENT_LIQUIDITY"
    report = REPORT | {"x": "EXPIRED", "X": "EXPIRED", "eR": "EXECUTION_RULE_PRICE_RANGE_EXCEEDED"}
    (ended,) = news_of(codec().report(raw(report), {}, AT)).ended
    assert ended.reason == "EXECUTION_RULE_PRICE_RANGE_EXCEEDED"


def test_a_cancels_answer_is_about_our_order() -> None:
    news = news_of(codec().status(raw(CANCELLED), OURS, 0, AT))
    assert news.client_order_id == OURS
    assert news.ended == (OrderEnded(AT, OURS, OrderState.CANCELLED, 0, "CANCELED"),)
    assert not news.lacks_fills


@pytest.mark.parametrize(
    ("names", "known", "expected"),
    [
        ({"c": "zX9cancelReq1", "C": OURS}, {}, OURS),
        ({"c": OURS, "C": ""}, {}, OURS),
        ({"c": "zX9cancelReq1", "C": ""}, {("BTCUSDT", 28113245): OURS}, OURS),
        ({"c": "replaced", "C": "other"}, {("BTCUSDT", 28113245): OURS}, OURS),
        ({"c": "zX9cancelReq1", "C": ""}, {("ETHUSDT", 28113245): OURS}, "zX9cancelReq1"),
    ],
)
def test_the_stream_names_our_order_by_its_number_then_the_original_id_then_the_id(
    names: dict[str, str], known: dict[tuple[str, int], ClientOrderId], expected: str
) -> None:
    report = REPORT | {"x": "CANCELED", "X": "CANCELED", "z": "0.00000000", "t": -1} | names
    news = news_of(codec().report(raw(report), known, AT))
    assert news.client_order_id == expected
    assert told(news) == [OrderEnded(AT, ClientOrderId(expected), OrderState.CANCELLED, 0, "CANCELED")]


def test_a_new_order_a_partial_fill_and_a_rejection_by_the_stream() -> None:
    new = REPORT | {"x": "NEW", "X": "NEW", "t": -1, "l": "0", "z": "0", "n": "0", "N": None}
    assert told(news_of(codec().report(raw(new), {}, AT))) == [OrderAccepted(AT, OURS, "28113245")]
    part = REPORT | {"X": "PARTIALLY_FILLED", "l": "0.004", "z": "0.004", "Y": "256.0008"}
    news = news_of(codec().report(raw(part), {}, AT))
    assert [type(event) for event in told(news)] == [OrderFilled]
    assert (news.total_e8, news.is_ended, news.execution_id) == (400_000, False, 8641984)
    rejected = REPORT | {"x": "REJECTED", "X": "REJECTED", "r": "INSUFFICIENT_BALANCE", "z": "0", "t": -1}
    assert told(news_of(codec().report(raw(rejected), {}, AT))) == [
        OrderEnded(AT, OURS, OrderState.REJECTED, 0, "INSUFFICIENT_BALANCE")
    ]


def test_reports_of_markets_that_are_not_configured_are_no_news() -> None:
    assert codec().report(raw(REPORT | {"s": "DOGEUSDT"}), {}, AT) is None


def test_a_fill_without_a_fee_names_what_was_received() -> None:
    free = REPORT | {"n": "0", "N": None}
    (filled,) = news_of(codec().report(raw(free), {}, AT)).fills
    assert (filled.fill.fee_e8, filled.fill.fee_asset) == (0, "BTC")
    trade = TRADE | {"commission": "0", "commissionAsset": None, "isBuyer": False}
    (filled,) = codec().trades(raw([trade]), news_of(codec().status(raw(STATUS), OURS, 0, AT)), 0, AT)
    assert filled.fill.fee_asset == "USDT"


@pytest.mark.parametrize(
    "broken",
    [
        {"n": "0.1", "N": None}, {"s": "ETHUSDT", "n": "0", "N": None}, {"l": "0"}, {"L": "-1"}, {"Y": "1e30"}, {"t": -1},
        {"S": "LEND"}, {"z": "0.000000001"}, {"z": "-1"}, {"i": "x"}, {"L": "NaN"},
    ],
)  # fmt: skip
def test_a_report_that_cannot_be_exact_is_a_named_fault(broken: dict[str, Any]) -> None:
    fault = codec().report(raw(REPORT | broken), {}, AT)
    assert isinstance(fault, FeedFault)
    assert fault.kind in (FaultKind.OUT_OF_RANGE, FaultKind.MALFORMED)


@settings(max_examples=300)
@given(st.binary(max_size=200) | st.builds(raw, JSON))
def test_no_bytes_raise(body: bytes) -> None:
    assert isinstance(codec().placed(body, order(), AT), (OrderNews, FeedFault))
    assert isinstance(codec().status(body, OURS, 0, AT), (OrderNews, FeedFault))
    assert isinstance(codec().report(body, {}, AT), (OrderNews, FeedFault, type(None)))
    sample = news_of(codec().status(raw(STATUS), OURS, 0, AT))
    assert isinstance(codec().trades(body, sample, 0, AT), (list, FeedFault))


@settings(max_examples=300)
@given(st.sampled_from(SAMPLES), st.data())
def test_no_damaged_message_raises_and_no_fill_is_invented(sample: dict[str, Any], data: st.DataObject) -> None:
    damaged = json.loads(json.dumps(sample))
    for _ in range(data.draw(st.integers(1, 3))):
        name = data.draw(st.sampled_from(sorted(damaged)))
        if data.draw(st.booleans()):
            damaged[name] = data.draw(JSON)
        else:
            damaged.pop(name)
    body = raw(damaged)
    results = [codec().placed(body, order(), AT), codec().status(body, OURS, 0, AT), codec().report(body, {}, AT)]
    for result in results:
        assert isinstance(result, (OrderNews, FeedFault, type(None)))
        for filled in result.fills if isinstance(result, OrderNews) else ():
            assert filled.fill.quantity_e8 > 0 and filled.fill.price_e8 > 0 and filled.fill.quote_e8 >= 0


@settings(max_examples=200)
@given(st.data())
def test_no_damaged_list_of_trades_raises(data: st.DataObject) -> None:
    damaged = dict(TRADE)
    damaged[data.draw(st.sampled_from(sorted(damaged)))] = data.draw(JSON)
    sample = news_of(codec().status(raw(STATUS), OURS, 0, AT))
    assert isinstance(codec().trades(raw([damaged]), sample, 0, AT), (list, FeedFault))


@given(
    price=st.integers(1, 10**18), quantity=st.integers(1, 10**18), side=st.sampled_from(list(Side)),
    force=st.sampled_from(list(TimeInForce)),
)  # fmt: skip
def test_orders_are_written_as_plain_decimals_of_at_most_eight_places(
    price: int, quantity: int, side: Side, force: TimeInForce
) -> None:
    parameters = place_parameters(order(format_e8(price), format_e8(quantity), side, force), "BTCUSDT")
    for name, value in (("price", price), ("quantity", quantity)):
        text = str(parameters[name])
        assert set(text) <= set("0123456789.")
        assert len(text.partition(".")[2]) <= 8
        assert Decimal(text) * E8 == value
    assert (parameters["side"], parameters["timeInForce"]) == (side.name, force.name)
    assert (parameters["newOrderRespType"], parameters["type"]) == ("FULL", "LIMIT")
    assert parameters["newClientOrderId"] == OURS
