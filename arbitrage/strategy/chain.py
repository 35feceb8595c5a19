"""One route over real depth: given one leg's quantity, the best quantities of all others, in exact integers. Picks no size.

Given the quantity of one leg, later legs take as much as arrives, and then, backwards from the last, every leg is cut to
the least that the next one needs and its own minimums allow. What is bought and not passed on is never more than lots and
minimums force; it stays in the inventory and is counted as worth nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from arbitrage.model.instruments import Node
from arbitrage.model.money import fee_up_e8
from arbitrage.strategy.ladder import Ladder, named_fee_ppm
from arbitrage.strategy.route import Route
from arbitrage.strategy.valuation import Valuer


class NamedFee(msgspec.Struct, frozen=True):
    """A fee taken from a third asset: how much of it, and what buying that costs in the reporting asset."""

    node: Node
    amount_e8: int
    cost_e8: int

    def __post_init__(self) -> None:
        assert self.amount_e8 >= 0 and self.cost_e8 >= 0, "a rebate in a third asset is not counted on"


class Outcome(msgspec.Struct, frozen=True):
    """One way to work a route."""

    quantities_e8: tuple[int, ...]
    amount_in_e8: int
    amount_out_e8: int
    named_fees: tuple[NamedFee | None, ...]
    named_cost_in_e8: int
    """What the named fees cost, in the start asset."""

    def __post_init__(self) -> None:
        assert min(self.quantities_e8) > 0, "every leg trades something"
        assert self.amount_in_e8 > 0, "something is put in"
        assert self.amount_out_e8 >= 0, "what comes out is no debt"

    @property
    def profit_e8(self) -> int:
        """Net, in the start asset."""
        return self.amount_out_e8 - self.amount_in_e8 - self.named_cost_in_e8


class Unpriced(ValueError):
    """No executable book values something that must be valued."""


class Inventory(msgspec.Struct, frozen=True):
    """What each leg may lock, and what is free for fees in a third asset."""

    spendable_e8: tuple[int, ...]
    free_for_fees_e8: dict[Node, int]
    carried: tuple[bool, ...]
    is_limited: bool = False
    """Whether a limit on the input, not what is free, bounds the first leg."""

    def __post_init__(self) -> None:
        assert len(self.spendable_e8) == len(self.carried), "one amount a leg"
        assert min(self.spendable_e8) >= 0, "nothing is spent out of a debt"


class Chain:
    """The legs' ladders, linked by transfers."""

    def __init__(self, route: Route, ladders: Sequence[Ladder], inventory: Inventory, valuer: Valuer) -> None:
        assert len(ladders) == len(route.steps) == len(inventory.carried), "one ladder a leg"
        self.route = route
        self.steps = route.steps
        self.ladders = ladders
        self.inventory = inventory
        self.valuer = valuer
        self._named_ppm = [named_fee_ppm(ladder.instrument) for ladder in ladders]
        self.has_named_fees = any(self._named_ppm)
        self._no_fees: tuple[NamedFee | None, ...] = (None,) * len(ladders)

    def least(self) -> list[int] | None:
        """Return the least quantity of every leg that minimums allow, or None when the depth does not reach that."""
        pairs = zip(self.ladders, self.inventory.carried, strict=True)
        least = [ladder.lot_e8 if is_carried else ladder.least_e8() for ladder, is_carried in pairs]
        return [quantity for quantity in least if quantity is not None] if None not in least else None

    def quick_profit_e8(self, leg: int, quantity_e8: int, least: Sequence[int]) -> int | None:
        """Return what `leg` trading exactly `quantity_e8` earns before fees in a third asset, orders' own rules unchecked."""
        assert quantity_e8 > 0, "a leg trades something"
        ladders, steps = self.ladders, self.steps
        last_e8 = self._forwards(leg, quantity_e8)
        for position in range(leg - 1, -1, -1):
            needed_e8 = ladders[position].needed_e8(steps[position].wanted_e8(ladders[position + 1].spent_e8(quantity_e8)))
            if needed_e8 is None:
                return None
            quantity_e8 = max(needed_e8, least[position])
        if last_e8 == 0:
            return None
        return steps[-1].carried_over_e8(ladders[-1].received_e8(last_e8)) - ladders[0].spent_e8(quantity_e8)

    def work(self, leg: int, quantity_e8: int, least: Sequence[int]) -> Outcome | None:
        """Return the best outcome in which `leg` trades at most `quantity_e8`, or None when it cannot be done."""
        assert 0 < quantity_e8 <= self.ladders[leg].depth_e8, "the leg has such depth"
        last_e8 = self._forwards(leg, quantity_e8)
        if last_e8 < max(1, least[-1]):
            return None
        quantities = self.backwards(last_e8, least)
        return None if quantities is None else self._outcome(quantities)

    def _forwards(self, leg: int, quantity_e8: int) -> int:
        """Return how much the last leg can trade of what `leg` yields; 0 when nothing arrives."""
        for position in range(leg, len(self.steps) - 1):
            arriving_e8 = self.steps[position].carried_over_e8(self.ladders[position].received_e8(quantity_e8))
            quantity_e8 = self.ladders[position + 1].affordable_e8(arriving_e8)
            if quantity_e8 == 0:
                break
        return quantity_e8

    def backwards(self, last_quantity_e8: int, least: Sequence[int]) -> list[int] | None:
        """Return the smallest quantities that let the last leg trade `last_quantity_e8`, minimums included."""
        quantities = [last_quantity_e8]
        for position in range(len(self.steps) - 2, -1, -1):
            wanted_e8 = self.steps[position].wanted_e8(self.ladders[position + 1].spent_e8(quantities[0]))
            needed_e8 = self.ladders[position].needed_e8(wanted_e8)
            if needed_e8 is None:
                return None
            quantities.insert(0, max(needed_e8, least[position]))
        assert len(quantities) == len(self.steps), "one quantity a leg"
        return quantities

    def _outcome(self, quantities: Sequence[int]) -> Outcome | None:
        if not all(map(self._is_allowed, range(len(quantities)), quantities)):
            return None
        fees = self._no_fees
        if self.has_named_fees:
            fees = tuple(map(self._named_fee, range(len(quantities)), quantities))
            if not self._are_fees_free(fees, quantities):
                return None
        amount_in_e8 = self.ladders[0].spent_e8(quantities[0])
        amount_out_e8 = self.steps[-1].carried_over_e8(self.ladders[-1].received_e8(quantities[-1]))
        fees_cost_e8 = sum(fee.cost_e8 for fee in fees if fee)
        cost_e8 = self.valuer.raised_by_e8(self.route.start, fees_cost_e8) if fees_cost_e8 else 0
        if cost_e8 is None:
            raise Unpriced(f"no executable book values {self.route.start}")
        return Outcome(tuple(quantities), amount_in_e8, amount_out_e8, fees, cost_e8)

    def _is_allowed(self, position: int, quantity_e8: int) -> bool:
        """Say whether the venue takes such an order and our inventory covers it. A carried leg is not ordered."""
        if self.inventory.carried[position]:
            return True
        ladder = self.ladders[position]
        return ladder.is_enough(quantity_e8) and ladder.spent_e8(quantity_e8) <= self.inventory.spendable_e8[position]

    def _named_fee(self, position: int, quantity_e8: int) -> NamedFee | None:
        ppm = self._named_ppm[position]
        if not ppm:
            return None
        rules = self.ladders[position].instrument
        assert rules.fees.named_asset is not None, "a named fee names its asset"
        node, quote = Node(rules.venue, rules.fees.named_asset), Node(rules.venue, rules.quote)
        fee_e8 = fee_up_e8(self.ladders[position].quote_e8(quantity_e8), ppm)
        value_e8 = self.valuer.cost_e8(quote, fee_e8)
        amount_e8 = None if value_e8 is None else self.valuer.raised_by_e8(node, value_e8)
        cost_e8 = None if amount_e8 is None else self.valuer.cost_e8(node, amount_e8)
        if amount_e8 is None or cost_e8 is None:
            raise Unpriced(f"no executable book values a fee in {node}")
        return NamedFee(node, amount_e8, cost_e8)

    def _are_fees_free(self, fees: Sequence[NamedFee | None], quantities: Sequence[int]) -> bool:
        """Say whether third assets cover their fees beside what the legs themselves take from them."""
        wanted = dict.fromkeys(self.inventory.free_for_fees_e8, 0)
        for position, fee in enumerate(fees):
            if fee is not None and not self.inventory.carried[position]:
                wanted[fee.node] += fee.amount_e8
        for position, step in enumerate(self.steps):
            if wanted.get(step.spent) and not self.inventory.carried[position]:
                wanted[step.spent] += self.ladders[position].spent_e8(quantities[position])
        return all(amount_e8 <= self.inventory.free_for_fees_e8[node] for node, amount_e8 in wanted.items())
