"""From changed markets to opportunities: planted cycles, fees, minimums, balances, fiat, doubts, limits of work."""

from __future__ import annotations

import pytest
from strategy_boards import (
    BOTH,
    BTC_USDT,
    KRW_BTC,
    KRW_USDT,
    ceil_div,
    detect,
    kimchi_board,
    missed,
    only,
    triangle,
)
from strategy_world import MS_NS, NOW_NS, Doubt, PlainBoard, PlainBook, balances, confirmed, instrument, node, rich, settings

from arbitrage.model.instruments import Side
from arbitrage.model.money import E8, PPM
from arbitrage.model.opportunities import Opportunity, Refusal
from arbitrage.strategy.board import refusal_of
from arbitrage.strategy.detector import REMEMBERED_MAX, Detector
from arbitrage.strategy.found import Found, Missed


def test_planted_cycle_is_found_with_its_size_limited_profit_to_the_last_unit() -> None:
    found = only(detect(kimchi_board(lot_e8=1), settings(transfers=BOTH)))
    assert found.name == "USDT@binance > BTC > BTC@upbit > KRW > USDT > USDT@binance"
    # Both bids in Korea pay, so 1.3 BTC are sold there; the fee is taken from the BTC bought, so a little more is bought.
    sold = 130_000_000
    bought = ceil_div(sold * PPM, PPM - 1000)
    krw = 0
    for price, quantity in ((85_000_000, 30_000_000), (84_900_000, 100_000_000)):
        krw += price * quantity - ceil_div(price * quantity * 500, PPM)
    # 1,380 for the first 30,000 USDT and 1,381 for the rest, with 0.05 % on top.
    first = 1380 * 30_000 * E8
    krw_left = krw - first - ceil_div(first * 500, PPM)
    usdt = 30_000 * E8 + krw_left * PPM // (PPM + 500) * E8 // (1381 * E8)
    spent = 60_000 * 50_000_000 + 60_010 * (bought - 50_000_000)
    assert [leg.quantity_e8 for leg in found.legs] == [bought, sold, usdt]
    assert (found.amount_in_e8, found.amount_out_e8) == (spent, usdt)
    assert found.net_e8 == found.breakdown.net_e8 == usdt - spent
    assert found.notional_e8 == spent and found.edge_ppm == (usdt - spent) * PPM // spent
    assert [leg.price_limit_e8 for leg in found.legs] == [60_010 * E8, 84_900_000 * E8, 1381 * E8]
    assert [leg.top_price_e8 for leg in found.legs] == [60_000 * E8, 85_000_000 * E8, 1380 * E8]
    assert [str(leg.fee_asset) for leg in found.legs] == ["BTC", "KRW", "KRW"]
    assert found.legs[0].fee_e8 == ceil_div(50_000_000 * 1000, PPM) + ceil_div((bought - 50_000_000) * 1000, PPM)


def test_breakdown_sums_and_names_each_cost() -> None:
    costly = {"BTC": confirmed(200, "0.0001"), "USDT": confirmed(0, "1")}
    plain = only(detect(kimchi_board(), settings(transfers=BOTH)))
    found = only(detect(kimchi_board(), settings(transfers=costly)))
    assert plain.breakdown.transfers_e8 == 0 and plain.breakdown.fees_e8 > 0 and plain.breakdown.depth_e8 > 0
    # 200 ppm and 0.0001 BTC of 1.3 BTC at about 61,500 USDT, and 1 USDT.
    assert 17 * E8 < found.breakdown.transfers_e8 < 26 * E8
    move, back = found.transfers
    assert (str(move.source), str(move.target)) == ("BTC@binance", "BTC@upbit")
    assert move.amount_e8 - move.cost_e8 == found.legs[1].spent_e8
    assert move.cost_e8 == ceil_div((found.legs[1].spent_e8 + 10_000) * PPM, PPM - 200) - found.legs[1].spent_e8
    assert (back.amount_e8, back.cost_e8) == (found.legs[2].received_e8, E8)
    top = found.amount_in_e8 * 85_000_000 // (60_000 * 1380) - found.amount_in_e8
    assert found.breakdown.top_of_book_e8 == top


