"""What every session is handed from outside: where events go, the clock, the dice, the transport. Owns nothing."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from arbitrage.model.events import AccountEvent, FaultKind, FeedEvent, FeedFault, OrderEvent
from arbitrage.model.instruments import Venue
from arbitrage.model.settings import VenueSettings
from arbitrage.venues.transport import Transport, connect_websockets

FRAMES_PER_YIELD = 256
"""Frames that one connection may deliver before other work of the loop gets its turn."""
DETAIL_LENGTH_MAX = 200
WireKind = Literal["open", "send", "frame", "http"]
VenueEvent = FeedEvent | OrderEvent | AccountEvent
"""All that a venue can tell."""


class WireRecord(msgspec.Struct, frozen=True):
    """One thing that crossed the wire, as it was, for capture files."""

    at_ns: int
    venue: Venue
    connection: str
    kind: WireKind
    raw: bytes
    url: str = ""


Decode = Callable[[bytes, int], Sequence[FeedEvent]]
"""The hot half of a venue's codec: pure, and any bytes give events or named faults."""


class Wiring(msgspec.Struct, frozen=True):
    """A session's surroundings. `sink` and `record` are called synchronously, from the socket."""

    sink: Callable[[Sequence[VenueEvent]], None]
    clock: Callable[[], int]
    rng: random.Random
    record: Callable[[WireRecord], None] | None = None
    transport: Transport = connect_websockets
    frames_per_yield: int = FRAMES_PER_YIELD


class VenueContext(msgspec.Struct, frozen=True):
    """Who we talk to and with what; shared by everything a session owns."""

    venue: Venue
    settings: VenueSettings
    wiring: Wiring

    def fault(self, kind: FaultKind, detail: str, market: int | None = None) -> None:
        """Make a fault of the world visible."""
        short = detail if len(detail) <= DETAIL_LENGTH_MAX else detail[:DETAIL_LENGTH_MAX] + "…"
        self.wiring.sink((FeedFault(self.wiring.clock(), self.venue, kind, short, market),))
