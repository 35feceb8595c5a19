"""Asks Upbit's private REST endpoints, signed, and tells what is certain: answered, not sent, or unknown. Repeats nothing but a
request that was refused for its nonce, once, with a new one.

A request counts as sent from the moment its first byte is handed to the socket; `may_send` is asked right before. No failure's
text is passed on: only its kind, so that nothing signed can end in a message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Literal

import httpx
import msgspec

from arbitrage.model.events import FaultKind
from arbitrage.venues.budget import NS_PER_S
from arbitrage.venues.fresh_answers import Freshness, StaleAnswer
from arbitrage.venues.holds import BANNED, RATE_LIMITED
from arbitrage.venues.rest import read_body
from arbitrage.venues.transport import USER_AGENT, is_loopback
from arbitrage.venues.upbit.account_limits import AccountLimits
from arbitrage.venues.upbit.orders_wire import VenueRefusal, read_refusal
from arbitrage.venues.upbit.signing import Pairs, Signer, body_bytes, query_text
from arbitrage.venues.wiring import VenueContext

BODY_BYTES_MAX = 16 * 1024 * 1024
CONNECTIONS_MAX = 40
KEEP_ALIVE_S = 50.0
"""An idle connection is kept so long, so that an order does not wait for a handshake."""
NONCE_USED = "nonce_used"
NONCE_ATTEMPTS_MAX = 2
PATIENCE_NS = 5 * NS_PER_S
FIRST_BYTES = "http11.send_request_headers.started"
LAST_BYTES = "http11.send_request_body.complete"
Method = Literal["GET", "POST", "DELETE"]
KEY_NAMES = frozenset((
    "expired_access_key", "invalid_access_key", "no_authorization_ip", "no_authorization_i_p", "no_authorization_token",
    "jwt_verification", "out_of_scope",
))  # fmt: skip
"""The key is wrong, over, lacks a right or is not for this address: nothing will work until somebody acts."""


def _nothing() -> None:
    """Hear of a request that nobody waits for."""


class Ask(msgspec.Struct, frozen=True):
    """One private request."""

    method: Method
    path: str
    pairs: Pairs
    group: str
    timeout_s: float
    patience_ns: int = PATIENCE_NS
    """How long it may wait for its budget; a longer wait is refused at once, and so is anything during a ban."""
    may_send: Callable[[], str] = str
    """Asked right before the first byte: "" or the reason why it must not leave any more."""
    sent: Callable[[], None] = _nothing
    """Told once its last byte is in the socket's hands."""
    is_probe: bool = False
    """It is made to learn whether the key may do this: a refusal of the key is an answer, no alarm."""


class Answered(msgspec.Struct, frozen=True):
    """The venue answered. `refusal` is its own error, None where it gave none or gave none that can be read."""

    status: int
    body: bytes
    refusal: VenueRefusal | None
    at_ns: int

    @property
    def is_good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def is_refused(self) -> bool:
        """Tell whether it certainly did nothing: the venue's own error, or a limit, which comes before everything."""
        if self.status in (RATE_LIMITED, BANNED):
            return True
        is_ours = 400 <= self.status < 500 and self.status != httpx.codes.REQUEST_TIMEOUT
        return is_ours and self.refusal is not None

    @property
    def name(self) -> str:
        """Return the name of the venue's error, or nothing."""
        return "" if self.refusal is None else self.refusal.name

    @property
    def words(self) -> str:
        """Say it in one short line."""
        said = f" {self.refusal.name}: {self.refusal.message}" if self.refusal else f", {len(self.body)} bytes"
        return f"HTTP {self.status}{'' if self.is_good else said}"


class NotSent(msgspec.Struct, frozen=True):
    """No byte of it left."""

    words: str


class Unknown(msgspec.Struct, frozen=True):
    """It left at least in part, and what came of it is not known."""

    words: str


Outcome = Answered | NotSent | Unknown


class _Withheld(Exception):
    """What was about to be sent must not be."""


