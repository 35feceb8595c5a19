"""A fill is the same whichever source tells it, fees add up to what the order paid, and a silent stream is found out."""

from __future__ import annotations

import random
from collections import Counter
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.model.instruments import FeePayment, FeeSchedule, Side, Venue
from arbitrage.model.money import E8, PPM
from arbitrage.model.orders import ClientOrderId, Fill
from arbitrage.venues.budget import NS_PER_S
from arbitrage.venues.upbit.amounts import fee_shares, in_proportion
from arbitrage.venues.upbit.fills import Fills
from arbitrage.venues.upbit.orders_wire import OrderPicture, TradePicture
from arbitrage.venues.upbit.private_wire import OrderWord, TradeWord
from arbitrage.venues.upbit.stream_watch import OWED_NS, StreamWatch

OURS = ClientOrderId("arb-1")
SCHEDULE = FeeSchedule(300, 500, FeePayment.QUOTE)
TAKER = FeeSchedule(500, 500, FeePayment.QUOTE)
NO_WORD: dict[str, Any] = {"quantity_e8": None, "trade": None}
Executed = tuple[int, int, int]
"""Price, quantity, fee."""
prices = st.integers(1, 200_000_000 * 10).map(lambda price: price * E8 // 10)
trades = st.lists(st.tuples(prices, st.integers(1, 10**10)), min_size=1, max_size=8)


def quote_e8(price_e8: int, quantity_e8: int) -> int:
    return price_e8 * quantity_e8 // E8


def decimal(value_e8: int) -> Decimal:
    return Decimal(value_e8).scaleb(-8)


def picture(executed: list[Executed], state: str = "wait", total_e8: int = 10**12) -> OrderPicture:
    shown = tuple(TradePicture(f"t{place}", p, q, quote_e8(p, q)) for place, (p, q, _) in enumerate(executed))
    filled_e8 = sum(q for _, q, _ in executed)
    paid_e8 = sum(fee for _, _, fee in executed)
    return OrderPicture("KRW-BTC", "u1", OURS, Side.BUY, state, 10**8, total_e8, filled_e8, paid_e8, shown, len(shown))


def words(executed: list[Executed]) -> list[OrderWord]:
    made, filled_e8, funds_e8 = [], 0, 0
    for place, (price_e8, quantity, fee_e8) in enumerate(executed):
        filled_e8 += quantity
        funds_e8 += quote_e8(price_e8, quantity)
        trade = TradeWord(f"t{place}", decimal(price_e8), decimal(quantity), fee_e8, False)
        made.append(OrderWord("KRW-BTC", "u1", OURS, Side.BUY, "trade", None, filled_e8, decimal(funds_e8), trade))
    return made


def fresh() -> tuple[Fills, Counter[str]]:
    counters: Counter[str] = Counter()
    return Fills(Venue("upbit"), {"KRW-BTC": 0}, counters), counters


def with_fees(pairs: list[tuple[int, int]], rate_ppm: int, rounding: int) -> list[Executed]:
    """Charge every trade, rounding down (0), to the nearest (1) or up (2)."""
    halves = (0, PPM // 2, PPM - 1)[rounding]
    return [(price, quantity, (quote_e8(price, quantity) * rate_ppm + halves) // PPM) for price, quantity in pairs]


def same(ours: list[Fill], other: list[Fill]) -> bool:
    return [msgspec.structs.astuple(fill) for fill in ours] == [msgspec.structs.astuple(fill) for fill in other]


@settings(max_examples=200, deadline=None)
@given(trades, st.sampled_from([500, 2500, 139]), st.integers(0, 2))
def test_stream_and_rest_tell_the_same_fills_and_fees(pairs: list[tuple[int, int]], rate_ppm: int, rounding: int) -> None:
    executed = with_fees(pairs, rate_ppm, rounding)
    by_stream, said = fresh()
    by_rest, shown = fresh()
    fees = FeeSchedule(rate_ppm, rate_ppm, FeePayment.QUOTE)
    streamed = [fill for word in words(executed) if (fill := by_stream.told(word)) is not None]
    rested = by_rest.shown(picture(executed), OURS, fees)
    assert rested is not None and same(streamed, rested)
    assert not +said and not +shown
    assert sum(fill.fee_e8 for fill in rested) == sum(fee for _, _, fee in executed)


@settings(max_examples=150, deadline=None)
@given(trades, st.randoms(use_true_random=False), st.integers(0, 2))
def test_in_whatever_order_the_sources_speak_no_fill_is_told_in_two_ways(
    pairs: list[tuple[int, int]], rng: random.Random, rounding: int
) -> None:
    executed = with_fees(pairs, 500, rounding)
    fills, counters = fresh()
    emitted: list[Fill] = []
    acts = [lambda word=word: fills.told(word) for word in words(executed)]
    acts += [lambda n=n: fills.shown(picture(executed[:n]), OURS, TAKER) for n in range(1, len(executed) + 1)]
    acts.append(lambda: fills.shown(picture(executed), OURS, None))
    acts.append(lambda: fills.shown(msgspec.structs.replace(picture(executed), trades=()), OURS, TAKER))
    rng.shuffle(acts)
    for act in acts:
        said = act()
        emitted += said if isinstance(said, list) else [said] if said is not None else []
    told = {fill.trade_id: fill.fee_e8 for fill in emitted}
    assert told == {f"t{place}": fee_e8 for place, (_, _, fee_e8) in enumerate(executed)}
    for trade_id in told:
        (_,) = {msgspec.structs.astuple(fill) for fill in emitted if fill.trade_id == trade_id}
    assert not counters["fees_disagree"] and not counters["fills_told_differently"]


@settings(max_examples=200, deadline=None)
@given(trades, st.randoms(use_true_random=False), st.integers(0, 2), st.integers(0, 8))
def test_after_a_restart_rest_tells_the_rest_as_the_stream_would_have(
    pairs: list[tuple[int, int]], rng: random.Random, rounding: int, heard: int
) -> None:
    """What was booked before stands: what is told of the others must be right by itself, or the sum is not."""
    executed = with_fees(pairs, 500, rounding)
    before, after = fresh()[0], fresh()[0]
    booked = {word.trade.trade_id: before.told(word) for word in words(executed)[:heard] if word.trade is not None}
    shown = after.shown(picture(executed), OURS, TAKER)
    assert shown is not None
    for fill in shown:
        booked.setdefault(fill.trade_id, fill)
    assert sum(fill.fee_e8 for fill in booked.values() if fill is not None) == sum(fee for _, _, fee in executed)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 10**16), max_size=8), st.integers(0, 10**13))
def test_a_split_fee_always_adds_up(quotes: list[int], paid_e8: int) -> None:
    shares = in_proportion(quotes, paid_e8 if quotes else 0)
    assert sum(shares) == (paid_e8 if quotes else 0)
    assert len(shares) == len(quotes) and all(share >= 0 for share in shares)


@pytest.mark.parametrize("taken", [0, 1, 2, 3])
def test_an_order_that_took_and_then_rested_pays_both_rates(taken: int) -> None:
    quotes = [10**14 + 7, 3 * 10**13 + 1, 2 * 10**14 + 3]
    paid = [q * (500 if place < taken else 300) // PPM for place, q in enumerate(quotes)]
    assert fee_shares(quotes, sum(paid), SCHEDULE) == paid


def test_what_no_rule_or_more_than_one_explains_is_no_certain_fee() -> None:
    assert fee_shares([10**10, 10**10], 12_345, SCHEDULE) is None
    assert fee_shares([10**10, 10**10], 0, SCHEDULE) is None, "fees that are not booked yet"
    assert fee_shares([6_000, 1], 3, SCHEDULE) is None, "3 + 0 as the taker, cut off, or 2 + 1 as the maker, rounded up"


def test_fees_that_no_rule_explains_are_asked_again_and_split_at_the_last_word() -> None:
    executed = [(10**10, 10**8, 6_000_000), (10**10, 10**8, 6_345_679)]
    fills, counters = fresh()
    assert fills.shown(picture(executed), OURS, SCHEDULE) is None
    told = fills.shown(picture(executed), OURS, SCHEDULE, is_last_word=True)
    assert told is not None and sum(fill.fee_e8 for fill in told) == 12_345_679
    assert (counters["fees_asked_again"], counters["fees_unexplained"]) == (1, 1)
    assert fills.shown(picture(executed), OURS, SCHEDULE) == told, "what was told stands"


def test_a_list_of_trades_that_is_not_whole_is_asked_again_and_told_at_the_takers_rate_at_the_last_word() -> None:
    executed = with_fees([(10**10, 10**8), (10**10, 10**8)], 500, 0)
    part = msgspec.structs.replace(picture(executed), trades=picture(executed).trades[:1])
    fills, counters = fresh()
    assert fills.shown(part, OURS, SCHEDULE) is None
    told = fills.shown(part, OURS, SCHEDULE, is_last_word=True)
    assert told is not None
    (only,) = told
    assert only.fee_e8 == 5_000_000 and counters["fees_unexplained"] == 1
    whole = fills.shown(picture(executed), OURS, SCHEDULE)
    assert whole is not None and [fill.fee_e8 for fill in whole] == [5_000_000, 5_000_000]
    assert not counters["fees_disagree"]


def test_a_fill_of_another_market_or_without_our_id_is_not_ours() -> None:
    fills, _ = fresh()
    (word,) = words([(10**10, 10**8, 5)])
    assert fills.told(msgspec.structs.replace(word, symbol="KRW-XRP")) is None
    assert fills.told(msgspec.structs.replace(word, identifier="")) is None
    assert fills.shown(msgspec.structs.replace(picture([]), symbol="KRW-XRP"), OURS, None) == []


# -- silence ----------------------------------------------------------------------------------------------------------


def watched(now_ns: int = 0) -> StreamWatch:
    watch = StreamWatch()
    watch.link_up()
    watch.begin(OURS, 0, now_ns)
    return watch


def wait_word() -> OrderWord:
    return OrderWord("KRW-BTC", "u1", OURS, Side.BUY, "wait", 10**12, 0, Decimal(0), None)


def test_a_stream_that_says_nothing_of_an_accepted_order_is_silent() -> None:
    watch = watched()
    watch.accepted(OURS, NS_PER_S)
    assert watch.silence(NS_PER_S + OWED_NS - 1) == ""
    assert "its acceptance" in watch.silence(NS_PER_S + OWED_NS)


def test_a_word_in_time_pays_the_debt() -> None:
    watch = watched()
    watch.accepted(OURS, NS_PER_S)
    assert not watch.heard(wait_word(), 0, 2 * NS_PER_S, is_end=False)
    assert watch.silence(100 * NS_PER_S) == ""


def test_a_fill_that_rest_alone_shows_is_owed_until_the_stream_tells_it() -> None:
    watch = watched()
    watch.heard(wait_word(), 0, 1, is_end=False)
    executed = [(10**10, 10**8, 5)]
    assert watch.has_news(picture(executed), OURS, 3 * NS_PER_S)
    assert "a fill" in watch.silence(3 * NS_PER_S + OWED_NS)
    watch.heard(words(executed)[0], 0, 4 * NS_PER_S, is_end=False)
    assert watch.silence(100 * NS_PER_S) == ""


def test_a_look_that_shows_nothing_new_asks_nothing_and_ends_the_grace_after_a_reconnect() -> None:
    watch = watched()
    watch.link_up()
    assert not watch.has_news(picture([]), OURS, 5)
    watch.heard(wait_word(), 0, 6, is_end=False)
    assert watch.has_news(picture([(10**10, 10**8, 5)]), OURS, 7)
    assert "a fill" in watch.silence(7 + OWED_NS)


def test_an_end_that_rest_alone_shows_is_owed() -> None:
    watch = watched()
    watch.heard(wait_word(), 0, 1, is_end=False)
    assert watch.has_news(picture([], state="cancel"), OURS, 0)
    assert "its end" in watch.silence(OWED_NS)


def test_nothing_is_owed_for_what_happened_before_the_stream_was_up() -> None:
    watch = watched()
    watch.accepted(OURS, 0)
    watch.link_up()
    before = picture([(10**10, 10**8, 5)], state="done")
    assert watch.has_news(before, OURS, 5)
    assert len(watch.open) == 1, "what was seen and not yet told is looked at again"
    watch.shown(before, OURS, 0, 6)
    assert watch.silence(100 * NS_PER_S) == ""
    assert watch.open == []


def test_a_fill_that_the_stream_skipped_is_noticed_at_the_next_word() -> None:
    watch = watched()
    first, second, third = words([(10**10, 10**8, 5)] * 3)
    assert not watch.heard(first, 0, 1, is_end=False)
    assert watch.heard(third, 0, 2, is_end=False)
    assert not watch.heard(second, 0, 3, is_end=False)


def test_late_words_about_an_order_that_ended_mean_nothing() -> None:
    watch = watched()
    (word,) = words([(10**10, 10**8, 5)])
    watch.heard(word, 0, 1, is_end=True)
    assert watch.open == []
    watch.heard(wait_word(), 0, 2, is_end=False)
    assert not watch.has_news(picture([(10**10, 10**8, 5)], state="done"), OURS, 3)
    watch.shown(picture([(10**10, 10**8, 5)], state="done"), OURS, 0, 3)
    assert watch.open == [] and watch.silence(100 * NS_PER_S) == ""


def test_an_open_order_is_looked_at_every_two_seconds() -> None:
    watch = watched()
    assert watch.due(1 * NS_PER_S, 100) == []
    assert [order.client_order_id for order in watch.due(2 * NS_PER_S, 100)] == [OURS]
    assert watch.due(3 * NS_PER_S, 100) == []
    watch.look_now()
    assert len(watch.due(3 * NS_PER_S, 100)) == 1


def test_an_order_that_never_arrived_is_looked_for_two_minutes() -> None:
    watch = watched()
    watch.absent(OURS, 119 * NS_PER_S)
    assert len(watch.open) == 1
    watch.absent(OURS, 121 * NS_PER_S)
    assert watch.open == []


def test_at_worst_silence_is_known_within_ten_seconds_of_a_change() -> None:
    """A change right after a look is seen at the next one; the debt falls due then, and is looked at twice a second."""
    watch = watched()
    watch.heard(wait_word(), 0, 0, is_end=False)
    watch.due(2 * NS_PER_S, 1)
    changed_ns = 2 * NS_PER_S + 1
    now_ns = changed_ns
    while not watch.silence(now_ns):
        if watch.due(now_ns, 1):
            assert watch.has_news(picture([(10**10, 10**8, 5)]), OURS, now_ns)
        now_ns += NS_PER_S // 2
    assert now_ns - changed_ns < 10 * NS_PER_S
