import msgspec
import pytest
from exchange_world import BTCUSDT, KRWBTC, RICH, World, binance, e8, one_tick, upbit

from arbitrage.model.instruments import Side
from arbitrage.sim.exchange.matching import BOOK_EMPTY, FOK_UNFILLED, IOC_REST
from arbitrage.sim.exchange.nouns import Force, OrderType, Rejection, SelfTrade, Status, Why
from arbitrage.sim.exchange.register import Register

BUY, SELL = Side.BUY, Side.SELL


def why(result) -> Why:
    assert isinstance(result, Rejection), result
    return result.why


def test_a_limit_order_takes_the_best_prices_first_and_its_rest_stands_in_the_book():
    world = binance()
    order = world.placed(BUY, "101", "4")
    assert [(one.price_e8, one.quantity_e8) for one in order.executions] == [(e8(100), e8(1)), (e8(101), e8(2))]
    assert order.status is Status.PARTIALLY_FILLED and order.remaining_e8 == e8(1)
    assert world.books["BTCUSDT"].top() == ((e8(101), e8(1)), (e8(102), e8(5)))
    assert [(one.price_e8, one.quantity_e8, one.taker_side) for one in world.prints] == [
        (e8(100), e8(1), BUY), (e8(101), e8(2), BUY)
    ]  # fmt: skip
    assert [one.trade_id for one in world.prints] == [one.trade_id for one in order.executions]
    assert [update[1:] for update in world.updates] == [
        ("accepted", "new"), ("traded", "partially_filled"), ("traded", "partially_filled")
    ]  # fmt: skip
    assert world.locked("USDT") == e8(101)
    world.check()


def test_a_cancel_gives_back_the_lock_and_the_place_in_the_book():
    world = binance()
    order = world.placed(SELL, "150", "3")
    assert world.locked("BTC") == e8(3) and world.books["BTCUSDT"].asks.quantity_e8(e8(150)) == e8(3)
    assert world.exchange.cancel(order) is None
    assert world.locked("BTC") == 0 and world.free("BTC") == RICH["BTC"]
    assert world.books["BTCUSDT"].asks.quantity_e8(e8(150)) == 0
    assert order.status is Status.CANCELED and world.updates[-1][1:] == ("canceled", "canceled")
    assert why(world.exchange.cancel(order)) is Why.NOT_FOUND


@pytest.mark.parametrize(("make", "end", "told"), [(binance, Status.EXPIRED, "expired"), (upbit, Status.CANCELED, "canceled")])
def test_the_rest_of_an_ioc_ends_as_the_venue_says(make, end, told):
    world = make()
    (price, quantity) = ("101", "10") if make is binance else ("100002000", "10")
    order = world.placed(BUY, price, quantity, force=Force.IOC)
    assert order.status is end and order.executed_e8 > 0 and order.expiry_reason == IOC_REST
    assert world.updates[-1][1] == told and world.locked(order.locked_asset) == 0
    world.check()


def test_a_fok_fills_whole_or_not_at_all():
    world = binance()
    none = world.placed(BUY, "101", "3.1", force=Force.FOK)
    assert (none.status, none.executions, none.expiry_reason) == (Status.EXPIRED, [], FOK_UNFILLED)
    assert world.placed(BUY, "101", "3", force=Force.FOK).status is Status.FILLED
    world.check()


def test_a_market_order_that_runs_out_of_book_expires():
    world = binance()
    order = world.exchange.place(world.request(BUY, type=OrderType.MARKET, quantity="9"))
    assert (order.status, order.expiry_reason, order.executed_e8) == (Status.EXPIRED, BOOK_EMPTY, e8(8))
    world.check()


def test_a_market_buy_by_quote_spends_at_most_the_quote_and_ends_as_the_venue_says():
    world = binance()
    order = world.exchange.place(world.request(BUY, type=OrderType.MARKET, quote="150.0001"))
    assert order.status is Status.FILLED and order.executed_quote_e8 <= e8("150.0001")
    assert order.executed_e8 % e8("0.00001") == 0 and e8("150.0001") - order.executed_quote_e8 < e8("0.0011")
    won = upbit()
    order = won.exchange.place(won.request(BUY, type=OrderType.MARKET, quote="70000000"))
    assert order.status is Status.CANCELED and order.executed_e8 > e8("0.69")
    assert 0 <= e8(70000000) - order.executed_quote_e8 <= e8(2) and won.locked("KRW") == 0
    assert order.reserved_fee_e8 == e8(35000)
    won.check()


def test_a_market_sell_by_quote_sells_just_enough():
    world = binance()
    order = world.exchange.place(world.request(SELL, type=OrderType.MARKET, quote="150"))
    assert order.status is Status.FILLED and order.executed_quote_e8 <= e8(150) and world.locked("BTC") == 0
    world.check()


