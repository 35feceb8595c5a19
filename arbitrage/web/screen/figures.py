"""Exact integers as people read them: grouped digits, signs, per cent, ages, moments. Calculates nothing and rounds against us.

What is cut is cut downwards, towards less profit; a figure that may be cut says so by its name.
"""

from __future__ import annotations

from datetime import UTC, datetime

from arbitrage.model.money import E8, div_down, format_e8

SECOND_NS, MINUTE_NS, HOUR_NS, DAY_NS = 10**9, 60 * 10**9, 3_600 * 10**9, 86_400 * 10**9
UNKNOWN = "–"
"""Stands where there is nothing to say; a zero would be a claim."""


def grouped(value_e8: int) -> str:
    """Print an amount exactly, digits in groups of three: `143,210,000.5`."""
    text = format_e8(value_e8)
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    whole, point, fraction = digits.partition(".")
    return f"{sign}{int(whole):,}{point}{fraction}"


def signed(value_e8: int) -> str:
    """Print an amount exactly, with all eight decimals and its sign, so that a column of them can be added up by eye."""
    sign = "+" if value_e8 > 0 else "-" if value_e8 < 0 else ""
    whole, fraction = divmod(abs(value_e8), E8)
    return f"{sign}{whole:,}.{fraction:08d}"


def cut(value_e8: int, places: int = 2) -> str:
    """Print an amount with a sign and few decimals, cut downwards: a gain never looks larger than it is."""
    assert 0 < places <= 8, "between one and eight decimals"
    steps = div_down(value_e8, 10 ** (8 - places))
    sign = "+" if steps > 0 else "-" if steps < 0 else ""
    whole, fraction = divmod(abs(steps), 10**places)
    return f"{sign}{whole:,}.{fraction:0{places}d}"


def percent(ppm: int | None) -> str:
    """Print parts per million as per cent, exactly: four decimals and a sign."""
    return UNKNOWN if ppm is None else cut(ppm * 10_000, 4)


def age(span_ns: int) -> str:
    """Say how long ago in the largest unit that still tells something: `340 ms`, `12 s`, `3 min`, `5 h`, `2 d`."""
    span_ns = max(0, span_ns)
    if span_ns < SECOND_NS:
        return f"{span_ns // 1_000_000} ms"
    if span_ns < 2 * MINUTE_NS:
        return f"{span_ns // SECOND_NS} s"
    if span_ns < 2 * HOUR_NS:
        return f"{span_ns // MINUTE_NS} min"
    if span_ns < 2 * DAY_NS:
        return f"{span_ns // HOUR_NS} h"
    return f"{span_ns // DAY_NS} d"


def milliseconds(span_us: int) -> str:
    """Print microseconds as milliseconds, with as many digits as say something."""
    if span_us < 10_000:
        return f"{span_us / 1_000:.2f} ms"
    return f"{span_us / 1_000:,.0f} ms"


def cycle(name: str) -> str:
    """Print a cycle by what is traded at each venue: `upbit USDT→KRW→BTC, binance BTC→USDT`. What is no cycle stays."""
    stations: list[tuple[str, list[str]]] = []
    for step in name.split(" > "):
        asset, _, venue = step.partition("@")
        if venue and (not stations or stations[-1][0] != venue):
            stations.append((venue, [asset]))
        elif stations and stations[-1][1][-1] != asset:
            stations[-1][1].append(asset)
    traded = [f"{venue} {'→'.join(assets)}" for venue, assets in stations if len(assets) > 1]
    return ", ".join(traded) or name


def clock_time(at_ns: int) -> str:
    """Print the time of day, UTC."""
    return _moment(at_ns).strftime("%H:%M:%S")


def moment(at_ns: int) -> str:
    """Print date and time to the millisecond, UTC."""
    return f"{_moment(at_ns):%Y-%m-%d %H:%M:%S}.{at_ns % SECOND_NS // 1_000_000:03d}"


def _moment(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns // SECOND_NS, tz=UTC)
