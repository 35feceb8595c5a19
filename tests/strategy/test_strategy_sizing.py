"""Sizes against an exhaustive search over every combination of quantities, to the last unit."""

from __future__ import annotations

import random

import msgspec
import pytest
from strategy_world import (
    NOW_NS,
    PlainBoard,
    PlainBook,
    SlowLeg,
    confirmed,
    instrument,
    settings,
    slow_best,
)

from arbitrage.model.events import Level
from arbitrage.model.instruments import FeePayment, Instrument, Node, Side
from arbitrage.model.money import E8
from arbitrage.model.opportunities import Opportunity, Refusal
from arbitrage.model.settings import StrategySettings, TransferSettings
from arbitrage.strategy.detector import Detector
from arbitrage.strategy.found import Missed

LOT_E8 = 10**6


class Ring(msgspec.Struct):
    """One cycle of two to four markets, over one or two venues, small enough to try everything."""

    board: PlainBoard
    settings: StrategySettings
    free_e8: dict[Node, int]

    def free(self, place: Node) -> int:
        return self.free_e8[place]


def ladder(dice: random.Random, price: float, lots: int, lot_e8: int, *, is_ask: bool) -> list[Level]:
    """Make one to three levels of whole lots around a price."""
    levels = []
    for _ in range(dice.randint(1, 3)):
        taken = dice.randint(1, max(1, lots))
        levels.append((round(price, 2), taken * lot_e8 / E8))
        price *= 1 + dice.uniform(0.001, 0.01) * (1 if is_ask else -1)
    return sorted({price: (price, quantity) for price, quantity in levels}.values(), reverse=not is_ask)


def random_ring(dice: random.Random) -> Ring:
    legs = dice.choice([2, 2, 3, 3, 4])
    assets = ["USDT", *(f"A{position}" for position in range(1, legs))]
    value = {asset: dice.choice([1.0, 3.0, 7.0]) for asset in assets}
    venues = ["u", "v"]
    is_cross = dice.random() < 0.6 or legs == 2
    instruments: list[Instrument] = []
    books = []
    grid = {2: 25, 3: 9, 4: 4}[legs]
    for position, asset in enumerate(assets):
        after = assets[(position + 1) % legs]
        base, quote = (asset, after) if dice.random() < 0.5 else (after, asset)
        venue = venues[position % 2] if legs == 2 else dice.choice(venues) if is_cross else "u"
        lot_e8 = dice.choice([LOT_E8, 2 * LOT_E8, 5 * LOT_E8, 3_333_333])
        instruments.append(
            instrument(
                position, venue, f"{base}/{quote}", lot_e8=lot_e8, tick_e8=LOT_E8,
                fee_ppm=dice.choice([-250, 0, 500, 1000]), payment=dice.choice([FeePayment.RECEIVED, FeePayment.QUOTE]),
                quantity_e8_min=dice.choice([0, lot_e8, 3 * lot_e8]), notional_e8_min=dice.choice([0, 0, 10 * LOT_E8]),
            )
        )  # fmt: skip
        mid = value[base] / value[quote] * (1 + dice.uniform(-0.25, 0.25))
        spread = dice.uniform(0.001, 0.01)
        bids = ladder(dice, mid * (1 - spread), grid, lot_e8, is_ask=False)
        books.append(PlainBook(bids, ladder(dice, mid * (1 + spread), grid, lot_e8, is_ask=True)))
    transfers = {
        asset: confirmed(dice.choice([0, 0, 1000]), dice.choice(["0", "0", "0", "0.002"])) for asset in assets
    }
    ample = dice.random() < 0.5
    nodes = {known.spent_node(side) for known in instruments for side in Side}
    free_e8 = {place: 10**18 if ample else dice.randint(0, 40 * LOT_E8) for place in nodes}
    chosen = settings(
        screen_edge_ppm=-100_000, transfers=transfers, price_slack_ppm=dice.choice([0, 0, 2000]), fx_assets=()
    )
    return Ring(PlainBoard(instruments, books), chosen, free_e8)


def expected(ring: Ring, detector: Detector, cycle: int) -> tuple[int, int] | None:
    steps = detector.route(cycle).steps
    legs = []
    for step in steps:
        rules = ring.board.instruments[step.market]
        assert rules is not None
        slack = ring.settings.price_slack_ppm
        legs.append(
            SlowLeg(ring.board.books[step.market], rules, step.side, spendable_e8=ring.free(step.spent), slack_ppm=slack)
        )
    transfers: list[TransferSettings | None] = [
        ring.settings.transfers[step.received.asset] if step.transfer else None for step in steps
    ]
    return slow_best(legs, transfers)


