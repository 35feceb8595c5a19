"""Whatever anybody does: money adds up, locks end, nobody trades beyond quantity or limit, places in the queue are kept."""

from __future__ import annotations

import msgspec
import pytest
from exchange_world import BNBUSDT, BTCUSDT, KRWBTC, World, e8
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.model.instruments import Side
from arbitrage.sim.exchange.nouns import Force, HeldOrder, OrderRequest, OrderType, SelfTrade, Status, Why
from arbitrage.sim.exchange.policy import BINANCE_POLICY, UPBIT_POLICY
from arbitrage.sim.scenarios.changes import BookChanged, Traded

POLICIES = {
    "binance": BINANCE_POLICY,
    "binance paying in BNB": msgspec.structs.replace(BINANCE_POLICY, named_fee_asset="BNB"),
    "upbit": UPBIT_POLICY,
}
SIZES = st.integers(1, 400).map(lambda lots: lots * 1_000_003)
RUNGS = st.integers(-6, 6)


class Crowd:
    """Other people: a book of their own that is never crossed, as a scenario's is, and trades against its best levels."""

    def __init__(self, world: World, middle: int, tick: int) -> None:
        self.world = world
        self.tick = tick
        self.middle = middle
        self.levels: dict[tuple[Side, int], int] = {}

    def requote(self, shift: int, sizes: list[int]) -> None:
        self.middle += shift * self.tick
        wanted = {}
        for rung, size in enumerate(sizes):
            wanted[Side.BUY, self.middle - (rung + 1) * self.tick] = size
            wanted[Side.SELL, self.middle + (rung + 1) * self.tick] = size
        changed = {key: 0 for key in self.levels if key not in wanted} | wanted
        self.levels = wanted
        self.send(changed)

    def trade(self, side: Side, part: int) -> None:
        mine = [price for theirs, price in self.levels if theirs is side.opposite]
        if not mine:
            return
        price = min(mine) if side is Side.BUY else max(mine)
        standing = self.levels[side.opposite, price]
        taken = max(standing * part // 100, 1)
        if taken < standing:
            self.levels[side.opposite, price] = standing - taken
            self.send({(side.opposite, price): standing - taken})
            self.world.exchange.on_market(Traded(self.world.now_ns, self.world.venue, self.world.symbol, price, taken, side))

    def send(self, levels: dict) -> None:
        self.world.now_ns += 1_000_000
        sides = [tuple((price, size) for (theirs, price), size in levels.items() if theirs is side) for side in Side]
        self.world.exchange.on_market(BookChanged(self.world.now_ns, self.world.venue, self.world.symbol, *sides))


def make_world(name: str) -> tuple[World, Crowd]:
    if name == "upbit":
        world = World(POLICIES[name], [KRWBTC], {"KRW": e8(3_000_000_00), "BTC": e8(5)})
        crowd = Crowd(world, e8(100_000_000), e8(100_000))
    else:
        world = World(POLICIES[name], [BTCUSDT, BNBUSDT], {"USDT": e8(2_000), "BTC": e8(20), "BNB": e8("0.002")})
        world.set(bids={"30": "1000"}, asks={"30.2": "1000"}, symbol="BNBUSDT")
        crowd = Crowd(world, e8(100), e8("0.07"))
    crowd.requote(0, [e8(1)] * 4)
    return world, crowd


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("requote"), st.integers(-4, 4), st.lists(SIZES, min_size=1, max_size=5)),
        st.tuples(st.just("trade"), st.sampled_from(Side), st.integers(1, 99)),
        st.tuples(
            st.just("place"), st.sampled_from(Side), st.sampled_from([OrderType.LIMIT, OrderType.POST_ONLY]),
            st.sampled_from(Force), st.sampled_from(SelfTrade), RUNGS, SIZES, st.sampled_from(["", "a", "b", "c"]),
        ),
        st.tuples(st.just("market"), st.sampled_from(Side), st.booleans(), st.sampled_from(SelfTrade), SIZES),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("fee"), st.integers(-500, 5_000)),
        st.tuples(st.just("halt"), st.booleans()),
        st.tuples(st.just("fill"), st.integers(0, 30), SIZES),
    ),
    max_size=30,
)  # fmt: skip


