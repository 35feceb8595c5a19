"""Durable facts: what the journal holds and what a restart folds over the newest snapshot. Market data is not among them.

The engine changes its durable state by applying facts and in no other way, so snapshot + journal tail is the state.
"""

from __future__ import annotations

import msgspec

from arbitrage.model.accounts import KillReceipt, RestartReport
from arbitrage.model.events import Funded
from arbitrage.model.instruments import Instrument
from arbitrage.model.money import Asset
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
    is_absence: bool = False
    """The end is our own conclusion from the venue's "does not exist", and not its word: a later word undoes it."""


class FillBooked(msgspec.Struct, frozen=True, tag="fill_booked"):
    """A fill entered the ledger, once. It carries its market's rules when no plan in the journal names them."""

    at_ns: int
    fill: Fill
    instrument: Instrument | None = None
    fee_value_e8: int | None = None
    """The fee in 1e-8 of the reporting asset, by the executable books of that moment; None when they gave no rate."""


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


class KillProven(msgspec.Struct, frozen=True, tag="kill_proven"):
    """Every venue said that no order of ours is open, after the kill switch was set."""

    at_ns: int
    receipt: KillReceipt


class Reconciled(msgspec.Struct, frozen=True, tag="reconciled"):
    """The venues' accounts were compared with the ledger."""

    at_ns: int
    report: RestartReport


class PairSwitched(msgspec.Struct, frozen=True, tag="pair_switched"):
    """A pair stopped trading because it does not realise what it expects, or an operator lets it trade again."""

    at_ns: int
    pair: str
    is_off: bool
    actor: str
    reason: str


class ResidueWrittenOff(msgspec.Struct, frozen=True, tag="residue_written_off"):
    """An operator says that what plans left of an asset needs no hedge any more. Balances do not change."""

    at_ns: int
    asset: Asset
    amount_e8: int
    actor: str
    reason: str


Fact = (
    Funded
    | PlanOpened
    | OrderIntended
    | OrderChanged
    | FillBooked
    | LegDecided
    | PlanClosed
    | KillSwitched
    | Paused
    | KillProven
    | Reconciled
    | PairSwitched
    | ResidueWrittenOff
)
