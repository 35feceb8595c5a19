"""The Binance-shaped venue: its markets, REST and streams behind one port. Takes no orders yet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from arbitrage.sim.scenarios.changes import Change, Restarted
from arbitrage.sim.scenarios.scenario import MarketSpec
from arbitrage.sim.server.binance_market import BinanceMarket
from arbitrage.sim.server.binance_rest import BinanceRest
from arbitrage.sim.server.binance_streams import StreamSession, parse_target
from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.server.hub import Hub
from arbitrage.sim.server.session import Pipe
from arbitrage.sim.server.socket import SocketLimits

FIRST_UPDATE_ID = 40_090_000_000
BINANCE_LIMITS = SocketLimits(ping_interval_s=20.0, pong_timeout_s=60.0, life_s=86_400.0, messages_per_s=5)


class BinanceServer:
    """Everything but the sockets."""

    def __init__(self, specs: Iterable[MarketSpec], clock: Callable[[], int], limits: SocketLimits = BINANCE_LIMITS) -> None:
        self.limits = limits
        self.counters: Counter[str] = Counter()
        self.hub = Hub()
        self._sessions: dict[StreamSession, None] = {}
        self._clock = clock
        self.markets = {
            spec.symbol: BinanceMarket(
                spec, first_id=FIRST_UPDATE_ID + 7_919_000 * index, now_ms=self.now_ms, publish=self.hub.publish
            )
            for index, spec in enumerate(spec for spec in specs if spec.venue == "binance")
        }
        self._rest = BinanceRest(self.markets, self.now_ms)

    def now_ms(self) -> int:
        return self._clock() // 1_000_000

    def respond(self, request: Request) -> Response:
        """Answer one REST request."""
        return self._rest.respond(request)

    def accept(self, request: Request, socket: Pipe) -> StreamSession | Response:
        """Take a stream connection by its path."""
        target = parse_target(request.target)
        if target is None:
            return Response(404, b"")
        session = StreamSession(socket, self.hub, target, self._forget)
        self._sessions[session] = None
        return session

    def apply(self, change: Change) -> None:
        """Hand a change to its market; a restart closes the connections that watch its symbols."""
        if isinstance(change, Restarted):
            for symbol in change.symbols:
                self.markets[symbol].apply(change)
            self._close_watching(change.symbols)
            return
        self.counters["changes"] += 1
        self.markets[change.symbol].apply(change)

    def flush(self, index: int) -> None:
        """Close the 100 ms window with this number."""
        for market in self.markets.values():
            market.flush(index)

    def announce_shutdown(self) -> None:
        """Send serverShutdown to every connection."""
        for session in tuple(self._sessions):
            session.announce_shutdown(self.now_ms())

    def _close_watching(self, symbols: tuple[str, ...]) -> None:
        watched = tuple(f"{symbol.lower()}@" for symbol in symbols)
        for session in tuple(self._sessions):
            if any(stream.startswith(watched) for stream in session.streams):
                self.counters["closed_by_restart"] += 1
                session.close(1001, "")

    def _forget(self, session: StreamSession) -> None:
        self._sessions.pop(session, None)
