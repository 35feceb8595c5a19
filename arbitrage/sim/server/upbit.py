"""The Upbit-shaped venue: its markets, REST and public WebSocket behind one port. Takes no orders yet."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable

from arbitrage.sim.scenarios.changes import Change, Restarted
from arbitrage.sim.scenarios.scenario import MarketSpec
from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.server.session import Pipe
from arbitrage.sim.server.socket import SocketLimits
from arbitrage.sim.server.upbit_market import Notice, UpbitMarket
from arbitrage.sim.server.upbit_rest import UpbitRest
from arbitrage.sim.server.upbit_streams import UpbitSession

UPBIT_LIMITS = SocketLimits(idle_s=120.0, life_s=0.0, messages_per_s=5, messages_per_min=100, has_deflate=True)
CONNECTS_PER_SECOND_MAX = 5


class UpbitServer:
    """Everything but the sockets."""

    def __init__(
        self,
        specs: Iterable[MarketSpec],
        clock: Callable[[], int],
        now: Callable[[], float],
        limits: SocketLimits = UPBIT_LIMITS,
    ) -> None:
        self.limits = limits
        self.counters: Counter[str] = Counter()
        self._sessions: dict[UpbitSession, None] = {}
        self._clock = clock
        self._now = now
        self._connects: deque[float] = deque()
        self.markets = {
            spec.symbol: UpbitMarket(spec, now_ms=self.now_ms, notify=self._notify) for spec in specs if spec.venue == "upbit"
        }
        self._rest = UpbitRest(self.markets, self.now_ms)

    def now_ms(self) -> int:
        return self._clock() // 1_000_000

    def respond(self, request: Request) -> Response:
        """Answer one REST request."""
        return self._rest.respond(request)

    def accept(self, request: Request, socket: Pipe) -> UpbitSession | Response:
        """Take a public connection, at most five a second."""
        if request.path != "/websocket/v1":
            return Response(404, b"")
        now = self._now()
        while self._connects and self._connects[0] <= now - 1.0:
            self._connects.popleft()
        if len(self._connects) >= CONNECTS_PER_SECOND_MAX:
            self.counters["connects_over_limit"] += 1
            return Response(429, b"Too many requests.", content_type="text/plain")
        self._connects.append(now)
        session = UpbitSession(socket, self.markets, self._now, self._forget)
        self._sessions[session] = None
        return session

    def apply(self, change: Change) -> None:
        """Hand a change to its market; a restart closes the connections that watch its codes."""
        if isinstance(change, Restarted):
            for symbol in change.symbols:
                self.markets[symbol].apply(change)
            self._close_watching(change.symbols)
            return
        self.counters["changes"] += 1
        self.markets[change.symbol].apply(change)

    def flush(self, index: int) -> None:
        """Do nothing: every message here is a full picture, sent at its change."""

    def announce_shutdown(self) -> None:
        """Do nothing: this venue gives no warning."""

    def _notify(self, market: UpbitMarket, notice: Notice) -> None:
        for session in tuple(self._sessions):
            session.deliver(market, notice)

    def _close_watching(self, symbols: tuple[str, ...]) -> None:
        for session in tuple(self._sessions):
            if any(code in symbols for _, code in session.wishes):
                self.counters["closed_by_restart"] += 1
                session.close(1001, "")

    def _forget(self, session: UpbitSession) -> None:
        self._sessions.pop(session, None)
