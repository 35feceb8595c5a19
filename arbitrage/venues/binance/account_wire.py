"""Binance's account answers as values: balances, open orders, fees, key rights, wallets. Pure; what cannot be read exactly is
a ValueError or a decoding error, named in `READING_ERRORS`.

Source: reference binance-spot 8 and 9; `apiRestrictions` of the wallet documents.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from arbitrage.model.events import AccountBalance, OpenOrder
from arbitrage.model.instruments import FeePayment, FeeSchedule
from arbitrage.model.money import E8, PPM, Asset, div_up, parse_e8
from arbitrage.model.orders import ClientOrderId
from arbitrage.venues.binance.limits import RateCount
from arbitrage.venues.binance.orders_wire import READING_ERRORS, SIDES, amount_e8

E8_PER_PPM = E8 // PPM

__all__ = [
    "READING_ERRORS",
    "read_balances",
    "read_counts",
    "read_fees",
    "read_key_rights",
    "read_open_orders",
    "read_suspended",
    "read_time_ms",
    "why_account_cannot_trade",
]


class _Balance(msgspec.Struct):
    asset: str
    free: str
    locked: str


class _Account(msgspec.Struct, rename="camel"):
    balances: list[_Balance]


class _Rights(msgspec.Struct, rename="camel"):
    can_trade: bool
    can_withdraw: bool


class _OpenOrder(msgspec.Struct, rename="camel"):
    symbol: str
    order_id: int
    client_order_id: str
    side: str
    price: str
    orig_qty: str
    executed_qty: str


class _Rates(msgspec.Struct, frozen=True):
    maker: str = "0"
    taker: str = "0"
    buyer: str = "0"
    seller: str = "0"


class _Discount(msgspec.Struct, rename="camel"):
    enabled_for_account: bool = False
    enabled_for_symbol: bool = False
    discount_asset: str = ""
    discount: str = "1"


class _Commission(msgspec.Struct, rename="camel"):
    standard_commission: _Rates
    special_commission: _Rates = _Rates()
    tax_commission: _Rates = _Rates()
    discount: _Discount | None = None


class _KeyRights(msgspec.Struct, rename="camel"):
    enable_withdrawals: bool
    enable_reading: bool = True
    enable_spot_and_margin_trading: bool = True


class _Coin(msgspec.Struct, rename="camel"):
    coin: str
    deposit_all_enable: bool
    withdraw_all_enable: bool


class _Time(msgspec.Struct, rename="camel"):
    server_time: int


_read_account = msgspec.json.Decoder(_Account).decode
_read_rights = msgspec.json.Decoder(_Rights).decode
_read_open = msgspec.json.Decoder(list[_OpenOrder]).decode
_read_commission = msgspec.json.Decoder(_Commission).decode
_read_key_rights = msgspec.json.Decoder(_KeyRights).decode
_read_coins = msgspec.json.Decoder(list[_Coin]).decode
_read_counts = msgspec.json.Decoder(list[RateCount]).decode
_read_time = msgspec.json.Decoder(_Time).decode


def read_balances(body: bytes) -> tuple[AccountBalance, ...]:
    """Read every balance, or none: half an account would look like a loss."""
    entries = _read_account(body).balances
    return tuple(AccountBalance(Asset(entry.asset), amount_e8(entry.free), amount_e8(entry.locked)) for entry in entries)


def read_open_orders(body: bytes, markets: Mapping[str, int]) -> tuple[OpenOrder, ...]:
    """Read the open orders of the whole account, strangers' symbols included."""
    return tuple(
        OpenOrder(
            client_order_id=ClientOrderId(entry.client_order_id),
            venue_order_id=str(entry.order_id),
            symbol=entry.symbol,
            market=markets.get(entry.symbol),
            side=SIDES[_known(entry.side)],
            price_e8=amount_e8(entry.price),
            quantity_e8=amount_e8(entry.orig_qty),
            filled_quantity_e8=amount_e8(entry.executed_qty),
        )
        for entry in _read_open(body)
    )


def read_fees(body: bytes) -> FeeSchedule:
    """Read one market's commission: standard, special and tax summed, the buyer's or seller's part at its larger.

    With paying in another asset on, the standard part is multiplied by the discount and the fee is taken from that asset
    (the documents disagree whether it multiplies or reduces; multiplying assumes the higher fee). Rounded up to a ppm.
    """
    answer = _read_commission(body)
    discount = answer.discount
    is_discounted = discount is not None and discount.enabled_for_account and discount.enabled_for_symbol
    named = Asset(discount.discount_asset) if discount is not None and is_discounted and discount.discount_asset else None
    share_e8 = amount_e8(discount.discount) if discount is not None and named is not None else E8
    others = (answer.special_commission, answer.tax_commission)
    maker, taker = (
        _rate_e8(answer.standard_commission, name) * share_e8 + sum(_rate_e8(part, name) for part in others) * E8
        for name in ("maker", "taker")
    )
    unit = E8 * E8_PER_PPM
    maker_ppm, taker_ppm = div_up(maker, unit), div_up(taker, unit)
    if max(abs(maker_ppm), abs(taker_ppm)) > PPM:
        raise ValueError(f"a fee beyond the whole amount: {maker_ppm}, {taker_ppm} ppm")
    return FeeSchedule(maker_ppm, taker_ppm, FeePayment.RECEIVED if named is None else FeePayment.NAMED, named)


def read_key_rights(body: bytes) -> list[str]:
    """Read `apiRestrictions`; return every right that the key has too much or too little."""
    rights = _read_key_rights(body)
    reasons = []
    if rights.enable_withdrawals:
        reasons.append("the key can withdraw: make one without that right")
    if not rights.enable_spot_and_margin_trading:
        reasons.append("the key has no right to trade spot")
    if not rights.enable_reading:
        reasons.append("the key has no right to read the account")
    return reasons


def why_account_cannot_trade(body: bytes, *, is_key_known: bool) -> list[str]:
    """Read the account's rights. `canWithdraw` is the account's, not the key's: it counts only where keys cannot be asked."""
    rights = _read_rights(body)
    reasons = [] if rights.can_trade else ["the account may not trade"]
    if rights.can_withdraw and not is_key_known:
        reasons.append("the account can withdraw, and this venue does not say whether the key can")
    return reasons


def read_suspended(body: bytes) -> tuple[Asset, ...]:
    """Read the wallets: assets that cannot be deposited or cannot be withdrawn."""
    return tuple(sorted(Asset(c.coin) for c in _read_coins(body) if not (c.deposit_all_enable and c.withdraw_all_enable)))


def read_counts(body: bytes) -> tuple[RateCount, ...]:
    """Read a list of limits with their counts."""
    return tuple(_read_counts(body))


def read_time_ms(body: bytes) -> int:
    """Read the venue's clock."""
    return _read_time(body).server_time


def _rate_e8(rates: _Rates, name: str) -> int:
    return parse_e8(rates.maker if name == "maker" else rates.taker) + max(parse_e8(rates.buyer), parse_e8(rates.seller))


def _known(side: str) -> str:
    if side not in SIDES:
        raise ValueError(f"side {side}")
    return side
