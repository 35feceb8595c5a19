"""Double entry: what one money movement writes into which accounts. Calculates postings; keeps no balances.

The same entry can be read as a change of our inventory (`fill_deltas`) or as postings over accounts (`fill_postings`); the
two are computed apart from each other so that the ledger's check compares two sums and not one sum with itself.
"""

from __future__ import annotations

from collections.abc import Iterable

from arbitrage.model.entries import Account, Posting
from arbitrage.model.instruments import Instrument, Node, Side
from arbitrage.model.money import Asset
from arbitrage.model.orders import Fill, Order


def transfer(source: Account, target: Account, node: Node, amount_e8: int) -> tuple[Posting, Posting]:
    """Move units between two accounts of one node."""
    assert source is not target, "a movement has two ends"
    return Posting(source, node, -amount_e8), Posting(target, node, amount_e8)


def fill_postings(fill: Fill, instrument: Instrument, reserved_e8: int) -> tuple[Posting, ...]:
    """Return the entries of one fill; what leaves us is taken from its reservation first, the rest from free."""
    assert reserved_e8 >= 0, "a reservation is not negative"
    assert (fill.venue, fill.market) == (instrument.venue, instrument.id), "a fill is booked by its own market's rules"
    spent, received = instrument.spent_node(fill.side), instrument.received_node(fill.side)
    is_buy = fill.side is Side.BUY
    out_e8, in_e8 = (fill.quote_e8, fill.quantity_e8) if is_buy else (fill.quantity_e8, fill.quote_e8)
    fees = Node(fill.venue, fill.fee_asset)
    from_reserved_e8 = min(out_e8, reserved_e8)
    entries = [
        Posting(Account.RESERVED, spent, -from_reserved_e8),
        Posting(Account.FREE, spent, from_reserved_e8 - out_e8),
        Posting(Account.MARKET, spent, out_e8),
        *transfer(Account.MARKET, Account.FREE, received, in_e8),
    ]
    fee_reserved_e8 = min(reserved_e8 - from_reserved_e8, max(fill.fee_e8, 0)) if fees == spent else 0
    entries += [
        Posting(Account.RESERVED, fees, -fee_reserved_e8),
        Posting(Account.FREE, fees, fee_reserved_e8 - fill.fee_e8),
        Posting(Account.FEES, fees, fill.fee_e8),
    ]
    return tuple(entry for entry in entries if entry.amount_e8)


def fill_deltas(fill: Fill, instrument: Instrument) -> dict[Asset, int]:
    """Return by how much a fill changes what we own of each asset, its fee included."""
    assert instrument.id == fill.market, "a fill is read by its own market's rules"
    sign = 1 if fill.side is Side.BUY else -1
    deltas = {instrument.base: sign * fill.quantity_e8, instrument.quote: -sign * fill.quote_e8}
    deltas[fill.fee_asset] = deltas.get(fill.fee_asset, 0) - fill.fee_e8
    return deltas


def add_deltas(total: dict[Asset, int], deltas: Iterable[tuple[Asset, int]]) -> None:
    """Add signed amounts to a total by asset, in place."""
    for asset, amount_e8 in deltas:
        total[asset] = total.get(asset, 0) + amount_e8


def is_balanced(entries: Iterable[Posting]) -> bool:
    """Return whether the entries sum to zero in every asset at every venue."""
    sums: dict[Node, int] = {}
    for entry in entries:
        sums[entry.node] = sums.get(entry.node, 0) + entry.amount_e8
    return not any(sums.values())


def belongs(fill: Fill, order: Order) -> bool:
    """Return whether a fill can be this order's: same id, venue, market and side."""
    ours = (order.client_order_id, order.venue, order.market, order.side)
    return ours == (fill.client_order_id, fill.venue, fill.market, fill.side)
