"""What the order entry of all venues has in common: keys, what an account session owes, a bounded set of effects under way.

Refuses to know any wire word, to repeat a placement and to show a secret. Each venue's account session is made as
`VenueAccountSession(account, limits)`: `account` says who we are, `limits` is the market-data session's own budget object
(`Session.limits`), because a venue that counts or bans by address counts both together.
"""

from __future__ import annotations

import asyncio
import base64
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Literal, NoReturn
from urllib.parse import quote

import msgspec

from arbitrage.model.effects import CancelOrder, PlaceOrder, QueryOrder, ReadAccount, VenueEffect
from arbitrage.model.events import FaultKind, OrderEnded, OrdersHeld
from arbitrage.model.instruments import Instrument, Venue
from arbitrage.model.orders import ClientOrderId, Order, OrderState
from arbitrage.venues.rest import Limits
from arbitrage.venues.wiring import VenueContext, VenueEvent

EFFECTS_UNDER_WAY_MAX = 512
"""Effects that may be under way or wait for a budget; one more is refused, visibly."""
SEND_DELAYS_KEPT = 1_024
HELD_NS_MIN = 250_000_000
"""Shorter waits for a budget come and go with the venue's own seconds."""
HIDDEN = "<hidden>"
SecretKind = Literal["shared", "ed25519"]
CarryOut = Callable[[VenueEffect], Coroutine[Any, Any, None]]


class Unasked(str):
    """A reason against a key that is only that the venue gave no answer: it may give one the next time."""

    __slots__ = ()


class Credentials:
    """An access key and the secret that signs. No repr, format, copy, pickle, JSON or comparison shows them."""

    __slots__ = ("__access_key", "__secret", "kind")

    def __init__(self, access_key: str, secret: bytes, kind: SecretKind = "shared") -> None:
        assert access_key, "a key has a name"
        assert secret, "a key has a secret"
        self.kind: SecretKind = kind
        """`shared`: the secret's bytes sign by HMAC; `ed25519`: they are a private key in PKCS#8 PEM."""
        self.__access_key = access_key
        self.__secret = secret

    def access_key(self) -> str:
        """Return the access key. Only what writes a request may ask."""
        return self.__access_key

    def secret(self) -> bytes:
        """Return the secret. Only what signs may ask, once, when it is made."""
        return self.__secret

    def texts_to_hide(self) -> tuple[str, ...]:
        """Return every form of key and secret that a redactor should know: raw, hexadecimal, base64, percent-encoded."""
        forms: dict[str, None] = {}
        for raw in (self.__access_key.encode(), self.__secret):
            for text in (raw.decode("utf-8", "replace"), raw.hex(), *_base64_forms(raw), quote(raw, safe="")):
                forms[text] = None
        return tuple(forms)

    def __repr__(self) -> str:
        return f"Credentials({HIDDEN})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("credentials are neither copied nor pickled")


class AccountContext(msgspec.Struct, frozen=True):
    """Whose account it is, and what its session may look up."""

    context: VenueContext
    credentials: Credentials
    markets: Mapping[str, int]
    """Dense ids by the venue's symbol."""
    instrument: Callable[[int], Instrument | None]
    """The rules in force for a market, owned by the board; None while they are not known."""


def held(venue: Venue, now_ns: int, wait_ns: int) -> tuple[OrdersHeld, ...]:
    """Say that a venue takes no order for a while, whichever request was told so; a wait within its rhythm is none."""
    return (OrdersHeld(now_ns, venue, now_ns + wait_ns),) if wait_ns >= HELD_NS_MIN else ()


def rejection(order: Order, reason: str, now_ns: int, wait_ns: int) -> tuple[VenueEvent, ...]:
    """Return what is said of an order that was not and will not be executed: first, how long its venue takes none."""
    ended = OrderEnded(now_ns, order.client_order_id, OrderState.REJECTED, 0, reason)
    return (OrdersHeld(now_ns, order.venue, now_ns + wait_ns), ended) if wait_ns else (ended,)