def test_the_cycle_is_found_whichever_market_moves() -> None:
    board = kimchi_board()
    asks = board.books[BTC_USDT].asks
    for market in (BTC_USDT, KRW_BTC, KRW_USDT):
        board.books[BTC_USDT].asks = [(70_000.0, 1.0)]
        detector = Detector(settings(transfers=BOTH))
        assert detector.detect(board, rich, board.all_markets, NOW_NS) == []
        board.books[BTC_USDT].asks = asks
        assert detector.detect(board, rich, set(), NOW_NS) == []
        only(detector.detect(board, rich, {BTC_USDT, market}, NOW_NS))
        only(detector.detect(board, rich, {market}, NOW_NS))


def test_depth_that_changes_behind_an_unchanged_touch_is_sized_again() -> None:
    board = kimchi_board(lot_e8=1)
    detector = Detector(settings(transfers=BOTH))
    before = only(detector.detect(board, rich, board.all_markets, NOW_NS))
    board.books[KRW_BTC].bids = board.books[KRW_BTC].bids[:1]
    after = only(detector.detect(board, rich, {KRW_BTC}, NOW_NS))
    # The last 30 units of the bid are not worth the 31 that buying them takes.
    assert after.legs[1].quantity_e8 == 29_999_970 < before.legs[1].quantity_e8
    assert after.id != before.id


def test_a_split_symbol_is_never_guessed() -> None:
    # GALAEUR is GALA/EUR. Read as GAL/AEUR its price would make a fortune.
    pairs = [("GALAEUR", "GALA/EUR", 0.02), ("GALUSDT", "GAL/USDT", 1.5), ("AEURUSDT", "AEUR/USDT", 1.08)]
    board = PlainBoard(
        [instrument(market, "binance", pair) for market, (_, pair, _) in enumerate(pairs)],
        [PlainBook([(price, 1e6)], [(price, 1e6)]) for _, _, price in pairs],
    )
    detector = Detector(settings())
    assert detector.detect(board, rich, board.all_markets, NOW_NS) == []
    assert detector.counters["cycles"] == 0


def test_the_same_ticker_is_another_coin_until_its_identity_is_confirmed() -> None:
    for transfers in ({}, {"BTC": confirmed()}, {**BOTH, "BTC": confirmed().__class__()}):
        detector = Detector(settings(transfers=transfers))
        assert detector.detect(kimchi_board(), rich, {0, 1, 2}, NOW_NS) == []
        assert detector.counters["cycles"] == 0


@pytest.mark.parametrize("spoil", ["doubt", "no bid", "no ask", "off the grid", "gone"])
def test_without_a_usable_fiat_book_no_cycle_through_that_fiat_is_offered(spoil: str) -> None:
    board = kimchi_board(2)
    if spoil == "doubt":
        board.doubts[KRW_USDT] = Doubt.STALE
    elif spoil == "no bid":
        board.books[KRW_USDT].bids = []
    elif spoil == "no ask":
        board.books[KRW_USDT].asks = []
    elif spoil == "off the grid":
        board.books[KRW_USDT].bids = [(1379.5, 1.0)]
    else:
        board.instruments[KRW_USDT] = None
    line = missed(detect(board, settings(transfers=BOTH)))
    assert line.reason is Refusal.NO_FX and "KRW@upbit" in line.detail
    # BTC over there, ETH back, needs no KRW-USDT leg and is refused all the same.
    assert line.cycles == (1 if spoil in ("gone", "no ask") else 2)
    assert line.edge_ppm > 20_000


