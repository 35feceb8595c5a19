"""Facts survive the journal unchanged, and values that cannot be have no constructor."""

from __future__ import annotations

import types
import typing

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.model.accounts import (
    BookedFill,
    Difference,
    KillReceipt,
    LeftOrder,
    RestartReport,
    VenueAnswer,
    VenueStanding,
)
from arbitrage.model.effects import Append, Effect, Judged, Report, Severity
from arbitrage.model.entries import Account, Posting
from arbitrage.model.events import AccountBalance, Funded, OpenOrder
from arbitrage.model.facts import (
    Fact,
    FillBooked,
    KillProven,
    KillSwitched,
    LegDecided,
    OrderChanged,
    OrderIntended,
    PairSwitched,
    Paused,
    PlanClosed,
    PlanOpened,
    Reconciled,
    ResidueWrittenOff,
)
from arbitrage.model.instruments import (
    FeePayment,
    FeeSchedule,
    Instrument,
    Node,
    Side,
    TickBand,
    TickTable,
    TradingStatus,
    Venue,
)  # fmt: skip
from arbitrage.model.money import Asset
from arbitrage.model.opportunities import (
    Approved,
    EdgeBreakdown,
    Leg,
    LegChoice,
    Opportunity,
    Outcome,
    PlanState,
    PricedChoice,
    Refusal,
    Refused,
    Residual,
    Transfer,
    Verdict,
)  # fmt: skip
from arbitrage.model.orders import ClientOrderId, Fill, Order, OrderState, PlanId, TimeInForce
from arbitrage.model.snapshots import SNAPSHOT_VERSION, Snapshot

FACTS: tuple[type[msgspec.Struct], ...] = typing.get_args(Fact)
whole = st.integers(-(2**63), 2**64 - 1)
positive = st.integers(1, 2**63)
words = st.text(max_size=12)
VENUE, BTC = Venue("binance"), Asset("BTC")
ORDER = Order(ClientOrderId("a-1"), PlanId("p-1"), 0, VENUE, 0, Side.BUY, 1, 1, TimeInForce.IOC)
FILL = Fill(VENUE, 0, ClientOrderId("a-1"), "t-1", Side.BUY, 1, 1, 0, 0, BTC)
INSTRUMENT = Instrument(
    0, VENUE, "BTCUSDT", BTC, Asset("USDT"), TickTable((TickBand(0, 1), TickBand(5, 5))), 1, 1, 9, 5, TradingStatus.TRADING,
    FeeSchedule(-5, 1_000, FeePayment.NAMED, Asset("BNB")),
)  # fmt: skip

venues, assets = words.map(Venue), words.map(Asset)
nodes = st.builds(Node, venues, assets)
orders = st.builds(
    Order, words.map(ClientOrderId), words.map(PlanId), whole, venues, whole, st.sampled_from(Side), positive, positive,
    st.sampled_from(TimeInForce),
)  # fmt: skip
fills = st.builds(
    Fill, venues, whole, words.map(ClientOrderId), words, st.sampled_from(Side), whole, positive, st.integers(0, 2**63), whole,
    assets, st.booleans(),
)  # fmt: skip
breakdowns = st.builds(lambda net, *costs: EdgeBreakdown(net + sum(costs), *costs, net), *[st.integers(-(2**60), 2**60)] * 4)
legs = st.builds(
    Leg, whole, st.sampled_from(Side), nodes, nodes, whole, whole, whole, whole, whole, assets, whole, whole, st.booleans()
)  # fmt: skip
opportunities = st.builds(
    Opportunity, words, whole, whole, words, st.tuples(legs, legs), st.tuples(st.builds(Transfer, nodes, nodes, whole, whole)),
    nodes, whole, whole, assets, whole, whole, breakdowns,
)  # fmt: skip
outcomes = st.builds(
    Outcome, words.map(PlanId), words, st.sampled_from([state for state in PlanState if state.is_terminal]), assets, whole,
    whole, st.tuples(st.builds(Residual, assets, whole, whole)), whole, whole,
)  # fmt: skip
choices = st.builds(PricedChoice, st.sampled_from(LegChoice), st.none() | whole, words, st.none() | orders)
switches = (whole, st.booleans(), words, words)
ids = st.tuples(words.map(ClientOrderId))
counts = st.integers(0, 2**31)
sides = st.sampled_from(Side)
left_orders = st.builds(
    LeftOrder, words.map(ClientOrderId), venues, whole, sides, positive, st.integers(0, 2**63), st.sampled_from(OrderState)
)
booked = st.builds(BookedFill, words.map(ClientOrderId), words, whole, sides, positive, whole)
open_orders = st.builds(OpenOrder, words.map(ClientOrderId), words, words, st.none() | whole, sides, positive, positive, whole)
balances = st.tuples(st.builds(AccountBalance, assets, whole, whole))