class AccountSession(ABC):
    """One venue's order entry and private stream. What becomes of an effect arrives at `wiring.sink` as events.

    An order is placed at most once. A lost, late or ambiguous answer is OrderUnanswered and never a second placement; a
    definite refusal is OrderEnded(REJECTED, 0, reason); "does not exist" in answer to a query is OrderAbsent.
    """

    def __init__(self, account: AccountContext, limits: Limits) -> None:
        self.account = account
        self.context = account.context
        self.settings = account.context.settings
        self.limits = limits
        self.counters: Counter[str] = Counter()
        self.symbols = {market: symbol for symbol, market in account.markets.items()}
        self._clock = account.context.wiring.clock
        self.send_delays_ns: deque[int] = deque(maxlen=SEND_DELAYS_KEPT)
        """From the hand-over of an order to its last signed byte in the socket's hands, waits included; the newest."""
        self.on_sent: Callable[[], None] | None = None
        """Told when an order's last byte is in the socket's hands; nobody is, but in a test of recovery."""
        self._handed_ns: dict[ClientOrderId, int] = {}
        self._under_way = EffectsUnderWay(self._carry_out)

    @abstractmethod
    async def run(self) -> None:
        """Connect, subscribe, reconcile, read fees and wallets hourly; until cancelled."""

    @abstractmethod
    async def check(self) -> list[str]:
        """Return every reason why this key must not trade, before anything is sent; none is permission. Needs no `run`.

        A reason is `Unasked` where the venue did not answer.
        """

    @abstractmethod
    async def try_order(self, order: Order) -> str:
        """Hand an order to the venue's test endpoint; return "" or the venue's refusal. Needs no `run`."""

    @abstractmethod
    async def close(self) -> None:
        """Close the connections. `run` does so by itself; for a session that was only checked."""

    def time_went_ahead(self, ahead_ns: int) -> None:
        """Correct what was measured against engine time before that went ahead. Nothing, where nothing was."""
        assert ahead_ns >= 0, "time does not go back"

    @abstractmethod
    def hold_requests(self, until_ns: int) -> None:
        """Ask nothing before this time: a ban that was met before a restart outlives it."""

    @abstractmethod
    def orders_wait_ns(self) -> int:
        """Return how long no order may leave by the venue's budgets and refusals; 0 when one may."""

    @property
    @abstractmethod
    def requests_held_until_ns(self) -> int:
        """Return the end of the longest ban in force, to be kept across a restart; 0 when there was none."""

    @abstractmethod
    async def _carry_out(self, effect: VenueEffect) -> None:
        """Do what one effect asks, and emit what came of it."""

    def submit(self, effect: VenueEffect) -> None:
        """Begin to carry out an effect, at once or as soon as `run` runs. Past the bound it is refused and says so."""
        if isinstance(effect, PlaceOrder):
            self._handed_ns[effect.order.client_order_id] = self._clock()
            if len(self._handed_ns) > EFFECTS_UNDER_WAY_MAX:
                del self._handed_ns[next(iter(self._handed_ns))]
        if not self._under_way.submit(effect):
            self.counters["effects_refused"] += 1
            self._refuse_effect(effect)

    def note_sent(self, client_order_id: ClientOrderId) -> None:
        """Take note that an order's last byte is in the socket's hands."""
        handed_ns = self._handed_ns.pop(client_order_id, None)
        if handed_ns is not None:
            self.send_delays_ns.append(self._clock() - handed_ns)
        if self.on_sent is not None:
            self.on_sent()

    def emit(self, *events: VenueEvent) -> None:
        """Hand events over in this order."""
        if events:
            self.context.wiring.sink(events)

    def reject(self, order: Order, reason: str) -> None:
        """Say that an order definitely was not and will not be executed."""
        self.counters["orders_rejected"] += 1
        self.emit(*rejection(order, reason, self._clock(), self.orders_wait_ns()))

    def is_too_late(self, order: Order) -> bool:
        """Tell whether an order's validity has passed. 0 states none."""
        return 0 < order.valid_until_ns < self._clock()

    def _refuse_effect(self, effect: VenueEffect) -> None:
        text = f"{EFFECTS_UNDER_WAY_MAX} effects are under way"
        match effect:
            case PlaceOrder(order):
                self.reject(order, f"not sent: {text}")
            case CancelOrder() | QueryOrder():
                name = type(effect).__name__
                self.context.fault(FaultKind.OVERFLOW, f"{name} {effect.client_order_id} dropped: {text}", effect.market)
            case ReadAccount():
                self.context.fault(FaultKind.OVERFLOW, f"ReadAccount dropped: {text}")


class EffectsUnderWay:
    """A bounded number of effects carried out side by side, begun in the order of their arrival."""

    def __init__(self, carry_out: CarryOut, limit: int = EFFECTS_UNDER_WAY_MAX) -> None:
        assert limit > 0, "something may be under way"
        self._carry_out = carry_out
        self._limit = limit
        self._waiting: deque[VenueEffect] = deque()
        self._group: asyncio.TaskGroup | None = None
        self.count = 0

    def submit(self, effect: VenueEffect) -> bool:
        """Begin now, or when `run` runs; False when too many are under way."""
        if self.count >= self._limit:
            return False
        self.count += 1
        if self._group is None:
            self._waiting.append(effect)
        else:
            self._begin(effect, self._group)
        return True

    async def run(self) -> None:
        """Own the tasks until cancelled. What waits then was never begun, and is dropped with the session."""
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                while self._waiting:
                    self._begin(self._waiting.popleft(), group)
                await asyncio.get_running_loop().create_future()
        finally:
            self._group = None

    def _begin(self, effect: VenueEffect, group: asyncio.TaskGroup) -> None:
        group.create_task(self._carry_out(effect), name=type(effect).__name__).add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self.count -= 1


def _base64_forms(raw: bytes) -> tuple[str, str, str]:
    """Return base64 with and without padding and in its alphabet for URLs."""
    text = base64.b64encode(raw).decode()
    return text, text.rstrip("="), base64.urlsafe_b64encode(raw).decode()
