"""The kimchi premium taken apart: the rate that a coin's two prices imply, the rate that USDT really has, and what is left.

Only the coin's own part is arbitrage between two books; the rate itself is a position. How USDT stands against a bank's dollar
is in it where a source of the bank's rate is configured. Mid prices, for the eye; nothing is decided by them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from arbitrage.engine.views import EngineView
from arbitrage.model.money import E8, PPM
from arbitrage.ops.bank_rates import BankRate
from arbitrage.strategy.spreads import Spread, Touch
from arbitrage.web.screen import figures
from arbitrage.web.screen.overview import pair_key


class PremiumRow(msgspec.Struct, frozen=True):
    """One coin."""

    key: str
    asset: str
    fiat_price: str
    price: str
    implied: str
    """Units of fiat for one of the other asset, by the coin's two mid prices."""
    rate: str
    """The same by its own book."""
    own_part: str
    """Per cent by which the first is above the second: the coin's own part."""
    tone: str
    bank: str
    """The bank's rate; a dash where none is known."""
    basis: str
    """Per cent by which its own book is above the bank's rate."""
    whole: str
    """Per cent by which the implied rate is above the bank's."""
    note: str
    """What is known of the bank's rate, how old it is, and why there is no newer one; empty where none is configured."""


class Parts(msgspec.Struct, frozen=True):
    """One coin's premium as figures."""

    asset: str
    fiat: str
    fiat_price_e8: int
    price_e8: int
    implied_e8: int
    rate_e8: int


def premiums(view: EngineView, banks: Mapping[str, BankRate]) -> tuple[PremiumRow, ...]:
    """Take every pair apart of which one side is quoted in fiat."""
    return tuple(
        _row(pair_key(spread), parts, banks.get(parts.fiat), view.at_ns)
        for spread in view.spreads
        if (parts := parts_of(spread, view.reporting_asset)) is not None
    )


def _row(key: str, parts: Parts, bank: BankRate | None, now_ns: int) -> PremiumRow:
    bank_e8 = None if bank is None else bank.at(now_ns)
    own_ppm = parts.implied_e8 * PPM // parts.rate_e8 - PPM
    return PremiumRow(
        key=key,
        asset=parts.asset,
        fiat_price=figures.grouped(parts.fiat_price_e8),
        price=figures.grouped(parts.price_e8),
        implied=_rate_text(parts.implied_e8),
        rate=_rate_text(parts.rate_e8),
        own_part=figures.percent(own_ppm),
        tone="good" if own_ppm > 0 else "bad" if own_ppm < 0 else "",
        bank=figures.UNKNOWN if bank_e8 is None else _rate_text(bank_e8),
        basis=figures.percent(None if bank_e8 is None else parts.rate_e8 * PPM // bank_e8 - PPM),
        whole=figures.percent(None if bank_e8 is None else parts.implied_e8 * PPM // bank_e8 - PPM),
        note="" if bank is None else _sentence(parts.fiat, bank, now_ns),
    )


def parts_of(spread: Spread, reporting: str) -> Parts | None:
    """Take one pair apart; None where it has no side in fiat, or a price is missing."""
    ends = [spread.buy, spread.sell]
    fiat = next((end for end in ends if end.quote != reporting), None)
    other = next((end for end in ends if end.quote == reporting), None)
    rate = spread.fx[0] if spread.fx else None
    if fiat is None or other is None or rate is None:
        return None
    fiat_mid, other_mid, rate_mid = _mid(fiat), _mid(other), (rate.bid_e8 + rate.ask_e8) // 2
    if not fiat_mid or not other_mid or not rate_mid:
        return None
    implied_e8 = fiat_mid * E8 // other_mid
    return Parts(str(spread.asset), str(fiat.quote), fiat_mid, other_mid, implied_e8, rate_mid) if implied_e8 else None


def _sentence(fiat: str, rate: BankRate, now_ns: int) -> str:
    if rate.rate_e8 is None or rate.read_at_ns is None:
        return f"The bank's rate of {fiat} is not known: {rate.problem}."
    read = f"{fiat} {_rate_text(rate.rate_e8)} for one dollar at the bank, read {figures.age(now_ns - rate.read_at_ns)} ago"
    old = "" if rate.at(now_ns) is not None else ", which is too old to be used"
    return f"{read}{old}{f'; since then: {rate.problem}' if rate.problem else ''}."


def _rate_text(rate_e8: int) -> str:
    return figures.cut(rate_e8, 4).lstrip("+")


def _mid(touch: Touch) -> int:
    return (touch.bid_e8 + touch.ask_e8) // 2 if touch.bid_e8 and touch.ask_e8 else 0
