"""The Binance-shaped venue behind one port: markets, REST, streams and, with an exchange, one account that trades."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import parse_qsl

from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.sim.scenarios.changes import Change, Restarted
from arbitrage.sim.scenarios.scenario import MarketSpec
from arbitrage.sim.server.binance_keys import KeyRing
from arbitrage.sim.server.binance_limits import CONNECTION_WEIGHT, BinanceLimits
from arbitrage.sim.server.binance_market import BinanceMarket
from arbitrage.sim.server.binance_private import Backing, BinancePrivate, Venue
from arbitrage.sim.server.binance_public import BinancePublic
from arbitrage.sim.server.binance_rest import BinanceRest
from arbitrage.sim.server.binance_streams import StreamSession, Wires, parse_target
from arbitrage.sim.server.binance_wallet import WalletCall
from arbitrage.sim.server.binance_wire import BACKEND_TIMEOUT_MS, Call, VenueError, encode, failure
from arbitrage.sim.server.binance_ws_api import WsApiSession
from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.server.hub import Hub
from arbitrage.sim.server.session import Pipe
from arbitrage.sim.server.socket import SocketLimits

FIRST_UPDATE_ID = 40_090_000_000
BINANCE_LIMITS = SocketLimits(ping_interval_s=20.0, pong_timeout_s=60.0, life_s=86_400.0, messages_per_s=5)
WS_API_PATH = "/ws-api/v3"


class BinanceServer:
    """Everything but the sockets."""

    def __init__(
        self,
        specs: Iterable[MarketSpec],
        clock: Callable[[], int],
        limits: SocketLimits = BINANCE_LIMITS,
        backing: Backing | None = None,
    ) -> None:
        self.limits = limits
        self.answer_ms_max = BACKEND_TIMEOUT_MS
        self.counters: Counter[str] = Counter()
        self._faults = None if backing is None else backing.faults
        self._violations: Counter[str] = Counter()
        self.hub = Hub()
        self._sessions: dict[StreamSession, None] = {}
        self._wall = clock
        self.markets = {
            spec.symbol: BinanceMarket(
                spec, first_id=FIRST_UPDATE_ID + 7_919_000 * index, now_ms=self.now_ms, publish=self._publish
            )
            for index, spec in enumerate(spec for spec in specs if spec.venue == "binance")
        }
        self.rest_limits = BinanceLimits(self.now_ms, self._violations)
        exchange = None if backing is None else backing.exchange
        public = BinancePublic(self.markets, exchange, self.rest_limits, self.now_ms)
        self.private: BinancePrivate | None = None
        calls: Mapping[str, Call] = public.calls
        wallet: Mapping[str, WalletCall] = {}
        ring = KeyRing((), self._now_us, self._violations)
        if backing is not None:
            self.private = self._open_account(backing, public.calls)
            calls, wallet, ring = self.private.calls, self.private.wallet.calls, self.private.ring
        self._rest = BinanceRest(calls, wallet, ring, self.rest_limits, self._violations)

    @property
    def violations(self) -> Counter[str]:
        """What clients did wrong, by name: refused requests that keep no rule, limits passed, sockets closed for cause."""
        sockets = ("messages_over_limit", "pong_timeouts", "streams_over_limit")
        return self._violations + Counter({name: self.counters[name] for name in sockets})

    def clock(self) -> int:
        """Return wall time in ns as this venue sees it."""
        return self._wall() + (0 if self._faults is None else self._faults.skew_ns())

    def now_ms(self) -> int:
        return self.clock() // 1_000_000

    def respond(self, request: Request) -> Response:
        """Answer one REST request."""
        return self._rest.respond(request)

    def arm(self, fault: Fault) -> None:
        """Have the next cancelled order filled before its cancel is looked at."""
        assert self.private is not None, "without an account nothing is cancelled"
        self.private.arm(fault)

    def refuse(self, fault: Fault) -> Response:
        """Return the venue's words for a fault's status: an error, or a firewall's page."""
        if fault.kind is Kind.HTML:
            page = b"<html><head><title>ERROR: The request could not be satisfied</title></head><body></body></html>"
            return Response(fault.status, page, content_type="text/html")
        refused = failure(fault.status, fault.body, is_after=fault.kind is Kind.ERROR_AFTER)
        return Response(refused.status, fault.body.encode() or encode(refused.body()))

    def accept(self, request: Request, socket: Pipe) -> StreamSession | WsApiSession | Response:
        """Take a connection by its path, at most 300 in five minutes."""
        target = parse_target(request.target)
        is_api = request.path == WS_API_PATH and self.private is not None
        if target is None and not is_api:
            return Response(404, b"")
        try:
            self.rest_limits.take_connection()
            if is_api:
                self.rest_limits.admit(CONNECTION_WEIGHT)
        except VenueError as refused:
            return Response(refused.status, encode(refused.body()), headers=refused.headers)
        if self.private is not None and target is None:
            return self.private.accept(socket, dict(parse_qsl(request.target.partition("?")[2])))
        assert target is not None, "what is no request connection is a stream"
        session = StreamSession(socket, Wires(self.hub, self._faults, self._wall, self.counters), target, self._forget)
        self._sessions[session] = None
        return session

    def apply(self, change: Change) -> None:
        """Hand a change to its market; a restart closes the connections that watch its symbols."""
        show = self._show if self.private is None else self.private.exchange.on_market
        if not isinstance(change, Restarted):
            self.counters["changes"] += 1
        show(change)
        if isinstance(change, Restarted):
            self._close_watching(change.symbols)

    def flush(self, index: int) -> None:
        """Close the 100 ms window with this number."""
        for market in self.markets.values():
            market.flush(index)
        if self.private is not None:
            self.private.on_window()

    def announce_shutdown(self) -> None:
        """Send serverShutdown to every connection."""
        for session in tuple(self._sessions):
            session.announce_shutdown(self.now_ms())
        for connection in () if self.private is None else self.private.sessions():
            connection.announce_shutdown(self.now_ms())

    def end_connections(self) -> None:
        """Close every connection as the venue does after 24 hours."""
        for session in tuple(self._sessions):
            session.close(1001, "")
        for connection in () if self.private is None else self.private.sessions():
            connection.close(1001, "")

    def _open_account(self, backing: Backing, public_calls: Mapping[str, Call]) -> BinancePrivate:
        backing.exchange.attach(
            {symbol: market.book for symbol, market in self.markets.items()},
            self._show,
            lambda symbol: self.markets[symbol].next_trade_id(),
        )
        if backing.faults is not None:
            backing.faults.listen(self._on_act)
        return BinancePrivate(backing, Venue(public_calls, self.rest_limits, self.clock, self._violations))

    def _on_act(self, fault: Fault, is_begin: bool) -> None:
        """Ban the address or end every socket as a fault says; the other acts are the exchange's."""
        if fault.kind is Kind.BAN:
            self.rest_limits.ban(int(fault.for_s) if is_begin else 0)
        if fault.kind is Kind.SHUTDOWN:
            (self.announce_shutdown if is_begin else self.end_connections)()

    def _show(self, change: Change) -> None:
        for symbol in change.symbols if isinstance(change, Restarted) else (change.symbol,):
            self.markets[symbol].apply(change)

    def _publish(self, stream: str, write: Callable[[], bytes]) -> None:
        """Publish a market's message, unless its symbol is frozen."""
        if self._faults is not None:
            symbol = stream.partition("@")[0].upper()
            if self._faults.standing(Kind.FROZEN, symbol) is not None:
                return
        self.hub.publish(stream, write)

    def _now_us(self) -> int:
        return self.clock() // 1_000

    def _close_watching(self, symbols: tuple[str, ...]) -> None:
        watched = tuple(f"{symbol.lower()}@" for symbol in symbols)
        for session in tuple(self._sessions):
            if any(stream.startswith(watched) for stream in session.streams):
                self.counters["closed_by_restart"] += 1
                session.close(1001, "")

    def _forget(self, session: StreamSession) -> None:
        self._sessions.pop(session, None)