def test_the_rate_used_is_kept_with_every_opportunity() -> None:
    board = kimchi_board(2)
    board.ages_ms[KRW_USDT] = 123
    found = detect(board, settings(transfers=BOTH))
    assert {len(line.legs) for line in found if isinstance(line, Opportunity)} == {3, 4}
    for line in found:
        assert isinstance(line, Opportunity)
        (rate,) = line.fx
        assert (rate.market, rate.age_ms) == (KRW_USDT, 123)
        assert (rate.bid_e8, rate.bid_quantity_e8) == (1379 * E8, 500_000 * E8)
        assert (rate.ask_e8, rate.ask_quantity_e8) == (1380 * E8, 30_000 * E8)


def test_the_fiat_leg_is_executed_or_carried_by_policy_for_each_pair() -> None:
    board = kimchi_board(2)
    chosen = settings(transfers=BOTH, fx_policy="execute", fx_policy_by_pair={"BTC": "carry"})
    by_length = {len(line.legs): line for line in detect(board, chosen) if isinstance(line, Opportunity)}
    assert [leg.is_carried for leg in by_length[3].legs] == [False, False, True]
    assert not any(leg.is_carried for leg in by_length[4].legs), "between two coins there is no fiat leg"
    executed = only([x for x in detect(board, settings(transfers=BOTH)) if isinstance(x, Opportunity) and len(x.legs) == 3])
    assert not any(leg.is_carried for leg in executed.legs)
    assert (executed.amount_in_e8, executed.net_e8) == (by_length[3].amount_in_e8, by_length[3].net_e8)
    carried = settings(transfers=BOTH, fx_policy="carry", fx_policy_by_pair={"BTC": "execute"})
    assert not any(leg.is_carried for line in detect(kimchi_board(), carried) for leg in only([line]).legs)


def test_a_carried_leg_needs_no_inventory() -> None:
    own = balances({"USDT@binance": 10**14, "BTC@upbit": 10**9})
    chosen = settings(transfers=BOTH)
    assert missed(detect(kimchi_board(), chosen, own)).reason is Refusal.INSUFFICIENT_BALANCE
    carried = only(detect(kimchi_board(), settings(transfers=BOTH, fx_policy="carry"), own))
    assert carried.legs[2].is_carried and carried.net_e8 > 0


def test_every_leg_is_covered_by_what_is_free_at_its_own_node() -> None:
    for short, leg in (("USDT@binance", 0), ("BTC@upbit", 1), ("KRW@upbit", 2)):
        ample = {"USDT@binance": 10**15, "BTC@upbit": 10**15, "KRW@upbit": 10**18}
        for amount in (0, 1000, 7 * 10**9, 123_456_789_012):
            own = balances({**ample, short: amount})
            line = detect(kimchi_board(), settings(transfers=BOTH, price_slack_ppm=500), own)[0]
            if isinstance(line, Missed):
                assert line.reason is Refusal.INSUFFICIENT_BALANCE and short in line.detail
                continue
            for used in line.legs:
                rules = kimchi_board().instruments[used.market]
                assert rules is not None
                quote = ceil_div(used.price_limit_e8 * used.quantity_e8, E8)
                fee = ceil_div(quote * 500, PPM) if used.market == KRW_USDT else 0
                locked = quote + fee if used.side is Side.BUY else used.quantity_e8
                assert used.spent_e8 <= locked <= own(used.spent)
            assert line.legs[leg].spent_e8 * 100 > 97 * min(amount, line.legs[leg].spent_e8)


def test_the_minimum_of_the_second_leg_is_met_or_nothing_is_offered() -> None:
    board = kimchi_board()
    board.books[KRW_BTC].bids = [(85_000_000.0, 0.00005)]  # worth 4,250 KRW; the venue takes 5,000
    line = missed(detect(board, settings(transfers=BOTH)))
    assert line.reason is Refusal.BELOW_MINIMUM
    board.books[KRW_BTC].bids = [(85_000_000.0, 0.00005), (84_900_000.0, 0.0001)]
    found = only(detect(board, settings(transfers=BOTH)))
    assert found.legs[1].quantity_e8 == 14_985, "15 lots less the fee"
    assert found.legs[1].quantity_e8 * found.legs[1].price_limit_e8 // E8 >= 5000 * E8


