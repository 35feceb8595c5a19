"""One Upbit pocket behind the wire: its keys, order calls and private connections, around the exchange. Parses nothing."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.faults import Fault, Faults, Kind
from arbitrage.sim.exchange.nouns import ApiKey, Happened, HeldOrder, Update
from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.server.upbit_calls import UpbitCalls
from arbitrage.sim.server.upbit_errors import UpbitRefusal, plain
from arbitrage.sim.server.upbit_keys import KeyRing, UpbitKey
from arbitrage.sim.server.upbit_limits import UpbitLimits
from arbitrage.sim.server.upbit_market import Message
from arbitrage.sim.server.upbit_private import UpbitPrivateSession, asset_message, order_messages
from arbitrage.sim.server.upbit_streams import UpbitConnection
from arbitrage.sim.server.upbit_trading import Desk, UpbitTrading

CONNECTIONS_MAX = 5
"""Too many private connections at once are refused; how many is not documented."""
PART_PPM = 1_000_000


class Backing(msgspec.Struct, frozen=True):
    """What a venue that trades stands on."""

    exchange: Exchange
    keys: tuple[ApiKey, ...]
    faults: Faults | None = None


class UpbitPocket:
    """The account's side of the venue."""

    def __init__(self, backing: Backing, limits: UpbitLimits, clock: Callable[[], int]) -> None:
        self.exchange = backing.exchange
        self.faults = backing.faults
        self._fill: Fault | None = None
        """A fill that is to happen before the next cancel is carried out."""
        self.ring = KeyRing(tuple(UpbitKey.of(key, clock()) for key in backing.keys), limits.tally)
        self._tally = limits.tally
        self._clock = clock
        self._sessions: dict[UpbitPrivateSession, None] = {}
        self._assets = 0
        trading = UpbitTrading(self.exchange, clock, Desk(self._is_hidden, self._before_cancel))
        self.calls = UpbitCalls(self.exchange, trading, self.ring, limits, clock)
        self.exchange.listen(self._on_update)
        self.exchange.listen_grants(self._on_grant)

    def accept(self, request: Request, session: UpbitPrivateSession) -> UpbitPrivateSession | Response:
        """Take a private connection; a bad token is told on the connection, as INVALID_AUTH."""
        if len(self._sessions) >= CONNECTIONS_MAX:
            self._tally.violations["private_connections_over_limit"] += 1
            return plain(429, "Too many connections.")
        try:
            key = self.ring.verify(request.headers.get("authorization", ""), "", self._clock())
            if not key.rights & {"view_orders", "view_account"}:
                raise UpbitRefusal("out_of_scope")
        except UpbitRefusal as refusal:
            self._tally.refused[refusal.name] += 1
            self._tally.violations[f"private_stream {refusal.name}"] += 1
            session.is_refused = True
            return session
        self._sessions[session] = None
        return session

    def sessions(self) -> tuple[UpbitPrivateSession, ...]:
        """Return the private connections that are open."""
        return tuple(self._sessions)

    def forget(self, session: UpbitConnection) -> None:
        """Drop a connection that ended."""
        if isinstance(session, UpbitPrivateSession):
            self._sessions.pop(session, None)

    def arm(self, fault: Fault) -> None:
        """Have the next cancelled order filled before its cancel is carried out."""
        assert fault.kind is Kind.FILL_BEFORE_CANCEL, "only a fill is armed"
        self._fill = fault

    def _on_update(self, update: Update) -> None:
        now_ms = self._clock() // 1_000_000
        symbol = update.order.request.symbol
        for message in order_messages(update, now_ms):
            self._send("myOrder", symbol, message)
        assets = self._assets_of(update)
        if assets:
            self._tell_assets(assets, update.at_ns // 1_000_000)

    def _on_grant(self, asset: str, delta_e8: int) -> None:
        """Tell of a deposit or a withdrawal."""
        self._tell_assets((asset,), self._clock() // 1_000_000)

    def _tell_assets(self, assets: tuple[str, ...], at_ms: int) -> None:
        self._assets += 1
        account = self.exchange.account
        rows = [(asset, account.free_e8(asset), account.locked_e8(asset)) for asset in assets]
        self._send("myAsset", "", asset_message(self._assets, rows, at_ms, self._clock() // 1_000_000))

    def _assets_of(self, update: Update) -> tuple[str, ...]:
        """Return the assets whose balance an update moved: both of a trade, else the one that was locked."""
        if update.happened is Happened.TRADED:
            rules = self.exchange.rules(update.order.request.symbol)
            return (rules.quote, rules.base)
        return () if update.happened is Happened.REJECTED else (update.order.locked_asset,)

    def _send(self, kind: str, code: str, message: Message) -> None:
        if self.faults is not None and self.faults.standing(Kind.SILENT_PRIVATE, code) is not None:
            return
        for session in tuple(self._sessions):
            session.deliver(kind, code, message)

    def _is_hidden(self, order: HeldOrder) -> bool:
        return self.faults is not None and self.faults.is_hidden(order.created_ns)

    def _before_cancel(self, order: HeldOrder) -> None:
        fault, self._fill = self._fill, None
        if fault is not None and order.is_open:
            self.exchange.fill(order, max(1, order.remaining_e8 * fault.part_ppm // PART_PPM))
