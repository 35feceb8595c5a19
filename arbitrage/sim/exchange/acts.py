"""Acts among the faults, done to an exchange and taken back: halts, closed wallets, changed rules. Bans are the facade's."""

from __future__ import annotations

import msgspec

from arbitrage.model.instruments import TickTable
from arbitrage.model.money import parse_e8
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.sim.exchange.nouns import Rules

PPM_PER_E8 = 100
"""A rate of 1e-8 is a hundredth of a part per million."""


class ActError(ValueError):
    """An act that this exchange cannot carry out: an unknown symbol or field, or a value that is none."""


class Acts:
    """What is done to one exchange. Acts that overlap hold until the last of them ends."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._active: list[Fault] = []
        self._before: dict[str, Rules] = {}
        """The rules of markets as they were before any act that lasts."""

    def __call__(self, fault: Fault, is_begin: bool) -> None:
        """Begin or end an act."""
        if is_begin:
            self._active.append(fault)
        else:
            self._active.remove(fault)
        is_on = any(one.kind is fault.kind and (one.symbol, one.asset) == (fault.symbol, fault.asset) for one in self._active)
        match fault.kind:
            case Kind.HALT:
                (self._exchange.halt if is_on else self._exchange.resume)(fault.symbol)
            case Kind.WALLET:
                (self._exchange.suspended.add if is_on else self._exchange.suspended.discard)(fault.asset)
            case Kind.RULES:
                self._change_rules(fault.symbol, is_on=is_on)

    def check(self, fault: Fault) -> None:
        """Raise ActError when this exchange could not carry the act out."""
        if fault.kind in (Kind.HALT, Kind.RULES) and fault.symbol not in self._exchange.markets:
            raise ActError(f"{self._exchange.venue} has no market {fault.symbol}")
        if fault.kind is Kind.RULES:
            changed_rules(self._exchange.rules(fault.symbol), fault.fields)

    def _change_rules(self, symbol: str, *, is_on: bool) -> None:
        """Lay every change that lasts over the rules as they were before the first."""
        rules = self._before.setdefault(symbol, self._exchange.rules(symbol))
        for fault in self._active:
            if fault.kind is Kind.RULES and fault.symbol == symbol:
                rules = changed_rules(rules, fault.fields)
        self._exchange.markets[symbol].rules = rules
        if not is_on:
            del self._before[symbol]


def changed_rules(rules: Rules, fields: dict[str, str]) -> Rules:
    """Return rules with fields as decimal text: tick, lot, minimum (notional), maker_fee, taker_fee. Raises ActError."""
    for name, text in fields.items():
        try:
            value_e8 = parse_e8(text)
        except ValueError as wrong:
            raise ActError(str(wrong)) from None
        match name:
            case "tick" if value_e8 > 0:
                rules = msgspec.structs.replace(rules, ticks=TickTable.single(value_e8))
            case "lot" if value_e8 > 0:
                rules = msgspec.structs.replace(rules, lot_e8=value_e8)
            case "minimum":
                rules = msgspec.structs.replace(rules, notional_e8_min=value_e8)
            case "maker_fee":
                rules = msgspec.structs.replace(rules, maker_ppm=value_e8 // PPM_PER_E8)
            case "taker_fee":
                rules = msgspec.structs.replace(rules, taker_ppm=value_e8 // PPM_PER_E8)
            case _:
                raise ActError(f"no rule {name} that can be {text}: tick, lot, minimum, maker_fee, taker_fee")
    return rules