def test_upbit_locks_price_times_volume_with_the_fee_on_top():
    world = upbit()
    order = world.placed(BUY, "99000000", "0.001")
    assert order.locked_e8 == e8("99049.5") and order.reserved_fee_e8 == e8("49.5") and world.locked("KRW") == order.locked_e8
    broke = World(world.exchange.policy, [KRWBTC], {"KRW": e8("99049.49999999")})
    broke.set(bids={"99999000": "1"}, asks={"100001000": "1"})
    assert why(broke.limit(BUY, "99000000", "0.001")) is Why.INSUFFICIENT


def test_best_takes_the_opposite_best_price_as_its_limit():
    world = upbit()
    order = world.exchange.place(world.request(BUY, type=OrderType.BEST, quote="90000000", force=Force.IOC))
    assert {one.price_e8 for one in order.executions} == {e8(100001000)} and order.executed_e8 == e8("0.5")
    assert order.status is Status.CANCELED and order.limit_e8 == e8(100001000)
    sell = world.exchange.place(world.request(SELL, type=OrderType.BEST, quantity="1.5", force=Force.FOK))
    assert sell.status is Status.CANCELED and not sell.executions
    world.check()


def test_post_only_rests_or_is_refused():
    world = binance()
    assert why(world.limit(BUY, "100", "1", type=OrderType.POST_ONLY)) is Why.WOULD_TAKE
    order = world.placed(BUY, "99.99", "1", type=OrderType.POST_ONLY)
    assert order.is_open
    assert why(world.limit(SELL, "99.99", "1", type=OrderType.POST_ONLY)) is Why.WOULD_TAKE


def test_a_better_price_than_the_limit_returns_the_difference_at_once():
    world = binance()
    order = world.placed(BUY, "120", "0.5")
    assert order.executed_quote_e8 == e8(50) and world.locked("USDT") == 0
    assert world.free("USDT") == RICH["USDT"] - e8(50)


def test_binance_ids_are_unique_among_open_orders_only():
    world = binance()
    first = world.placed(BUY, "90", "1", client_id="a")
    assert why(world.limit(BUY, "90", "1", client_id="a")) is Why.DUPLICATE_ID
    world.exchange.cancel(first)
    second = world.placed(BUY, "90", "1", client_id="a")
    assert world.exchange.find("BTCUSDT", client_id="a") is second
    assert world.exchange.find("BTCUSDT", order_id=first.order_id, client_id="a") is first
    assert world.exchange.find("BNBUSDT", client_id="a") is None and world.exchange.find(order_id=1) is None


def test_an_upbit_identifier_is_spent_for_ever_even_by_a_refusal():
    world = upbit()
    assert why(world.limit(BUY, "99000001", "0.001", client_id="a")) is Why.PRICE_FILTER
    assert why(world.limit(BUY, "99000000", "0.001", client_id="a")) is Why.ID_SPENT
    order = world.placed(BUY, "99000000", "0.001", client_id="b")
    world.exchange.cancel(order)
    assert why(world.limit(BUY, "99000000", "0.001", client_id="b")) is Why.ID_SPENT
    assert world.exchange.check(world.request(BUY, price="99000000", quantity="0.001", client_id="c")) is None
    assert world.placed(BUY, "99000000", "0.001", client_id="c").is_open
    assert world.placed(BUY, "99000000", "0.001").is_open and world.placed(BUY, "99000000", "0.001").is_open


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ({"symbol": "NOUSDT", "price": "90", "quantity": "1"}, Why.UNKNOWN_SYMBOL),
        ({"price": "90.001", "quantity": "1"}, Why.PRICE_FILTER),
        ({"price": "90", "quantity": "1.000001"}, Why.LOT_SIZE),
        ({"price": "90", "quantity": "0"}, Why.LOT_SIZE),
        ({"price": "90", "quantity": "0.05"}, Why.NOTIONAL),
        ({"price": "90", "quantity": "200000"}, Why.NOTIONAL_MAX),
        ({"price": "19.8", "quantity": "1"}, Why.PERCENT_PRICE),
        ({"price": "90", "quantity": "20000"}, Why.INSUFFICIENT),
        ({"type": OrderType.MARKET, "quote": "4.99"}, Why.NOTIONAL),
        ({"type": OrderType.MARKET, "quantity": "0.04"}, Why.NOTIONAL),
    ],
)
def test_a_broken_rule_is_named_and_leaves_nothing_behind(words, reason):
    world = binance()
    request = world.request(BUY, **words)
    assert why(world.exchange.check(request)) is reason
    assert why(world.exchange.place(request)) is reason
    assert world.exchange.orders() == [] and world.locked("USDT") == 0 and world.updates == []


