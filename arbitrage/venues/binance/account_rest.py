"""Asks Binance's signed REST endpoints within budgets and holds, on a clock corrected to the venue's. Never repeats what may
have been done: a read may be asked again, a placement is one call with one outcome.

Source: reference binance-spot 2, 3, 4. The signed bytes go out as they are: the target is handed to the HTTP library finished,
which also keeps it out of that library's own log lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import httpx
import msgspec

from arbitrage.model.events import ClockMeasured, FaultKind
from arbitrage.venues.backoff import Backoff
from arbitrage.venues.binance.account_wire import READING_ERRORS, read_time_ms
from arbitrage.venues.binance.limits import CANCELS, MARKET_DATA, ORDERS, QUERIES, BinanceLimits
from arbitrage.venues.binance.replies import (
    TOO_MANY_ORDERS,
    Lost,
    Meaning,
    Outcome,
    Reply,
    Unsent,
    VenueError,
    meaning_of,
    read_error,
)
from arbitrage.venues.binance.signing import Signer
from arbitrage.venues.budget import NS_PER_MS, NS_PER_S
from arbitrage.venues.clock_offset import by_midpoint
from arbitrage.venues.fresh_answers import Freshness, StaleAnswer
from arbitrage.venues.holds import BANNED, HOLD_S_MAX, RATE_LIMITED
from arbitrage.venues.rest import read_body
from arbitrage.venues.transport import USER_AGENT, is_loopback
from arbitrage.venues.wiring import VenueContext

BODY_BYTES_MAX = 16 * 1024 * 1024
CONNECTIONS_MAX, KEEP_ALIVE_S = 16, 30.0
READ_ATTEMPTS_MAX = 3
CLOCK_SAMPLES = 3
"""The first request may carry a handshake; the quickest of so many tells the time best."""
RECV_WINDOW_MS = 5_000
"""For everything but placing, which is valid as long as its order says."""
NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
PARAMETERS_NONE: Mapping[str, str | int] = {}


class Operation(msgspec.Struct, frozen=True):
    """One endpoint: how it is asked, what it weighs, and whose budget pays."""

    verb: str
    path: str
    weight: int
    group: str


PLACE = Operation("POST", "/api/v3/order", 1, ORDERS)
TEST = Operation("POST", "/api/v3/order/test", 1, QUERIES)
CANCEL = Operation("DELETE", "/api/v3/order", 1, CANCELS)
STATUS = Operation("GET", "/api/v3/order", 4, QUERIES)
TRADES = Operation("GET", "/api/v3/myTrades", 5, QUERIES)
OPEN_ORDERS = Operation("GET", "/api/v3/openOrders", 80, QUERIES)
ACCOUNT = Operation("GET", "/api/v3/account", 20, QUERIES)
COMMISSION = Operation("GET", "/api/v3/account/commission", 20, MARKET_DATA)
ORDER_COUNTS = Operation("GET", "/api/v3/rateLimit/order", 40, QUERIES)
KEY_RIGHTS = Operation("GET", "/sapi/v1/account/apiRestrictions", 1, MARKET_DATA)
WALLETS = Operation("GET", "/sapi/v1/capital/config/getall", 10, MARKET_DATA)
TIME_PATH = "/api/v3/time"


class VenueClock:
    """The venue's time as last measured. Engine time in, venue milliseconds out."""

    def __init__(self) -> None:
        self.offset_ms = 0
        self.error_ms = 0
        """The offset may be off by so much."""
        self.is_known = False

    def learn(self, measured: ClockMeasured) -> None:
        """Believe a measurement."""
        self.offset_ms = measured.offset_ms
        self.error_ms = -(-measured.round_trip_ms // 2)
        self.is_known = True

    def went_ahead(self, ahead_ns: int) -> None:
        """Follow an engine time that went ahead since it was measured: every signature's stamp is made from it."""
        if self.is_known:
            self.offset_ms -= ahead_ns // NS_PER_MS

    def venue_ms(self, now_ns: int) -> int:
        """Return the venue's time at an engine time."""
        return now_ns // NS_PER_MS + self.offset_ms

    def engine_ns(self, venue_ms: int) -> int:
        """Return the engine time at which the venue's clock shows `venue_ms`."""
        return (venue_ms - self.offset_ms) * NS_PER_MS


class AccountRest:
    """Signed requests of one account."""

    def __init__(self, context: VenueContext, signer: Signer, limits: BinanceLimits) -> None:
        self.clock = VenueClock()
        self._context = context
        self._signer = signer
        self._limits = limits
        self._now = context.wiring.clock
        settings = context.settings
        self._timeout_s = settings.request_timeout_ms / 1000
        self._measuring = asyncio.Lock()
        self._measured: ClockMeasured | None = None
        self._client = httpx.AsyncClient(
            base_url=settings.rest_url,
            timeout=httpx.Timeout(self._timeout_s, connect=settings.connect_timeout_ms / 1000),
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            trust_env=not is_loopback(settings.rest_url),
            follow_redirects=False,
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=KEEP_ALIVE_S),
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def send(self, operation: Operation, parameters: Mapping[str, str | int], recv_window_ms: int) -> Outcome:
        """Sign with the time of now and ask once. The budget was taken by the caller; nothing is awaited before signing."""
        texts = [(name, str(value)) for name, value in parameters.items()]
        texts += [("recvWindow", str(recv_window_ms)), ("timestamp", str(self.clock.venue_ms(self._now())))]
        outcome = await self._exchange(operation.verb, operation.path, self._signer.query(texts), self._signer.headers)
        self.heed(outcome, operation.group)
        return outcome

    async def read(self, operation: Operation, parameters: Mapping[str, str | int] = PARAMETERS_NONE) -> Outcome:
        """Ask what may be asked again, a few times if need be. Every attempt that gave nothing is a fault."""
        settings, rng = self._context.settings, self._context.wiring.rng
        backoff = Backoff(settings.backoff_ms_min * NS_PER_MS, settings.backoff_ms_max * NS_PER_MS, rng)
        outcome: Outcome = Unsent("nothing was asked")
        for attempt in range(READ_ATTEMPTS_MAX):
            if attempt:
                await asyncio.sleep(backoff.next_ns() / NS_PER_S)
            await self.ready()
            await self._limits.budget(operation.group).take(self._now, operation.weight)
            outcome = await self.send(operation, parameters, RECV_WINDOW_MS)
            meaning = meaning_of(outcome)
            is_final = isinstance(outcome, Reply) and not outcome.is_limited and (
                meaning is Meaning.REFUSED or outcome.status == httpx.codes.NOT_FOUND
            )
            if meaning is Meaning.DONE or is_final:
                return outcome
            self._context.fault(FaultKind.REQUEST_FAILED, f"{operation.verb} {operation.path}: {outcome.words}")
            if meaning is Meaning.CLOCK:
                await self.measure_clock()
        return outcome

    async def ready(self) -> None:
        """Measure the clock if it never was."""
        if not self.clock.is_known:
            await self.measure_clock()

    async def measure_clock(self) -> ClockMeasured | None:
        """Ask for the time, a few times, and believe the quickest answer; who waits for that meanwhile shares it."""
        begun_ns = self._now()
        best: ClockMeasured | None = None
        async with self._measuring:
            if self._measured is not None and self._measured.at_ns >= begun_ns:
                return self._measured
            for _ in range(CLOCK_SAMPLES):
                measured = await self._measure()
                if measured is not None and (best is None or measured.round_trip_ms < best.round_trip_ms):
                    best = measured
            if best is not None:
                assert best.at_ns >= begun_ns, "what is measured is measured now"
                self._measured = best
                self.clock.learn(best)
                self._context.wiring.sink((best,))
        return best

    def heed(self, outcome: Outcome, group: str) -> None:
        """Learn counts, and hold back what a refusal covers until the very time it names."""
        if not isinstance(outcome, Reply):
            return
        now_ns = self._now()
        for change in self._limits.learn_counts(outcome.counts, now_ns):
            self._context.fault(FaultKind.RATE_LIMITED, change)
        if not outcome.is_limited:
            if outcome.status < 400:
                self._limits.holds.reset()
            return
        until_ns = self._held_until_ns(outcome, now_ns)
        kind = FaultKind.BANNED if outcome.status == BANNED else FaultKind.RATE_LIMITED
        if outcome.code == TOO_MANY_ORDERS and outcome.status != BANNED:
            self._limits.orders_refused(until_ns)
        else:
            self._limits.refused(group, outcome.status, until_ns)
        self._context.fault(kind, f"nothing more of it for {(until_ns - now_ns) // NS_PER_S} s: {outcome.words}")

    def _held_until_ns(self, reply: Reply, now_ns: int) -> int:
        """Return the end of a hold: the WebSocket API names a time, REST a duration, and without either the rule says."""
        named_ms = None if reply.error is None or reply.error.data is None else reply.error.data.retry_after
        if named_ms is None:
            status = BANNED if reply.status == BANNED else RATE_LIMITED
            return now_ns + self._limits.holds.next_ns(status, reply.retry_after, now_ns)
        return min(max(now_ns, self.clock.engine_ns(named_ms + 1)), now_ns + HOLD_S_MAX * NS_PER_S)

    async def _measure(self) -> ClockMeasured | None:
        await self._limits.budget(QUERIES).take(self._now)
        sent_ns = self._now()
        outcome = await self._exchange("GET", TIME_PATH, b"", {})
        self.heed(outcome, QUERIES)
        if not isinstance(outcome, Reply) or meaning_of(outcome) is not Meaning.DONE:
            self._context.fault(FaultKind.REQUEST_FAILED, f"GET {TIME_PATH}: {outcome.words}")
            return None
        try:
            venue_ms = read_time_ms(outcome.body)
        except READING_ERRORS:
            self._context.fault(FaultKind.MALFORMED, f"GET {TIME_PATH}: no time in the answer")
            return None
        return by_midpoint(self._context.venue, venue_ms, sent_ns, outcome.at_ns)

    async def _exchange(self, verb: str, path: str, text: bytes, headers: Mapping[str, str]) -> Outcome:
        """Send these bytes, in the body of a POST and else in the target, and read the answer."""
        extensions: dict[str, object] = {"trace": Freshness().watch}
        if verb != "POST" and text:
            extensions["target"] = self._target(path, text)
        form = {"Content-Type": "application/x-www-form-urlencoded"} if verb == "POST" else {}
        request = self._client.build_request(
            verb, path, headers={**headers, **form}, content=text if verb == "POST" else None, extensions=extensions
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                response = await self._client.send(request, stream=True)
                try:
                    body = await read_body(response, BODY_BYTES_MAX) or b""  # what is cut cannot be read as JSON
                finally:
                    await response.aclose()
        except NEVER_SENT as failure:
            return Unsent(self._signer.hide(f"not sent: {type(failure).__name__}: {failure}"))
        except (TimeoutError, httpx.TimeoutException):
            return Lost(f"no answer within {self._timeout_s:g} s")
        except (StaleAnswer, httpx.HTTPError, OSError) as failure:
            return Lost(self._signer.hide(f"{type(failure).__name__}: {failure}"))
        now_ns = self._now()
        self._limits.learn(MARKET_DATA, response.headers, now_ns)
        error = read_error(body) if response.status_code >= 400 else None
        if error is not None:
            error = VenueError(error.code, self._signer.hide(error.msg), error.data)
        return Reply(response.status_code, body, now_ns, error, retry_after=response.headers.get("Retry-After", ""))

    def _target(self, path: str, text: bytes) -> bytes:
        """Return the finished target; a base URL may itself have a path."""
        return self._client.base_url.raw_path.rstrip(b"/") + path.encode() + b"?" + text
