"""Durable facts: what the journal holds and what a restart folds over the newest snapshot. Market data is not among them.

The engine changes its durable state by applying facts and in no other way, so snapshot + journal tail is the state.
"""

from __future__ import annotations

import msgspec

from arbitrage.model.events import Funded
from arbitrage.model.instruments import Instrument
from arbitrage.model.opportunities import LegChoice, Opportunity, Outcome, PricedChoice
from arbitrage.model.orders import ClientOrderId, Fill, Order, OrderState, PlanId


class PlanOpened(msgspec.Struct, frozen=True, tag="plan_opened"):
    """An approved opportunity became orders; reservations for all of them are made here, before the first is sent."""

    at_ns: int
    plan_id: PlanId
    opportunity: Opportunity
    orders: tuple[Order, ...]
    deadline_ns: int
    instruments: tuple[Instrument, ...] = ()
    """The rules its markets had then, so that folding the journal never depends on what a venue says today."""


class OrderIntended(msgspec.Struct, frozen=True, tag="order_intended"):
    """The governor adds an order to a plan (complete or reverse)."""

    at_ns: int
    order: Order


class OrderChanged(msgspec.Struct, frozen=True, tag="order_changed"):
    """An order moved to another state; `filled_quantity_e8` is the venue's own total."""

    at_ns: int
    client_order_id: ClientOrderId
    state: OrderState
    filled_quantity_e8: int
    reason: str


class FillBooked(msgspec.Struct, frozen=True, tag="fill_booked"):
    """A fill entered the ledger, once. It carries its market's rules when no plan in the journal names them."""

    at_ns: int
    fill: Fill
    instrument: Instrument | None = None


class LegDecided(msgspec.Struct, frozen=True, tag="leg_decided"):
    """The governor's decision about one shortfall, with the alternatives as they were priced."""

    at_ns: int
    plan_id: PlanId
    choice: LegChoice
    alternatives: tuple[PricedChoice, ...]


class PlanClosed(msgspec.Struct, frozen=True, tag="plan_closed"):
    """An arbitrage reached its terminal state."""

    at_ns: int
    outcome: Outcome


class KillSwitched(msgspec.Struct, frozen=True, tag="kill_switched"):
    """The kill switch was set or released."""

    at_ns: int
    is_on: bool
    actor: str
    reason: str


class Paused(msgspec.Struct, frozen=True, tag="paused"):
    """New entries were paused or resumed."""

    at_ns: int
    is_on: bool
    actor: str
    reason: str


Fact = Funded | PlanOpened | OrderIntended | OrderChanged | FillBooked | LegDecided | PlanClosed | KillSwitched | Paused
