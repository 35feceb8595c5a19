"""Exact money: plain integers in units of 1e-8 of an asset (`_e8`), rates in parts per million (`_ppm`).

Refuses floats everywhere except in `recover_*`, the one door through which a decoded float becomes an exact number, and
there by rounding to the venue's own grid, never by truncation. Every division names its direction: down or up.
"""

from __future__ import annotations

import re
from typing import Generic, NewType, TypeVar

import msgspec

E8 = 100_000_000
PPM = 1_000_000
FLOAT_EXACT_MAX = 2**50
"""Below this grid index a float and one multiplication still round to the right neighbour, with a spare bit.

Measured: at 2**52 a twelfth of all inputs come back one step off; under 2**51 none does.
"""
FLOAT_NOISE_MAX = 1e-12
"""A float further (relatively) than this from a grid point does not stand for it: parsing errs by 1.1e-16."""

EXPONENT_MAX = 40
"""No venue writes a larger one; a larger one is refused before it costs memory."""
DECIMAL = re.compile(r"([+-]?)(?=\.?\d)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,4}))?", re.ASCII)
"""Sign, whole part, fraction, exponent."""

Asset = NewType("Asset", str)
"""An asset's identity, such as `BTC`. Decimals belong to a venue's (asset, venue) pair, not to the asset."""


class Currency:
    """Marker for the type parameter of `Amount`; subclasses are never instantiated."""


class Krw(Currency):
    """Korean won."""


class Usdt(Currency):
    """Tether's dollar token."""


C = TypeVar("C", bound=Currency)


class Amount(msgspec.Struct, Generic[C], frozen=True, order=False):
    """So much of one asset. `Amount[Krw] + Amount[Usdt]` does not type-check, and two assets never add at run time."""

    asset: Asset
    e8: int

    def __add__(self, other: Amount[C]) -> Amount[C]:
        self._require_same_asset(other)
        return Amount(self.asset, self.e8 + other.e8)

    def __sub__(self, other: Amount[C]) -> Amount[C]:
        self._require_same_asset(other)
        return Amount(self.asset, self.e8 - other.e8)

    def __neg__(self) -> Amount[C]:
        return Amount(self.asset, -self.e8)

    def __lt__(self, other: Amount[C]) -> bool:
        self._require_same_asset(other)
        return self.e8 < other.e8

    def __le__(self, other: Amount[C]) -> bool:
        self._require_same_asset(other)
        return self.e8 <= other.e8

    def __str__(self) -> str:
        return f"{format_e8(self.e8)} {self.asset}"

    def _require_same_asset(self, other: Amount[C]) -> None:
        if not isinstance(other, Amount) or other.asset != self.asset:
            theirs = getattr(other, "asset", type(other).__name__)
            raise TypeError(f"cannot combine {self.asset} with {theirs}: convert at an executable book")


def krw(e8: int) -> Amount[Krw]:
    """Make an amount of won from units of 1e-8 KRW."""
    return Amount(Asset("KRW"), e8)


def usdt(e8: int) -> Amount[Usdt]:
    """Make an amount of tether from units of 1e-8 USDT."""
    return Amount(Asset("USDT"), e8)


def div_down(numerator: int, denominator: int) -> int:
    """Divide towards minus infinity; the denominator must be positive."""
    assert denominator > 0, "division by a grid that is not positive"
    return numerator // denominator