def standing_at(venue: Venue) -> st.SearchStrategy[VenueStanding]:
    differing = st.tuples(whole, whole).filter(lambda pair: pair[0] != pair[1])
    differences = st.tuples(st.builds(lambda asset, pair: Difference(venue, asset, *pair), assets, differing))
    return st.builds(
        lambda asked_ns, took_ns, *found: VenueStanding(venue, asked_ns, asked_ns + took_ns, *found),
        whole, counts, balances, balances, ids, ids, st.tuples(booked), st.tuples(open_orders), differences,
    )  # fmt: skip


reports = st.builds(
    RestartReport, whole, st.text(min_size=1, max_size=12), st.tuples(words.map(PlanId)), st.tuples(left_orders),
    st.tuples(standing_at(Venue("binance")), standing_at(Venue("upbit"))), st.tuples(words),
)  # fmt: skip
answers = st.builds(VenueAnswer, venues, whole, whole, st.just(0), counts)
receipts = st.builds(KillReceipt, whole, words, words, ids, st.tuples(answers), whole)
facts: dict[type[msgspec.Struct], st.SearchStrategy[Fact]] = {
    Funded: st.builds(Funded, whole, venues, assets, whole, words),
    PlanOpened: st.builds(
        PlanOpened, whole, words.map(PlanId), opportunities, st.tuples(orders), whole, st.just((INSTRUMENT,))
    ),
    OrderIntended: st.builds(OrderIntended, whole, orders),
    OrderChanged: st.builds(OrderChanged, whole, words.map(ClientOrderId), st.sampled_from(OrderState), whole, words),
    FillBooked: st.builds(FillBooked, whole, fills, st.sampled_from([None, INSTRUMENT])),
    LegDecided: st.builds(LegDecided, whole, words.map(PlanId), st.sampled_from(LegChoice), st.tuples(choices)),
    PlanClosed: st.builds(PlanClosed, whole, outcomes),
    KillSwitched: st.builds(KillSwitched, *switches),
    Paused: st.builds(Paused, *switches),
    KillProven: st.builds(KillProven, whole, receipts),
    Reconciled: st.builds(Reconciled, whole, reports),
    PairSwitched: st.builds(PairSwitched, whole, words, st.booleans(), words, words),
    ResidueWrittenOff: st.builds(ResidueWrittenOff, whole, assets, whole, words, words),
}  # fmt: skip


def test_every_fact_is_tried() -> None:
    assert set(facts) == set(FACTS)


@pytest.mark.parametrize("fact_type", FACTS, ids=lambda fact_type: fact_type.__name__)
def test_every_fact_survives_the_journal(fact_type: type[msgspec.Struct]) -> None:
    @settings(max_examples=40, deadline=None)
    @given(facts[fact_type])
    def round_trip(fact: Fact) -> None:
        wire = msgspec.json.encode(fact)
        assert msgspec.json.decode(wire, type=Fact) == fact
        assert type(msgspec.json.decode(wire, type=Fact)) is fact_type

    round_trip()


def test_every_fact_has_its_own_tag_and_its_time() -> None:
    tags = [fact_type.__struct_config__.tag for fact_type in FACTS]
    assert len(set(tags)) == len(FACTS) == 13
    assert all("at_ns" in fact_type.__struct_fields__ for fact_type in FACTS)
    assert isinstance(Fact, types.UnionType)