def check_one(ring: Ring) -> tuple[int, int]:
    """Compare every cycle of a ring with the exhaustive search; return how many paid and how many did not."""
    detector = Detector(ring.settings)
    found = detector.detect(ring.board, ring.free, ring.board.all_markets, NOW_NS)
    paid = missed = 0
    for line in found:
        best = expected(ring, detector, line.cycle)
        if isinstance(line, Missed):
            assert line.cycles == 1
            assert best is None or best[0] <= 0, (line, best)
            missed += 1
            continue
        assert best is not None
        profit, minus_in = best
        assert (line.amount_out_e8 - line.amount_in_e8, line.amount_in_e8) == (profit, -minus_in)
        assert line.net_e8 == profit
        check_shape(ring, line)
        paid += 1
    return paid, missed


def check_shape(ring: Ring, line: Opportunity) -> None:
    """Check what holds for every opportunity, whatever its size."""
    assert line.legs[0].spent == line.start and line.amount_in_e8 == line.legs[0].spent_e8
    parts = line.breakdown
    assert parts.top_of_book_e8 - parts.depth_e8 - parts.fees_e8 - parts.transfers_e8 == parts.net_e8 == line.net_e8
    assert parts.depth_e8 >= 0 and parts.transfers_e8 >= 0
    assert bool(line.transfers) or parts.transfers_e8 == 0
    moves = {transfer.source: transfer for transfer in line.transfers}
    for leg, after in zip(line.legs, [*line.legs[1:], None], strict=True):
        rules = ring.board.instruments[leg.market]
        assert rules is not None
        assert leg.quantity_e8 % rules.lot_e8 == 0 and leg.quantity_e8 >= rules.quantity_e8_min
        assert leg.price_limit_e8 % rules.ticks.tick_e8_at(leg.price_limit_e8) == 0
        assert leg.price_limit_e8 * leg.quantity_e8 // E8 >= rules.notional_e8_min
        assert leg.spent_e8 <= ring.free(leg.spent)
        move = moves.get(leg.received)
        if move is not None:
            assert move.amount_e8 <= leg.received_e8
            arriving_e8 = move.amount_e8 - move.cost_e8
            assert arriving_e8 == (after.spent_e8 if after else line.amount_out_e8)
        elif after is not None:
            assert after.spent == leg.received and after.spent_e8 <= leg.received_e8
    amounts = {leg.market: leg for leg in line.legs}
    assert len(amounts) == len(line.legs)


@pytest.mark.parametrize("block", range(30))
def test_size_and_profit_equal_an_exhaustive_search(block: int) -> None:
    paid = missed = 0
    for seed in range(100 * block, 100 * block + 100):
        counts = check_one(random_ring(random.Random(seed)))
        paid += counts[0]
        missed += counts[1]
    assert paid > 5 and missed > 5


@pytest.mark.parametrize("block", range(5))
def test_a_search_cut_short_loses_at_most_one_lot_of_every_leg(block: int) -> None:
    compared = worse = 0
    for seed in range(200 * block, 200 * block + 200):
        ring = random_ring(random.Random(seed))
        rules = [known for known in ring.board.instruments if known is not None]
        bare = [msgspec.structs.replace(known, quantity_e8_min=0, notional_e8_min=0) for known in rules]
        ring.board.instruments = list(bare)
        whole = Detector(ring.settings).detect(ring.board, ring.free, ring.board.all_markets, NOW_NS)
        hurried = Detector(msgspec.structs.replace(ring.settings, sizing_budget_us=1))
        short = {line.cycle: line for line in hurried.detect(ring.board, ring.free, ring.board.all_markets, NOW_NS)}
        for line in whole:
            other = short[line.cycle]
            if isinstance(line, Opportunity) and not (isinstance(other, Missed) and other.reason is Refusal.TIME_BUDGET):
                found = other.net_e8 if isinstance(other, Opportunity) else 0
                lots = sum(line.amount_in_e8 * bare[leg.market].lot_e8 // leg.quantity_e8 + 1 for leg in line.legs)
                assert line.net_e8 - lots <= found <= line.net_e8
                compared += 1
                worse += found < line.net_e8
    assert compared > 20 and worse > 0


@pytest.mark.parametrize("steps", [20, 40, 60, 80])
def test_whatever_work_is_left_a_size_never_beats_the_whole_search(steps: int) -> None:
    cut = 0
    for seed in range(300):
        ring = random_ring(random.Random(seed))
        found = Detector(ring.settings).detect(ring.board, ring.free, ring.board.all_markets, NOW_NS)
        whole = {line.cycle: line for line in found}
        hurried = Detector(msgspec.structs.replace(ring.settings, sizing_budget_us=steps))
        for line in hurried.detect(ring.board, ring.free, ring.board.all_markets, NOW_NS):
            other = whole[line.cycle]
            if isinstance(line, Opportunity):
                assert isinstance(other, Opportunity) and line.net_e8 <= other.net_e8
        cut += hurried.counters["sized_inexactly"]
    assert cut > 0, "some searches were cut short"
