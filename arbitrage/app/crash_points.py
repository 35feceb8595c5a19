"""Kills this very process at a named moment, so that a test sees what the next start makes of it. Refuses to be armed where
anything but exchanges on loopback and embedded stores could be hurt; without its variable nothing of it exists.

`ARBITRAGE_CRASH_AT=LABEL[@VENUE][:NTH]`: at the NTH time (from 1) that the moment is reached, for orders of VENUE where one is
named. The death is SIGKILL: no handler runs and nothing that the process still holds is written.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
from collections.abc import Mapping, Sequence

from arbitrage.app.connections import Connections
from arbitrage.app.door import Journal
from arbitrage.app.loopback_house import check_loopback
from arbitrage.model.effects import Append
from arbitrage.model.facts import FillBooked, OrderChanged, OrderIntended, PlanOpened
from arbitrage.model.instruments import Venue
from arbitrage.model.orders import ClientOrderId, Order, OrderState
from arbitrage.model.settings import Settings
from arbitrage.ops.problems import ConfigError, Problem
from arbitrage.store.moments import MOMENTS, Reached

logger = logging.getLogger("arbitrage.daemon")
VARIABLE = "ARBITRAGE_CRASH_AT"
AFTER_INTENT = "after-intent"
"""An order's intent is durable, and not one byte of it has left."""
AFTER_SEND = "after-send"
"""An order's bytes have left, and nobody knows what the venue makes of them."""
AFTER_ACKNOWLEDGEMENT = "after-acknowledgement"
"""The venue's word about an order was heard, and is not durable."""
ORDER_LABELS = (AFTER_INTENT, AFTER_SEND, AFTER_ACKNOWLEDGEMENT)
LABELS = (*ORDER_LABELS, *MOMENTS)
NTH_MAX = 10_000
_WORD = re.compile(r"(?P<label>[a-z-]+)(?:@(?P<venue>[A-Za-z0-9_.-]+))?(?::(?P<nth>[1-9]\d{0,4}))?")


class CrashPoint:
    """One moment at which this process dies."""

    def __init__(self, label: str, venue: str, nth: int) -> None:
        assert label in LABELS and nth > 0, "a crash point has been read"
        self.label = label
        self._venue = venue
        self._left = nth

    @property
    def store(self) -> Reached | None:
        """What the stores are handed; None when the moment is none of theirs."""
        return self._reached if self.label in MOMENTS else None

    def watch(self, connections: Connections) -> None:
        """Have every account's session tell when an order's bytes are out, if that is the moment."""
        if self.label != AFTER_SEND:
            return
        for venue, session in connections.accounts.items():
            if self._venue in ("", venue):
                session.on_sent = self._on_sent

    def around(self, journal: Journal) -> Journal:
        """Return what the door is to write to: the journal itself, or one that dies before or after it wrote."""
        return DyingJournal(journal, self) if self.label in (AFTER_INTENT, AFTER_ACKNOWLEDGEMENT) else journal

    def is_for(self, venue: Venue | None) -> bool:
        return not self._venue or venue == self._venue

    def count(self) -> None:
        """Die if this is the time."""
        self._left -= 1
        if self._left == 0:
            die(self.label)

    def _reached(self, moment: str) -> None:
        if moment == self.label:
            self.count()

    def _on_sent(self) -> None:
        """A loop may hold bytes back until its turn is over: they are out in the one after the next."""
        loop = asyncio.get_running_loop()
        loop.call_soon(loop.call_soon, self.count)


class DyingJournal:
    """A journal of which somebody knows what is written."""

    def __init__(self, journal: Journal, point: CrashPoint) -> None:
        self._journal = journal
        self._point = point
        self._venues: dict[ClientOrderId, Venue] = {}

    def append(self, appends: Sequence[Append]) -> int:
        """Append, and count the moments before and after it."""
        facts = [each.fact for each in appends]
        if self._point.label == AFTER_ACKNOWLEDGEMENT and any(map(self._is_word, facts)):
            self._point.count()
        sequence = self._journal.append(appends)
        intended = [order for fact in facts for order in orders_of(fact)]
        self._venues.update({order.client_order_id: order.venue for order in intended})
        if self._point.label == AFTER_INTENT and any(self._point.is_for(order.venue) for order in intended):
            self._point.count()
        return sequence

    def _is_word(self, fact: object) -> bool:
        """Tell whether a fact is what a venue said of an order that it has: open, filled, or a fill."""
        match fact:
            case FillBooked(fill=fill):
                return self._point.is_for(fill.venue)
            case OrderChanged(client_order_id=name, state=OrderState.OPEN | OrderState.FILLED):
                return self._point.is_for(self._venues.get(name))
        return False


def orders_of(fact: object) -> tuple[Order, ...]:
    """Return the orders that a fact intends."""
    if isinstance(fact, PlanOpened):
        return fact.orders
    return (fact.order,) if isinstance(fact, OrderIntended) else ()


def armed(settings: Settings, environ: Mapping[str, str]) -> CrashPoint | None:
    """Return the crash point that the environment names, if any. Raises ConfigError for what is unknown or may not be armed."""
    word = environ.get(VARIABLE, "")
    if not word:
        return None
    match = _WORD.fullmatch(word)
    if match is None or match["label"] not in LABELS or int(match["nth"] or 1) > NTH_MAX:
        raise refused(f"{word!r} names no crash point", f"write LABEL[@VENUE][:NTH] with one of {', '.join(LABELS)}")
    venue = match["venue"] or ""
    if venue and (venue not in settings.venues or match["label"] not in ORDER_LABELS):
        raise refused(f"{word!r} names a venue that it cannot be about", "leave @VENUE out")
    reason = what_could_be_hurt(settings)
    if reason:
        mend = "unset it: it is for tests with embedded stores and exchanges on loopback"
        raise refused(f"kills this process on purpose, and {reason}", mend)
    logger.warning("%s is set: this process kills itself at %s", VARIABLE, word)
    return CrashPoint(match["label"], venue, int(match["nth"] or 1))


def what_could_be_hurt(settings: Settings) -> str:
    """Name something of the configuration that is real: a server that is not our own, or an exchange beyond this machine."""
    for key in ("postgres_host", "redis_host"):
        if getattr(settings.store, key):
            return f"store.{key} names a server that is not its own"
    try:
        check_loopback(settings)
    except ConfigError as outside:
        return f"{outside.problems[0].where} {outside.problems[0].what}"
    return ""


def refused(what: str, mend: str) -> ConfigError:
    """Make a refusal of the variable."""
    return ConfigError([Problem(f"environment variable {VARIABLE}", what, mend)])


def die(label: str) -> None:
    """Say where, on standard error and past every buffer, and end as by `kill -9`."""
    os.write(2, f"crash point {label} reached\n".encode())
    os.kill(os.getpid(), signal.SIGKILL)