def test_a_size_that_only_minimums_force_is_offered_when_it_still_pays() -> None:
    board = kimchi_board()
    board.books[KRW_BTC].bids = [(85_000_000.0, 0.00005), (81_500_000.0, 1.0)]
    # The second bid loses money, but less than 9 lots are not worth the 5 USDT that Binance takes at least.
    found = only(detect(board, settings(transfers=BOTH)))
    assert found.legs[0].quantity_e8 == 9_000 and found.legs[1].quantity_e8 == 8_991
    assert found.net_e8 > 0


def test_an_edge_that_lots_eat_up_is_below_the_threshold() -> None:
    board = kimchi_board()
    board.instruments[KRW_BTC] = instrument(KRW_BTC, "upbit", "BTC/KRW", lot_e8=40_000_000, tick_e8=1000 * E8)
    board.instruments[BTC_USDT] = instrument(BTC_USDT, "binance", "BTC/USDT", lot_e8=50_000_000, tick_e8=E8 // 100)
    board.books[KRW_BTC].bids = [(85_000_000.0, 0.4)]
    line = missed(detect(board, settings(transfers=BOTH)))
    assert line.reason is Refusal.BELOW_THRESHOLD


def test_fixed_transfer_costs_are_paid_before_anything_is_earned() -> None:
    def run(cost: str) -> list[Found]:
        return detect(kimchi_board(), settings(transfers={**BOTH, "BTC": confirmed(0, cost)}))

    free, costly = only(run("0")), only(run("0.01"))
    lost = free.net_e8 - costly.net_e8
    assert 590 * E8 < lost < 640 * E8
    assert missed(run("0.05")).reason is Refusal.BELOW_THRESHOLD
    assert missed(run("5")).reason is Refusal.BELOW_THRESHOLD


def test_profit_in_another_asset_is_valued_at_the_executable_book() -> None:
    found = only(detect(triangle(), settings()))
    assert str(found.start) == "BTC@v" and found.name == "BTC@v > ETH > BNB > BTC"
    profit = found.amount_out_e8 - found.amount_in_e8
    assert profit == 40 * 1_010_000 - 40 * 1_000_000
    sold = 60_000 * 100_000 + 59_000 * (profit - 100_000)
    fee = ceil_div(60_000 * 100_000 * 1000, PPM) + ceil_div(59_000 * (profit - 100_000) * 1000, PPM)
    assert found.net_e8 == sold - fee
    bought = ceil_div(found.amount_in_e8 * PPM, PPM - 1000)
    assert found.notional_e8 == 60_100 * bought
    assert found.edge_ppm == found.net_e8 * PPM // found.notional_e8


@pytest.mark.parametrize("spoil", ["gone", "doubt", "thin", "thin for the input"])
def test_profit_that_no_executable_book_values_is_refused(spoil: str) -> None:
    board = triangle(has_usdt=spoil != "gone")
    if spoil == "doubt":
        board.doubts[3] = Doubt.GAP
    elif spoil == "thin":
        board.books[3].bids = [(60_000.0, 0.0001)]
    elif spoil == "thin for the input":
        board.books[3].asks = [(60_100.0, 0.1)]
    line = missed(detect(board, settings()))
    assert line.reason is Refusal.NO_FX and "no executable book values" in line.detail


def test_a_limit_on_the_input_that_no_minimum_fits_is_not_called_a_balance() -> None:
    line = missed(detect(kimchi_board(), settings(transfers=BOTH), notional_e8_max=4 * E8))
    assert line.reason is Refusal.BELOW_MINIMUM and "limit on the input" in line.detail


def test_the_limit_on_the_input_holds_in_the_reporting_asset() -> None:
    limit = 5000 * E8
    found = only(detect(kimchi_board(), settings(transfers=BOTH), notional_e8_max=limit))
    assert limit - E8 < found.amount_in_e8 <= limit
    other = only(detect(triangle(), settings(), notional_e8_max=limit))
    assert 49 * limit // 50 < other.notional_e8 <= limit
    unvalued = missed(detect(triangle(has_usdt=False), settings(), notional_e8_max=limit))
    assert unvalued.reason is Refusal.NO_FX


@pytest.mark.parametrize(
    ("doubt", "reason"),
    [
        (Doubt.STALE, Refusal.STALE_MARKET),
        (Doubt.GAP, Refusal.GAPPED_MARKET),
        (Doubt.CROSSED, Refusal.CROSSED_MARKET),
        (Doubt.IMPLAUSIBLE, Refusal.DOUBTFUL_MARKET),
        (Doubt.HALTED, Refusal.SYMBOL_HALTED),
        (Doubt.HELD, Refusal.SYMBOL_HELD),
    ],
)
def test_a_doubted_market_is_a_refusal_with_its_reason(doubt: Doubt, reason: Refusal) -> None:
    board = kimchi_board()
    board.doubts[BTC_USDT] = doubt
    line = missed(detect(board, settings(transfers=BOTH)))
    assert (line.reason, line.detail) == (reason, "BTC/USDT@binance")
    assert line.edge_ppm == int((85_000_000 * 0.9995 * 0.999 / (60_000 * 1380 * 1.0005) - 1) * PPM)
    board.doubts = {KRW_BTC: doubt}
    assert missed(detect(board, settings(transfers=BOTH))).detail == "BTC/KRW@upbit"
    assert refusal_of(doubt) is reason


def test_every_doubt_of_the_market_room_has_a_refusal() -> None:
    from arbitrage.market.doubt import Doubt as MarketDoubt

    reasons = {doubt.name: refusal_of(doubt) for doubt in MarketDoubt}
    assert {name for name, reason in reasons.items() if reason is Refusal.DOUBTFUL_MARKET} <= {"IMPLAUSIBLE", "CROSS_CHECK"}
    assert reasons["LINK_DOWN"] is reasons["SILENT_LINK"] is Refusal.VENUE_UNHEALTHY


def test_a_price_off_the_tick_grid_makes_the_market_doubtful() -> None:
    board = kimchi_board()
    board.books[KRW_BTC].bids = [(85_000_500.0, 1.0)]
    line = missed(detect(board, settings(transfers=BOTH)))
    assert line.reason is Refusal.DOUBTFUL_MARKET and "grid" in line.detail


def test_at_most_survivors_max_are_sized_best_first_and_the_rest_is_counted() -> None:
    board = kimchi_board(2)
    detector = Detector(settings(transfers=BOTH, survivors_max=1))
    found = detector.detect(board, rich, board.all_markets, NOW_NS)
    assert isinstance(found[0], Opportunity) and isinstance(found[1], Missed) and len(found) == 2
    assert (found[1].reason, found[1].cycles) == (Refusal.TIME_BUDGET, 1)
    assert "survivors_max is 1" in found[1].detail and detector.counters["time_budget"] == 1


def test_the_budget_is_a_number_of_steps_and_ends_sizing() -> None:
    board = kimchi_board(2)
    detector = Detector(settings(transfers=BOTH, sizing_budget_us=1))
    found = detector.detect(board, rich, board.all_markets, NOW_NS)
    assert [type(line) for line in found] == [Opportunity, Missed]
    assert isinstance(found[1], Missed) and found[1].reason is Refusal.TIME_BUDGET
    assert "sizing_budget_us is 1" in found[1].detail
    assert detector.counters["sized"] == 1 and detector.counters["sized_inexactly"] == 1


def test_a_cycle_is_sized_again_at_most_once_in_the_interval() -> None:
    board = kimchi_board()
    detector = Detector(settings(transfers=BOTH, resize_interval_ms=100))
    only(detector.detect(board, rich, {0}, NOW_NS))
    assert detector.detect(board, rich, {0}, NOW_NS + 99 * MS_NS) == []
    assert detector.counters["resize_waits"] == 1
    only(detector.detect(board, rich, {0}, NOW_NS + 100 * MS_NS))


def test_a_market_outside_every_gaining_cycle_costs_no_sizing() -> None:
    board = kimchi_board(2)
    board.books[3] = PlainBook([(2900.0, 20.0)], [(3100.0, 20.0)])
    detector = Detector(settings(transfers=BOTH))
    only(detector.detect(board, rich, board.all_markets, NOW_NS))
    assert detector.detect(board, rich, {3}, NOW_NS) == []
    assert detector.counters["survivors"] == detector.counters["sized"] == 1


def test_memory_of_routes_and_sizings_is_bounded() -> None:
    board = kimchi_board()
    detector = Detector(settings(transfers=BOTH, resize_interval_ms=1))
    detector.rebuild(board)
    detector._sized_at_ns.update(dict.fromkeys(range(-REMEMBERED_MAX, 0), 0))
    detector._routes.update(dict.fromkeys(range(-REMEMBERED_MAX, 0), None))  # type: ignore[arg-type]  # never looked at
    only(detector.detect(board, rich, {0}, NOW_NS))
    assert len(detector._sized_at_ns) == len(detector._routes) == 1


def test_new_rules_are_taken_in_without_new_cycle_ids_and_new_markets_with() -> None:
    board = kimchi_board()
    detector = Detector(settings(transfers=BOTH))
    before = only(detector.detect(board, rich, {0}, NOW_NS))
    cycles = detector.counters["cycles"]
    dear = instrument(BTC_USDT, "binance", "BTC/USDT", fee_ppm=5000, tick_e8=E8 // 100, lot_e8=1000)
    board.instruments[BTC_USDT] = dear
    board.instruments_version += 1
    after = only(detector.detect(board, rich, {2}, NOW_NS))
    assert after.cycle == before.cycle and after.net_e8 < before.net_e8
    assert detector.counters["rebuilds"] == 2 and detector.counters["cycles"] == cycles
    board.instruments[BTC_USDT] = instrument(BTC_USDT, "binance", "BTC/USDT", fee_ppm=PPM)
    board.instruments_version += 1
    assert detector.detect(board, rich, {2}, NOW_NS) == []
    assert detector.counters["cycles"] == 0
    assert detector.graph.instruments[BTC_USDT] is None and detector.fx.assets == {"KRW"}


def test_reaching_the_bound_on_cycles_is_counted() -> None:
    detector = Detector(settings(transfers=BOTH, cycles_max=1))
    detector.rebuild(kimchi_board())
    assert (detector.counters["cycles"], detector.counters["cycles_max_reached"]) == (1, 1)


def test_ages_of_every_market_are_told() -> None:
    board = kimchi_board()
    board.ages_ms.update({0: 11, 1: 22, 2: 33})
    assert [leg.age_ms for leg in only(detect(board, settings(transfers=BOTH))).legs] == [11, 22, 33]


def test_the_same_board_gives_the_same_words_twice() -> None:
    chosen = settings(transfers=BOTH, screen_edge_ppm=-50_000)
    assert detect(kimchi_board(2), chosen) == detect(kimchi_board(2), chosen)


def test_an_uphill_start_is_the_reporting_asset_even_at_the_other_venue() -> None:
    board = kimchi_board()
    board.books[BTC_USDT].bids = [(70_000.0, 1.0)]
    board.books[BTC_USDT].asks = [(70_001.0, 1.0)]
    found = only(detect(board, settings(transfers=BOTH)))
    assert found.start == node("USDT@upbit")
    assert found.name == "USDT@upbit > KRW > BTC > BTC@binance > USDT > USDT@upbit"


def test_a_cycle_that_reaches_no_reporting_asset_starts_by_name() -> None:
    line = missed(detect(triangle(has_usdt=False), settings()))
    assert line.name == "BNB@v > BTC > ETH > BNB"
