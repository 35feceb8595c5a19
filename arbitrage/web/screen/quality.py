"""How well each venue fills our orders, out of the newest ones. Pure figures; judges nobody."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import msgspec

from arbitrage.model.money import parse_e8
from arbitrage.store.reads import FillRow, OrderRow
from arbitrage.web.screen import figures

PPM, MS_NS = 1_000_000, 1_000_000


class VenueQuality(msgspec.Struct, frozen=True):
    """One venue's fills."""

    venue: str
    orders: str
    filled: str
    """Share of the orders' quantity that filled, the mean over orders."""
    better_bps: str
    """How much better than its limit an order filled, the median; never negative where the venue kept its word."""
    to_fill: str
    """Median time from our intent to the last fill."""
    maker: str
    """Share of fills that gave liquidity."""


def venue_qualities(orders: Sequence[OrderRow], fills: Sequence[FillRow]) -> tuple[VenueQuality, ...]:
    """Sum the newest orders and fills up by venue; only orders whose fills are among `fills` tell times and prices."""
    by_order = _by_order(fills)
    return tuple(
        _quality(venue, [order for order in orders if order.venue == venue], by_order)
        for venue in sorted({order.venue for order in orders})
    )


def round_trip_ms(orders: Sequence[OrderRow], fills: Sequence[FillRow]) -> int | None:
    """Return the median time from an order's intent to its last fill; None where none filled."""
    spans = _spans(orders, _by_order(fills))
    return int(statistics.median_low(spans)) // MS_NS if spans else None


def _by_order(fills: Sequence[FillRow]) -> dict[str, list[FillRow]]:
    found: dict[str, list[FillRow]] = {}
    for fill in fills:
        found.setdefault(fill.client_order_id, []).append(fill)
    return found


def _spans(orders: Sequence[OrderRow], fills: dict[str, list[FillRow]]) -> list[int]:
    told = (order for order in orders if order.client_order_id in fills)
    return [max(fill.at.ns for fill in fills[order.client_order_id]) - order.intended_at.ns for order in told]


def _quality(venue: str, orders: Sequence[OrderRow], fills: dict[str, list[FillRow]]) -> VenueQuality:
    shares = [parse_e8(order.filled_quantity) * PPM // parse_e8(order.quantity) for order in orders]
    better = [found for order in orders if (found := _better_ppm(order, fills.get(order.client_order_id, []))) is not None]
    spans = _spans(orders, fills)
    ours = [fill for order in orders for fill in fills.get(order.client_order_id, [])]
    makers = sum(fill.is_maker for fill in ours)
    return VenueQuality(
        venue=venue,
        orders=f"{len(orders):,}",
        filled=f"{sum(shares) / len(shares) / 10_000:.1f} %" if shares else figures.UNKNOWN,
        better_bps=f"{statistics.median(better) / 100:.2f}" if better else figures.UNKNOWN,
        to_fill=figures.milliseconds(int(statistics.median(spans)) // 1_000) if spans else figures.UNKNOWN,
        maker=f"{100 * makers / len(ours):.0f} %" if ours else figures.UNKNOWN,
    )


def _better_ppm(order: OrderRow, fills: Sequence[FillRow]) -> int | None:
    """Return by how much the fills' mean price was better than the limit, in parts per million."""
    quantity, limit = sum(parse_e8(fill.quantity) for fill in fills), parse_e8(order.price)
    if not quantity or not limit:
        return None
    mean = sum(parse_e8(fill.price) * parse_e8(fill.quantity) for fill in fills) // quantity
    return (limit - mean if order.side == "buy" else mean - limit) * PPM // limit