class Player:
    """Us, doing what the steps say, and checking after each."""

    def __init__(self, name: str) -> None:
        self.world, self.crowd = make_world(name)
        self.exchange = self.world.exchange
        self.lot = 1 if name == "upbit" else e8("0.00001")

    def run(self, steps: list) -> None:
        for step in steps:
            getattr(self, step[0])(*step[1:])
            self.world.check()
        for order in self.exchange.orders(is_open=True):
            assert self.exchange.cancel(order) is None
        self.world.check()

    def requote(self, shift: int, sizes: list[int]) -> None:
        self.crowd.requote(shift, sizes)

    def trade(self, side: Side, part: int) -> None:
        self.crowd.trade(side, part)

    def place(self, *words) -> None:
        side, kind, force, self_trade, rung, size, client_id = words
        price = self.crowd.middle + rung * self.crowd.tick
        force = Force.GTC if kind is OrderType.POST_ONLY else force
        self.send(OrderRequest(
            self.world.symbol, side, kind, force, price, size - size % self.lot, None, client_id, self_trade
        ))  # fmt: skip

    def market(self, side, is_by_quote, self_trade, size) -> None:
        quote = size * self.crowd.middle // e8(1) if is_by_quote else None
        quantity = None if is_by_quote else size - size % self.lot
        kind = OrderType.MARKET
        self.send(OrderRequest(self.world.symbol, side, kind, Force.IOC, None, quantity, quote, "", self_trade))

    def send(self, request: OrderRequest) -> None:
        before = self.exchange.check(request)
        known = [
            order for order in self.exchange.orders() if request.client_id and order.request.client_id == request.client_id
        ]
        result = self.exchange.place(request)
        if isinstance(result, HeldOrder):
            assert before is None
            if request.type is OrderType.POST_ONLY:
                assert not result.executions
            if request.force is Force.FOK and request.self_trade in (SelfTrade.NONE, SelfTrade.CANCEL_MAKER):
                assert result.status is Status.FILLED or not result.executions
            assert result.is_open <= (request.force is Force.GTC and request.type is not OrderType.MARKET)
            is_forever = self.exchange.policy is UPBIT_POLICY
            assert not [one for one in known if is_forever or (one.is_open and one is not result)]
        else:
            assert result == before and result.why is not Why.NOT_FOUND

    def cancel(self, index: int) -> None:
        orders = self.exchange.orders(is_open=True)
        if index < len(orders):
            assert self.exchange.cancel(orders[index]) is None

    def fee(self, ppm: int) -> None:
        self.exchange.change_rules(self.world.symbol, maker_ppm=ppm, taker_ppm=abs(ppm))

    def halt(self, is_begin: bool) -> None:
        (self.exchange.halt if is_begin else self.exchange.resume)(self.world.symbol)

    def fill(self, index: int, size: int) -> None:
        orders = self.exchange.orders(is_open=True)
        if index < len(orders):
            self.exchange.fill(orders[index], size)


@pytest.mark.parametrize("name", POLICIES)
@settings(max_examples=120, deadline=None)
@given(steps=STEPS)
def test_money_adds_up_locks_end_and_limits_hold_whatever_happens(name, steps):
    player = Player(name)
    player.run(steps)
    account = player.exchange.account
    assert all(account.locked_e8(asset) == 0 for asset in account.assets()), "what has ended locks nothing"


@settings(max_examples=150, deadline=None)
@given(
    ahead=st.integers(0, 50),
    ours=st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20)), min_size=1, max_size=4),
    prints=st.lists(st.integers(1, 40), max_size=8),
)
def test_prints_serve_a_price_level_strictly_in_the_order_it_was_joined(ahead, ours, prints):
    """The model is a plain queue of who came when: others, us, others who came after us, us again."""
    world = World(UPBIT_POLICY, [KRWBTC], {"KRW": e8(10**12)})
    price, unit = e8(100_000_000), e8("0.001")
    queue: list[list] = [[None, ahead]]
    others = ahead
    world.set(bids={"100000000": _text(others)}, asks={"100001000": "1"})
    orders = []
    for size, later in ours:
        order = world.placed(Side.BUY, "100000000", _text(size))
        orders.append(order)
        others += later
        world.set(bids={"100000000": _text(others)})
        queue += [[order, size], [None, later]]
    filled = {order.order_id: 0 for order in orders}
    for size in prints:
        world.print("100000000", _text(size), Side.SELL)
        left = size
        for entry in queue:
            taken = min(left, entry[1])
            entry[1] -= taken
            left -= taken
            if entry[0] is not None:
                filled[entry[0].order_id] += taken
        assert {order.order_id: order.executed_e8 // unit for order in orders} == filled
    assert all(one.price_e8 == price and one.is_maker for order in orders for one in order.executions)
    world.exchange.account.check()


def _text(units: int) -> str:
    return f"{units / 1000:.3f}"
