"""A scenario: its markets, its labels, its timed changes and the configuration that fits it. Plays nothing by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from arbitrage.model.instruments import TickTable
from arbitrage.sim.scenarios.changes import Change, VenueKind

Factory = Callable[[], Iterator[Change]]


class MarketSpec(msgspec.Struct, frozen=True):
    """One listed market and its rules. `origin` says where the rules come from: published, derived or synthetic."""

    venue: VenueKind
    symbol: str
    base: str
    quote: str
    ticks: TickTable
    lot_e8: int
    quantity_e8_min: int
    quantity_e8_max: int
    notional_e8_min: int
    origin: str

    @property
    def key(self) -> tuple[str, str]:
        return (self.venue, self.symbol)


class TransferSpec(msgspec.Struct, frozen=True):
    """An asset that is the same coin at both venues, with what rebalancing it costs."""

    cost_ppm: int


class Scenario(msgspec.Struct, frozen=True):
    """What is served and under which words it is shown."""

    name: str
    label: str
    """One line for the screen: what is recorded here and what is synthetic."""
    notes: tuple[str, ...]
    meaningless: tuple[str, ...]
    """Symbols whose spreads against other markets mean nothing and must be shown as such."""
    markets: tuple[MarketSpec, ...]
    transfers: dict[str, TransferSpec]
    inventory: dict[str, dict[str, str]]
    """What paper trading starts with: by venue, by asset, decimal text."""
    changes: Factory
    """Makes the changes anew, in time order; the same every time."""

    def settings(self) -> dict[str, object]:
        """Return the overlay of the daemon's configuration that fits this scenario (see `model.settings`)."""
        symbols: dict[str, list[str]] = {"binance": [], "upbit": []}
        for market in self.markets:
            symbols[market.venue].append(market.symbol)
        return {
            "venues": {venue: {"symbols": names} for venue, names in symbols.items()},
            "strategy": {
                "reporting_asset": "USDT",
                "transfers": {
                    asset: {"cost_ppm": transfer.cost_ppm, "is_identity_confirmed": True}
                    for asset, transfer in self.transfers.items()
                },
            },
            "paper": {"inventory": {venue: dict(assets) for venue, assets in self.inventory.items()}},
        }
