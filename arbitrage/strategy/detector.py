"""The detector: from changed markets to opportunities, or to the reasons why a gaining cycle is none. Judges no risk.

It reads no clock. Its time budget is a number of steps (`sizing_budget_us` of them, a step being about a microsecond), so
that the same events give the same decisions on any machine; the engine hands `now_ns` for ages, doubts and
`resize_interval_ms` only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType

from arbitrage.model.instruments import Node
from arbitrage.model.money import PPM
from arbitrage.model.opportunities import Opportunity, Refusal, Refused
from arbitrage.model.settings import StrategySettings
from arbitrage.strategy.board import Board, refusal_of
from arbitrage.strategy.cycles import enumerate_cycles
from arbitrage.strategy.found import Found, Missed
from arbitrage.strategy.fx import Fx
from arbitrage.strategy.graph import Graph
from arbitrage.strategy.ladder import UNLIMITED_E8
from arbitrage.strategy.route import Route, route_of
from arbitrage.strategy.screen import Screen
from arbitrage.strategy.segments import SegmentTable
from arbitrage.strategy.sizer import Decision, FreeE8, Sizer
from arbitrage.strategy.sizing import Budget
from arbitrage.strategy.spreads import Spread, Spreads
from arbitrage.strategy.valuation import Valuer

MS_NS = 1_000_000
NOTHING: Mapping[int, float] = MappingProxyType({})
REMEMBERED_MAX = 10_000
"""Routes kept, and cycles whose last sizing is remembered for `resize_interval_ms`; past it the old ones are forgotten."""


class Detector:
    """One graph, its cycles and their screen.

    `counters`: `cycles`, `cycles_max_reached` (1 when longer cycles were left out), `segments`, `rebuilds`, `survivors` (cycles
    that passed the screen, once a decision), `sized`, `sized_inexactly` (not every worthwhile size was tried), `resize_waits`
    (survivors passed over because they were sized less than `resize_interval_ms` ago, whatever else may be wrong with them),
    `time_budget` (survivors not sized for lack of it).
    """

    def __init__(self, settings: StrategySettings, *, notional_e8_max: int | None = None) -> None:
        self.settings = settings
        self.counters = dict.fromkeys(
            ("cycles", "cycles_max_reached", "segments", "rebuilds", "survivors", "sized", "sized_inexactly",
             "resize_waits", "time_budget"), 0
        )  # fmt: skip
        self._notional_e8_max = notional_e8_max
        self._resize_ns = settings.resize_interval_ms * MS_NS
        self._sized_at_ns: dict[int, int] = {}
        self._routes: dict[int, Route] = {}
        self._version = -1
        self.gaining: Mapping[int, float] = NOTHING
        """Of the last look: every cycle through changed markets that passed the screen, with its product at the top."""
        self.unsized: dict[int, Refusal] = {}
        """Of the last look: cycles that passed the screen and were not sized, with the reason."""
        self._set_graph(Graph((), settings.transfers))
        self._enumerate()

    @property
    def graph(self) -> Graph:
        """The graph of the instruments that were read last."""
        return self._graph

    @property
    def fx(self) -> Fx:
        """Its fiat."""
        return self._fx

    @property
    def era(self) -> object:
        """What numbers of cycles mean: another object once they mean something else."""
        return self._table

    def rebuild(self, board: Board) -> None:
        """Take the instruments in. Cycles are enumerated again only when markets came, went or changed their assets."""
        before = _structure(self._graph)
        self._set_graph(Graph(board.instruments, self.settings.transfers))
        if _structure(self._graph) == before:
            self._screen.set_fees(self._graph)
        else:
            self._enumerate()
        assert len(self._graph.instruments) == len(board.books), "every market has a book"
        self._version = board.instruments_version
        self._is_unread = True
        self.counters["rebuilds"] += 1

    def detect(self, board: Board, free_e8: FreeE8, changed: Collection[int], now_ns: int) -> list[Found]:
        """Look at the cycles through changed markets; return what pays and what was missed, best top-of-book edge first.

        `free_e8(node)` is what may be spent there. `notional_e8_max` (at construction) bounds an opportunity's input, in the
        reporting asset.
        """
        if board.instruments_version != self._version:
            self.rebuild(board)
        if self._is_unread:
            self._is_unread = False
            changed = self._markets
        screen = self._screen
        screen.update(board.books, changed)
        if not screen.passing:
            self.gaining = NOTHING
            return []
        self.gaining = gaining = screen.gaining(changed)
        if not gaining:
            return []
        self.unsized = {}
        self.counters["survivors"] += len(gaining)
        due = self._due(gaining, now_ns)
        return self._look(due, self._decision(board, free_e8, now_ns)) if due else []

    def again(self, opportunity: Opportunity, board: Board, now_ns: int) -> int | Refused:
        """Return what an opportunity's cycle would pay now at no more than its size, inventory and limits aside, or why not.

        Only while `era` is the one in which it was found. Counts nothing and takes nothing from any decision's budget.
        """
        if board.instruments_version != self._version:
            return Refused(Refusal.SYMBOL_HELD, "rules were read anew")
        decision = self._decision(board, _everything, now_ns)
        doubted = self._doubted(opportunity.cycle, decision)
        assert opportunity.legs, "an opportunity has legs"
        return doubted or self._sizer.again(self.route(opportunity.cycle), opportunity.legs[0].quantity_e8, decision)

    def pair(self, cycle: int) -> str:
        """Name what a cycle trades besides fiat and the reporting asset, joined by `+`; its start where nothing is left."""
        assets = self._fx.traded_assets(self.route(cycle)) or [self.route(cycle).start.asset]
        assert all(assets), "an asset has a name"
        return "+".join(sorted(assets))

    def spreads(self, board: Board, now_ns: int) -> list[Spread]:
        """Return every coin between two venues as a person reads it, gain or not. Off the hot path."""
        return Spreads(self._graph, self._fx, self.settings).read(board, now_ns)

    def route(self, cycle: int) -> Route:
        """Return a cycle from its start."""
        route = self._routes.get(cycle)
        if route is None:
            if len(self._routes) >= REMEMBERED_MAX:
                self._routes.clear()
            route = route_of(self._graph, cycle, self._table.edges(cycle), self._fx.reporting_asset)
            self._routes[cycle] = route
        assert route.cycle == cycle, "a route is filed under its cycle"
        return route

    def _set_graph(self, graph: Graph) -> None:
        self._graph = graph
        self._fx = Fx(graph, self.settings)
        self._sizer = Sizer(self.settings, graph, self._fx, self._notional_e8_max)

    def _enumerate(self) -> None:
        graph = self._graph
        self._table = SegmentTable(graph, enumerate_cycles(graph, self.settings.legs_max), self.settings.cycles_max)
        self._screen = Screen(graph, self._table, self.settings.screen_edge_ppm)
        self._markets = [market for market, known in enumerate(graph.instruments) if known is not None]
        assert len(self._table) <= self.settings.cycles_max, "the bound on cycles holds"
        self._is_unread = True
        self._routes.clear()
        self._sized_at_ns.clear()
        self.counters["cycles"] = len(self._table)
        self.counters["cycles_max_reached"] = int(self._table.is_truncated)
        self.counters["segments"] = len(self._table.segments)

    def _decision(self, board: Board, free_e8: FreeE8, now_ns: int) -> Decision:
        valuer = Valuer(self._graph, board, self._fx.reporting_asset, self.settings.levels_max, now_ns)
        return Decision(board, free_e8, now_ns, valuer, Budget(self.settings.sizing_budget_us))

    def _look(self, gaining: dict[int, float], decision: Decision) -> list[Found]:
        """Size the survivors, best first. Those that share a reason without being sized are told in one line."""
        assert gaining, "there are survivors"
        found: list[Found] = []
        folded: dict[tuple[Refusal, str], Missed] = {}
        for cycle, product in sorted(gaining.items(), key=lambda item: (-item[1], item[0])):
            refused = self._doubted(cycle, decision) or self._crowded(decision)
            if refused is not None:
                self.unsized[cycle] = refused.reason
                key = (refused.reason, refused.detail)
                known = folded.get(key)
                folded[key] = known.once_more() if known else self._missed(cycle, product, refused, decision)
            else:
                found.append(self._size(cycle, product, decision))
        assert decision.sized <= self.settings.survivors_max, "the bound on sizings holds"
        assert decision.inexact <= decision.sized, "only what was sized can be inexact"
        self.counters["sized_inexactly"] += decision.inexact
        self.counters["time_budget"] += sum(line.cycles for line in folded.values() if line.reason is Refusal.TIME_BUDGET)
        return [*found, *folded.values()]

    def _size(self, cycle: int, product: float, decision: Decision) -> Found:
        decision.sized += 1
        self.counters["sized"] += 1
        self._note_sizing(cycle, decision.now_ns)
        offer_id = f"{decision.now_ns:x}-{self.counters['sized']:x}"
        result = self._sizer.size(self.route(cycle), decision, offer_id)
        if isinstance(result, Refused):
            self.unsized[cycle] = result.reason
            return self._missed(cycle, product, result, decision)
        assert result.cycle == cycle and result.net_e8 > 0, "an opportunity gains"
        return result

    def _doubted(self, cycle: int, decision: Decision) -> Refused | None:
        """Return why a cycle's markets may not be traded on: fiat without a rate first, then the first doubted market."""
        for node in self._fx.nodes(self.route(cycle)):
            if node not in decision.rates:
                decision.rates[node] = self._fx.rate(node, decision.board, decision.now_ns)
            if decision.rates[node] is None:
                return Refused(Refusal.NO_FX, f"{node}: no executable book gives a rate")
        for step in self.route(cycle).steps:
            if step.market not in decision.doubts:
                doubt = decision.board.doubt(step.market, decision.now_ns)
                decision.doubts[step.market] = None if doubt is None else refusal_of(doubt)
            reason = decision.doubts[step.market]
            if reason is not None:
                rules = self._graph.instrument(2 * step.market)
                return Refused(reason, f"{rules.symbol}@{rules.venue}")
        return None

    def _crowded(self, decision: Decision) -> Refused | None:
        """Return a refusal once this decision has no room for another sizing."""
        if decision.sized >= self.settings.survivors_max:
            return Refused(Refusal.TIME_BUDGET, f"survivors_max is {self.settings.survivors_max}")
        if decision.budget.is_spent:
            return Refused(Refusal.TIME_BUDGET, f"sizing_budget_us is {self.settings.sizing_budget_us}")
        return None

    def _due(self, gaining: dict[int, float], now_ns: int) -> dict[int, float]:
        """Return the survivors that were not sized within `resize_interval_ms`; the others are counted and pass unseen."""
        if not self._resize_ns:
            return gaining
        known, since_ns = self._sized_at_ns, now_ns - self._resize_ns
        due = {cycle: product for cycle, product in gaining.items() if known.get(cycle, since_ns) <= since_ns}
        assert due.keys() <= gaining.keys(), "nothing else is due"
        self.counters["resize_waits"] += len(gaining) - len(due)
        return due

    def _note_sizing(self, cycle: int, now_ns: int) -> None:
        if self._resize_ns:
            if len(self._sized_at_ns) >= REMEMBERED_MAX:
                self._sized_at_ns.clear()
            self._sized_at_ns[cycle] = now_ns
        assert len(self._sized_at_ns) <= REMEMBERED_MAX, "memory is bounded"

    def _missed(self, cycle: int, product: float, refused: Refused, decision: Decision) -> Missed:
        assert refused.detail, "a refusal says what it is about"
        edge_ppm = int((product - 1.0) * PPM // 1)
        return Missed(cycle, self.route(cycle).name, refused.reason, refused.detail, edge_ppm, decision.now_ns)


def _everything(node: Node) -> int:
    """Answer what may be spent at a node when inventory is not asked about."""
    assert node.asset, "a node holds an asset"
    return UNLIMITED_E8


def _structure(graph: Graph) -> list[tuple[object, ...] | None]:
    """Return what the cycles of a graph depend on."""
    return [(known.venue, known.base, known.quote) if known else None for known in graph.instruments]
