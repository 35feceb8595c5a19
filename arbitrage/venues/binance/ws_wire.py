"""Messages of Binance's WebSocket API sorted into answers, events and notices. Pure; any bytes give one of them or a fault.

Source: reference binance-spot 11. An answer is never lost for what is beside it: rate limits that cannot be read are left out.
"""

from __future__ import annotations

import enum

import msgspec
from msgspec import UNSET, UnsetType

from arbitrage.model.events import FaultKind, FeedFault
from arbitrage.model.instruments import Venue
from arbitrage.venues.binance.limits import RateCount
from arbitrage.venues.binance.replies import Reply, read_error
from arbitrage.venues.wire import DECODING_ERRORS, fault_from, short

IGNORED_EVENTS = frozenset(("outboundAccountPosition", "balanceUpdate", "externalLockUpdate", "listStatus"))
"""Balances are read whole when asked for, so their changes by the stream are only counted."""


class Notice(enum.Enum):
    """What is told of the connection itself."""

    SHUTDOWN = "serverShutdown"
    TERMINATED = "eventStreamTerminated"


class Answered(msgspec.Struct, frozen=True):
    """The answer to a request of ours; number None when the venue could not tell which."""

    number: int | None
    reply: Reply


class Reported(msgspec.Struct, frozen=True):
    """An execution report, still as bytes."""

    body: bytes


class Ignored(msgspec.Struct, frozen=True):
    """A known event that nothing is made of."""

    name: str


Message = Answered | Reported | Ignored | Notice | FeedFault


class _Envelope(msgspec.Struct, rename="camel"):
    id: msgspec.Raw | UnsetType = UNSET
    status: int | UnsetType = UNSET
    result: msgspec.Raw | UnsetType = UNSET
    error: msgspec.Raw | UnsetType = UNSET
    rate_limits: msgspec.Raw | UnsetType = UNSET
    event: msgspec.Raw | UnsetType = UNSET


class _Name(msgspec.Struct):
    e: str


_read_envelope = msgspec.json.Decoder(_Envelope).decode
_read_name = msgspec.json.Decoder(_Name).decode
_read_counts = msgspec.json.Decoder(list[RateCount]).decode
_read_id = msgspec.json.Decoder(int).decode


def read_message(raw: bytes, venue: Venue, at_ns: int) -> Message:
    """Sort one message."""
    try:
        envelope = _read_envelope(raw)
        if envelope.event is not UNSET:
            return _event(bytes(envelope.event), venue, at_ns)
    except DECODING_ERRORS as error:
        return fault_from(error, venue, at_ns)
    if envelope.status is UNSET:
        return FeedFault(at_ns, venue, FaultKind.UNKNOWN_EVENT, "neither an answer nor an event")
    error_body = b"" if envelope.error is UNSET else bytes(envelope.error)
    body = error_body or (b"" if envelope.result is UNSET else bytes(envelope.result))
    counts = () if envelope.rate_limits is UNSET else _counts(bytes(envelope.rate_limits))
    reply = Reply(envelope.status, body, at_ns, read_error(error_body) if error_body else None, counts)
    return Answered(None if envelope.id is UNSET else _number(bytes(envelope.id)), reply)


def _event(body: bytes, venue: Venue, at_ns: int) -> Message:
    name = _read_name(body).e
    if name == "executionReport":
        return Reported(body)
    if name in IGNORED_EVENTS:
        return Ignored(name)
    if name in (Notice.SHUTDOWN.value, Notice.TERMINATED.value):
        return Notice(name)
    return FeedFault(at_ns, venue, FaultKind.UNKNOWN_EVENT, short(name))


def _counts(body: bytes) -> tuple[RateCount, ...]:
    try:
        return tuple(_read_counts(body))
    except DECODING_ERRORS:
        return ()


def _number(body: bytes) -> int | None:
    try:
        return _read_id(body)
    except DECODING_ERRORS:
        return None
