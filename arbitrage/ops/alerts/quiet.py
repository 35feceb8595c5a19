"""Quiet hours: is it night where the people are? Reads no clock: the time comes in."""

from __future__ import annotations

import datetime
import zoneinfo

SECOND_NS = 1_000_000_000
MINUTES_A_DAY = 1_440


class QuietHours:
    """From a time of the day to another, in a named time zone; the same time twice is never."""

    def __init__(self, since: str, until: str, zone: str) -> None:
        """Take times as `HH:MM`. Raises ZoneUnknown."""
        self._since, self._until = _minutes(since), _minutes(until)
        self._zone = zone_named(zone)

    def holds(self, now_ns: int) -> bool:
        """Say whether it is quiet at this moment (ns since 1970)."""
        moment = datetime.datetime.fromtimestamp(now_ns // SECOND_NS, tz=self._zone)
        minute = moment.hour * 60 + moment.minute
        return (minute - self._since) % MINUTES_A_DAY < (self._until - self._since) % MINUTES_A_DAY


class ZoneUnknown(ValueError):
    """No such time zone."""


def zone_named(name: str) -> zoneinfo.ZoneInfo:
    """Find a time zone. Raises ZoneUnknown."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        raise ZoneUnknown(f"{name!r} is no time zone") from None


def _minutes(text: str) -> int:
    hours, _, minutes = text.partition(":")
    return int(hours) * 60 + int(minutes)
