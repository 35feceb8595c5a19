"""The simulated exchanges' own door for checkers and drills: tells the truth, takes faults, moves markets. On loopback, no key.

Documented in docs/REFERENCE.md. It is no part of what is simulated: no client of the venues needs it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

import msgspec

from arbitrage.model.instruments import Side
from arbitrage.model.money import parse_e8
from arbitrage.sim.exchange.acts import ActError
from arbitrage.sim.exchange.faults import Fault
from arbitrage.sim.exchange.nouns import HeldOrder
from arbitrage.sim.exchange.scripts import ScriptError, parse_script
from arbitrage.sim.scenarios.changes import BookChanged, Change, LevelE8, Traded, VenueKind
from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.server.session import Pipe, Session
from arbitrage.sim.server.socket import SocketLimits
from arbitrage.sim.truth import Row, Site, fired_row, truth

ROWS_DEFAULT = 1_000
ALL = 10**9


class _Refused(Exception):
    """A command that cannot be carried out, with words."""


class TradeCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody trades: the print consumes what stands before our orders."""

    price: str
    quantity: str
    taker: Side


class FillCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Somebody fills a resting order of ours, whole unless a quantity is given."""

    client_id: str | None = None
    order_id: int | None = None
    quantity: str | None = None


class MarketCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What other people do in one market, in this order: new absolute levels, a trade, a fill."""

    venue: VenueKind
    symbol: str
    bids: list[tuple[str, str]] = []
    asks: list[tuple[str, str]] = []
    trade: TradeCommand | None = None
    fill: FillCommand | None = None


