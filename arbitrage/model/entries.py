"""Double-entry postings: which account of which node a fact moved how much into. Values only."""

from __future__ import annotations

import enum

import msgspec

from arbitrage.model.instruments import Node


class Account(enum.Enum):
    """Where units can sit. Free and reserved are ours; the other three say where ours came from or went."""

    FREE = "free"
    RESERVED = "reserved"
    MARKET = "market"
    """The venue's other side of our trades."""
    FEES = "fees"
    """What venues took; a rebate makes it smaller."""
    FUNDING = "funding"
    """What the operator put in, negative."""


class Posting(msgspec.Struct, frozen=True, order=True):
    """One signed entry; the entries of one fact sum to zero in every asset."""

    account: Account
    node: Node
    amount_e8: int