class SignedRest:
    """Signed requests within the pocket's budgets."""

    def __init__(
        self, context: VenueContext, signer: Signer, limits: AccountLimits, on_key_refused: Callable[[str], None]
    ) -> None:
        self.failures = 0
        """Requests in a row to which the venue itself gave no answer."""
        self.last_ns = 0
        """When something was last asked."""
        self._context = context
        self._clock = context.wiring.clock
        self._signer = signer
        self._limits = limits
        self._on_key_refused = on_key_refused
        settings = context.settings
        self._client = httpx.AsyncClient(
            base_url=settings.rest_url,
            timeout=httpx.Timeout(settings.request_timeout_ms / 1000, connect=settings.connect_timeout_ms / 1000),
            limits=httpx.Limits(max_connections=CONNECTIONS_MAX, keepalive_expiry=KEEP_ALIVE_S),
            headers={"User-Agent": USER_AGENT, "Accept": "application/json"},
            trust_env=not is_loopback(settings.rest_url),
            follow_redirects=False,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def ask(self, ask: Ask) -> Outcome:
        """Send once; once more where the venue says that it had seen the nonce."""
        started_ns = self._clock()
        for _ in range(NONCE_ATTEMPTS_MAX):
            while wait_ns := self._wait_ns(ask.group):
                if self._clock() + wait_ns > started_ns + ask.patience_ns:
                    return NotSent(f"not sent: its budget is spent or held for {wait_ns / NS_PER_S:.1f} s more")
                await asyncio.sleep(wait_ns / NS_PER_S)
            self._limits.budget(ask.group).charge(self._clock())
            outcome = await self._attempt(ask)
            if not (isinstance(outcome, Answered) and outcome.name == NONCE_USED):
                break
        if isinstance(outcome, Answered) and outcome.name in KEY_NAMES and not ask.is_probe:
            self._on_key_refused(f"the key is refused: {outcome.words}")
        return outcome

    def _wait_ns(self, group: str) -> int:
        """Return how long a group's budget makes wait now. Nothing may be awaited between a zero and charging it."""
        return self._limits.budget(group).wait_ns(self._clock())

    async def _attempt(self, ask: Ask) -> Outcome:
        is_sent = False
        freshness = Freshness()

        async def trace(event: str, info: Mapping[str, object]) -> None:
            nonlocal is_sent
            if event == FIRST_BYTES:
                if reason := ask.may_send():
                    raise _Withheld(reason)
                is_sent = True
            elif event == LAST_BYTES:
                ask.sent()
            await freshness.watch(event, info)

        self.last_ns = self._clock()
        request = self._request(ask)
        request.extensions["trace"] = trace
        try:
            async with asyncio.timeout(ask.timeout_s):
                response = await self._client.send(request, stream=True)
                try:
                    body = await read_body(response, BODY_BYTES_MAX)
                finally:
                    await response.aclose()
        except _Withheld as withheld:
            return NotSent(str(withheld))
        except (StaleAnswer, TimeoutError, httpx.HTTPError, OSError) as failure:
            self.failures += 1
            words = f"{ask.method} {ask.path}: {type(failure).__name__}"
            return Unknown(f"no answer, {words}") if is_sent else NotSent(f"not sent, {words}")
        return self._judge(ask, response, body)

    def _request(self, ask: Ask) -> httpx.Request:
        """Write the request: what is signed and what is sent come from the same pairs."""
        headers = {"Authorization": self._signer.authorization(ask.pairs)}
        if ask.method == "POST":
            headers["Content-Type"] = "application/json; charset=utf-8"
            return self._client.build_request("POST", ask.path, headers=headers, content=body_bytes(ask.pairs))
        url = f"{ask.path}?{query_text(ask.pairs)}" if ask.pairs else ask.path
        return self._client.build_request(ask.method, url, headers=headers)

    def _judge(self, ask: Ask, response: httpx.Response, body: bytes | None) -> Outcome:
        """Learn from the answer's headers, and hold back what a refusal covers."""
        now_ns = self._clock()
        status = response.status_code
        self._limits.learn(ask.group, response.headers, now_ns)
        self.failures = self.failures + 1 if status >= 500 else 0
        if status == BANNED:
            until_ns = self._limits.banned(response.headers.get("Retry-After", ""), body or b"", now_ns)
            self._report_hold(FaultKind.BANNED, ask, until_ns - now_ns)
        elif status == RATE_LIMITED:
            self._report_hold(FaultKind.RATE_LIMITED, ask, self._limits.refused(ask.group, now_ns) - now_ns)
        elif status < 400:
            self._limits.answered()
        if body is None:
            return Unknown(f"{ask.method} {ask.path}: the answer exceeds {BODY_BYTES_MAX} bytes")
        return Answered(status, body, None if status < 400 else read_refusal(self._signer.hide(body)), now_ns)

    def _report_hold(self, kind: FaultKind, ask: Ask, hold_ns: int) -> None:
        self._context.fault(kind, f"{ask.method} {ask.path}: nothing is asked for {hold_ns / NS_PER_S:.1f} s")
