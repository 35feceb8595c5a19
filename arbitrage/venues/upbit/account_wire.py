"""Upbit's answers about an account's terms: fees and minimums by market, wallets, keys. Pure; what cannot be read is a fault.

Source: reference upbit 6 and 8. Fees are always in the quote asset; where buying and selling differ, the dearer counts.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Annotated

import msgspec
from msgspec import Meta

from arbitrage.model.events import FaultKind, FeedFault
from arbitrage.model.instruments import FeePayment, FeeSchedule, Side, Venue
from arbitrage.model.money import Asset
from arbitrage.venues.budget import NS_PER_S
from arbitrage.venues.upbit.amounts import e8, rate_ppm_up
from arbitrage.venues.wire import DECODING_ERRORS, fault_from, short

FIAT = frozenset(("KRW", "SGD", "IDR", "THB"))
"""Has no wallet on a chain."""
LIMIT_IOC = "limit_ioc"
WORKING, INACTIVE = "working", "inactive"


class Chance(msgspec.Struct, frozen=True):
    """What may be ordered in one market, and at which price."""

    bid_fees: FeeSchedule
    ask_fees: FeeSchedule
    notional_e8_min: int
    is_active: bool
    takes_limit_ioc: bool

    @property
    def fees(self) -> FeeSchedule:
        """Return what an order of either side pays at most."""
        sides = (self.bid_fees, self.ask_fees)
        return FeeSchedule(max(side.maker_ppm for side in sides), max(side.taker_ppm for side in sides), FeePayment.QUOTE)

    def fees_of(self, side: Side) -> FeeSchedule:
        """Return what an order of one side pays."""
        return self.bid_fees if side is Side.BUY else self.ask_fees


class _Side(msgspec.Struct):
    min_total: Decimal


class _Market(msgspec.Struct):
    bid: _Side
    ask: _Side
    state: str = "active"
    bid_types: list[str] = []
    ask_types: list[str] = []


class _Chance(msgspec.Struct):
    bid_fee: Decimal
    ask_fee: Decimal
    market: _Market
    maker_bid_fee: Decimal | None = None
    maker_ask_fee: Decimal | None = None


class _Wallet(msgspec.Struct):
    currency: str
    wallet_state: str
    block_state: str | None = None


class _Key(msgspec.Struct):
    access_key: str
    expire_at: Annotated[datetime, Meta(tz=True)]


_read_chance = msgspec.json.Decoder(_Chance, strict=False).decode
_read_wallets = msgspec.json.Decoder(list[_Wallet]).decode
_read_keys = msgspec.json.Decoder(list[_Key]).decode


def read_chance(body: bytes, venue: Venue, at_ns: int, market: int) -> Chance | FeedFault:
    """Read GET /v1/orders/chance."""
    try:
        row = _read_chance(body)
        return _chance(row)
    except DECODING_ERRORS as error:
        return fault_from(error, venue, at_ns, market)
    except ValueError as error:
        return FeedFault(at_ns, venue, FaultKind.OUT_OF_RANGE, short(str(error)), market)


def read_suspended(body: bytes, wanted: Collection[Asset], venue: Venue, at_ns: int) -> tuple[Asset, ...] | FeedFault:
    """Read GET /v1/status/wallet: which wanted assets no network both takes in and gives out now.

    An asset that the venue does not name counts as suspended: nothing says that it can be moved.
    """
    try:
        rows = _read_wallets(body)
    except DECODING_ERRORS as error:
        return fault_from(error, venue, at_ns)
    working = {row.currency for row in rows if row.wallet_state == WORKING and row.block_state != INACTIVE}
    return tuple(sorted(asset for asset in wanted if asset not in working and asset not in FIAT))


def read_keys(body: bytes) -> dict[str, int] | None:
    """Read GET /v1/api_keys: when each access key that the venue lists ends, in ns; None when it cannot be read."""
    try:
        return {row.access_key: int(row.expire_at.timestamp()) * NS_PER_S for row in _read_keys(body)}
    except DECODING_ERRORS:
        return None


def _chance(row: _Chance) -> Chance:
    """Check one market's terms. Raises ValueError."""
    return Chance(
        bid_fees=_fees(row.bid_fee, row.maker_bid_fee),
        ask_fees=_fees(row.ask_fee, row.maker_ask_fee),
        notional_e8_min=max(e8(row.market.bid.min_total), e8(row.market.ask.min_total)),
        is_active=row.market.state == "active",
        takes_limit_ioc=LIMIT_IOC in row.market.bid_types and LIMIT_IOC in row.market.ask_types,
    )


def _fees(taker: Decimal, maker: Decimal | None) -> FeeSchedule:
    """Return one side's fees; the maker pays the same unless it is said. Raises ValueError."""
    taker_ppm = rate_ppm_up(taker)
    return FeeSchedule(taker_ppm if maker is None else rate_ppm_up(maker), taker_ppm, FeePayment.QUOTE)
