"""Lays the screen out for a terminal, page by page, in words that need no colour. Reads nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from arbitrage.app.monitor.picture import Picture
from arbitrage.ops.log_lines import LogLine, terminal_line
from arbitrage.ops.logs import clock_text

OPPORTUNITIES_SHOWN, OUTCOMES_SHOWN, LIMITS_SHOWN = 6, 4, 4
ROWS_MAX, ROWS_MIN = 200, 10
KEYS_AND_WRAPS = 6
"""Rows that are not the page's: the keys, and reasons that take a second line."""
LIFE_S = 1_000
FULL_PPM, NEAR_PPM = 1_000_000, 800_000
KEYS = "1 first screen   2 opportunities   3 venues and limits   4 log   q leave"


def page(number: int, picture: Picture, lines: Sequence[LogLine] = (), rows: int = ROWS_MAX) -> Group:
    """Draw one page: the head always, then what its number stands for, in so many rows; the keys stand where none is cut."""
    top = head(picture)
    left = rows - top.plain.count("\n") - KEYS_AND_WRAPS
    draw = PAGES.get(number, first_page)
    return Group(Text(KEYS, style="dim", no_wrap=True, overflow="ellipsis"), top, *draw(picture, lines, max(ROWS_MIN, left)))


def head(picture: Picture) -> Text:
    """Say whether it is armed, or why not; and how sure that is."""
    text = Text()
    if not picture.is_there:
        text.append(" NO DAEMON ANSWERS ", "white on red")
        text.append(" what follows is what it last said" if picture.age_s is not None else "", "red")
    elif picture.is_armed:
        text.append(" ARMED ", "black on green")
    else:
        text.append(" NOT ARMED ", "white on red")
        text.append(" because " + safe("; ".join(picture.not_armed_because) or "no reason was given"), "red")
    text.append(f"\n{picture.mode} {picture.session}")
    text.append(f"   up {duration(picture.up_s)}   realised {picture.realised or 'not known here'}   {picture.counts}")
    text.append(f"   open: {picture.open_plans} arbitrages, {picture.open_orders} orders")
    state = f"ON, {safe(picture.killed)}" if picture.killed else "off"
    text.append(f"\nkill switch {state}", "bold red" if picture.killed else "")
    text.append(f"   last proven {picture.proven}")
    if picture.paused:
        text.append(f"   paused {safe(picture.paused)}", "yellow")
    if picture.alerts:
        text.append(f"\nalerts on: {safe(', '.join(picture.alerts))}", "bold red")
    for name in picture.differences:
        text.append(f"\ndifference {safe(name)}", "red")
    for pair, why in picture.pairs_off.items():
        text.append(f"\n{safe(pair)} is off: {safe(why)}", "yellow")
    for note in picture.notes:
        text.append(f"\n{safe(note)}", "yellow")
    if picture.age_s is not None and picture.age_s >= 1.5:
        text.append(f"\nthis is {picture.age_s:.0f} s old", "bold red")
    return text


def first_page(picture: Picture, _: Sequence[LogLine], rows: int) -> list[RenderableType]:
    """Draw what is to be read in five seconds."""
    drawn: list[RenderableType] = []
    if picture.pairs:
        drawn.append(pairs_table(picture))
    if picture.opportunities:
        spare = rows - len(picture.pairs) - len(picture.feeds) - OUTCOMES_SHOWN - 12
        drawn.append(opportunities_table(picture, min(OPPORTUNITIES_SHOWN, max(1, spare))))
    if picture.outcomes:
        drawn.append(outcomes_table(picture, OUTCOMES_SHOWN))
    if picture.money:
        drawn.append(Text("money today   " + "   ".join(f"{line.name} {line.amount}" for line in picture.money)))
    drawn.append(feeds_table(picture))
    if used := [line for line in picture.limits if line.used_ppm][:LIMITS_SHOWN]:
        drawn.append(Text("limits in use   " + "   ".join(f"{line.name} {percent(line.used_ppm)} %" for line in used)))
    return drawn


