"""Binance's exchangeInfo as instruments. Takes base and quote from their fields, never from the symbol's spelling.

Source: Binance spot documentation, exchangeInfo and filters. What cannot be read exactly is not tradable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from arbitrage.model.events import FaultKind, FeedEvent, FeedFault, InstrumentsRead
from arbitrage.model.instruments import Instrument, TickTable, TradingStatus, Venue
from arbitrage.model.money import Asset, parse_e8
from arbitrage.model.settings import VenueSettings
from arbitrage.venues.wire import QUANTITY_UNLIMITED_E8, fees_for, short

STATUSES = {
    "TRADING": TradingStatus.TRADING,
    "CANCEL_ONLY": TradingStatus.CANCEL_ONLY,
    "HALT": TradingStatus.HALTED,
    "BREAK": TradingStatus.HALTED,
    "END_OF_DAY": TradingStatus.HALTED,
}


class Filter(msgspec.Struct, rename="camel"):
    """The fields of the filters that a limit order must pass; every other filter leaves them at "0", which means off."""

    filter_type: str
    tick_size: str = "0"
    min_qty: str = "0"
    max_qty: str = "0"
    step_size: str = "0"
    min_notional: str = "0"


class Listed(msgspec.Struct, rename="camel"):
    """One symbol of exchangeInfo."""

    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[Filter] = []
    order_types: list[str] = []
    permissions: list[str] = []
    permission_sets: list[list[str]] = []
    is_spot_trading_allowed: bool = True


class _ExchangeInfo(msgspec.Struct):
    symbols: list[Listed]


_decode = msgspec.json.Decoder(_ExchangeInfo).decode


def read_exchange_info(body: bytes) -> list[Listed]:
    """Decode the answer. Raises msgspec's decoding errors."""
    return _decode(body).symbols


def instruments_from(
    listed: list[Listed], venue: Venue, markets: Mapping[str, int], settings: VenueSettings, at_ns: int
) -> Sequence[FeedEvent]:
    """Build the configured instruments; a symbol that is not understood counts as missing and carries a fault."""
    found: list[Instrument] = []
    faults: list[FeedFault] = []
    for symbol in listed:
        market = markets.get(symbol.symbol)
        if market is None:
            continue
        if symbol.status not in STATUSES:
            detail = short(f"status {symbol.status} of {symbol.symbol}")
            faults.append(FeedFault(at_ns, venue, FaultKind.UNKNOWN_FIELD_VALUE, detail, market))
        try:
            found.append(_instrument(symbol, market, venue, settings))
        except ValueError as error:
            faults.append(FeedFault(at_ns, venue, FaultKind.OUT_OF_RANGE, short(f"{symbol.symbol}: {error}"), market))
    known = {instrument.symbol for instrument in found}
    missing = tuple(symbol for symbol in markets if symbol not in known)
    return (InstrumentsRead(at_ns, venue, tuple(found), missing), *faults)


def _instrument(listed: Listed, market: int, venue: Venue, settings: VenueSettings) -> Instrument:
    """Build one instrument. Raises ValueError for numbers off the 1e-8 grid or rules that contradict themselves."""
    filters = {rule.filter_type: rule for rule in listed.filters}
    price, lot = filters.get("PRICE_FILTER"), filters.get("LOT_SIZE")
    if price is None or lot is None:
        raise ValueError("PRICE_FILTER or LOT_SIZE is absent")
    notional = filters.get("NOTIONAL") or filters.get("MIN_NOTIONAL") or lot
    quantity_min = parse_e8(lot.min_qty)
    quantity_max = parse_e8(lot.max_qty) or QUANTITY_UNLIMITED_E8
    numbers = {
        "tickSize": parse_e8(price.tick_size) or 1,
        "stepSize": parse_e8(lot.step_size) or 1,
        "minQty": quantity_min,
        "maxQty": quantity_max - quantity_min,
        "minNotional": parse_e8(notional.min_notional),
    }
    wrong = [name for name, value in numbers.items() if value < 0]
    if wrong or listed.base_asset == listed.quote_asset:
        raise ValueError(f"rules contradict themselves: {wrong or listed.base_asset}")
    quote = Asset(listed.quote_asset)
    return Instrument(
        id=market,
        venue=venue,
        symbol=listed.symbol,
        base=Asset(listed.base_asset),
        quote=quote,
        ticks=TickTable.single(numbers["tickSize"]),
        lot_e8=numbers["stepSize"],
        quantity_e8_min=quantity_min,
        quantity_e8_max=quantity_max,
        notional_e8_min=numbers["minNotional"],
        status=_status(listed),
        fees=fees_for(settings, quote),
    )


def _status(listed: Listed) -> TradingStatus:
    """Return whether a plain spot limit order is taken: the status word, then what an account must be allowed.

    `permissionSets`: every inner list must be met, by any one of its names. `permissions` is its older form.
    """
    needed = listed.permission_sets or ([listed.permissions] if listed.permissions else [])
    is_spot = listed.is_spot_trading_allowed and all("SPOT" in any_of for any_of in needed)
    if not is_spot or (listed.order_types and "LIMIT" not in listed.order_types):
        return TradingStatus.HALTED
    return STATUSES.get(listed.status, TradingStatus.HALTED)