@pytest.mark.parametrize("wire", [b'{"type":"invented","at_ns":1}', b'{"at_ns":1}', b'{"type":"paused","at_ns":"1"}', b"[]"])
def test_what_is_no_fact_is_refused_by_name(wire: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(wire, type=Fact)


@settings(max_examples=25, deadline=None)
@given(opportunities)
def test_an_opportunity_survives_the_wire_and_knows_its_net(opportunity: Opportunity) -> None:
    decoded = msgspec.json.decode(msgspec.json.encode(opportunity), type=Opportunity)
    assert decoded == opportunity
    assert decoded.net_e8 == opportunity.breakdown.net_e8


def test_a_snapshot_keeps_its_sections_as_they_were_written() -> None:
    snapshot = Snapshot(SNAPSHOT_VERSION, "s", 1, 2, {"ledger": msgspec.Raw(b'{"a":[1,2]}')})
    decoded = msgspec.json.decode(msgspec.json.encode(snapshot), type=Snapshot)
    assert bytes(decoded.sections["ledger"]) == b'{"a":[1,2]}'
    assert (decoded.version, decoded.journal_sequence) == (SNAPSHOT_VERSION, 2)


def test_a_breakdown_sums_to_its_net() -> None:
    assert EdgeBreakdown(10, 3, 2, 1, 4).net_e8 == 4
    with pytest.raises(AssertionError):
        EdgeBreakdown(10, 3, 2, 1, 5)


@pytest.mark.parametrize("change", [{"price_e8": 0}, {"quantity_e8": 0}, {"price_e8": -1}])
def test_an_order_without_price_or_quantity_has_no_constructor(change: dict[str, int]) -> None:
    with pytest.raises(AssertionError):
        msgspec.structs.replace(ORDER, **change)


@pytest.mark.parametrize("change", [{"quantity_e8": 0}, {"quote_e8": -1}])
def test_a_fill_that_moves_nothing_has_no_constructor(change: dict[str, int]) -> None:
    with pytest.raises(AssertionError):
        msgspec.structs.replace(FILL, **change)


def test_an_account_says_nothing_that_cannot_be() -> None:
    with pytest.raises(AssertionError, match="no difference"):
        Difference(VENUE, BTC, 5, 5)
    with pytest.raises(AssertionError, match="something or nothing"):
        LeftOrder(ClientOrderId("a"), VENUE, 0, Side.BUY, 1, -1, OrderState.UNKNOWN)
    with pytest.raises(AssertionError, match="after its question"):
        VenueStanding(VENUE, 2, 1, ())
    with pytest.raises(AssertionError, match="of one venue"):
        VenueStanding(VENUE, 1, 2, (), differences=(Difference(Venue("upbit"), BTC, 1, 2),))
    with pytest.raises(AssertionError, match="stands once"):
        RestartReport(1, "start", (), (), (VenueStanding(VENUE, 1, 2, ()),) * 2, ())


def test_a_difference_is_named_by_its_node_and_told_with_three_numbers() -> None:
    found = Difference(VENUE, BTC, 3 * 10**8, 10**8)
    assert (found.name, found.amount_e8) == ("binance-BTC", -2 * 10**8)
    assert str(found) == "binance BTC: ledger 3, venue 1, difference -2"


def test_trading_is_armed_when_a_report_holds_nothing_against_it() -> None:
    assert RestartReport(1, "start", (), (), (), ()).is_armed
    assert not RestartReport(1, "start", (), (), (), ("binance: its account is not connected yet",)).is_armed


def test_a_kill_is_not_proven_while_a_venue_shows_an_open_order_of_ours() -> None:
    shown = VenueAnswer(VENUE, 1, 2, own_orders=1, foreign_orders=0)
    assert KillReceipt(1, "kim", "test", answers=(shown,)).proven_at_ns == 0
    with pytest.raises(AssertionError, match="not proven away"):
        KillReceipt(1, "kim", "test", answers=(shown,), proven_at_ns=3)


@pytest.mark.parametrize("state", PlanState)
def test_an_outcome_is_an_end(state: PlanState) -> None:
    assert state.is_terminal == (state not in {PlanState.WORKING, PlanState.GOVERNED})
    if not state.is_terminal:
        with pytest.raises(AssertionError):
            Outcome(PlanId("p"), "o", state, Asset("USDT"), 0, 0, (), 0, 0)


@pytest.mark.parametrize("state", OrderState)
def test_a_lost_acknowledgement_is_no_end(state: OrderState) -> None:
    assert state.is_terminal == (state in {OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED})


def test_nodes_are_ordered_and_hashable() -> None:
    first, second = Node(Venue("binance"), Asset("BTC")), Node(Venue("upbit"), Asset("BTC"))
    assert first < second
    assert len({first, second, Node(Venue("upbit"), Asset("BTC"))}) == 2


@settings(max_examples=25, deadline=None)
@given(opportunities, st.sampled_from(Refusal), words)
def test_a_judgement_is_kept_with_its_verdict(opportunity: Opportunity, reason: Refusal, detail: str) -> None:
    verdicts: tuple[Verdict, ...] = (Refused(reason, detail), Approved(opportunity))
    for verdict in verdicts:
        wire = msgspec.json.encode(Judged(opportunity, verdict))
        assert msgspec.json.decode(wire, type=Judged).verdict == verdict


def test_effects_are_values() -> None:
    effects: list[Effect] = [Append(Paused(1, True, "a", "b")), Report(Severity.INFO, "code", "text", {"n": 1})]
    assert [Append(Paused(1, True, "a", "b")), Report(Severity.INFO, "code", "text", {"n": 1})] == effects
    for effect in effects:
        with pytest.raises(AttributeError):
            effect.code = "other"


def test_refusals_have_their_own_stable_names() -> None:
    names = [reason.value for reason in Refusal]
    assert len(set(names)) == len(names)
    assert all(name == name.lower() for name in names)


def test_postings_sort_and_survive_the_wire() -> None:
    free, fees = Posting(Account.FREE, Node(VENUE, BTC), 1), Posting(Account.FEES, Node(VENUE, BTC), -1)
    assert msgspec.json.decode(msgspec.json.encode([free, fees]), type=list[Posting]) == [free, fees]
    assert free != fees