def opportunities_page(picture: Picture, _: Sequence[LogLine], rows: int) -> list[RenderableType]:
    """Draw every opportunity and arbitrage that is known, and why opportunities were refused."""
    refused = ", ".join(f"{why} {count}" for why, count in sorted(picture.refused.items(), key=lambda row: -row[1]))
    closed = min(len(picture.outcomes), rows // 3)
    tables = [outcomes_table(picture, closed), opportunities_table(picture, rows - closed - 6)]
    return [Text(f"refused since the start: {refused or 'none'}"), *tables]


def venues_page(picture: Picture, _: Sequence[LogLine], rows: int) -> list[RenderableType]:
    """Draw every venue, every limit and the figures of the last minute."""
    limits = Table(box=None, pad_edge=False, title="limits", title_justify="left", title_style="bold")
    for name in ("limit", "used", "of", "%"):
        limits.add_column(name, justify="left" if name == "limit" else "right", no_wrap=True)
    for line in picture.limits[: rows - len(picture.feeds) - 6]:
        share = line.used_ppm or 0
        style = "red" if share >= FULL_PPM else "yellow" if share >= NEAR_PPM else ""
        _add(limits, line.name, line.used or "not known", line.limit, percent(line.used_ppm), style=style)
    figures = "   ".join(f"{name} {value}" for name, value in picture.figures.items() if name != "updated_at_ns")
    return [Text(figures or "no figures of the last minute"), feeds_table(picture), limits]


def log_page(_: Picture, lines: Sequence[LogLine], rows: int) -> list[RenderableType]:
    """Draw the newest log lines."""
    shown = lines[-rows:]
    drawn = [Text(terminal_line(line, clock_text(line.at_ns)), no_wrap=True, overflow="ellipsis") for line in shown]
    return [*drawn] or [Text("no log line was found")]


PAGES: dict[int, Callable[[Picture, Sequence[LogLine], int], list[RenderableType]]] = {
    1: first_page, 2: opportunities_page, 3: venues_page, 4: log_page,
}  # fmt: skip


def pairs_table(picture: Picture) -> Table:
    """Lay out each pair as the dashboard does."""
    table = Table(box=None, pad_edge=False, title="pairs", title_justify="left", title_style="bold")
    table.add_column("pair", no_wrap=True)
    for name in (*picture.venues, "KRW per USDT", "gross %", "net %", "to break even %", "last above", "median life"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("state", no_wrap=True, overflow="ellipsis")
    for line in picture.pairs:
        prices = [line.prices.get(venue, "") for venue in picture.venues]
        life = "" if line.life_ms_median is None else f"{line.life_ms_median / LIFE_S:.1f} s"
        missing = "pays" if line.missing_ppm == 0 else percent(line.missing_ppm)
        style = "green" if line.net_ppm is not None and line.net_ppm > 0 and not line.state else ""
        figures = [percent(line.gross_ppm, "+"), percent(line.net_ppm, "+"), missing, line.last_above, life]
        _add(table, line.asset, *prices, line.rate, *figures, line.state, style=style)
    return table


def opportunities_table(picture: Picture, rows: int) -> Table:
    """Lay out the newest opportunities."""
    table = Table(box=None, pad_edge=False, title="last opportunities", title_justify="left", title_style="bold")
    table.add_column("time", no_wrap=True)
    table.add_column("edge %", no_wrap=True, justify="right")
    table.add_column("net", no_wrap=True, justify="right")
    table.add_column("verdict", no_wrap=True)
    table.add_column("cycle", no_wrap=True, overflow="ellipsis")
    table.add_column("detail", no_wrap=True, overflow="ellipsis")
    for line in picture.opportunities[:rows]:
        style = "green" if line.verdict == "taken" else "dim"
        _add(table, line.time, percent(line.edge_ppm, "+"), line.net, line.verdict, line.cycle, line.detail, style=style)
    return table


def outcomes_table(picture: Picture, rows: int) -> Table:
    """Lay out the newest closed arbitrages."""
    table = Table(box=None, pad_edge=False, title="last arbitrages", title_justify="left", title_style="bold")
    for name in ("time", "plan", "ended", "expected", "realised"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("expected", "realised") else "left")
    for line in picture.outcomes[:rows]:
        _add(table, line.time, line.plan, line.state, line.expected, line.realised)
    return table


def feeds_table(picture: Picture) -> Table:
    """Lay out each venue's feed."""
    table = Table(box=None, pad_edge=False, title="feeds", title_justify="left", title_style="bold")
    for name in ("venue", "state", "alive", "books usable", "clock", "account"):
        table.add_column(name, no_wrap=True, overflow="ellipsis")
    for line in picture.feeds:
        state = "up" if line.is_up else f"down: {line.reason or 'not connected'}"
        clock = "?" if line.clock_offset_ms is None else f"{line.clock_offset_ms:+d} ms"
        alive = "?" if line.age_ms is None else f"{line.age_ms} ms ago"
        books = f"{line.usable} of {line.markets}"
        _add(table, line.venue, state, alive, books, clock, line.account, style="" if line.is_up else "red")
    return table


def percent(ppm: int | None, sign: str = "") -> str:
    """Print parts per million as per cent."""
    return "" if ppm is None else f"{ppm / 10_000:{sign}.3f}"


def duration(seconds: float | None) -> str:
    """Say how long."""
    if seconds is None:
        return "?"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def safe(text: str) -> str:
    """Show what a venue or a person wrote as it is, and let none of it steer the terminal."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _add(table: Table, *cells: str, style: str = "") -> None:
    """Add a row of plain text: brackets in it are no markup."""
    table.add_row(*(Text(safe(cell)) for cell in cells), style=style)