class AccountCommand(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A deposit (negative: a withdrawal), and which asset pays fees (`BNB`; empty for none)."""

    venue: VenueKind
    asset: str = ""
    delta: str = "0"
    fee_asset: str | None = None


C = TypeVar("C")


class Control:
    """What answers at the control port; a `VenueServer` without markets and sockets."""

    def __init__(self, sites: Mapping[VenueKind, Site], clock: Callable[[], int]) -> None:
        self.limits = SocketLimits()
        self.answer_ms_max = 0
        self.counters: Counter[str] = Counter()
        self._sites = sites
        self._clock = clock
        self._routes: dict[tuple[str, str], Callable[[Request], object]] = {
            ("GET", "/truth"): self._truth,
            ("GET", "/requests"): self._requests,
            ("GET", "/faults"): lambda _: self._faults(),
            ("POST", "/faults"): lambda request: self._arm(request.body),
            ("DELETE", "/faults"): lambda _: self._disarm(),
            ("POST", "/market"): self._market,
            ("POST", "/account"): self._account,
        }

    def respond(self, request: Request) -> Response:
        """Answer one command."""
        route = self._routes.get((request.method, request.path))
        if route is None:
            known = sorted({f"{method} {path}" for method, path in self._routes})
            return _answer(404, {"error": f"no such command; there are {', '.join(known)}"})
        try:
            return _answer(200, route(request))
        except _Refused as refused:
            return _answer(400, {"error": str(refused)})

    def arm_all(self, faults: Iterable[Fault]) -> int:
        """Arm faults at the venues they are for; those for any venue only where they fit. Raises ActError."""
        chosen: list[tuple[Site, Fault]] = []
        for fault in faults:
            fitting = [site for site in self._sites.values() if _fits(site, fault)]
            if not fitting:
                raise ActError(f"no venue can do this: {msgspec.json.encode(fault).decode()}")
            chosen += [(site, fault) for site in fitting]
        armed = sum(site.faults.add(fault) for site, fault in chosen)
        for site in self._sites.values():
            site.faults.advance()
        return armed

    def accept(self, request: Request, socket: Pipe) -> Session | Response:
        """Take no sockets."""
        return Response(404, b"")

    def refuse(self, fault: Fault) -> Response:
        """Answer nothing in place of anything: no fault strikes this port."""
        return Response(fault.status, b"")

    def arm(self, fault: Fault) -> None:
        """Do nothing: nothing is cancelled here."""

    def apply(self, change: Change) -> None:
        """Do nothing: there is no market here."""

    def flush(self, index: int) -> None:
        """Do nothing: there is no market here."""

    def announce_shutdown(self) -> None:
        """Do nothing: nobody waits here."""

    def _truth(self, request: Request) -> Row:
        limit = _limit(request)
        return {"at_ns": self._clock(), **{venue: truth(site, limit) for venue, site in self._asked(request).items()}}

    def _requests(self, request: Request) -> Row:
        limit = _limit(request)
        return {
            venue: [
                {"at_ns": seen.at_ns, "endpoint": seen.endpoint, "status": seen.status}
                for seen in tuple(site.listener.requests)[-limit:]
            ]
            for venue, site in self._asked(request).items()
        }

    def _faults(self) -> Row:
        sites = self._sites.items()
        armed = {venue: [msgspec.to_builtins(fault) for fault in site.faults.armed()] for venue, site in sites}
        fired = sorted((one for _, site in sites for one in site.faults.fired), key=lambda one: one.at_ns)
        return {"armed": armed, "fired": [fired_row(one) for one in fired]}

    def _arm(self, body: bytes) -> Row:
        try:
            return {"armed": self.arm_all(parse_script(body))}
        except (ActError, ScriptError) as wrong:
            raise _Refused(str(wrong)) from None

    def _disarm(self) -> Row:
        for site in self._sites.values():
            site.faults.clear()
        return {"armed": 0}

    def _market(self, request: Request) -> Row:
        command = _read(request.body, MarketCommand)
        exchange = self._sites[command.venue].exchange
        if command.symbol not in exchange.markets:
            raise _Refused(f"{command.venue} has no market {command.symbol}")
        bids, asks = _levels(command.bids), _levels(command.asks)
        if bids or asks:
            self._check_levels(command, bids, asks)
            exchange.on_market(BookChanged(self._clock(), command.venue, command.symbol, bids, asks))
        if command.trade is not None:
            price_e8, quantity_e8 = _positive(command.trade.price), _positive(command.trade.quantity)
            side = command.trade.taker
            exchange.on_market(Traded(self._clock(), command.venue, command.symbol, price_e8, quantity_e8, side))
        if command.fill is not None:
            order = self._resting(command, command.fill)
            exchange.fill(order, None if command.fill.quantity is None else _positive(command.fill.quantity))
        (bid, _), (ask, _) = exchange.markets[command.symbol].top()
        return {"best_bid_e8": bid, "best_ask_e8": ask}

    def _check_levels(self, command: MarketCommand, bids: tuple[LevelE8, ...], asks: tuple[LevelE8, ...]) -> None:
        """Refuse levels that would cross other people's own book: a scenario never does that."""
        market = self._sites[command.venue].exchange.markets[command.symbol]
        after = market.others()
        after[Side.BUY].update(bids)
        after[Side.SELL].update(asks)
        bid_e8 = max((price_e8 for price_e8, quantity_e8 in after[Side.BUY].items() if quantity_e8), default=0)
        ask_e8 = min((price_e8 for price_e8, quantity_e8 in after[Side.SELL].items() if quantity_e8), default=0)
        if bid_e8 and ask_e8 and bid_e8 >= ask_e8:
            raise _Refused("these levels cross the book: delete what is in the way with a quantity of 0")

    def _resting(self, command: MarketCommand, fill: FillCommand) -> HeldOrder:
        order = self._sites[command.venue].exchange.find(command.symbol, order_id=fill.order_id, client_id=fill.client_id)
        if order is None or not order.is_open:
            raise _Refused("no such open order")
        return order

    def _account(self, request: Request) -> Row:
        command = _read(request.body, AccountCommand)
        exchange = self._sites[command.venue].exchange
        if command.asset:
            delta_e8 = _amount(command.delta)
            if exchange.account.free_e8(command.asset) + delta_e8 < 0:
                raise _Refused(f"there is not so much free {command.asset}")
            exchange.grant(command.asset, delta_e8)
        if command.fee_asset is not None:
            exchange.settlement.named_fee_asset = command.fee_asset
        return {"fee_asset": exchange.settlement.named_fee_asset}

    def _asked(self, request: Request) -> Mapping[VenueKind, Site]:
        asked = dict(request.query).get("venue")
        if asked is None:
            return self._sites
        found = {venue: site for venue, site in self._sites.items() if venue == asked}
        if not found:
            raise _Refused(f"no venue {asked}")
        return found


def _fits(site: Site, fault: Fault) -> bool:
    if fault.venue not in ("", site.exchange.venue):
        return False
    try:
        site.acts.check(fault)
    except ActError:
        if fault.venue:
            raise
        return False
    return True


def _limit(request: Request) -> int:
    text = dict(request.query).get("limit", str(ROWS_DEFAULT))
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise _Refused("limit is a whole number")
    return int(text) or ALL


def _read(body: bytes, kind: type[C]) -> C:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as wrong:
        raise _Refused(str(wrong)) from None


def _levels(rows: list[tuple[str, str]]) -> tuple[LevelE8, ...]:
    levels = tuple((_positive(price), _amount(quantity)) for price, quantity in rows)
    if any(quantity_e8 < 0 for _, quantity_e8 in levels):
        raise _Refused("a quantity is not negative")
    return levels


def _positive(text: str) -> int:
    value_e8 = _amount(text)
    if value_e8 <= 0:
        raise _Refused(f"not positive: {text}")
    return value_e8


def _amount(text: str) -> int:
    try:
        return parse_e8(text)
    except ValueError as wrong:
        raise _Refused(str(wrong)) from None


def _answer(status: int, body: object) -> Response:
    return Response(status, json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode())
