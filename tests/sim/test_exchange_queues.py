from exchange_world import binance, e8, upbit

from arbitrage.model.instruments import Side
from arbitrage.sim.exchange.nouns import Force, SelfTrade, Status
from arbitrage.sim.scenarios.changes import FramePlayed, Restarted, SnapshotRead, Traded

BUY, SELL = Side.BUY, Side.SELL


def test_what_stood_at_our_price_when_we_came_is_served_first():
    world = binance()
    order = world.placed(BUY, "99", "1")
    assert order.ahead_e8 == e8(1)
    world.print("99", "0.6", SELL)
    assert order.executed_e8 == 0 and order.ahead_e8 == e8("0.4")
    world.print("99", "0.7", SELL)
    assert order.executed_e8 == e8("0.3") and order.executions[0].is_maker and order.executions[0].taker_side is SELL
    world.print("99", "5", SELL)
    assert order.status is Status.FILLED
    world.check()


def test_a_level_that_shrinks_at_the_prints_own_moment_moves_us_once():
    world = binance()
    order = world.placed(BUY, "99", "1")
    world.set(bids={"99": "0.4"})
    assert order.ahead_e8 == e8("0.4")
    world.print("99", "0.6", SELL, is_same_moment=True)
    assert order.ahead_e8 == e8("0.4") and order.executed_e8 == 0
    world.set(bids={"99": "0"})
    world.print("99", "0.9", SELL, is_same_moment=True)
    assert order.executed_e8 == e8("0.5")
    world.check()


def test_others_who_come_later_stand_behind_us_and_those_who_leave_are_taken_from_there():
    world = binance()
    order = world.placed(BUY, "99", "1")
    world.set(bids={"99": "6"})
    assert order.ahead_e8 == e8(1) and world.books["BTCUSDT"].bids.quantity_e8(e8(99)) == e8(7)
    world.set(bids={"99": "2"})
    assert order.ahead_e8 == e8(1)
    world.set(bids={"99": "0.5"})
    assert order.ahead_e8 == e8("0.5")
    world.check()


def test_two_orders_of_ours_keep_their_places_with_others_between():
    world = binance()
    first = world.placed(BUY, "99", "1")
    world.set(bids={"99": "3"})
    second = world.placed(BUY, "99", "1")
    assert (first.ahead_e8, second.ahead_e8) == (e8(1), e8(3))
    world.print("99", "2.5", SELL)
    assert (first.executed_e8, second.executed_e8, second.ahead_e8) == (e8(1), 0, e8("1.5"))
    world.print("99", "2", SELL)
    assert second.executed_e8 == e8("0.5")
    world.check()


def test_a_print_through_our_price_fills_us_at_our_price():
    world = binance()
    order = world.placed(BUY, "99", "1")
    world.print("98.5", "0.3", SELL)
    assert [(one.price_e8, one.quantity_e8) for one in order.executions] == [(e8(99), e8("0.3"))]
    world.print("99.01", "5", SELL)
    world.print("99", "5", BUY)
    assert order.executed_e8 == e8("0.3")
    world.check()


def test_a_book_that_crosses_us_fills_us_first_and_shows_what_is_left():
    world = binance()
    low, high = world.placed(BUY, "99.2", "1"), world.placed(BUY, "99.5", "1")
    world.set(bids={"99": "0"}, asks={"99.2": "1.5", "99.4": "0.2"})
    assert (high.status, low.status) == (Status.FILLED, Status.PARTIALLY_FILLED)
    assert low.executed_e8 == e8("0.5") and all(one.price_e8 == e8("99.5") for one in high.executions)
    book = world.books["BTCUSDT"]
    assert book.bids.best() == (e8("99.2"), e8("0.5")) and book.asks.best() == (e8("99.4"), e8("0.2"))
    assert [(one.price_e8, one.taker_side) for one in world.prints] == [(e8("99.5"), SELL), (e8("99.2"), SELL)]
    world.check()


def test_our_take_stays_taken_until_the_level_changes():
    world = binance()
    world.placed(BUY, "100", "0.4", force=Force.IOC)
    assert world.books["BTCUSDT"].asks.best() == (e8(100), e8("0.6"))
    world.set(asks={"101": "3"})
    assert world.books["BTCUSDT"].asks.best() == (e8(100), e8("0.6"))
    world.set(asks={"100": "2"})
    assert world.books["BTCUSDT"].asks.best() == (e8(100), e8(2))


def test_an_arriving_order_meets_others_and_ours_in_the_order_they_stand():
    world = binance()
    ours = world.placed(SELL, "100", "1")
    world.set(asks={"100": "3"})
    world.placed(BUY, "100", "1", self_trade=SelfTrade.NONE)
    assert ours.executed_e8 == 0 and ours.ahead_e8 == 0
    world.placed(BUY, "100", "1.5", self_trade=SelfTrade.NONE)
    assert ours.status is Status.FILLED and world.books["BTCUSDT"].asks.quantity_e8(e8(100)) == e8("1.5")
    world.check()


def test_a_halted_market_stands_still_and_catches_up_when_it_trades_again():
    world = binance()
    order = world.placed(BUY, "99.5", "1")
    world.exchange.halt("BTCUSDT")
    world.set(bids={"99": "0"}, asks={"99.4": "0.25", "100": "9"})
    world.print("99.5", "1", SELL)
    assert order.executed_e8 == 0 and world.books["BTCUSDT"].asks.best() == (e8(100), e8(1)) and world.prints == []
    world.exchange.resume("BTCUSDT")
    assert order.executed_e8 == e8("0.25") and world.books["BTCUSDT"].asks.best() == (e8(100), e8(9))
    world.exchange.resume("BTCUSDT")
    world.check()


def test_a_restart_of_the_story_ends_what_is_open():
    world = binance()
    order = world.placed(BUY, "99.5", "1")
    world.exchange.on_market(Restarted(world.now_ns, "binance", ("BTCUSDT",)))
    assert order.status is Status.EXPIRED and order.expiry_reason == "EXCHANGE_CANCELED" and world.locked("USDT") == 0
    world.check()


def test_a_recorded_book_fills_us_but_does_not_show_us():
    world = binance()
    order = world.placed(BUY, "99.5", "1")
    book = world.books["BTCUSDT"]
    book.bids.clear()
    book.asks.clear()
    book.asks.set(e8("99.3"), e8("0.4"))
    world.exchange.on_market(FramePlayed(world.now_ns, "binance", "BTCUSDT", "btcusdt@depth", "{}"))
    assert order.executed_e8 == e8("0.4") and book.asks.best() == (0, 0) and book.bids.best() == (0, 0)
    world.exchange.on_market(SnapshotRead(world.now_ns, "binance", "BTCUSDT", "{}"))
    world.exchange.on_print(Traded(world.now_ns, "binance", "BTCUSDT", e8("99.5"), e8("0.1"), SELL))
    assert order.executed_e8 == e8("0.5") and len(world.prints) == 1
    world.exchange.account.check()


def test_a_fill_out_of_nowhere_is_booked_like_any_other():
    world = upbit()
    order = world.placed(BUY, "99000000", "0.01")
    execution = world.exchange.fill(order, e8("0.004"))
    assert (execution.quantity_e8, execution.fee_e8, execution.is_maker) == (e8("0.004"), e8(198), True)
    assert world.prints[-1].trade_id == execution.trade_id
    world.exchange.fill(order)
    assert order.status is Status.FILLED and world.books["KRW-BTC"].bids.quantity_e8(e8(99000000)) == 0
    world.check()
