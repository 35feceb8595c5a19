"""What became of a request to Binance: an answer and what it means, lost on the way, or never sent. Refuses to guess.

Source: reference binance-spot 2 and 12. 5XX and the codes in `UNKNOWN_CODES` leave the outcome open; so does whatever does not
speak the venue's language (a firewall's page). Only a refusal with the venue's own code is definite.
"""

from __future__ import annotations

import enum

import msgspec

from arbitrage.venues.binance.limits import RateCount
from arbitrage.venues.holds import BANNED, RATE_LIMITED
from arbitrage.venues.wire import DECODING_ERRORS, short

OVERLOADED = -1008
TOO_MANY_REQUESTS = -1003
TOO_MANY_ORDERS = -1015
CLOCK_CODE = -1021
UNKNOWN_CODES = frozenset((-1000, -1001, -1006, -1007, OVERLOADED))
KEY_CODES = frozenset((-1002, -1022, -2014, -2015))
"""The key is wrong, lost its rights or is not for this address: nothing will work until somebody acts."""
REFUSED_CODE = -2010
DUPLICATE_WORDS = "Duplicate order"
CLOSED_WORDS = "Market is closed"
ABSENT_CODE = -2013
UNKNOWN_ORDER_CODE = -2011
ARCHIVED_CODE = -2026


class Meaning(enum.Enum):
    """What an answer says about the act that was asked for."""

    DONE = "done"
    REFUSED = "refused"
    """Definitely not done."""
    CLOCK = "clock"
    """Definitely not done: the timestamp was outside the window."""
    UNKNOWN = "unknown"


class _ErrorData(msgspec.Struct, rename="camel"):
    retry_after: int | None = None


class VenueError(msgspec.Struct, frozen=True):
    """The venue's own error, from either way of asking."""

    code: int
    msg: str = ""
    data: _ErrorData | None = None


class Reply(msgspec.Struct, frozen=True):
    """An answer. `body` is the result or the error as JSON."""

    status: int
    body: bytes
    at_ns: int
    error: VenueError | None = None
    counts: tuple[RateCount, ...] = ()
    retry_after: str = ""
    """The header's seconds (REST)."""

    @property
    def code(self) -> int:
        """Return the venue's error code, 0 without one."""
        return 0 if self.error is None else self.error.code

    @property
    def is_closed(self) -> bool:
        """Tell whether the market takes no orders now (reference 12)."""
        return self.code == REFUSED_CODE and self.error is not None and CLOSED_WORDS in self.error.msg

    @property
    def is_limited(self) -> bool:
        """Tell whether a limit was hit: who goes on asking is banned."""
        return self.status in (RATE_LIMITED, BANNED) or self.code in (TOO_MANY_REQUESTS, TOO_MANY_ORDERS)

    @property
    def words(self) -> str:
        """Return the refusal for people, printable and short."""
        return short(f"HTTP {self.status}" if self.error is None else f"{self.error.code}: {self.error.msg}")


class Lost(msgspec.Struct, frozen=True):
    """It may have been sent, and no answer came: whatever was asked for may have happened."""

    words: str


class Unsent(msgspec.Struct, frozen=True):
    """It definitely did not leave."""

    words: str


Outcome = Reply | Lost | Unsent


class _CodeAndWords(msgspec.Struct):
    code: int
    msg: str = ""


_read_error = msgspec.json.Decoder(VenueError).decode
_read_code_and_words = msgspec.json.Decoder(_CodeAndWords).decode


def read_error(body: bytes) -> VenueError | None:
    """Read an error body; None when it is not the venue's. Data that we do not understand does not hide the code."""
    try:
        return _read_error(body)
    except DECODING_ERRORS:
        pass
    try:
        plain = _read_code_and_words(body)
    except DECODING_ERRORS:
        return None
    return VenueError(plain.code, plain.msg)


def meaning_of(outcome: Outcome) -> Meaning:
    """Judge what became of the act. Whatever is not certain is unknown."""
    if isinstance(outcome, Lost):
        return Meaning.UNKNOWN
    if isinstance(outcome, Unsent):
        return Meaning.REFUSED
    error = outcome.error
    if error is None:
        if 200 <= outcome.status < 300:
            return Meaning.DONE
        return Meaning.REFUSED if outcome.is_limited else Meaning.UNKNOWN
    if error.code == CLOCK_CODE:
        return Meaning.CLOCK
    if outcome.status >= 500 or outcome.status < 400 or error.code in UNKNOWN_CODES:
        return Meaning.UNKNOWN
    is_there_already = error.code == REFUSED_CODE and DUPLICATE_WORDS in error.msg
    return Meaning.UNKNOWN if is_there_already else Meaning.REFUSED
