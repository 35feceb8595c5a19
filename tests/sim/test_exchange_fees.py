import msgspec
from exchange_world import BNBUSDT, BTCUSDT, World, binance, e8, upbit

from arbitrage.model.instruments import Side
from arbitrage.sim.exchange.nouns import Force
from arbitrage.sim.exchange.policy import BINANCE_POLICY
from arbitrage.sim.scenarios.ticks import binance_market

BUY, SELL = Side.BUY, Side.SELL
BNB_POLICY = msgspec.structs.replace(BINANCE_POLICY, named_fee_asset="BNB")


def with_bnb(bnb: str, *, specs=(BTCUSDT, BNBUSDT)) -> World:
    world = World(BNB_POLICY, list(specs), {"USDT": e8(100000), "BTC": e8(10), "BNB": e8(bnb)})
    world.set(bids={"99": "1", "98": "2"}, asks={"100": "1", "101": "2"})
    return world


def fees(order) -> list[tuple[str, int]]:
    return [(one.fee_asset, one.fee_e8) for one in order.executions]


def test_binance_takes_the_fee_from_what_the_trade_yields():
    world = binance()
    buy = world.placed(BUY, "100", "0.5")
    assert fees(buy) == [("BTC", e8("0.0005"))] and world.free("BTC") == e8("100.4995")
    sell = world.placed(SELL, "99", "0.5")
    assert fees(sell) == [("USDT", e8("0.0495"))]
    world.check()


def test_a_fee_below_a_unit_is_a_unit_where_it_is_received_and_none_in_quote():
    world = binance(fees_ppm={"": (1, 1)})
    assert fees(world.placed(BUY, "100", "0.1")) == [("BTC", 10)]
    world = binance(fees_ppm={"": (1, 1)})
    assert fees(world.placed(BUY, "100", "0.05001")) == [("BTC", 6)]
    won = upbit(fees_ppm={"": (333, 333)})
    order = won.placed(BUY, "100001000", "0.00012345", force=Force.IOC)
    assert fees(order) == [("KRW", order.executed_quote_e8 * 333 // 1_000_000)] and won.locked("KRW") == 0
    won.check()


def test_upbit_takes_every_fee_in_quote():
    world = upbit()
    krw = world.free("KRW")
    buy = world.placed(BUY, "100001000", "0.1")
    assert fees(buy) == [("KRW", e8("5000.05"))] and world.free("KRW") == krw - e8("10005100.05")
    krw = world.free("KRW")
    sell = world.placed(SELL, "99999000", "0.1")
    assert fees(sell) == [("KRW", e8("4999.95"))] and world.free("KRW") == krw + e8("9999900") - e8("4999.95")
    assert buy.paid_fee_e8 == e8("5000.05")
    world.check()


def test_bnb_pays_three_quarters_at_its_own_price():
    world = with_bnb("1")
    world.set(bids={"299.9": "1"}, asks={"300.1": "1"}, symbol="BNBUSDT")
    sell = world.placed(SELL, "99", "1")
    assert fees(sell) == [("BNB", -(-99 * 10**8 * 75 // 100_000 // 300))]
    buy = world.placed(BUY, "100", "1")
    asset, fee_e8 = fees(buy)[0]
    assert asset == "BNB" and world.free("BTC") == e8(10) and abs(fee_e8 - e8("0.0002475")) < e8("0.000005")
    world.check()


def test_bnb_that_runs_out_mid_order_leaves_that_fills_whole_fee_to_the_received_asset():
    world = with_bnb("0.0003")
    world.set(bids={"299.9": "1"}, asks={"300.1": "1"}, symbol="BNBUSDT")
    order = world.placed(SELL, "98", "2")
    assert [asset for asset, _ in fees(order)] == ["BNB", "USDT"]
    assert fees(order)[1][1] == e8("0.098") and world.free("BNB") == e8("0.0003") - fees(order)[0][1] > 0
    world.check()


def test_bnb_bought_pays_its_own_fee_and_bnb_without_a_price_pays_none():
    world = with_bnb("0", specs=(BNBUSDT, BTCUSDT))
    order = world.placed(BUY, "101", "1")
    assert fees(order) == [("BNB", e8("0.00075"))]
    world = with_bnb("1")
    assert fees(world.placed(BUY, "100", "1")) == [("BTC", e8("0.001"))]
    world.check()


def test_a_fee_finds_bnb_through_a_second_market():
    bnbbtc = binance_market("BNB/BTC", tick="0.00001", lot="0.001", origin="test")
    trxbtc = binance_market("TRX/BTC", tick="0.00000001", lot="1", notional_min="0.0001", origin="test")
    world = World(BNB_POLICY, [trxbtc, bnbbtc], {"BTC": e8(1), "BNB": e8(1)})
    world.set(bids={"0.000001": "100000"}, asks={"0.00000102": "100000"})
    world.set(bids={"0.00299": "10"}, asks={"0.00301": "10"}, symbol="BNBBTC")
    order = world.placed(BUY, "0.00000102", "1000")
    asset, fee_e8 = fees(order)[0]
    assert asset == "BNB" and fee_e8 == -(-76 * e8(1) // 300_000)
    world.check()


def test_paying_in_bnb_is_switched_at_run_time_and_a_rebate_is_paid_out():
    world = with_bnb("1")
    world.exchange.settlement.named_fee_asset = ""
    assert fees(world.placed(BUY, "100", "1")) == [("BTC", e8("0.001"))]
    world.exchange.change_rules("BTCUSDT", maker_ppm=-100, taker_ppm=1_000)
    order = world.placed(BUY, "99", "1")
    world.print("99", "2", SELL)
    assert fees(order) == [("BTC", -e8("0.0001"))]
    world.check()
