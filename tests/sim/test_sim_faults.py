import json
import random

import pytest
from exchange_world import World, binance, e8, upbit
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.model.instruments import Side
from arbitrage.sim.exchange.acts import ActError, Acts
from arbitrage.sim.exchange.faults import ACTS, CONDITIONS, FIRED_MAX, RULES_MAX, STROKES, Fault, Faults, Kind
from arbitrage.sim.exchange.keys import binance_key, upbit_key
from arbitrage.sim.exchange.nouns import Rejection, Why
from arbitrage.sim.exchange.outbox import Outbox
from arbitrage.sim.exchange.scripts import ScriptError, parse_script, read_faults, seeded_faults

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now_ns = 5_000 * SECOND

    def __call__(self) -> int:
        return self.now_ns

    def pass_s(self, seconds: float) -> None:
        self.now_ns += int(seconds * SECOND)


def armed(*faults: Fault, venue: str = "binance") -> tuple[Faults, Clock]:
    clock = Clock()
    return Faults(venue, clock, random.Random(1), faults), clock


def test_every_kind_is_of_one_sort():
    assert set(Kind) == STROKES | CONDITIONS | ACTS and not STROKES & CONDITIONS and not (STROKES | CONDITIONS) & ACTS


def test_a_stroke_strikes_as_often_as_it_says_and_is_written_down():
    faults, clock = armed(Fault(Kind.LOST, endpoint="POST /api/v3/*", times=2))
    assert faults.take("GET /api/v3/order") is None
    assert faults.take("POST /api/v3/order").kind is Kind.LOST
    clock.pass_s(1)
    assert faults.take("POST /api/v3/order/test").kind is Kind.LOST
    assert faults.take("POST /api/v3/order") is None and faults.armed() == []
    assert [(one.at_ns, one.kind, one.subject) for one in faults.fired] == [
        (5_000 * SECOND, Kind.LOST, "POST /api/v3/order"), (5_001 * SECOND, Kind.LOST, "POST /api/v3/order/test")
    ]  # fmt: skip
    assert faults.counts == {"lost": 2}


def test_skip_contains_and_venue_choose_what_is_struck():
    faults, _ = armed(Fault(Kind.CUT, venue="upbit"), Fault(Kind.LATE, contains="side=SELL", skip=1), Fault(Kind.HTML, times=0))
    assert faults.take("order.place", "side=BUY").kind is Kind.HTML
    assert faults.take("order.place", "side=SELL").kind is Kind.HTML
    assert faults.take("order.place", "side=SELL").kind is Kind.LATE
    assert faults.take("order.place", "side=SELL").kind is Kind.HTML


def test_sockets_and_new_connections_are_struck_only_by_name():
    faults, _ = armed(Fault(Kind.CUT, times=0), Fault(Kind.HALF_OPEN, endpoint="socket /ws-api/*", times=0))
    assert faults.take("socket /ws") is None and faults.take("connect /ws-api/v3") is None
    assert faults.take("socket /ws-api/v3").kind is Kind.HALF_OPEN and faults.take("GET /x").kind is Kind.CUT


def test_a_fault_begins_and_ends_when_it_says():
    faults, clock = armed(Fault(Kind.LOST, times=0, at_s=2, for_s=3))
    assert faults.take("x") is None
    clock.pass_s(2)
    assert faults.take("x") is not None
    clock.pass_s(2.9)
    assert faults.take("x") is not None
    clock.pass_s(0.1)
    assert faults.take("x") is None and faults.armed() == []


def test_chance_is_drawn_from_the_generator_handed_in():
    faults, _ = armed(Fault(Kind.LOST, times=0, chance_ppm=250_000))
    struck = sum(faults.take("x") is not None for _ in range(4_000))
    again, _ = armed(Fault(Kind.LOST, times=0, chance_ppm=250_000))
    assert 900 < struck < 1_100 and struck == sum(again.take("x") is not None for _ in range(4_000))
    never, _ = armed(Fault(Kind.LOST, times=0, chance_ppm=0))
    assert not any(never.take("x") for _ in range(100))


