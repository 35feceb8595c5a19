"""Faults by script, by seed and by command: which strikes a call, a message or a venue now, and what was done. Does none.

Three sorts. **Strokes** hit one call or message: `take(name, text)` says which. **Conditions** last: `standing(kind)`. **Acts**
begin and end at a time: whoever listens (`listen`) carries them out, the exchange's own in `acts.py`, a ban the facade.

Names that are matched (`endpoint`, with `*` and `?`): REST `POST /api/v3/order`, `DELETE /v1/order` (method and path, taken by
the listener); WebSocket API `order.place` (the method); private messages `executionReport`, `outboundAccountPosition`,
`myOrder`, `myAsset`; public messages by Binance's stream (`btcusdt@depth@100ms`, `btcusdt@bookTicker`) or Upbit's type and code
(`orderbook.KRW-BTC`); sockets `socket /ws-api/v3`, `socket /websocket/v1/private` (looked at every 0.25 s; cut, half_open).
New connections `connect /ws-api/v3` (error_before, html, cut, lost). A name with `socket` or `connect` is matched only by a
pattern that begins with that word. `contains` must occur in the request's query or body, or in the message.
"""

from __future__ import annotations

import enum
import fnmatch
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable

import msgspec

from arbitrage.model.money import PPM

FIRED_MAX = 10_000
RULES_MAX = 1_000
CONNECTION_WORDS = ("socket", "connect")
SECOND_NS = 1_000_000_000
MS_NS = 1_000_000


class Kind(enum.Enum):
    """What a fault does."""

    LOST = "lost"
    """The call is carried out and never answered; the message never sent."""
    LATE = "late"
    """Answered or sent `ms` later."""
    SLOW = "slow"
    """The call arrives `ms` later: it is carried out then (REST and WebSocket API calls)."""
    REPEATED = "repeated"
    """The answer or the message comes twice."""
    REORDERED = "reordered"
    """The message comes after the next one."""
    ERROR_BEFORE = "error_before"
    """Refused with `status` and `body` (empty: the venue's own words for the status); not carried out."""
    ERROR_AFTER = "error_after"
    """Carried out, and answered with `status` and `body` all the same."""
    HTML = "html"
    """Not carried out; answered with `status` and a page of HTML, as firewalls do."""
    CUT = "cut"
    """Carried out; the connection ends without an answer. For a socket: it ends without a close frame."""
    HALF_OPEN = "half_open"
    """Carried out; nothing comes any more, on an open connection. For a socket: it neither reads nor writes from now on."""
    FILL_BEFORE_CANCEL = "fill_before_cancel"
    """The order fills whole just before its cancel is looked at; `part_ppm` of its rest where that is given."""

    NOT_FOUND = "not_found"
    """Queries do not find an order for `ms` after it was taken. A condition."""
    SILENT_PRIVATE = "silent_private"
    """Private streams send nothing, but their connections live. A condition."""
    FROZEN = "frozen"
    """A symbol's public messages stop under a live heartbeat. A condition."""
    SKEW = "skew"
    """The venue's clock is `ms` ahead (negative: behind). A condition."""

    BAN = "ban"
    """The address is banned for `for_s` (Binance 418 with Retry-After; Upbit 418). An act of the facade."""
    SHUTDOWN = "shutdown"
    """Every socket ends after `for_s` with 1001, as after 24 hours; Binance says serverShutdown first. An act of the facade."""
    HALT = "halt"
    """`symbol` does not trade. An act."""
    WALLET = "wallet"
    """The wallet of `asset` is closed. An act."""
    RULES = "rules"
    """`fields` of the rules of `symbol` change: tick, lot, minimum, maker_fee, taker_fee as decimal text. An act."""


STROKES = frozenset({
    Kind.LOST, Kind.LATE, Kind.SLOW, Kind.REPEATED, Kind.REORDERED, Kind.ERROR_BEFORE, Kind.ERROR_AFTER, Kind.HTML, Kind.CUT,
    Kind.HALF_OPEN, Kind.FILL_BEFORE_CANCEL,
})  # fmt: skip
CONDITIONS = frozenset({Kind.NOT_FOUND, Kind.SILENT_PRIVATE, Kind.FROZEN, Kind.SKEW})
ACTS = frozenset({Kind.BAN, Kind.SHUTDOWN, Kind.HALT, Kind.WALLET, Kind.RULES})


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One rule, as a script's line says it."""

    kind: Kind
    venue: str = ""
    """`binance`, `upbit`, or empty for both."""
    endpoint: str = "*"
    contains: str = ""
    times: int = 1
    """How often a stroke strikes; 0 is always."""
    skip: int = 0
    """So many matches pass first."""
    chance_ppm: int = PPM
    at_s: float = 0.0
    """Begins so many seconds after it was added."""
    for_s: float = 0.0
    """Ends so many seconds after it began; 0 is never."""
    ms: int = 1_000
    status: int = 503
    body: str = ""
    symbol: str = ""
    asset: str = ""
    fields: dict[str, str] = {}
    part_ppm: int = PPM

    def __post_init__(self) -> None:
        if min(self.times, self.skip, self.chance_ppm, self.at_s, self.for_s) < 0 or self.chance_ppm > PPM:
            raise ValueError("times, skip, chance_ppm, at_s and for_s are not negative; chance_ppm is at most 1000000")
        if self.kind is Kind.HALT and not self.symbol:
            raise ValueError("halt names a symbol")
        if self.kind is Kind.WALLET and not self.asset:
            raise ValueError("wallet names an asset")
        if self.kind is Kind.RULES and not (self.symbol and self.fields):
            raise ValueError("rules names a symbol and fields")
        if self.kind in (Kind.BAN, Kind.SHUTDOWN) and not self.for_s:
            raise ValueError(f"{self.kind.value} has a duration, for_s")


