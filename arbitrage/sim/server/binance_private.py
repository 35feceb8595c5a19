"""One Binance account behind the wire: its calls, its WebSocket API connections and their events. Carries out faults on them.

Reads no parameter itself; the exchange decides.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from arbitrage.model.money import PPM, floor_to
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.faults import Fault, Faults, Kind
from arbitrage.sim.exchange.nouns import ApiKey, Happened, HeldOrder, Update
from arbitrage.sim.server.binance_account import BinanceAccount
from arbitrage.sim.server.binance_events import Telling, account_position, balance_update, execution_report
from arbitrage.sim.server.binance_keys import KeyRing
from arbitrage.sim.server.binance_limits import BinanceLimits
from arbitrage.sim.server.binance_orders import Row
from arbitrage.sim.server.binance_trading import BinanceTrading
from arbitrage.sim.server.binance_wallet import BinanceWallet
from arbitrage.sim.server.binance_wire import Call, Parameters
from arbitrage.sim.server.binance_ws_api import Gateway, WsApiSession
from arbitrage.sim.server.session import Pipe


class Backing(msgspec.Struct, frozen=True):
    """What a venue that trades stands on."""

    exchange: Exchange
    keys: tuple[ApiKey, ...]
    faults: Faults | None = None
    seed: int = 1
    """Makes the ids of orders and cancels that came without one."""


class Venue(msgspec.Struct, frozen=True):
    """What the account shares with the venue's public side."""

    public_calls: Mapping[str, Call]
    limits: BinanceLimits
    clock: Callable[[], int]
    """Wall time in ns as this venue sees it, skew included."""
    violations: Counter[str]


class BinancePrivate:
    """The account's side of the venue."""

    def __init__(self, backing: Backing, venue: Venue) -> None:
        exchange = self.exchange = backing.exchange
        self.faults = backing.faults
        self._venue = venue
        self.ring = KeyRing(backing.keys, lambda: venue.clock() // 1000, venue.violations)
        account = BinanceAccount(exchange, self._now_ms)
        self.trading = BinanceTrading(account, venue.limits, self, random.Random(backing.seed))
        self.wallet = BinanceWallet(exchange, self._now_ms)
        self.calls: dict[str, Call] = {**venue.public_calls, **account.calls, **self.trading.calls}
        self.gateway = Gateway(self.calls, self.ring, venue.limits, venue.clock, venue.violations, self.faults, self.arm)
        self._sessions: dict[WsApiSession, None] = {}
        self._gone: dict[WsApiSession, None] = {}
        """Closed connections of which something is still on its way here."""
        self._execution_id = 8_641_983
        self._fill: Fault | None = None
        """A fill that is to happen before the next cancel is looked at."""
        exchange.listen(self._on_update)
        exchange.listen_grants(self._on_grant)

    def accept(self, pipe: Pipe, options: Mapping[str, str]) -> WsApiSession:
        """Take a connection of the WebSocket API, which has no limit of messages but the weight."""
        pipe.allow(0)
        session = WsApiSession(pipe, self.gateway, self._forget, options)
        self._sessions[session] = None
        return session

    def on_window(self) -> None:
        """Let what closed connections had sent arrive when it is due."""
        for session in tuple(self._gone):
            session.on_second()
            if not session.is_owed:
                del self._gone[session]

    def sessions(self) -> tuple[WsApiSession, ...]:
        return tuple(self._sessions)

    def revoke(self, access_key: str) -> None:
        """Delete a key and tell the connections that logged on with it."""
        self.ring.revoke(access_key)
        for session in tuple(self._sessions):
            session.end_key(access_key)

    def _on_grant(self, asset: str, delta_e8: int) -> None:
        """Tell of a deposit or a withdrawal."""
        now_ms = self._now_ms()
        self._send("balanceUpdate", balance_update(asset, delta_e8, now_ms))
        self._send("outboundAccountPosition", account_position(self.exchange.account, (asset,), now_ms, now_ms))

    def arm(self, fault: Fault) -> None:
        """Have the next cancelled order filled before its cancel is looked at."""
        assert fault.kind is Kind.FILL_BEFORE_CANCEL, "only a fill is armed"
        self._fill = fault

    def check_time(self, parameters: Parameters) -> None:
        """Check the request's time just before the matching engine. Raises VenueError."""
        if "timestamp" in parameters:
            self.ring.check_time(parameters)

    def is_hidden(self, order: HeldOrder) -> bool:
        """Tell whether queries do not see this order yet."""
        return self.faults is not None and self.faults.is_hidden(order.created_ns)

    def before_cancel(self, order: HeldOrder) -> None:
        """Let somebody fill the order between its cancel and the answer, if that was armed."""
        fault, self._fill = self._fill, None
        if fault is not None and order.is_open:
            lot_e8 = self.exchange.rules(order.request.symbol).lot_e8
            self.exchange.fill(order, max(lot_e8, floor_to(order.remaining_e8 * fault.part_ppm // PPM, lot_e8)))

    def _on_update(self, update: Update) -> None:
        now_ms = self._now_ms()
        self._execution_id += 1
        order_id, cancel_ids = update.order.order_id, self.trading.cancel_ids
        cancel_id = cancel_ids.get(order_id, "") if update.order.is_open else cancel_ids.pop(order_id, "")
        telling = Telling(now_ms, self._execution_id, cancel_id)
        self._send("executionReport", execution_report(update, telling))
        if update.happened is not Happened.REJECTED:
            rules = self.exchange.rules(update.order.request.symbol)
            assets = {rules.base: None, rules.quote: None}
            if update.execution is not None:
                assets[update.execution.fee_asset] = None
            position = account_position(self.exchange.account, assets, now_ms, update.at_ns // 1_000_000)
            self._send("outboundAccountPosition", position)

    def _send(self, name: str, event: Row) -> None:
        if self.faults is not None and self.faults.standing(Kind.SILENT_PRIVATE) is not None:
            return
        for session in tuple(self._sessions):
            session.deliver(name, event)

    def _now_ms(self) -> int:
        return self._venue.clock() // 1_000_000

    def _forget(self, session: WsApiSession) -> None:
        self._sessions.pop(session, None)
        if session.is_owed:
            self._gone[session] = None
