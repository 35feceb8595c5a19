"""Plans and their orders as the desk works them: plain records, changed by facts alone. They decide nothing."""

from __future__ import annotations

import msgspec

from arbitrage.ledger import TradeKey
from arbitrage.model.instruments import Instrument
from arbitrage.model.money import Asset
from arbitrage.model.opportunities import Leg, LegChoice, Opportunity, Outcome, PlanState
from arbitrage.model.orders import Order, OrderState, PlanId


class WorkedOrder(msgspec.Struct):
    """One order and what the venue said of it so far."""

    order: Order
    changed_at_ns: int
    """When its state was last written down: intended, answered, or asked about."""
    state: OrderState = OrderState.INTENDED
    filled_quantity_e8: int = 0
    """From fills alone."""
    ended_quantity_e8: int = 0
    """The venue's own total in its last word."""
    quote_e8: int = 0
    """What its fills moved of the quote asset, fees apart."""
    fees: dict[Asset, int] = {}
    """What its fills paid, by asset."""
    intended_at_ns: int = 0
    known_at_ns: int | None = None
    """When the venue last said that it has the order, or filled some of it; None: never."""
    is_absent: bool = False
    """It ended because the venue did not know it when absence could be believed."""

    @property
    def is_settled(self) -> bool:
        """Say whether the order ended and every fill of the venue's total is known."""
        return self.state.is_terminal and self.filled_quantity_e8 >= self.ended_quantity_e8

    @property
    def is_short(self) -> bool:
        """Say whether it ended with less than was ordered, or nobody knows how it stands."""
        is_over = self.state.is_terminal or self.state is OrderState.UNKNOWN
        return is_over and self.filled_quantity_e8 < self.order.quantity_e8


class WorkedPlan(msgspec.Struct):
    """One approved opportunity on its way to its end."""

    plan_id: PlanId
    opportunity: Opportunity
    opened_at_ns: int
    deadline_ns: int
    instruments: tuple[Instrument, ...]
    orders: list[WorkedOrder] = []
    deltas: dict[Asset, int] = {}
    """What its fills changed, fees included."""
    trades: list[TradeKey] = []
    attempts: int = 0
    """Orders the governor added."""
    last_choice: LegChoice | None = None
    decided_at_ns: int = 0
    outcome: Outcome | None = None

    def copy(self) -> WorkedPlan:
        """Return a plan that later facts about this one do not reach."""
        orders = [msgspec.structs.replace(worked, fees=dict(worked.fees)) for worked in self.orders]
        return msgspec.structs.replace(self, orders=orders, deltas=dict(self.deltas), trades=list(self.trades))

    @property
    def state(self) -> PlanState:
        if self.outcome is not None:
            return self.outcome.state
        return PlanState.WORKING if self.last_choice is None else PlanState.GOVERNED

    @property
    def is_naked(self) -> bool:
        """Say whether a leg may stand alone: governed, fallen short, or of unknown fate."""
        return self.last_choice is not None or any(worked.is_short for worked in self.orders)

    @property
    def is_settled(self) -> bool:
        """Say whether nothing more is expected of any of its orders."""
        return all(worked.is_settled for worked in self.orders)

    def traded_legs(self) -> list[tuple[int, Leg]]:
        """Return the legs that became orders, with their positions in the cycle."""
        return [(index, leg) for index, leg in enumerate(self.opportunity.legs) if not leg.is_carried]

    def instrument(self, market: int) -> Instrument:
        """Return the rules of one of its markets as they were when it opened."""
        found = next((instrument for instrument in self.instruments if instrument.id == market), None)
        assert found is not None, "a plan knows the rules of its own markets"
        return found


class DeskState(msgspec.Struct, frozen=True):
    """The desk as plain values: what a snapshot holds."""

    plans: tuple[WorkedPlan, ...]
    closed: tuple[PlanId, ...]
    counters: dict[str, int]
    """The highest plan number by id prefix."""
    orphan_trades: tuple[TradeKey, ...]
    is_killed: bool
