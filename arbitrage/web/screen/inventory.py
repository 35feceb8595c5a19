"""What lies at which venue, how uneven it is, and what evening it out would cost and bring. Suggests; moves nothing.

When a transfer pays for itself is told by nothing but what openings refused for lack of balance would have paid: by the worst
of the delays at which each was priced again, of those at the same time the best alone. Where that is not known it is said so.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from arbitrage.engine.views import EngineView
from arbitrage.model.instruments import Node
from arbitrage.model.money import E8, PPM, div_up, parse_e8
from arbitrage.model.settings import StrategySettings
from arbitrage.store.ledger_nouns import Missed
from arbitrage.web.screen import figures

UNEVEN_PPM = 200_000
"""A venue that holds so much more than its even share is told as uneven."""


class Held(msgspec.Struct, frozen=True):
    """One venue's stock of an asset."""

    venue: str
    free: str
    reserved: str
    share: str
    share_ppm: int


class Transfer(msgspec.Struct, frozen=True):
    """The one transfer that brings the fullest and the emptiest venue nearest to their even share."""

    asset: str
    source: str
    target: str
    amount_e8: int
    cost_e8: int | None
    """In the asset; None: not configured."""

    @property
    def node(self) -> str:
        """What it fills up."""
        return f"{self.asset}@{self.target}"


class AssetRow(msgspec.Struct, frozen=True):
    """One asset over all venues."""

    asset: str
    total: str
    held: tuple[Held, ...]
    is_uneven: bool
    suggestion: str
    """What to carry over, and what that costs; empty where it lies evenly, or at one venue only."""
    transfer: Transfer | None = None
    payback: str = ""
    """When that pays for itself, or why nobody can say."""


def inventory_of(view: EngineView, strategy: StrategySettings) -> tuple[AssetRow, ...]:
    """Lay out every asset that lies somewhere; venues that trade it and hold none count, too."""
    traded: dict[str, set[str]] = {}
    for spread in view.spreads:
        for touch in (spread.buy, spread.sell):
            traded.setdefault(spread.asset, set()).add(touch.node.venue)
    assets = sorted({node.asset for node in view.balances})
    return tuple(_row(asset, view.balances, traded.get(asset, set()), strategy) for asset in assets)


def _row(asset: str, balances: Mapping[Node, tuple[int, int]], traded: set[str], strategy: StrategySettings) -> AssetRow:
    stocks: dict[str, tuple[int, int]] = {node.venue: amounts for node, amounts in balances.items() if node.asset == asset}
    venues = sorted(set(stocks) | traded)
    totals = {venue: sum(stocks.get(venue, (0, 0))) for venue in venues}
    whole = sum(totals.values())
    held = []
    for venue in venues:
        free, reserved = stocks.get(venue, (0, 0))
        share_ppm = max(0, totals[venue] * PPM // whole) if whole > 0 else 0
        amounts = (figures.grouped(free), figures.grouped(reserved) if reserved else "")
        held.append(Held(venue, *amounts, f"{share_ppm / 10_000:.1f} %", share_ppm))
    even_ppm = PPM // len(venues)
    is_uneven = len(venues) > 1 and whole > 0 and any(one.share_ppm > even_ppm + UNEVEN_PPM for one in held)
    transfer = _transfer(asset, totals, strategy) if is_uneven else None
    suggestion = _suggestion(transfer) if transfer is not None else ""
    return AssetRow(asset, figures.grouped(whole), tuple(held), is_uneven, suggestion, transfer)


def _transfer(asset: str, totals: Mapping[str, int], strategy: StrategySettings) -> Transfer:
    even = sum(totals.values()) // len(totals)
    fullest, emptiest = max(totals, key=lambda venue: totals[venue]), min(totals, key=lambda venue: totals[venue])
    amount = min(totals[fullest] - even, even - totals[emptiest])
    terms = strategy.transfers.get(asset)
    cost = None if terms is None else div_up(amount * terms.cost_ppm, PPM) + parse_e8(terms.cost)
    return Transfer(asset, fullest, emptiest, amount, cost)


def _suggestion(transfer: Transfer) -> str:
    asset, amount = transfer.asset, figures.grouped(transfer.amount_e8)
    what = f"{amount} {asset} from {transfer.source} to {transfer.target}"
    if transfer.cost_e8 is None:
        return f"{what}; what that costs is not configured"
    return f"{what}, for about {figures.grouped(transfer.cost_e8)} {asset}"


def value_e8(view: EngineView, asset: str, amount_e8: int) -> int | None:
    """Value an amount in the reporting asset at the dearest best ask that is shown in it, rounded up; None: none is shown."""
    reporting = view.reporting_asset
    if asset == reporting:
        return amount_e8
    touches = [touch for spread in view.spreads if spread.asset == asset for touch in (spread.buy, spread.sell)]
    asks = [touch.ask_e8 for touch in touches if touch.quote == reporting and touch.ask_e8 > 0]
    return div_up(amount_e8 * max(asks), E8) if asks else None


def payback_of(transfer: Transfer, cost_e8: int, missed: Missed, now_ns: int) -> str:
    """Say when a transfer pays for itself; `cost_e8` is its cost in what `missed` is told in."""
    since_ns = now_ns if missed.first_ns is None else missed.first_ns
    days = max(1, -(-(now_ns - since_ns) // figures.DAY_NS))
    span = "1 day" if days == 1 else f"{days} days"
    of = f"that spends {transfer.asset} at {transfer.target}"
    if not missed.openings:
        return f"In {span} no opening {of} was refused for lack of balance: nothing says that it pays."
    refused = f"In {span} {missed.openings:,} openings of a cycle {of} were refused for lack of balance and never taken"
    if not missed.paying:
        return f"{refused}; {missed.priced:,} could be priced again, none of them still paid: nothing says that it pays."
    unpriced = missed.openings - missed.priced
    rest = f"; {unpriced:,} could not be priced and count as nothing" if unpriced else ""
    tenths = -(-cost_e8 * days * 10 // missed.net.e8)
    cost, earned = (f"{figures.grouped(e8)} {missed.net.asset}" for e8 in (cost_e8, missed.net.e8))
    return (
        f"Pays for itself in {tenths // 10}.{tenths % 10} days at most: it costs {cost}. "
        f"{refused}; {missed.paying:,} would have paid at least {earned} together{rest}."
    )
