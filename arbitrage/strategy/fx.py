"""Foreign exchange: which books price fiat against the reporting asset, whether they may be used, and what the policy does.

Fiat is priced by the executable book of its own venue or not at all: without one that is trusted and two-sided there is no
rate, and a cycle through that fiat is refused. Converts nothing itself.
"""

from __future__ import annotations

from arbitrage.model.instruments import Node, Side
from arbitrage.model.money import Asset, recover_quantity_down_e8
from arbitrage.model.opportunities import FxPolicy, FxRate
from arbitrage.model.settings import StrategySettings
from arbitrage.strategy.board import Board
from arbitrage.strategy.graph import Graph
from arbitrage.strategy.route import Route, Step
from arbitrage.strategy.valuation import converting_markets


class Fx:
    """The rates and the policy for one graph."""

    def __init__(self, graph: Graph, settings: StrategySettings) -> None:
        self._graph = graph
        self.reporting_asset = Asset(settings.reporting_asset)
        self.assets = frozenset(map(Asset, settings.fx_assets)) - {self.reporting_asset}
        self._policy = FxPolicy(settings.fx_policy)
        assert self.reporting_asset not in self.assets, "the reporting asset needs no rate"
        self._policy_by_pair = {Asset(asset): FxPolicy(policy) for asset, policy in settings.fx_policy_by_pair.items()}
        self._is_carry_possible = FxPolicy.CARRY in (self._policy, *self._policy_by_pair.values())

    def nodes(self, route: Route) -> list[Node]:
        """Return where a route holds fiat."""
        ends = {node for step in route.steps for node in (step.spent, step.received)}
        assert route.start in ends, "a route starts at one of its nodes"
        return sorted(node for node in ends if node.asset in self.assets)

    def rate(self, node: Node, board: Board, now_ns: int) -> FxRate | None:
        """Return the best bid and ask that price a fiat now, or None when no book of its venue may be used."""
        assert node.asset in self.assets, "only fiat has a rate"
        for market in converting_markets(self._graph, node, self.reporting_asset):
            rate = self._read(market, board, now_ns)
            if rate is not None:
                return rate
        return None

    def traded_assets(self, route: Route) -> list[Asset]:
        """Return what a route trades besides fiat and the reporting asset."""
        return [
            asset
            for asset in dict.fromkeys(step.spent.asset for step in route.steps)
            if asset != self.reporting_asset and asset not in self.assets
        ]

    def is_carried(self, route: Route, step: Step) -> bool:
        """Say whether the policy leaves this leg, between fiat and the reporting asset, as exposure: every pair must say so."""
        if not self._is_carry_possible:
            return False
        assert step in route.steps, "a leg of the route"
        ends = {step.spent.asset, step.received.asset}
        if self.reporting_asset not in ends or ends.isdisjoint(self.assets):
            return False
        policies = {self._policy_by_pair.get(asset, self._policy) for asset in self.traded_assets(route)}
        return (policies or {self._policy}) == {FxPolicy.CARRY}

    def _read(self, market: int, board: Board, now_ns: int) -> FxRate | None:
        instrument, book = self._graph.instrument(2 * market), board.books[market]
        if board.doubt(market, now_ns) is not None:
            return None
        touch = [(*book.levels(side, 1), (0.0, 0.0))[0] for side in (Side.SELL, Side.BUY)]
        if any(price <= 0.0 for price, _ in touch):
            return None
        try:
            (bid_e8, bid_quantity_e8), (ask_e8, ask_quantity_e8) = (
                (instrument.ticks.recover_e8(price), recover_quantity_down_e8(quantity, 1)) for price, quantity in touch
            )
        except ValueError:
            return None
        assert bid_e8 > 0 and ask_e8 > 0, "a rate has two sides"
        return FxRate(market, bid_e8, bid_quantity_e8, ask_e8, ask_quantity_e8, board.age_ms(market, now_ns))
