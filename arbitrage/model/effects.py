"""What the engine wants done. Effects are values; the outer floors carry them out in the order given."""

from __future__ import annotations

import enum

import msgspec

from arbitrage.model.entries import Posting
from arbitrage.model.episodes import Episode
from arbitrage.model.facts import Fact
from arbitrage.model.instruments import Venue
from arbitrage.model.opportunities import Opportunity, Verdict
from arbitrage.model.orders import ClientOrderId, Order


class Append(msgspec.Struct, frozen=True):
    """Make this fact durable in the local journal before carrying out any later effect of the same list."""

    fact: Fact
    entries: tuple[Posting, ...] = ()
    """What the ledger made of it; filled in once the engine has applied the fact."""


class PlaceOrder(msgspec.Struct, frozen=True):
    """Send this order. Its intent was appended before."""

    order: Order


class CancelOrder(msgspec.Struct, frozen=True):
    """Ask the venue to cancel; the answer arrives as an event."""

    venue: Venue
    market: int
    client_order_id: ClientOrderId


class QueryOrder(msgspec.Struct, frozen=True):
    """Ask the venue what became of an order."""

    venue: Venue
    market: int
    client_order_id: ClientOrderId


class ReadAccount(msgspec.Struct, frozen=True):
    """Ask a venue for every balance and every open order; the answer arrives as `AccountRead`."""

    venue: Venue
    reason: str


class Resync(msgspec.Struct, frozen=True):
    """Fetch a new snapshot for this market at once; its book is unusable until it bridges."""

    market: int
    reason: str


class Judged(msgspec.Struct, frozen=True, gc=False):
    """An opportunity and the guard's verdict, for the record (not needed to restore)."""

    opportunity: Opportunity
    verdict: Verdict


class EpisodeNoted(msgspec.Struct, frozen=True, gc=False):
    """An opening of a cycle as it stands now, for the record: when it is over, and now and then while it lasts."""

    episode: Episode


class Severity(enum.Enum):
    """How loud a report is."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Report(msgspec.Struct, frozen=True):
    """A line for the operator: a stable code, words, and fields. Never a secret."""

    severity: Severity
    code: str
    text: str
    fields: dict[str, str | int | float | bool | None] = {}


VenueEffect = PlaceOrder | CancelOrder | QueryOrder | ReadAccount
"""What a venue's transport carries out."""
Effect = Append | PlaceOrder | CancelOrder | QueryOrder | ReadAccount | Resync | Judged | EpisodeNoted | Report