def test_a_market_buy_that_costs_more_than_there_is_is_refused():
    world = World(binance().exchange.policy, [BTCUSDT], {"USDT": e8("100")})
    world.set(bids={"99": "1"}, asks={"100": "1", "101": "2"})
    assert why(world.exchange.place(world.request(BUY, type=OrderType.MARKET, quantity="1.5"))) is Why.INSUFFICIENT
    assert world.exchange.place(world.request(BUY, type=OrderType.MARKET, quantity="1")).status is Status.FILLED


def test_halted_forbidden_and_empty_markets_take_no_orders():
    world = binance()
    order = world.placed(BUY, "90", "1")
    world.exchange.halt("BTCUSDT")
    assert why(world.limit(BUY, "90", "1")) is Why.HALTED
    assert world.exchange.cancel(order) is None
    world.exchange.resume("BTCUSDT")
    world.exchange.forbidden.add("BTCUSDT")
    assert why(world.limit(BUY, "90", "1")) is Why.NOT_PERMITTED
    world.exchange.forbidden.clear()
    world.set(asks={"100": "0", "101": "0", "102": "0"})
    assert why(world.exchange.place(world.request(BUY, type=OrderType.MARKET, quantity="1"))) is Why.NO_LIQUIDITY
    assert world.placed(BUY, "200", "1").is_open


def test_no_more_orders_stand_open_than_the_venue_allows():
    world = binance(open_orders_max=2)
    orders = [world.placed(BUY, "90", "1") for _ in range(2)]
    assert why(world.limit(BUY, "90", "1")) is Why.MAX_ORDERS
    world.exchange.cancel(orders[0])
    assert world.placed(SELL, "110", "1").is_open


