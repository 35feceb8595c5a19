"""From a route and a board to an opportunity, or why it is none: gathers depth, inventory and policy. Judges no risk."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from arbitrage.model.instruments import Node
from arbitrage.model.opportunities import FxRate, Opportunity, Refusal, Refused
from arbitrage.model.settings import StrategySettings
from arbitrage.strategy.board import Board
from arbitrage.strategy.breakdown import net_e8
from arbitrage.strategy.chain import Chain, Inventory, Unpriced
from arbitrage.strategy.fx import Fx
from arbitrage.strategy.graph import Graph
from arbitrage.strategy.ladder import UNLIMITED_E8, Ladder, LegTerms
from arbitrage.strategy.offer import Occasion, offer
from arbitrage.strategy.route import Route
from arbitrage.strategy.sizing import Budget, best_size
from arbitrage.strategy.valuation import Valuer

FreeE8 = Callable[[Node], int]


class Decision(msgspec.Struct):
    """What one look at the board knows and has found out so far. Each book's doubt and each rate is asked for once."""

    board: Board
    free_e8: FreeE8
    now_ns: int
    valuer: Valuer
    budget: Budget
    doubts: dict[int, Refusal | None] = {}
    rates: dict[Node, FxRate | None] = {}
    sized: int = 0
    inexact: int = 0


class Sizer:
    """Sizes routes of one graph."""

    def __init__(self, settings: StrategySettings, graph: Graph, fx: Fx, notional_e8_max: int | None) -> None:
        assert notional_e8_max is None or notional_e8_max > 0, "a limit lets something through"
        self._settings = settings
        self._graph = graph
        self._fx = fx
        self._notional_e8_max = notional_e8_max

    def size(self, route: Route, decision: Decision, offer_id: str) -> Opportunity | Refused:
        """Return the most profitable way to work a route now, or why there is none."""
        try:
            chain = self._chain(route, decision)
            sized = best_size(chain, decision.budget)
            if isinstance(sized, Refused):
                return sized
            decision.inexact += not sized.is_exact
            rates = tuple(rate for node in self._fx.nodes(route) if (rate := decision.rates.get(node)) is not None)
            occasion = Occasion(offer_id, decision.now_ns, self._fx.reporting_asset, rates)
            opportunity = offer(chain, sized.outcome, occasion, decision.board)
        except Unpriced as error:
            return Refused(Refusal.NO_FX, str(error))
        except ValueError as error:
            return Refused(Refusal.DOUBTFUL_MARKET, str(error))
        assert len(opportunity.legs) == len(route.steps), "every market is a leg"
        is_gain = opportunity.net_e8 > 0
        return opportunity if is_gain else Refused(Refusal.BELOW_THRESHOLD, "nothing is left in the reporting asset")

    def again(self, route: Route, quantity_e8: int, decision: Decision) -> int | Refused:
        """Return what a route pays now with at most so much through its first leg, inventory aside; or why nobody can say.

        The same walk as `size`, for one size: every later leg takes what arrives, minimums hold, rounding is against us.
        """
        assert quantity_e8 > 0, "a size is of something"
        try:
            chain = self._linked(route, decision, [UNLIMITED_E8] * len(route.steps), is_limited=False)
            first, least = chain.ladders[0], chain.least()
            while first.depth_e8 < quantity_e8 and first.read_more():
                pass
            if least is None or not first.depth_e8:
                return Refused(Refusal.BELOW_MINIMUM, "the depth does not reach the minimums")
            outcome = chain.work(0, min(quantity_e8, first.depth_e8), least)
            if outcome is None:
                return Refused(Refusal.BELOW_MINIMUM, "this size no longer meets every minimum")
            return net_e8(chain, outcome)
        except Unpriced as error:
            return Refused(Refusal.NO_FX, str(error))
        except ValueError as error:
            return Refused(Refusal.DOUBTFUL_MARKET, str(error))

    def _chain(self, route: Route, decision: Decision) -> Chain:
        carried = tuple(self._fx.is_carried(route, step) for step in route.steps)
        spendable = self._spendable(route, carried, decision)
        is_limited = not carried[0] and spendable[0] < decision.free_e8(route.start)
        return self._linked(route, decision, spendable, is_limited=is_limited)

    def _linked(self, route: Route, decision: Decision, spendable: Sequence[int], *, is_limited: bool) -> Chain:
        carried = tuple(self._fx.is_carried(route, step) for step in route.steps)
        assert len(spendable) == len(route.steps), "one amount a leg"
        ladders = []
        for step, spendable_e8 in zip(route.steps, spendable, strict=True):
            terms = LegTerms(self._settings.levels_max, self._settings.price_slack_ppm, spendable_e8)
            rules = self._graph.instrument(2 * step.market)
            ladders.append(Ladder(decision.board.books[step.market], rules, step.side, terms))
        fees = [(ladder.instrument.venue, ladder.instrument.fees.named_asset) for ladder in ladders]
        nodes = {Node(venue, asset) for venue, asset in fees if asset is not None}
        inventory = Inventory(tuple(spendable), {node: decision.free_e8(node) for node in nodes}, carried, is_limited)
        return Chain(route, ladders, inventory, decision.valuer)

    def _spendable(self, route: Route, carried: Sequence[bool], decision: Decision) -> list[int]:
        """Return what each leg may lock: all legs are sent at once, each out of what is free at its own node."""
        spendable = [
            UNLIMITED_E8 if is_carried else max(0, decision.free_e8(step.spent))
            for step, is_carried in zip(route.steps, carried, strict=True)
        ]
        if self._notional_e8_max is not None:
            limit_e8 = decision.valuer.bought_with_e8(route.start, self._notional_e8_max)
            if limit_e8 is None:
                raise Unpriced(f"no executable book values {route.start}")
            spendable[0] = min(spendable[0], limit_e8)
        return spendable
