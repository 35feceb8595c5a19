"""Upbit's market list and stated ticks as instruments. The stated tick is the authority, the printed table the fallback.

Source: Upbit documentation, KRW tick table in force since 2025-07-31, USDT table since 2024-08-19, minimum order totals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from arbitrage.model.events import FaultKind, FeedEvent, FeedFault, InstrumentsRead
from arbitrage.model.instruments import Instrument, TickBand, TickTable, TradingStatus, Venue
from arbitrage.model.money import E8, Asset, parse_e8
from arbitrage.model.settings import VenueSettings
from arbitrage.venues.wire import QUANTITY_UNLIMITED_E8, fees_for, short


def _table(*bands: tuple[str, str]) -> TickTable:
    return TickTable(tuple(TickBand(parse_e8(price_from), parse_e8(tick)) for price_from, tick in bands))


TICK_TABLES: Mapping[str, TickTable] = {
    "KRW": _table(
        ("0", "0.00000001"), ("0.00001", "0.0000001"), ("0.0001", "0.000001"), ("0.001", "0.00001"), ("0.01", "0.0001"),
        ("0.1", "0.001"), ("1", "0.01"), ("10", "0.1"), ("100", "1"), ("5000", "5"), ("10000", "10"), ("50000", "50"),
        ("100000", "100"), ("500000", "500"), ("1000000", "1000"),
    ),
    "BTC": _table(("0", "0.00000001")),
    "USDT": _table(
        ("0", "0.00000001"), ("0.0001", "0.0000001"), ("0.001", "0.000001"), ("0.01", "0.00001"), ("0.1", "0.0001"),
        ("1", "0.001"), ("10", "0.01"),
    ),
}  # fmt: skip
"""By quote asset; lower bounds included."""
NOTIONAL_MIN_E8: Mapping[str, int] = {"KRW": 5_000 * E8, "BTC": parse_e8("0.00005"), "USDT": parse_e8("0.5")}
"""Smallest order total by quote asset."""


class Listed(msgspec.Struct):
    """One row of `/v1/market/all`."""

    market: str


class Ticks(msgspec.Struct):
    """One row of `/v1/orderbook/instruments`."""

    market: str
    tick_size: str | int | float
    quote_currency: str | None = None


class Answers(msgspec.Struct, frozen=True):
    """The two answers that make an instrument, and when they came."""

    listed: list[Listed]
    ticks: list[Ticks]
    at_ns: int


read_markets = msgspec.json.Decoder(list[Listed]).decode
"""Decode `/v1/market/all`. Raises msgspec's decoding errors."""
read_ticks = msgspec.json.Decoder(list[Ticks]).decode
"""Decode `/v1/orderbook/instruments`. Raises msgspec's decoding errors."""


def instruments_from(
    answers: Answers, venue: Venue, markets: Mapping[str, int], settings: VenueSettings
) -> Sequence[FeedEvent]:
    """Build the configured instruments; a code that is not understood counts as missing and carries a fault."""
    found: list[Instrument] = []
    faults: list[FeedFault] = []
    stated = {row.market: row for row in answers.ticks}
    for code in {row.market: None for row in answers.listed}:
        market = markets.get(code)
        if market is None:
            continue
        try:
            found.append(_instrument(code, stated.get(code), Place(market, venue, settings)))
        except ValueError as error:
            faults.append(FeedFault(answers.at_ns, venue, FaultKind.OUT_OF_RANGE, short(f"{code}: {error}"), market))
    known = {instrument.symbol for instrument in found}
    missing = tuple(code for code in markets if code not in known)
    return (InstrumentsRead(answers.at_ns, venue, tuple(found), missing), *faults)


class Place(msgspec.Struct, frozen=True):
    """Where an instrument belongs."""

    market: int
    venue: Venue
    settings: VenueSettings


def _instrument(code: str, row: Ticks | None, place: Place) -> Instrument:
    """Build one instrument from its code, QUOTE-BASE. Raises ValueError for what is not known or off the 1e-8 grid."""
    quote, _, base = code.partition("-")
    if quote not in TICK_TABLES or not base or base == quote:
        raise ValueError("minimum and ticks of this quote asset are not known")
    if row is not None and row.quote_currency not in (None, quote):
        raise ValueError(f"quote currency is said to be {row.quote_currency}")
    tick_read = 0 if row is None else parse_e8(str(row.tick_size))
    if row is not None and tick_read <= 0:
        raise ValueError(f"tick size {row.tick_size} is not positive")
    return Instrument(
        id=place.market,
        venue=place.venue,
        symbol=code,
        base=Asset(base),
        quote=Asset(quote),
        ticks=_ticks(quote, tick_read),
        lot_e8=1,
        quantity_e8_min=0,
        quantity_e8_max=QUANTITY_UNLIMITED_E8,
        notional_e8_min=NOTIONAL_MIN_E8[quote],
        status=TradingStatus.TRADING,
        fees=fees_for(place.settings, Asset(quote)),
        tick_read_e8=tick_read,
    )


def _ticks(quote: str, tick_read_e8: int) -> TickTable:
    """Return the printed table when it holds the stated tick at all, else one band of the stated tick (KRW-USDT's 0.5)."""
    table = TICK_TABLES[quote]
    is_in_table = any(band.tick_e8 == tick_read_e8 for band in table.bands)
    return table if is_in_table or not tick_read_e8 else TickTable.single(tick_read_e8)
