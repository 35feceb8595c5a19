"""The ledger as plain values: what a snapshot holds. Decides nothing and moves nothing."""

from __future__ import annotations

import msgspec

from arbitrage.ledger.reservations import Hold
from arbitrage.model.entries import Posting
from arbitrage.model.instruments import Instrument, Node, Venue
from arbitrage.model.money import Asset
from arbitrage.model.orders import ClientOrderId, PlanId

TradeKey = tuple[Venue, int, str]
"""Venue, market and the venue's own trade id: what makes a fill the same fill."""


class NodeAmount(msgspec.Struct, frozen=True, order=True):
    """A signed amount at one node."""

    node: Node
    amount_e8: int


class PlanAccount(msgspec.Struct):
    """What one plan did to our inventory, from its fills alone."""

    plan_id: PlanId
    orders: list[ClientOrderId]
    carried_assets: tuple[Asset, ...]
    deltas: dict[Asset, int] = {}
    trades: list[TradeKey] = []
    is_closed: bool = False
    kept_assets: tuple[Asset, ...] = ()
    """What its profit is in, and what it carries on purpose; empty in what was kept before this was written down."""

    def copy(self) -> PlanAccount:
        """Return an account that later facts about this one do not reach."""
        return msgspec.structs.replace(self, orders=list(self.orders), deltas=dict(self.deltas), trades=list(self.trades))


class Leftover(msgspec.Struct, frozen=True):
    """What closed plans left behind in one asset, and since when it has not been zero: dust with its age."""

    asset: Asset
    amount_e8: int
    since_ns: int


class LedgerState(msgspec.Struct, frozen=True):
    """Everything the ledger knows, sorted, so that equal ledgers have equal states."""

    balances: tuple[Posting, ...]
    funded: tuple[NodeAmount, ...]
    booked: tuple[NodeAmount, ...]
    """Changes from fills alone, kept apart from the postings."""
    holds: tuple[Hold, ...]
    plans: tuple[PlanAccount, ...]
    closed: tuple[PlanId, ...]
    orphan_trades: tuple[TradeKey, ...]
    instruments: tuple[Instrument, ...]
    realised: dict[Asset, int]
    carried: dict[Asset, int]
    unattributed: dict[Asset, int]
    leftovers: tuple[Leftover, ...]
    counters: dict[str, int]
    residues: tuple[Leftover, ...] = ()
