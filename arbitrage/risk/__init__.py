"""The guard's room: nothing becomes an order without its `Approved`. Imports the rooms below it only, and knows no venue."""

from arbitrage.risk.guard import Guard
from arbitrage.risk.view import Quote, RiskView
from arbitrage.risk.windows import RiskState

__all__ = ["Guard", "Quote", "RiskState", "RiskView"]