def test_conditions_stand_for_their_symbol_and_time_and_are_written_down_once():
    faults, clock = armed(Fault(Kind.FROZEN, symbol="BTCUSDT", for_s=5), Fault(Kind.SKEW, ms=-3_000, at_s=1))
    assert faults.standing(Kind.FROZEN, "BTCUSDT") and not faults.standing(Kind.FROZEN, "ETHUSDT")
    assert faults.skew_ns() == 0 and faults.take("x") is None
    clock.pass_s(1)
    assert faults.skew_ns() == -3 * SECOND
    clock.pass_s(4)
    assert not faults.standing(Kind.FROZEN, "BTCUSDT")
    assert [(one.kind, one.phase, one.subject) for one in faults.fired] == [
        (Kind.FROZEN, "began", "BTCUSDT"), (Kind.SKEW, "began", ""), (Kind.FROZEN, "ended", "BTCUSDT")
    ]  # fmt: skip
    assert faults.counts == {"frozen": 1, "skew": 1}


def test_a_young_order_is_hidden_while_the_fault_lasts():
    faults, clock = armed(Fault(Kind.NOT_FOUND, ms=3_000, for_s=60))
    made_ns = clock.now_ns
    assert faults.is_hidden(made_ns)
    clock.pass_s(2.9)
    assert faults.is_hidden(made_ns)
    clock.pass_s(0.1)
    assert not faults.is_hidden(made_ns)
    assert not armed()[0].is_hidden(made_ns) and armed()[0].skew_ns() == 0


def test_acts_are_told_when_they_begin_and_end_even_if_nobody_looked_in_between():
    told = []
    faults, clock = armed()
    faults.listen(lambda fault, is_begin: told.append((fault.kind, is_begin)))
    faults.add(Fault(Kind.BAN, at_s=1, for_s=2))
    clock.pass_s(9)
    faults.advance()
    assert told == [(Kind.BAN, True), (Kind.BAN, False)]
    faults.add(Fault(Kind.HALT, symbol="BTCUSDT"))
    faults.add(Fault(Kind.HALT, symbol="ETHUSDT", at_s=9))
    faults.add(Fault(Kind.LOST))
    faults.advance()
    faults.clear()
    assert told[2:] == [(Kind.HALT, True), (Kind.HALT, False)] and faults.armed() == []


def test_an_act_that_is_over_when_all_is_cleared_ends_once():
    faults, clock = armed(Fault(Kind.BAN, for_s=2), Fault(Kind.SKEW, ms=3_000, for_s=60))
    told: list[bool] = []

    def hear(fault: Fault, is_begin: bool) -> None:
        told.append(is_begin)
        faults.skew_ns()  # a venue that hears of a ban reads its clock

    faults.listen(hear)
    faults.advance()
    clock.pass_s(3)
    faults.clear()
    assert told == [True, False] and not faults.armed()


def test_there_are_never_more_faults_nor_records_than_the_limits():
    faults, _ = armed(*(Fault(Kind.LOST, endpoint="y") for _ in range(RULES_MAX)))
    assert not faults.add(Fault(Kind.LATE)) and len(faults.armed()) == RULES_MAX
    faults.clear()
    faults.add(Fault(Kind.LATE, times=0))
    for _ in range(FIRED_MAX + 5):
        faults.take("x")
    assert len(faults.fired) == FIRED_MAX and faults.counts["late"] == FIRED_MAX + 5


@pytest.mark.parametrize(
    "words",
    [
        {"kind": "halt"}, {"kind": "wallet"}, {"kind": "rules", "symbol": "BTCUSDT"}, {"kind": "ban"},
        {"kind": "shutdown"},
        {"kind": "lost", "times": -1}, {"kind": "lost", "chance_ppm": 1_000_001}, {"kind": "nonsense"},
        {"kind": "lost", "what": 1}, "x", 5,
    ],
)  # fmt: skip
def test_a_script_that_says_nothing_doable_is_refused(words):
    with pytest.raises(ScriptError):
        parse_script(json.dumps(words).encode())
    with pytest.raises(ScriptError):
        parse_script(json.dumps([words]).encode())


