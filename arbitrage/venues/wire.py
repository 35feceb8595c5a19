"""What the codecs share: number types with their ranges, frames as bytes, faults from decoding errors. Knows no venue."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from arbitrage.model.events import FaultKind, FeedFault
from arbitrage.model.instruments import FeePayment, FeeSchedule, Venue
from arbitrage.model.money import Asset
from arbitrage.model.settings import VenueSettings

Frame = bytes | bytearray | memoryview | str
"""A message as any transport hands it over."""

PRICE_MAX = 1e15
QUANTITY_MAX = 1e18
Price = Annotated[float, Meta(ge=1e-8, le=PRICE_MAX)]
"""The range is checked by the decoder, in C; it also refuses NaN and infinity, which may come as text."""
PriceOrNone = Annotated[float, Meta(ge=0, le=PRICE_MAX)]
"""A price, or 0 where a side is empty or padded."""
Quantity = Annotated[float, Meta(ge=0, le=QUANTITY_MAX)]
Sequence64 = Annotated[int, Meta(ge=0, le=2**62)]
"""An update or trade id."""
Milliseconds = Annotated[int, Meta(ge=0, le=9_999_999_999_999)]
"""Until the year 2286: microseconds by mistake do not fit."""

DETAIL_LENGTH_MAX = 160
QUANTITY_UNLIMITED_E8 = 10**26
"""Stands for a venue that states no largest quantity."""

SURVEY_MASK = 4095
"""A frame whose arrival time has none of these bits is looked over for fields that we do not know: one of some thousand."""

DECODING_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All that msgspec raises on bytes: bad JSON, wrong shape, broken UTF-8 in a text we read, nesting without end."""


def as_bytes(raw: Frame) -> bytes:
    """Turn a frame into bytes; lone surrogates survive as invalid UTF-8, which decoding then names."""
    return raw.encode("utf-8", "surrogatepass") if isinstance(raw, str) else bytes(raw)


def short(text: str) -> str:
    """Cut what a venue wrote to a printable line: it goes to logs and terminals."""
    return "".join(letter if letter.isprintable() else "?" for letter in text[:DETAIL_LENGTH_MAX])


def fault_from(error: Exception, venue: Venue, at_ns: int, market: int | None = None) -> FeedFault:
    """Name a decoding error: a number out of its range, or anything else malformed."""
    text = str(error)
    is_range = isinstance(error, msgspec.ValidationError) and ("= " in text or "out of range" in text)
    return FeedFault(at_ns, venue, FaultKind.OUT_OF_RANGE if is_range else FaultKind.MALFORMED, short(text), market)


def survey(frame: bytes, known: frozenset[str], venue: Venue, at_ns: int) -> tuple[FeedFault, ...]:
    """Name the fields of a frame that are not `known`: tolerated, and made visible. A frame that is no JSON has none."""
    try:
        unknown = _field_names(msgspec.json.decode(frame)) - known
    except DECODING_ERRORS:
        return ()
    if not unknown:
        return ()
    return (FeedFault(at_ns, venue, FaultKind.UNKNOWN_FIELD, short(", ".join(sorted(unknown)))),)


def _field_names(value: object) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(_field_names(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(_field_names(inner) for inner in value))
    return set()


def fees_for(settings: VenueSettings, quote: Asset) -> FeeSchedule:
    """Return the configured fees of markets quoted in `quote`."""
    fees = settings.quote_fees.get(quote, settings.fees)
    named = Asset(fees.named_asset) if fees.named_asset is not None else None
    return FeeSchedule(fees.maker_ppm, fees.taker_ppm, FeePayment(fees.payment), named)