def div_up(numerator: int, denominator: int) -> int:
    """Divide towards plus infinity; the denominator must be positive."""
    assert denominator > 0, "division by a grid that is not positive"
    return -(-numerator // denominator)


def notional_down_e8(price_e8: int, quantity_e8: int) -> int:
    """Return quote units for a sale of `quantity_e8` at `price_e8`, rounded down (against the seller)."""
    return price_e8 * quantity_e8 // E8


def notional_up_e8(price_e8: int, quantity_e8: int) -> int:
    """Return quote units for a purchase of `quantity_e8` at `price_e8`, rounded up (against the buyer)."""
    return -(-price_e8 * quantity_e8 // E8)


def fee_up_e8(amount_e8: int, fee_ppm: int) -> int:
    """Return the fee on `amount_e8`, rounded up: a fee grows, a rebate (negative rate) shrinks towards us."""
    assert abs(fee_ppm) <= PPM, "a fee is at most the whole amount"
    return -(-amount_e8 * fee_ppm // PPM)


def floor_to(value_e8: int, step_e8: int) -> int:
    """Round down to a multiple of `step_e8`."""
    assert step_e8 > 0, "a grid step must be positive"
    return value_e8 - value_e8 % step_e8


def ceil_to(value_e8: int, step_e8: int) -> int:
    """Round up to a multiple of `step_e8`."""
    assert step_e8 > 0, "a grid step must be positive"
    return value_e8 + -value_e8 % step_e8


def parse_e8(text: str) -> int:
    """Read a decimal text exactly, exponents included. Raises ValueError when it does not sit on the 1e-8 grid."""
    match = DECIMAL.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"not a decimal number: {text!r}")
    sign, whole, fraction, exponent_text = match.groups(default="")
    exponent = int(exponent_text or 0)
    if abs(exponent) > EXPONENT_MAX:
        raise ValueError(f"not a decimal number of ours, its exponent is beyond {EXPONENT_MAX}: {text!r}")
    shift = 8 - len(fraction) + exponent
    value = int(sign + whole + fraction)
    if shift >= 0:
        return value * int(10**shift)
    quotient, remainder = divmod(value, int(10**-shift))
    if remainder:
        raise ValueError(f"more than 8 decimals: {text!r}")
    return quotient


def format_e8(value_e8: int) -> str:
    """Print plain decimals without exponent or trailing zeros, as the venues' order entry wants them."""
    sign = "-" if value_e8 < 0 else ""
    whole, fraction = divmod(abs(value_e8), E8)
    text = f"{fraction:08d}".rstrip("0")
    return f"{sign}{whole}.{text}" if text else f"{sign}{whole}"


def recover_price_e8(price: float, tick_e8: int) -> int:
    """Recover the exact price that a decoded float stands for, by rounding onto the tick grid.

    Exact while the grid index stays below 2**50: a KRW price of 1e9 on any tick of its band does by far. Raises
    ValueError for what no venue can mean (not finite, not positive, or off the exact range) and for a price between two
    grid points: the tick we know is not the venue's, and rounding would invent a price, perhaps a better one.
    """
    price_e8 = _grid_index(price, tick_e8) * tick_e8
    if abs(price_e8 / E8 - price) > price * FLOAT_NOISE_MAX:
        raise ValueError(f"price {price!r} is not on a grid of {format_e8(tick_e8)}")
    return price_e8


def recover_quantity_down_e8(quantity: float, lot_e8: int) -> int:
    """Recover the exact quantity that a decoded float stands for, on the lot grid; never more than is shown.

    A quantity between two lots (an old order after the venue coarsened its lot) counts as the lower one. From 2**50 lots a
    float no longer separates neighbours; the quantity is then rounded down by what it may be off. That understates a level
    by less than one part in 1e14, and understating is against us.
    """
    if not 0.0 <= quantity < 1e30:
        raise ValueError(f"quantity out of range: {quantity!r}")
    if quantity * E8 < FLOAT_EXACT_MAX:
        return floor_to(round(quantity * E8), lot_e8)
    lots = round(quantity * (E8 / lot_e8))
    if lots < FLOAT_EXACT_MAX and lots * lot_e8 / E8 == quantity:
        return lots * lot_e8
    numerator, denominator = quantity.as_integer_ratio()
    binary_e8 = numerator * E8 // denominator
    return floor_to(binary_e8 - max(1, binary_e8 // FLOAT_EXACT_MAX), lot_e8)


def _grid_index(value: float, step_e8: int) -> int:
    if not 0.0 < value < 1e18:
        raise ValueError(f"price out of range: {value!r}")
    index = round(value * (E8 / step_e8)) if step_e8 <= E8 else round(value / (step_e8 / E8))
    if index == 0:
        raise ValueError(f"price {value!r} is under half a step of {format_e8(step_e8)}")
    if index >= FLOAT_EXACT_MAX:
        raise ValueError(f"price {value!r} has more digits than a float holds on a grid of {format_e8(step_e8)}")
    return index