def test_a_script_is_a_list_or_one_fault_or_a_seed(tmp_path):
    path = tmp_path / "faults.json"
    path.write_text('[{"kind": "ban", "for_s": 2.5}, {"kind": "rules", "symbol": "BTCUSDT", "fields": {"tick": "0.1"}}]')
    assert read_faults(str(path)) == [
        Fault(Kind.BAN, for_s=2.5), Fault(Kind.RULES, symbol="BTCUSDT", fields={"tick": "0.1"})
    ]  # fmt: skip
    path.write_text(' {"kind": "cut"}')
    assert read_faults(str(path)) == [Fault(Kind.CUT)]
    assert read_faults("7") == seeded_faults(7) != seeded_faults(8)
    with pytest.raises(ScriptError):
        read_faults(str(tmp_path / "none.json"))
    with pytest.raises(ScriptError):
        parse_script(json.dumps([{"kind": "cut"}] * 1_001).encode())


def test_a_seeded_day_strikes_orders_streams_and_books_of_both_venues():
    for name in ("POST /api/v3/order", "order.place", "DELETE /v1/order", "POST /v1/orders", "executionReport", "myOrder"):
        faults, _ = armed(*seeded_faults(3))
        assert any(faults.take(name) for _ in range(2_000)), name
    faults, _ = armed(*seeded_faults(3))
    assert any(faults.take("btcusdt@depth@100ms") for _ in range(30_000))


def test_acts_change_the_exchange_and_are_taken_back():
    world = binance()
    acts = Acts(world.exchange)
    faults, clock = armed(
        Fault(Kind.HALT, symbol="BTCUSDT", for_s=1), Fault(Kind.WALLET, asset="BTC", for_s=1),
        Fault(
            Kind.RULES, symbol="BTCUSDT", for_s=1,
            fields={"tick": "0.5", "lot": "0.1", "minimum": "50", "taker_fee": "0.002"},
        ),
        Fault(Kind.BAN, for_s=1),
    )  # fmt: skip
    faults.listen(acts)
    before = world.exchange.rules("BTCUSDT")
    faults.advance()
    assert world.exchange.halted == {"BTCUSDT"} and world.exchange.suspended == {"BTC"}
    rules = world.exchange.rules("BTCUSDT")
    assert (rules.ticks.tick_e8_at(e8(99)), rules.lot_e8, rules.notional_e8_min) == (e8("0.5"), e8("0.1"), e8(50))
    assert (rules.taker_ppm, rules.maker_ppm) == (2_000, 1_000)
    assert world.limit(Side.BUY, "99", "1").why is Why.HALTED
    clock.pass_s(1)
    faults.advance()
    assert world.exchange.rules("BTCUSDT") == before and not world.exchange.halted and not world.exchange.suspended
    assert not isinstance(world.limit(Side.BUY, "99.01", "1"), Rejection)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(Kind.HALT, symbol="NONE"), Fault(Kind.RULES, symbol="BTCUSDT", fields={"colour": "1"}),
        Fault(Kind.RULES, symbol="BTCUSDT", fields={"tick": "0"}), Fault(Kind.RULES, symbol="BTCUSDT", fields={"lot": "x"}),
    ],
)  # fmt: skip
def test_an_act_that_an_exchange_cannot_do_is_refused_before_it_begins(fault):
    with pytest.raises(ActError):
        Acts(binance().exchange).check(fault)


def test_keys_are_made_from_the_seed_and_do_not_show_themselves():
    assert binance_key(1) == binance_key(1) != binance_key(2) and upbit_key(1) != upbit_key(2)
    assert binance_key(1).ed25519_pem.startswith("-----BEGIN PRIVATE KEY-----") and len(upbit_key(1).secret) == 64
    assert binance_key(1).secret not in repr(binance_key(1)) and "PRIVATE" not in str(binance_key(1))


