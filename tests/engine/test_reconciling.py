"""Accounts against the ledger: nothing trades until every venue was asked and every difference is explained or accepted."""

from __future__ import annotations

import msgspec
import pytest
from account_world import START, AccountWorld, asked, cancelled, open_order, queried
from engine_world import BINANCE, BTC, KRW, MARKETS, MS, UPBIT, USDT, World, settings

from arbitrage.engine.engine import Engine
from arbitrage.engine.reconciling import ANSWER_NS_MAX, SUSPICIONS_MAX, VAIN_MAX
from arbitrage.engine.viewing import view_of
from arbitrage.ledger.state import Leftover
from arbitrage.model.effects import Append, QueryOrder
from arbitrage.model.events import AccountRead, CommandKind, DifferenceFound, Funded, OrderAbsent, OrderAccepted
from arbitrage.model.facts import FillBooked, LegDecided, OrderChanged, ResidueWrittenOff
from arbitrage.model.instruments import Node, Side
from arbitrage.model.money import E8, Asset
from arbitrage.model.opportunities import Approved, LegChoice, Refusal, Refused
from arbitrage.model.orders import Order, OrderState

SECOND_NS = 1_000 * MS


def started() -> AccountWorld:
    world = AccountWorld()
    world.start()
    return world


def refusals(world: World) -> set[Refusal]:
    return {judged.verdict.reason for judged in world.verdicts() if isinstance(judged.verdict, Refused)}


def test_a_mode_without_accounts_is_never_in_its_own_way() -> None:
    world = World()
    world.connect()
    assert world.engine.not_armed_because() == () and world.engine.reconciler.differences() == ()
    assert world.engine.account_standing(BINANCE) == "" and view_of(world.engine, world.now_ns).accounts == {}
    world.feed(AccountRead(world.now_ns, world.now_ns, BINANCE, (), ()))
    assert world.engine.not_armed_because() == ()


def test_nothing_trades_before_every_account_was_compared() -> None:
    world = AccountWorld()
    world.connect()
    assert set(world.engine.not_armed_because()) == {
        "binance: its account is not connected yet",
        "upbit: its account is not connected yet",
    }
    world.premium_books()
    world.decide()
    assert refusals(world) == {Refusal.NOT_ARMED}
    effects = world.up(BINANCE)
    assert asked(effects) == [BINANCE]
    assert "binance: its account is being compared" in world.engine.not_armed_because()
    assert view_of(world.engine, world.now_ns).accounts == {
        "binance": "its account is being compared",
        "upbit": "its account is not connected yet",
    }
    world.read(BINANCE)
    assert world.engine.not_armed_because() == ("upbit: its account is not connected yet",)
    assert world.reports_of() == [], "not all venues have spoken"
    world.up(UPBIT)
    world.read(UPBIT)
    assert world.engine.not_armed_because() == ()
    assert world.engine.account_standing(UPBIT) == "its account agrees"
    (fact,) = world.reports_of()
    assert fact.report.occasion == "start" and fact.report.is_armed


def test_the_first_start_takes_over_what_the_venues_hold() -> None:
    world = started()
    assert {node: world.engine.ledger.total_e8(node) for node in START} == START
    (fact,) = world.reports_of()
    assert {standing.venue for standing in fact.report.venues} == {BINANCE, UPBIT}
    assert sum(len(standing.funded) for standing in fact.report.venues) == len(START)
    assert fact.report.left_plans == () and fact.report.left_orders == ()
    world.decide()
    assert world.placed()


def test_an_empty_account_is_taken_over_as_empty_and_a_deposit_into_it_is_a_difference() -> None:
    world = AccountWorld(balances={node: e8 for node, e8 in START.items() if node.venue == UPBIT})
    world.start()
    assert world.engine.not_armed_because() == ()
    world.balances[Node(BINANCE, USDT)] = E8
    world.wake(61_000)
    world.settle_differences()
    assert world.engine.differences() == ("binance-USDT",)