def test_a_market_order_deeper_than_thirty_levels_is_refused_on_upbit():
    world = upbit()
    world.set(asks={str(100_003_000 + 1000 * rung): "0.01" for rung in range(40)})
    within = e8("0.5") + e8(2) + 28 * e8("0.01")
    quote = sum(price * size // e8(1) for price, size in world.books["KRW-BTC"].asks.levels(30))
    assert why(world.exchange.check(_quoted(world, quote + e8(1)))) is Why.TOO_DEEP
    assert world.exchange.check(_quoted(world, quote)) is None
    order = world.exchange.place(_quoted(world, quote))
    assert abs(order.executed_e8 - within) <= 30
    world.check()


def _quoted(world: World, quote_e8: int):
    return msgspec.structs.replace(world.request(BUY, type=OrderType.MARKET, quote="1"), quote_e8=quote_e8)


@pytest.mark.parametrize(
    ("mode", "taker", "maker"),
    [
        (SelfTrade.NONE, (Status.FILLED, "1", "0"), (Status.PARTIALLY_FILLED, "1", "0")),
        (SelfTrade.CANCEL_MAKER, (Status.PARTIALLY_FILLED, "0.5", "0"), (Status.EXPIRED_IN_MATCH, "0", "2")),
        (SelfTrade.CANCEL_TAKER, (Status.EXPIRED_IN_MATCH, "0", "1"), (Status.NEW, "0", "0")),
        (SelfTrade.CANCEL_BOTH, (Status.EXPIRED_IN_MATCH, "0", "1"), (Status.EXPIRED_IN_MATCH, "0", "2")),
        (SelfTrade.REDUCE, (Status.EXPIRED_IN_MATCH, "0", "1"), (Status.NEW, "0", "1")),
        (SelfTrade.TRANSFER, (Status.EXPIRED_IN_MATCH, "0", "1"), (Status.NEW, "0", "1")),
    ],
)
def test_an_order_that_meets_our_own_does_what_its_mode_says(mode, taker, maker):
    world = binance()
    resting = world.placed(SELL, "99.5", "2")
    world.set(asks={"99.5": "0.5"})
    arriving = world.placed(BUY, "99.5", "1", self_trade=mode)
    for order, (status, executed, prevented) in ((arriving, taker), (resting, maker)):
        assert (order.status, order.executed_e8, order.prevented_e8) == (status, e8(executed), e8(prevented))
    world.check()
    if mode is SelfTrade.NONE:
        assert arriving.executions[0].trade_id == resting.executions[0].trade_id
        assert (arriving.executions[0].is_maker, resting.executions[0].is_maker) == (False, True)


def test_a_post_only_order_is_refused_before_self_trade_prevention_could_speak():
    world = binance()
    world.placed(SELL, "99.5", "2")
    assert why(world.limit(BUY, "99.5", "1", type=OrderType.POST_ONLY)) is Why.WOULD_TAKE


@pytest.mark.parametrize(
    ("mode", "status"),
    [
        (SelfTrade.NONE, Status.FILLED), (SelfTrade.CANCEL_MAKER, Status.EXPIRED), (SelfTrade.REDUCE, Status.EXPIRED),
        (SelfTrade.CANCEL_TAKER, Status.EXPIRED),
    ],
)  # fmt: skip
def test_a_fok_counts_our_own_orders_only_where_they_would_trade(mode, status):
    world = binance()
    resting = world.placed(SELL, "99.5", "2")
    order = world.placed(BUY, "99.5", "1", force=Force.FOK, self_trade=mode)
    assert order.status is status and resting.is_open
    world.check()


def test_changed_rules_hold_from_the_next_order_and_taken_orders_keep_their_fee():
    world = binance()
    resting = world.placed(BUY, "99.01", "1")
    world.exchange.change_rules("BTCUSDT", ticks=one_tick("0.1"), notional_e8_min=e8(50), maker_ppm=5_000, taker_ppm=5_000)
    assert world.exchange.rules("BTCUSDT").maker_ppm == 5_000
    assert why(world.limit(BUY, "99.01", "1")) is Why.PRICE_FILTER
    assert why(world.limit(BUY, "99", "0.5")) is Why.NOTIONAL
    world.print("99.01", "1", SELL)
    assert resting.executions[0].fee_e8 == e8("0.001")
    assert world.placed(BUY, "100", "1").executions[0].fee_e8 == e8("0.005")
    with pytest.raises(TypeError):
        world.exchange.change_rules("BTCUSDT", nonsense=1)


def test_a_mode_that_ends_the_taker_ends_all_of_its_rest():
    world = binance()
    resting = world.placed(SELL, "99.5", "1")
    world.set(asks={"99.5": "1"})
    arriving = world.placed(BUY, "99.5", "3", self_trade=SelfTrade.CANCEL_TAKER)
    assert (arriving.status, arriving.executed_e8, arriving.prevented_e8) == (Status.EXPIRED_IN_MATCH, 0, e8(3))
    [prevention] = arriving.preventions
    assert (prevention.quantity_e8, prevention.maker_taken_e8, resting.preventions) == (e8(1), 0, [])
    world.check()


def test_quote_that_cannot_buy_a_lot_at_the_next_price_is_spent():
    world = binance()
    order = world.exchange.place(world.request(BUY, type=OrderType.MARKET, quote="100.001"))
    assert order.status is Status.FILLED and order.executed_e8 == e8(1) and world.locked("USDT") == 0


def test_a_market_buy_pays_for_what_stands_behind_our_own_order_that_it_cancels():
    world = binance()
    ours = world.placed(SELL, "99.5", "1")
    order = world.exchange.place(world.request(BUY, type=OrderType.MARKET, quantity="2"))
    assert order.executed_quote_e8 == e8(201) and ours.status is Status.EXPIRED_IN_MATCH
    world.check()


def test_a_market_order_by_quote_that_would_reduce_our_own_ends_there():
    world = binance()
    ours = world.placed(SELL, "99.5", "1")
    words = {"type": OrderType.MARKET, "quote": "49.75", "self_trade": SelfTrade.REDUCE}
    order = world.exchange.place(world.request(BUY, **words))
    assert (order.status, order.executed_e8, ours.prevented_e8) == (Status.EXPIRED_IN_MATCH, 0, e8("0.5"))
    assert ours.is_open and world.locked("USDT") == 0
    world.check()


def test_a_best_buy_fok_is_filled_where_the_best_level_holds_its_total():
    world = upbit()
    words = {"type": OrderType.BEST, "force": Force.FOK}
    none = world.exchange.place(world.request(BUY, quote="60000000", **words))
    some = world.exchange.place(world.request(BUY, quote="40000000", **words))
    assert (none.status, none.executed_e8, some.executed_e8 > e8("0.39")) == (Status.CANCELED, 0, True)
    world.check()


def test_ended_orders_beyond_the_limit_are_forgotten_and_spent_ids_are_not():
    world = upbit()
    register = Register(world.exchange.policy, remembered_max=2)
    orders = [world.placed(BUY, "99000000", "0.001", client_id=f"id-{number}") for number in range(4)]
    world.exchange.cancel(orders[1])
    world.exchange.cancel(orders[2])
    for order in orders:
        order.order_id = 0
        register.spend(order.request)
        register.add(order)
    assert register.orders(None, None) == [orders[0], orders[3]]
    assert register.find(None, order_id=None, client_id="id-1") is None
    assert register.refusal(orders[1].request).why is Why.ID_SPENT
    forgetful = Register(world.exchange.policy, remembered_max=0)
    orders[0].order_id = 0
    forgetful.add(orders[0])
    assert forgetful.orders(None, True) == [orders[0]]
