"""What the desk must be told about the world to price a decision. A protocol: the engine answers it from books and ledger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from arbitrage.model.events import Level
from arbitrage.model.instruments import Node, Side
from arbitrage.model.money import Asset


class Doubt(Protocol):
    """A member of some enumeration of reasons."""

    @property
    def value(self) -> str: ...


class Quotes(Protocol):
    """Executable prices and free inventory as they stand now."""

    def levels(self, market: int, side: Side) -> Sequence[Level]:
        """Return what an order of this side would hit, best first."""

    def doubt(self, market: int) -> Doubt | None:
        """Return why this market must not be traded on, or None."""

    def free_e8(self, node: Node) -> int:
        """Return the inventory at a node that no order has reserved."""

    def value_in_reporting(self, asset: Asset, amount_e8: int) -> int | None:
        """Return what a signed amount is worth at executable books, in 1e-8 of the reporting asset, rounded against us.

        A positive amount is sold, a negative one bought back. None when no usable book can price it.
        """

    def volatility_ppm(self, asset: Asset, horizon_ms: int) -> int | None:
        """Return by how much an asset's value moves over a horizon, as measured (one standard deviation), or None."""


def value_e8(quotes: Quotes, reporting_asset: Asset, asset: Asset, amount_e8: int) -> int | None:
    """Value a signed amount; nothing is worth nothing, and the reporting asset is worth itself, whatever the books say."""
    if not amount_e8 or asset == reporting_asset:
        return amount_e8
    value = quotes.value_in_reporting(asset, amount_e8)
    assert value is None or value * amount_e8 >= 0, "an asset we hold is worth at least nothing"
    return value
