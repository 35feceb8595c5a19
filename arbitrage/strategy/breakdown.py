"""An outcome's edge taken apart, in the reporting asset: exact fractions rounded once a stage, so that the parts sum.

Stages, each the profit of putting the same amount in: at the best prices and free of cost; with fees; with transfers; as it
will be. `fees` and `transfers` are what each stage loses against the one before, and `depth` is the rest: worse levels,
lots and what they leave over. Judges nothing. A fee in a third asset is among the fees, at what buying it costs.
"""

from __future__ import annotations

from arbitrage.model.instruments import Node, Side
from arbitrage.model.money import E8, PPM
from arbitrage.model.opportunities import EdgeBreakdown
from arbitrage.strategy.chain import Chain, Outcome, Unpriced
from arbitrage.strategy.valuation import Valuer


def break_down(chain: Chain, outcome: Outcome) -> EdgeBreakdown:
    """Take an outcome's edge apart. Raises Unpriced when its start asset cannot be valued."""
    start, amount_in_e8 = chain.route.start, outcome.amount_in_e8
    top_e8, after_fees_e8, after_transfers_e8, kept_e8 = (
        _value_e8(chain.valuer, start, profit_e8)
        for profit_e8 in (
            _profit_at_top_e8(chain, amount_in_e8, has_fees=False, has_transfers=False),
            _profit_at_top_e8(chain, amount_in_e8, has_fees=True, has_transfers=False),
            _profit_at_top_e8(chain, amount_in_e8, has_fees=True, has_transfers=True),
            outcome.amount_out_e8 - amount_in_e8,
        )
    )
    named_e8 = sum(fee.cost_e8 for fee in outcome.named_fees if fee)
    assert after_transfers_e8 >= kept_e8, "no size beats the best prices"
    return EdgeBreakdown(
        top_of_book_e8=top_e8,
        depth_e8=after_transfers_e8 - kept_e8,
        fees_e8=top_e8 - after_fees_e8 + named_e8,
        transfers_e8=after_fees_e8 - after_transfers_e8,
        net_e8=kept_e8 - named_e8,
    )


def net_e8(chain: Chain, outcome: Outcome) -> int:
    """Return what an outcome keeps after every cost, a loss too. Raises Unpriced when its start asset cannot be valued."""
    named_e8 = sum(fee.cost_e8 for fee in outcome.named_fees if fee)
    assert named_e8 >= 0, "a rebate in a third asset is not counted on"
    return _value_e8(chain.valuer, chain.route.start, outcome.amount_out_e8 - outcome.amount_in_e8) - named_e8


def _value_e8(valuer: Valuer, node: Node, amount_e8: int) -> int:
    """Return what an amount is worth, rounded down. Raises Unpriced when no executable book says."""
    value = valuer.worth_e8(node, amount_e8)
    assert value is None or (value > 0) <= (amount_e8 > 0), "a debt is worth nothing good"
    if value is None:
        raise Unpriced(f"no executable book values {node}")
    return value


def _profit_at_top_e8(chain: Chain, amount_in_e8: int, *, has_fees: bool, has_transfers: bool) -> int:
    assert amount_in_e8 > 0, "something is put in"
    above, below = amount_in_e8, 1  # an exact fraction: nothing is rounded on the way
    for ladder, step in zip(chain.ladders, chain.steps, strict=True):
        price_e8 = ladder.prices[0]
        if step.side is Side.BUY:
            above, below = above * E8, below * price_e8
        else:
            above, below = above * price_e8, below * E8
        if has_fees:
            above, below = above * (PPM - ladder.fee_out_ppm), below * (PPM + ladder.fee_top_ppm)
        if has_transfers and step.transfer is not None:
            below *= PPM
            above = max(0, above * (PPM - step.transfer.cost_ppm) - step.transfer.cost_e8 * below)
    return above // below - amount_in_e8
