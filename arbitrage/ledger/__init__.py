"""Double-entry money: balances, reservations, fills and profit, changed by facts alone. Knows no books and sends nothing."""

from arbitrage.ledger.ledger import CLOSED_PLANS_KEPT, ORPHAN_TRADES_KEPT, Ledger, carried_assets, settlement_asset
from arbitrage.ledger.postings import add_deltas, belongs, fill_deltas
from arbitrage.ledger.reservations import purchase_within_e8, worst_case
from arbitrage.ledger.state import LedgerState, Leftover, TradeKey

__all__ = [
    "CLOSED_PLANS_KEPT",
    "ORPHAN_TRADES_KEPT",
    "Ledger",
    "LedgerState",
    "Leftover",
    "TradeKey",
    "add_deltas",
    "belongs",
    "carried_assets",
    "fill_deltas",
    "purchase_within_e8",
    "settlement_asset",
    "worst_case",
]