def test_a_restart_with_equal_balances_arms_by_itself() -> None:
    world = started().reborn()
    world.connect(is_funded=False)
    world.up()
    assert len(world.engine.not_armed_because()) == 2
    world.read()
    assert world.engine.not_armed_because() == ()
    (fact,) = world.reports_of()
    assert all(not standing.funded and not standing.differences for standing in fact.report.venues)


def test_a_difference_is_named_and_keeps_trading_disarmed_until_it_is_accepted_by_name() -> None:
    """Pains row 7: what differs is shown with three numbers, and booked only on an operator's word."""
    world = started().reborn()
    world.connect(is_funded=False)
    world.balances[Node(UPBIT, BTC)] -= E8 // 10
    world.balances[Node(UPBIT, Asset("XRP"))] = 7 * E8
    world.up()
    world.read()
    assert world.engine.not_armed_because() == ("upbit: a balance differs and is read again",)
    assert world.engine.differences() == ()
    world.wait(1_000)
    world.read(UPBIT)
    texts = ("upbit BTC: ledger 1, venue 0.9, difference -0.1", "upbit XRP: ledger 0, venue 7, difference 7")
    assert world.engine.not_armed_because() == texts
    assert world.engine.differences() == ("upbit-BTC", "upbit-XRP")
    (fact,) = world.reports_of()
    assert fact.report.not_armed_because == texts and not fact.report.is_armed
    world.premium_books()
    world.decide()
    assert refusals(world) == {Refusal.NOT_ARMED}
    world.wait(1)
    world.accept("upbit-XRP")
    assert world.engine.not_armed_because() == texts[:1]
    world.accept("nothing-of-that-name")
    assert world.engine.not_armed_because() == texts[:1]
    # Accepting moved the ledger, so the other difference is read once more before it can be accepted.
    world.accept("upbit-BTC")
    assert world.reports()[-1] == "difference_stale"
    world.wake()
    world.read(UPBIT)
    effects = world.accept("upbit-BTC")
    booked = next(each.fact for each in effects if isinstance(each, Append) and isinstance(each.fact, Funded))
    assert (booked.amount_e8, booked.reason) == (-E8 // 10, "difference accepted by kim: looked at it")
    assert world.engine.not_armed_because() == ()
    assert world.total_of(UPBIT)[BTC] == world.balances[Node(UPBIT, BTC)]
    last = world.reports_of()[-1].report
    assert last.occasion == "accepted upbit-BTC by kim" and last.is_armed
    world.wait(1_000)
    world.premium_books()
    world.decide()
    assert world.placed()


def test_all_differences_are_accepted_together_when_none_is_named() -> None:
    world = started().reborn()
    world.connect(is_funded=False)
    world.feed(DifferenceFound(world.now_ns, "a file was older than it should be"))
    world.balances[Node(BINANCE, BTC)] += 1
    world.balances[Node(UPBIT, KRW)] -= 1
    world.up()
    world.settle_differences()
    assert world.engine.differences() == ("a file was older than it should be", "binance-BTC", "upbit-KRW")
    world.accept()
    assert world.engine.not_armed_because() == () and world.engine.differences() == ()
    assert {node: world.engine.ledger.total_e8(node) for node in START} == world.balances
    world.engine.ledger.check()


def test_one_difference_in_words_is_accepted_by_its_text() -> None:
    world = started()
    for text in ("one", "other"):
        world.feed(DifferenceFound(world.now_ns, text))
    world.accept("one")
    assert world.engine.differences() == ("other",)


def test_a_difference_that_disappears_arms_again_by_itself() -> None:
    world = started()
    world.balances[Node(BINANCE, USDT)] += 5 * E8
    world.wake(61_000)
    world.settle_differences()
    assert world.engine.differences() == ("binance-USDT",)
    world.balances[Node(BINANCE, USDT)] -= 5 * E8
    world.wake(61_000)
    world.read()
    assert world.engine.not_armed_because() == () and world.reports()[-1] == "difference_gone"


def test_a_quiet_account_is_compared_from_time_to_time_and_an_unexplained_deposit_is_found() -> None:
    world = started()
    assert asked(world.wake(59_000)) == []
    assert asked(world.wake(2_000)) == [BINANCE, UPBIT]
    world.balances[Node(UPBIT, USDT)] += 3 * E8
    world.read()
    assert world.engine.not_armed_because() == (), "one reading may be of a moment between two bookings"
    assert asked(world.wake(998)) == []
    assert asked(world.wake(1)) == [UPBIT], "read again at once"
    world.read(UPBIT)
    assert world.engine.not_armed_because() == ("upbit USDT: ledger 50000, venue 50003, difference 3",)
    assert "difference" in world.reports()


def test_differences_that_never_look_the_same_count_all_the_same() -> None:
    world = started()
    world.wake(61_000)
    for count in range(SUSPICIONS_MAX):
        assert world.engine.differences() == (), count
        world.balances[Node(UPBIT, USDT)] += 1
        world.read(UPBIT)
        world.wake()
    assert world.engine.differences() == ("upbit-USDT",)


def test_a_reading_while_something_moved_is_not_compared() -> None:
    world = started()
    world.wake(61_000)
    world.fund(BINANCE, BTC, E8)
    world.balances[Node(BINANCE, BTC)] += E8
    world.read(BINANCE, asked_ms_ago=10)
    assert world.engine.reconciler.accounts[BINANCE].trouble == "it changed while it was read"
    world.wake()
    world.read(BINANCE)
    assert world.engine.reconciler.accounts[BINANCE].trouble == ""
    assert world.engine.not_armed_because() == ()


def test_orders_that_are_not_settled_put_the_comparison_off() -> None:
    world = started()
    world.decide()
    orders = world.placed()
    assert asked(world.wake(61_000)) == [], "not while orders are on their way"
    again = world.reborn()
    again.connect(is_funded=False)
    effects = again.up()
    assert set(queried(effects)) == {order.client_order_id for order in orders}
    again.read()
    reasons = again.engine.not_armed_because()
    assert "upbit: 2 orders are not settled yet" in reasons and "binance: 1 orders are not settled yet" in reasons
    assert asked(again.wake(900)) == []
    assert set(asked(again.wake(100))) == {BINANCE, UPBIT}
    for order in orders:
        again.end(order, 0)
    again.read()
    assert again.engine.not_armed_because() == ()
    report = again.reports_of()[0].report
    assert {left.client_order_id for left in report.left_orders} == {order.client_order_id for order in orders}
    assert {left.state for left in report.left_orders} == {OrderState.UNKNOWN}
    assert len(report.left_plans) == 1


def test_fills_found_while_comparing_are_booked_once_and_told() -> None:
    """Pains row 7: fills that happened while the process was down."""
    world = started()
    world.decide()
    buy, *rest = world.placed()
    again = world.reborn()
    again.connect(is_funded=False)
    again.premium_books()
    again.up()
    for _ in range(2):
        again.fill(buy)
        again.end(buy, buy.quantity_e8, OrderState.FILLED)
    for order in rest:
        again.fill(order)
        again.end(order, order.quantity_e8, OrderState.FILLED)
    again.balances = {node: again.engine.ledger.total_e8(node) for node in again.engine.ledger.nodes()}
    again.wait(1)
    again.read()
    assert again.engine.not_armed_because() == ()
    standings = {standing.venue: standing for standing in again.reports_of()[0].report.venues}
    booked = [fill for standing in standings.values() for fill in standing.booked]
    assert sorted(fill.client_order_id for fill in booked) == sorted(order.client_order_id for order in world.placed())
    assert sum(isinstance(fact, FillBooked) for fact in again.facts()) == len(booked)


def short_of_a_leg() -> tuple[AccountWorld, Order]:
    """Return a start whose inherited plan bought and did not sell, with accounts as its ledger says; and the purchase."""
    world = started()
    world.decide()
    buy, *rest = world.placed()
    again = world.reborn("tag_7_y")
    again.connect(is_funded=False)
    again.premium_books()
    again.up()
    again.fill(buy)
    again.end(buy, buy.quantity_e8, OrderState.FILLED)
    for order in rest:
        again.end(order, 0)
    again.balances = {node: again.engine.ledger.total_e8(node) for node in again.engine.ledger.nodes()}
    assert not again.placed(), "the accounts may tell of orders that no journal of ours holds"
    return again, buy


def test_an_order_that_mends_a_plan_of_an_earlier_start_bears_the_id_of_the_start_that_sends_it() -> None:
    """An earlier start may have mended under ids that reached no database: they must not be used twice."""
    again, buy = short_of_a_leg()
    again.wait(1)
    again.read()
    again.wake(1_000)
    mending = again.placed()
    assert mending and all(order.plan_id == buy.plan_id for order in mending)
    _, _, number = buy.plan_id.rpartition("-")
    assert mending[0].client_order_id == f"tag_7_y-{number}_t-g1"
    assert again.engine.desk.made(mending[0].client_order_id)


def test_a_leg_of_an_earlier_start_is_not_mended_while_an_account_says_that_somebody_did() -> None:
    again, buy = short_of_a_leg()
    sold = Node(BINANCE, BTC)
    again.balances[sold] -= buy.quantity_e8
    for _ in range(3):
        again.wait(1)
        again.read()
        again.wake(1_000)
    assert again.engine.differences() == ("binance-BTC",) and not again.placed()
    decided = [fact for fact in again.facts() if isinstance(fact, LegDecided)]
    assert decided and decided[-1].choice is LegChoice.HOLD
    assert "binance BTC: ledger" in decided[-1].alternatives[0].reason


def test_a_fill_that_the_journal_knew_is_not_told_as_one_that_was_not() -> None:
    world = started()
    world.decide()
    world.take_all()
    again = world.reborn()
    again.balances = {node: again.engine.ledger.total_e8(node) for node in again.engine.ledger.nodes()}
    again.connect(is_funded=False)
    again.up()
    again.read()
    assert again.engine.not_armed_because() == ()
    assert [standing.booked for standing in again.reports_of()[0].report.venues] == [(), ()]


def test_our_open_orders_are_adopted_or_cancelled_and_foreign_ones_listed_and_left_alone() -> None:
    """Pains row 8."""
    world = started()
    world.decide()
    order = next(each for each in world.placed() if each.venue == BINANCE)
    world.open_orders[BINANCE] = [
        open_order(order.client_order_id),
        open_order("t-99-0"),
        open_order("web_abc"),
        open_order("", venue_order_id="1"),
    ]
    again = world.reborn()
    again.connect(is_funded=False)
    again.up()
    effects = again.read(BINANCE)
    assert cancelled(effects) == ["t-99-0"] and queried(effects) == []
    assert "binance: 1 orders are not settled yet" in again.engine.not_armed_because()
    for each in world.placed():
        again.end(each, 0)
    again.open_orders[BINANCE] = again.open_orders[BINANCE][1:]
    again.wait(1)
    again.read()
    assert "binance: 1 stray orders are being cancelled" in again.engine.not_armed_because()
    again.open_orders[BINANCE] = again.open_orders[BINANCE][1:]
    again.read()
    assert again.engine.not_armed_because() == ()
    standing = next(each for each in again.reports_of()[0].report.venues if each.venue == BINANCE)
    assert standing.adopted == (order.client_order_id,)
    assert standing.cancelled == ("t-99-0",)
    assert [each.client_order_id for each in standing.foreign] == ["web_abc", ""]
    assert all(name not in cancelled(again.effects) for name in ("web_abc", "", order.client_order_id))


def test_a_cancelled_stray_is_asked_about_where_it_had_filled_or_a_balance_differs_afterwards() -> None:
    world = started()
    whole = open_order("t-99-0")
    world.open_orders[BINANCE] = [whole, msgspec.structs.replace(open_order("t-98-0"), filled_quantity_e8=E8 // 2)]
    world.wake(61_000)
    effects = world.read(BINANCE)
    assert cancelled(effects) == ["t-99-0", "t-98-0"] and queried(effects) == ["t-98-0"]
    world.open_orders[BINANCE] = []
    world.balances[Node(BINANCE, BTC)] += E8
    world.wait(1_000)
    assert queried(world.read(BINANCE)) == ["t-99-0", "t-98-0"]


def test_fills_found_before_the_first_comparison_are_told_even_if_the_link_comes_later() -> None:
    world = started()
    world.decide()
    order = next(each for each in world.placed() if each.venue == BINANCE)
    again = world.reborn()
    again.connect(is_funded=False)
    again.fill(order)
    again.up()
    for each in world.placed():
        if each is not order:
            again.end(each, 0)
    again.wait(1)
    again.settle_differences()
    (standing,) = [each for each in again.reports_of()[0].report.venues if each.venue == BINANCE]
    assert [each.client_order_id for each in standing.booked] == [order.client_order_id]


def test_an_order_of_ours_in_a_market_that_is_not_configured_is_shouted_about() -> None:
    world = started()
    world.open_orders[BINANCE] = [open_order("t-1-0", market=None)]
    world.wake(61_000)
    effects = world.read(BINANCE)
    assert cancelled(effects) == [] and world.reports()[-1] == "stray_order_unreachable"


def test_an_order_believed_absent_that_a_venue_shows_open_is_cancelled_and_asked_about() -> None:
    world = started()
    world.decide()
    order = world.placed()[0]
    for each in world.placed()[1:]:
        world.end(each, 0)
    world.wake(13_000)
    world.feed(OrderAbsent(world.now_ns, order.client_order_id))
    assert world.engine.desk.unfinished() == []
    world.open_orders[BINANCE] = [open_order(order.client_order_id)]
    effects = world.read(BINANCE)
    assert cancelled(effects) == queried(effects) == [order.client_order_id]
    world.feed(OrderAccepted(world.now_ns, order.client_order_id, "v"))
    assert [each.client_order_id for each, _ in world.engine.desk.unfinished()] == [order.client_order_id]
    world.fill(order)
    assert world.engine.desk.unfinished() == []


def test_a_balance_that_differs_asks_once_more_about_orders_believed_absent() -> None:
    world = started()
    world.decide()
    order = next(each for each in world.placed() if each.venue == BINANCE)
    for each in world.placed():
        if each is not order:
            world.end(each, 0)
    world.wake(13_000)
    world.feed(OrderAbsent(world.now_ns, order.client_order_id))
    world.balances[Node(BINANCE, BTC)] += order.quantity_e8
    world.wake(61_000)
    assert queried(world.read(BINANCE)) == [order.client_order_id]


def test_a_lost_account_link_stops_entries_at_that_venue_until_it_was_compared_anew() -> None:
    """Pains row 11: what was missed meanwhile is asked for before anything new is entered."""
    world = started()
    world.down(BINANCE, "the private stream is silent")
    assert world.engine.not_armed_because() == (), "the other venue may go on by itself"
    assert world.engine.account_standing(BINANCE) == "the private stream is silent"
    world.decide()
    assert refusals(world) == {Refusal.VENUE_UNHEALTHY}
    assert "the private stream is silent" in world.engine.opportunities[-1].detail
    assert asked(world.wake(61_000)) == [UPBIT], "a lost link is not asked"
    world.read(BINANCE)
    effects = world.up(BINANCE)
    assert asked(effects) == [BINANCE]
    world.premium_books()
    world.decide()
    assert refusals(world) == {Refusal.VENUE_UNHEALTHY}
    assert "is being compared" in world.engine.opportunities[-1].detail
    world.read(BINANCE)
    world.premium_books()
    world.decide()
    assert world.placed()
    assert [fact.report.occasion for fact in world.reports_of()] == ["start"], "nothing was found"


def test_what_a_lost_link_hid_is_reported_when_it_is_back() -> None:
    world = started()
    world.down(UPBIT)
    world.balances[Node(UPBIT, BTC)] += 1
    world.up(UPBIT)
    world.settle_differences()
    assert [fact.report.occasion for fact in world.reports_of()] == ["start", "link upbit"]
    assert world.engine.differences() == ("upbit-BTC",)
    world.down(UPBIT)
    world.accept("upbit-BTC")
    assert world.engine.differences() == ("upbit-BTC",), "nothing is booked behind a lost link"


def test_a_reading_from_before_the_link_came_up_is_not_used() -> None:
    world = AccountWorld()
    world.connect(is_funded=False)
    world.wait(100)
    world.up()
    world.read(asked_ms_ago=50)
    assert len(world.engine.not_armed_because()) == 2
    assert world.engine.ledger.nodes() == ()
    assert asked(world.wake()) == [BINANCE, UPBIT]


def test_a_question_that_is_not_answered_is_asked_again_after_its_limit() -> None:
    world = AccountWorld()
    world.connect(is_funded=False)
    world.up()
    assert asked(world.wake(ANSWER_NS_MAX // MS - 1)) == []
    assert asked(world.wake(1)) == [BINANCE, UPBIT]


def test_what_others_locked_is_not_ours_to_trade_with() -> None:
    """A leg that a venue refuses for funds that a stranger's order holds is a naked leg."""
    world = AccountWorld()
    node = Node(UPBIT, BTC)
    world.locked = {node: E8 - E8 // 100}
    world.start()
    assert world.engine.ledger.free_e8(node) == E8
    assert world.engine.quotes.free_e8(node) == E8 // 100
    world.decide()
    (sale,) = [order for order in world.placed() if order.market == 1]
    assert sale.side is Side.SELL and 0 < sale.quantity_e8 <= E8 // 100
    world.take_all()
    world.balances = {each: world.engine.ledger.total_e8(each) for each in world.engine.ledger.nodes()}
    world.locked = dict.fromkeys(world.balances, 0)
    world.wake(61_000)
    world.read()
    assert world.engine.quotes.free_e8(node) == world.engine.ledger.free_e8(node) > 0


def test_a_second_opportunity_of_a_decision_does_not_take_what_others_locked() -> None:
    world = started()
    world.decide()
    judged = world.verdicts()[0]
    assert isinstance(judged.verdict, Approved)
    plan = world.engine.desk.start(judged.verdict, world.now_ns)
    for order in world.placed():
        world.end(order, 0)
    assert world.engine._covered(judged.verdict, plan) == judged.verdict
    world.balances[Node(UPBIT, BTC)] = world.engine.ledger.total_e8(Node(UPBIT, BTC))
    world.locked = {Node(UPBIT, BTC): E8}
    world.wake(61_000)
    world.read()
    refused = world.engine._covered(judged.verdict, plan)
    assert isinstance(refused, Refused) and refused.reason is Refusal.INSUFFICIENT_BALANCE


def test_a_stray_order_is_cancelled_once_and_again_only_when_that_did_not_help() -> None:
    world = started()
    world.open_orders[BINANCE] = [open_order("t-99-0")]
    world.wake(61_000)
    assert cancelled(world.read(BINANCE)) == ["t-99-0"]
    world.wait(1_000)
    assert cancelled(world.read(BINANCE)) == [], "its cancellation is on its way"
    world.wait(ANSWER_NS_MAX // MS)
    assert cancelled(world.read(BINANCE)) == ["t-99-0"]


def test_an_account_that_cannot_be_compared_is_asked_ever_more_seldom_and_quickly_once_something_ended() -> None:
    """Reading an account costs much of a venue's budget: asking every second for hours would end in a ban."""
    world = AccountWorld()
    world.connect(is_funded=False)
    world.open_orders[BINANCE] = [open_order("t-9-0", market=None)]
    world.up()
    world.read()
    times = []
    for second in range(60):
        if BINANCE in asked(world.wake()):
            times.append(second)
            world.read(BINANCE)
    assert len(times) <= VAIN_MAX + 60_000 * MS // ANSWER_NS_MAX
    world = started()
    world.decide()
    again = world.reborn()
    again.connect(is_funded=False)
    again.up()
    for _ in range(VAIN_MAX + 1):
        again.read()
        again.wake()
    assert asked(again.wake()) == []
    for order in world.placed():
        again.end(order, 0)
    assert set(asked(again.wake())) == {BINANCE, UPBIT}


def with_a_leftover() -> tuple[AccountWorld, Leftover]:
    """Give a world whose plan bought late and sold nothing, and what it had left over; the accounts agree."""
    world = started()
    world.decide()
    buy, *rest = sorted(world.placed(), key=lambda order: order.market)
    for order in rest:
        world.end(order, 0, OrderState.REJECTED)
    world.wait(90_000)
    world.end(buy, 0)
    world.fill(buy)
    (left,) = world.engine.ledger.residues()
    world.balances = {node: world.engine.ledger.total_e8(node) for node in world.engine.ledger.nodes()}
    return world, left


def test_a_leftover_taken_out_by_hand_at_two_venues_is_written_off_once() -> None:
    """What was left is one amount over all venues; writing it off twice would have it bought back."""
    world, left = with_a_leftover()
    for venue in (BINANCE, UPBIT):
        world.balances[Node(venue, BTC)] -= left.amount_e8
    world.wake(1_000)
    world.settle_differences()
    assert set(world.engine.differences()) >= {"binance-BTC", "upbit-BTC"}
    world.accept()
    assert world.engine.ledger.residues() == ()
    (fact,) = [fact for fact in world.facts() if isinstance(fact, ResidueWrittenOff) and fact.asset == BTC]
    assert fact.amount_e8 == left.amount_e8


def test_a_hand_that_took_out_what_plans_had_left_over_is_not_hedged_again() -> None:
    world, left = with_a_leftover()
    world.balances[Node(BINANCE, BTC)] -= left.amount_e8 + 5
    world.wake(1_000)
    world.settle_differences()
    assert world.engine.differences()[0] == "binance-BTC"
    world.accept("binance-BTC")
    assert world.engine.ledger.residues() == ()
    (fact,) = [fact for fact in world.facts() if isinstance(fact, ResidueWrittenOff)]
    assert fact.amount_e8 == left.amount_e8


def test_an_unknown_market_is_no_reason_to_forget_an_accepted_report() -> None:
    """What a report says can be read back as it was written."""
    world = started()
    (fact,) = world.reports_of()
    assert msgspec.json.decode(msgspec.json.encode(fact), type=type(fact)) == fact
    engine = Engine(settings(), MARKETS, id_prefix="v", account_venues=(BINANCE,))
    assert engine.restore(None, world.facts()) == len(world.facts())  # type: ignore[arg-type]  # facts are facts
    assert engine.reconciler.report(world.now_ns, "start").venues == ()


def test_questions_after_a_restart_are_written_down_before_they_are_asked() -> None:
    world = started()
    world.decide()
    again = world.reborn()
    effects = again.up()
    names = [type(effect).__name__ for effect in effects]
    assert names.index("Append") < names.index("QueryOrder")
    changed = [each.fact for each in effects if isinstance(each, Append) and isinstance(each.fact, OrderChanged)]
    assert {fact.state for fact in changed} == {OrderState.UNKNOWN}
    assert sum(isinstance(each, QueryOrder) for each in effects) == len(changed) == 3


@pytest.mark.parametrize("kind", [CommandKind.PAUSE, CommandKind.KILL])
def test_a_stop_of_the_operator_stands_beside_the_accounts_reasons(kind: CommandKind) -> None:
    world = AccountWorld()
    world.connect(is_funded=False)
    world.tell(kind)
    assert len(world.engine.not_armed_because()) == 3
    world.up()
    world.read()
    assert len(world.engine.not_armed_because()) == 1
    assert USDT in world.total_of(BINANCE)