def outbox(*faults: Fault) -> tuple[Outbox, Clock, list, list]:
    sent, cuts = [], []
    armed_faults, clock = armed(*faults)
    return Outbox(armed_faults, clock, sent.append, lambda: cuts.append(1)), clock, sent, cuts


def test_messages_are_lost_repeated_late_and_overtaken():
    box, clock, sent, _ = outbox(
        Fault(Kind.LOST, contains="1"), Fault(Kind.REPEATED, contains="2"), Fault(Kind.LATE, contains="3", ms=500),
        Fault(Kind.REORDERED, contains="4"),
    )  # fmt: skip
    for number in range(1, 7):
        box.put("m", number, str(number))
    assert sent == [2, 2, 5, 4, 6]
    box.release()
    clock.pass_s(0.5)
    box.release()
    assert sent == [2, 2, 5, 4, 6, 3]


def test_what_nothing_overtakes_goes_out_after_a_second():
    box, clock, sent, _ = outbox(Fault(Kind.REORDERED))
    box.put("m", 1)
    clock.pass_s(0.9)
    box.release()
    assert sent == []
    clock.pass_s(0.1)
    box.release()
    assert sent == [1]


@pytest.mark.parametrize("kind", [Kind.CUT, Kind.HALF_OPEN])
def test_a_dead_connection_sends_nothing_more(kind):
    box, clock, sent, cuts = outbox(Fault(Kind.LATE, ms=100), Fault(kind))
    for number in range(4):
        box.put("m", number)
    clock.pass_s(5)
    box.release()
    assert sent == [] and cuts == ([1] if kind is Kind.CUT else [])


def test_without_faults_everything_goes_out_at_once():
    sent = []
    box = Outbox(None, lambda: 0, sent.append, sent.clear)
    box.put("m", 1)
    box.deliver(None, 2)
    box.release()
    assert sent == [1, 2]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from([None, Kind.LOST, Kind.LATE, Kind.REPEATED, Kind.REORDERED]), max_size=30))
def test_nothing_is_lost_or_doubled_but_by_its_own_fault(kinds):
    box, clock, sent, _ = outbox()
    for number, kind in enumerate(kinds):
        box.deliver(None if kind is None else Fault(kind, ms=10), number)
        clock.pass_s(0.003)
        box.release()
    clock.pass_s(2)
    box.release()
    expected = {number: {None: 1, Kind.LOST: 0, Kind.REPEATED: 2}.get(kind, 1) for number, kind in enumerate(kinds)}
    assert {number: sent.count(number) for number in expected} == expected


def test_a_world_of_upbit_takes_acts_on_its_own_symbols_only():
    world: World = upbit()
    Acts(world.exchange).check(Fault(Kind.HALT, symbol="KRW-BTC"))
    with pytest.raises(ActError):
        Acts(world.exchange).check(Fault(Kind.HALT, symbol="BTCUSDT"))


def test_overlapping_acts_hold_until_the_last_of_them_ends():
    world = binance()
    before = world.exchange.rules("BTCUSDT")
    halt = {"kind": Kind.HALT, "symbol": "BTCUSDT"}
    faults, clock = armed(
        Fault(Kind.RULES, symbol="BTCUSDT", for_s=2, fields={"lot": "0.1", "maker_fee": "0.003"}),
        Fault(Kind.RULES, symbol="BTCUSDT", at_s=1, for_s=2, fields={"lot": "0.2"}),
        Fault(**halt, for_s=2), Fault(**halt, at_s=1, for_s=2),
    )  # fmt: skip
    faults.listen(Acts(world.exchange))
    told = []
    for _ in range(4):
        faults.advance()
        rules = world.exchange.rules("BTCUSDT")
        told.append((rules.lot_e8, rules.maker_ppm, bool(world.exchange.halted)))
        clock.pass_s(1)
    own = (before.lot_e8, before.maker_ppm)
    assert told == [(e8("0.1"), 3_000, True), (e8("0.2"), 3_000, True), (e8("0.2"), own[1], True), (*own, False)]