class Fired(msgspec.Struct, frozen=True):
    """A fault that struck, began or ended."""

    at_ns: int
    venue: str
    kind: Kind
    subject: str
    """The call, the message, the symbol or the asset it hit."""
    phase: str = ""
    """`began` or `ended` for what lasts; empty for a stroke."""


class _Armed(msgspec.Struct, eq=False):
    fault: Fault
    from_ns: int
    until_ns: int | None
    struck: int = 0
    passed: int = 0
    has_begun: bool = False

    def is_due(self, now_ns: int) -> bool:
        """Tell whether it begins or ends by now and has not yet."""
        return (self.until_ns is not None and now_ns >= self.until_ns) or (now_ns >= self.from_ns and not self.has_begun)


class Faults:
    """One venue's faults. `take` and `standing` first begin and end what time has brought."""

    def __init__(self, venue: str, clock: Callable[[], int], generator: random.Random, faults: Iterable[Fault] = ()) -> None:
        self.venue = venue
        self.fired: deque[Fired] = deque(maxlen=FIRED_MAX)
        self.counts: Counter[str] = Counter()
        """Fired faults by kind; never forgotten."""
        self._clock = clock
        self._random = generator
        self._armed: list[_Armed] = []
        self._listeners: list[Callable[[Fault, bool], None]] = []
        for fault in faults:
            self.add(fault)

    def listen(self, callback: Callable[[Fault, bool], None]) -> None:
        """Have every act's begin (True) and end (False) told to `callback`."""
        self._listeners.append(callback)

    def add(self, fault: Fault) -> bool:
        """Arm a fault if it is for this venue. Returns whether it was; False too when too many are armed."""
        if fault.venue not in ("", self.venue) or len(self._armed) >= RULES_MAX:
            return False
        from_ns = self._clock() + int(fault.at_s * SECOND_NS)
        self._armed.append(_Armed(fault, from_ns, from_ns + int(fault.for_s * SECOND_NS) if fault.for_s else None))
        return True

    def clear(self) -> None:
        """Disarm everything and end what lasts."""
        cleared, self._armed = self._armed, []  # first: whoever is told of an end reads a clock, and comes here for it
        for armed in cleared:
            self._end(armed)

    def armed(self) -> list[Fault]:
        """Return what may still strike or lasts."""
        return [armed.fault for armed in self._armed]

    def advance(self) -> None:
        """Begin and end what is due. Called about four times a second by the listener."""
        now_ns = self._clock()
        due = [armed for armed in self._armed if armed.is_due(now_ns)]
        for armed in due:
            if armed not in self._armed:
                continue  # whoever was told of an earlier one read a clock, and so came here again
            if armed.until_ns is not None and now_ns >= armed.until_ns:
                self._armed.remove(armed)
                self._begin(armed)
                self._end(armed)
            else:
                self._begin(armed)

    def take(self, endpoint: str, text: str = "") -> Fault | None:
        """Return the fault that strikes this call or message, and count it as struck."""
        if not self._armed:
            return None
        self.advance()
        now_ns = self._clock()
        for armed in self._armed:
            if armed.fault.kind in STROKES and now_ns >= armed.from_ns and self._strikes(armed, endpoint, text):
                if armed.fault.times and armed.struck >= armed.fault.times:
                    self._armed.remove(armed)
                self._record(armed.fault.kind, endpoint)
                return armed.fault
        return None

    def standing(self, kind: Kind, symbol: str = "") -> Fault | None:
        """Return a condition in force; one without a symbol holds for all."""
        if not self._armed:
            return None
        self.advance()
        for armed in self._armed:
            fault = armed.fault
            if fault.kind is kind and armed.has_begun and fault.symbol in ("", symbol):
                return fault
        return None

    def skew_ns(self) -> int:
        """Return how far the venue's clock is ahead."""
        fault = self.standing(Kind.SKEW)
        return fault.ms * MS_NS if fault is not None else 0

    def is_hidden(self, created_ns: int) -> bool:
        """Tell whether queries do not find an order that was taken at this time yet."""
        fault = self.standing(Kind.NOT_FOUND)
        return fault is not None and self._clock() < created_ns + fault.ms * MS_NS

    def _strikes(self, armed: _Armed, endpoint: str, text: str) -> bool:
        fault, prefix = armed.fault, endpoint.partition(" ")[0]
        if prefix in CONNECTION_WORDS and not fault.endpoint.startswith(prefix):
            return False
        if not fnmatch.fnmatchcase(endpoint, fault.endpoint) or fault.contains not in text:
            return False
        if armed.passed < fault.skip:
            armed.passed += 1
            return False
        if fault.chance_ppm < PPM and self._random.randrange(PPM) >= fault.chance_ppm:
            return False
        armed.struck += 1
        return True

    def _begin(self, armed: _Armed) -> None:
        if armed.has_begun:
            return
        armed.has_begun = True
        if armed.fault.kind in STROKES:
            return
        self._record(armed.fault.kind, armed.fault.symbol or armed.fault.asset, "began")
        self._tell(armed.fault, is_begin=True)

    def _end(self, armed: _Armed) -> None:
        if armed.has_begun and armed.fault.kind not in STROKES:
            self._record(armed.fault.kind, armed.fault.symbol or armed.fault.asset, "ended")
            self._tell(armed.fault, is_begin=False)

    def _tell(self, fault: Fault, *, is_begin: bool) -> None:
        if fault.kind in ACTS:
            for callback in self._listeners:
                callback(fault, is_begin)

    def _record(self, kind: Kind, subject: str, phase: str = "") -> None:
        self.counts[kind.value] += phase != "ended"
        self.fired.append(Fired(self._clock(), self.venue, kind, subject, phase))
