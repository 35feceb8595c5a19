"""Binance's choice of time unit: every time of a message in microseconds for whoever asked so. Reads no clock.

Reference sheet, section 2. The venue's own times here are whole milliseconds, so the last three digits are zero.
"""

from __future__ import annotations

import re

MICROSECOND = "MICROSECOND"
_TIMES = re.compile(
    rb'"(serverTime|transactTime|workingTime|updateTime|time|openTime|closeTime|authorizedSince|connectedSince|[ETOCWu])":'
    rb"([0-9]{13})(?=[,}])"
)
"""A time is told from an update id, which goes by `u` as well, by its thirteen digits."""


def is_microsecond(unit: str) -> bool:
    """Tell whether a header or a URL option asks for microseconds."""
    return unit.upper() == MICROSECOND


def in_microseconds(payload: bytes) -> bytes:
    """Return a message with its times in microseconds."""
    return _TIMES.sub(rb'"\1":\g<2>000', payload)
