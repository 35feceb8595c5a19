"""The Upbit-shaped venue behind one port: markets, REST, public WebSocket and, with an exchange, one pocket that trades."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.sim.scenarios.changes import Change, FramePlayed, Restarted
from arbitrage.sim.scenarios.scenario import MarketSpec
from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.server.session import Pipe
from arbitrage.sim.server.socket import SocketLimits
from arbitrage.sim.server.upbit_errors import plain, stricken
from arbitrage.sim.server.upbit_limits import Tally, UpbitLimits
from arbitrage.sim.server.upbit_market import Notice, UpbitMarket
from arbitrage.sim.server.upbit_pocket import Backing, UpbitPocket
from arbitrage.sim.server.upbit_private import UpbitPrivateSession
from arbitrage.sim.server.upbit_rest import UpbitRest
from arbitrage.sim.server.upbit_streams import Hours, UpbitConnection, UpbitSession

UPBIT_LIMITS = SocketLimits(idle_s=120.0, life_s=0.0, messages_per_s=5, messages_per_min=100, has_deflate=True)
CONNECTS_PER_SECOND_MAX = 5
PUBLIC_PATH, PRIVATE_PATH = "/websocket/v1", "/websocket/v1/private"


class UpbitServer:
    """Everything but the sockets."""

    def __init__(
        self,
        specs: Iterable[MarketSpec],
        clock: Callable[[], int],
        now: Callable[[], float],
        limits: SocketLimits = UPBIT_LIMITS,
        backing: Backing | None = None,
    ) -> None:
        self.limits = limits
        self.answer_ms_max = 0
        self.counters: Counter[str] = Counter()
        self.tally = Tally()
        self.faults = None if backing is None else backing.faults
        self._sessions: dict[UpbitConnection, None] = {}
        self._wall_clock = clock
        self._hours = Hours(self.clock, now, self.faults)
        self._connects: dict[str, deque[float]] = {PUBLIC_PATH: deque(), PRIVATE_PATH: deque()}
        self.markets = {
            spec.symbol: UpbitMarket(spec, now_ms=self.now_ms, notify=self._notify) for spec in specs if spec.venue == "upbit"
        }
        self.rest_limits = UpbitLimits(lambda: clock() // 1_000_000, self.tally)
        self._rest = UpbitRest(self.markets, self.now_ms, self.rest_limits)
        self.pocket = None if backing is None else self._open(backing)

    @property
    def violations(self) -> Counter[str]:
        """What clients did wrong, by name: refused requests that keep no rule, limits passed, sockets closed for cause."""
        sockets = ("messages_over_limit", "connects_over_limit", "idle_closed")
        return self.tally.violations + Counter({name: self.counters[name] for name in sockets})

    def clock(self) -> int:
        """Return wall time in ns as this venue sees it, skew included."""
        return self._wall_clock() + (0 if self.faults is None else self.faults.skew_ns())

    def now_ms(self) -> int:
        return self.clock() // 1_000_000

    def arm(self, fault: Fault) -> None:
        """Have the next cancelled order filled before its cancel is carried out."""
        if self.pocket is not None:
            self.pocket.arm(fault)

    def refuse(self, fault: Fault) -> Response:
        """Write the answer that a fault gives in place of the venue's own."""
        return stricken(fault.status, fault.body, is_html=fault.kind is Kind.HTML)

    def respond(self, request: Request) -> Response:
        """Answer one REST request."""
        if self.pocket is not None and self.pocket.calls.has(request.path):
            return self.pocket.calls.respond(request)
        return self._rest.respond(request)

    def accept(self, request: Request, socket: Pipe) -> UpbitConnection | Response:
        """Take a connection, at most five a second from the address (public) and from the pocket (private)."""
        if request.path not in self._connects or (request.path == PRIVATE_PATH and self.pocket is None):
            return Response(404, b"")
        over = self._over_limit(request)
        if over is not None:
            return over
        if self.pocket is not None and request.path == PRIVATE_PATH:
            return self.pocket.accept(request, UpbitPrivateSession(socket, self._hours, self.pocket.forget))
        session = UpbitSession(socket, self.markets, self._hours, self._forget)
        self._sessions[session] = None
        return session

    def apply(self, change: Change) -> None:
        """Hand a change to its market; a restart closes the connections that watch its codes."""
        show = self._show if self.pocket is None else self.pocket.exchange.on_market
        if not isinstance(change, Restarted):
            self.counters["changes"] += 1
        show(change)
        if isinstance(change, Restarted):
            self._close_watching(change.symbols)
        if isinstance(change, FramePlayed) and change.stream == "trade" and self.pocket is not None:
            trade = self.markets[change.symbol].last_trade(change.at_ns)
            if trade is not None:
                self.pocket.exchange.on_print(trade)

    def flush(self, index: int) -> None:
        """Do nothing: every message here is a full picture, sent at its change."""

    def announce_shutdown(self) -> None:
        """Do nothing: this venue gives no warning."""

    def _open(self, backing: Backing) -> UpbitPocket:
        """Join the exchange: it sees the true books and shows its own trades and orders in them."""
        exchange = backing.exchange
        for market in self.markets.values():
            market.join(exchange)
        books = {symbol: market.book for symbol, market in self.markets.items()}
        exchange.attach(books, self._show, lambda symbol: self.markets[symbol].next_sequence())
        if backing.faults is not None:
            backing.faults.listen(self._on_act)
        return UpbitPocket(backing, self.rest_limits, self.clock)

    def _on_act(self, fault: Fault, is_begin: bool) -> None:
        """Block the address and the pocket, or close every socket; the other acts are the exchange's."""
        if fault.kind is Kind.BAN:
            for scope in ("ip", "pocket"):
                self.rest_limits.block(scope, int(fault.for_s * 1000) if is_begin else 0)
        if fault.kind is Kind.SHUTDOWN and not is_begin:
            for session in (*self._sessions, *(() if self.pocket is None else self.pocket.sessions())):
                session.close(1001, "")

    def _show(self, change: Change) -> None:
        for symbol in change.symbols if isinstance(change, Restarted) else (change.symbol,):
            self.markets[symbol].apply(change)

    def _over_limit(self, request: Request) -> Response | None:
        over = self.rest_limits.take_origin() if "origin" in request.headers else None
        if over is not None:
            return over
        now, connects = self._hours.now(), self._connects[request.path]
        while connects and connects[0] <= now - 1.0:
            connects.popleft()
        if len(connects) >= CONNECTS_PER_SECOND_MAX:
            self.counters["connects_over_limit"] += 1
            return plain(429, "Too many requests.")
        connects.append(now)
        return None

    def _notify(self, market: UpbitMarket, notice: Notice) -> None:
        if self.faults is not None and self.faults.standing(Kind.FROZEN, market.spec.symbol) is not None:
            return
        for session in tuple(self._sessions):
            assert isinstance(session, UpbitSession), "only public sessions watch markets"
            session.deliver(market, notice)

    def _close_watching(self, symbols: tuple[str, ...]) -> None:
        for session in tuple(self._sessions):
            if any(code in symbols for _, code in session.wishes):
                self.counters["closed_by_restart"] += 1
                session.close(1001, "")

    def _forget(self, session: UpbitConnection) -> None:
        self._sessions.pop(session, None)
