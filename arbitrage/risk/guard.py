"""The guard: the one place that can say `Approved`. Remembers through facts only, and never changes an opportunity.

Rules are asked in a fixed order and the first refusal is the answer. Safety comes first, so that a house that must not trade
says so before it says anything about prices; then what we doubt, then what it pays, then how much we may.
"""

from __future__ import annotations

from collections.abc import Mapping

from arbitrage.model.facts import Fact
from arbitrage.model.money import PPM, Asset
from arbitrage.model.opportunities import Approved, Opportunity, Refusal, Refused
from arbitrage.model.settings import MarketDataSettings, RiskSettings, StrategySettings
from arbitrage.risk import arithmetic, rules
from arbitrage.risk.limits import read_limits
from arbitrage.risk.view import RiskView
from arbitrage.risk.windows import RiskState, Windows

RULES: tuple[rules.Rule, ...] = (
    rules.kill_switch,
    rules.paused,
    rules.not_armed,
    rules.store,
    rules.venue_health,
    rules.clock_offset,
    rules.markets,
    rules.identity,
    rules.too_good,
    rules.threshold,
    rules.loss_today,
    rules.drawdown,
    rules.orders_per_minute,
    rules.open_plans,
    rules.pair_busy,
    rules.notional_order,
    rules.notional_opportunity,
    rules.notional_pair,
    rules.notional_venue,
    rules.exposure_asset,
    rules.carried_fx,
)
"""The order of judgement. `clock_offset` relies on `venue_health` having found every venue."""


class Guard:
    """Judges opportunities against limits, the state of the house, and its own memory."""

    def __init__(self, risk: RiskSettings, market_data: MarketDataSettings, strategy: StrategySettings) -> None:
        self._limits = read_limits(risk, market_data, strategy)
        self._windows = Windows(RiskState(self._limits.reporting_asset))
        self._refusals: dict[Refusal, int] = {}

    @property
    def refusals(self) -> Mapping[Refusal, int]:
        """How often each reason was given since this process started, the detector's own refusals included."""
        return self._refusals

    @property
    def notional_e8_max(self) -> int:
        """The largest input that passes the per-order and per-opportunity limits on every leg, for whoever sizes.

        What goes around a cycle grows by its edge, so room is left for the largest edge that is believed at all.
        """
        smaller_e8 = min(self._limits.notional_per_order_e8_max, self._limits.notional_per_opportunity_e8_max)
        return smaller_e8 * PPM // (PPM + self._limits.edge_ppm_max)

    @property
    def memory(self) -> RiskState:
        """What the guard remembers, for views."""
        return self._windows.state

    def judge(self, opportunity: Opportunity, view: RiskView, now_ns: int) -> Approved | Refused:
        """Return `Approved`, or the first refusal in the order of `RULES`, counted."""
        assert opportunity.legs, "an opportunity has legs"
        assert opportunity.notional_e8 > 0, "an opportunity has a size"
        assert opportunity.reporting_asset == self._limits.reporting_asset, "limits and values share one reporting asset"
        case = rules.Case(opportunity, view, self._limits, self._windows, now_ns)
        for rule in RULES:
            refused = rule(case)
            if refused is not None:
                assert refused.detail, "a refusal says why"
                self.count(refused.reason)
                return refused
        return Approved(opportunity)

    def count(self, reason: Refusal) -> None:
        """Count a refusal; the detector's own reasons are handed in here. Bounded by the number of reasons."""
        self._refusals[reason] = self._refusals.get(reason, 0) + 1
        assert len(self._refusals) <= len(Refusal), "one counter for each reason"

    def pairs(self, opportunity: Opportunity) -> frozenset[Asset]:
        """Return the traded assets that name an opportunity's pair, as `RiskView.busy_pairs` wants them."""
        return arithmetic.pairs(opportunity, self._limits.fx_assets)

    def is_questioned(self, asset: Asset) -> bool:
        """Say whether a transfer of this asset is judged by its prices at both ends: `RiskView.quotes` is read of no other."""
        return self._limits.is_questioned(asset)

    def apply(self, fact: Fact) -> None:
        """Take in a durable fact; the only way the memory changes."""
        self._windows.apply(fact)

    def configure(self, risk: RiskSettings, market_data: MarketDataSettings, strategy: StrategySettings) -> None:
        """Swap the limits whole and keep the memory. Raises ValueError, changing nothing, for limits that cannot be."""
        limits = read_limits(risk, market_data, strategy)
        if limits.reporting_asset != self._limits.reporting_asset:
            raise ValueError("strategy.reporting_asset cannot change while the guard remembers profit in another")
        self._limits = limits

    def snapshot(self) -> RiskState:
        """Return the durable memory."""
        return self._windows.state

    def restore(self, state: RiskState) -> None:
        """Take over the memory of a snapshot. Raises ValueError when it was kept in another reporting asset."""
        if state.reporting_asset != self._limits.reporting_asset:
            raise ValueError(f"risk memory is in {state.reporting_asset}, not in {self._limits.reporting_asset}")
        self._windows = Windows(state)
