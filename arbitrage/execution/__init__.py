"""Plans, orders and the leg governor: every approved arbitrage reaches an end. Sends nothing and knows no venue's wire."""

from arbitrage.execution.desk import Desk
from arbitrage.execution.plans import DeskState, WorkedOrder, WorkedPlan
from arbitrage.execution.quotes import Quotes

__all__ = ["Desk", "DeskState", "Quotes", "WorkedOrder", "WorkedPlan"]
