"""What a person watches: per pair both venues' best, the won, gross, net, what is missing; then what was refused and earned.

Redraws on a terminal, prints a plain block now and then elsewhere. Reads views only; a slow terminal delays nothing but itself.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from arbitrage.app.kill_proof import KillProof
from arbitrage.app.running import Running
from arbitrage.engine.views import EngineView
from arbitrage.model.money import format_e8

REDRAW_S = 0.25
PLAIN_EVERY_S = 5.0
OPPORTUNITIES_SHOWN = 6
OUTCOMES_SHOWN = 4
PLAIN_WIDTH = 160


class _Console(Console):
    """A console that says when its reader left, instead of ending the process."""

    def on_broken_pipe(self) -> None:
        """Let the broken pipe out."""
        raise BrokenPipeError


class Screen:
    """One terminal's picture of one running."""

    def __init__(self, description: dict[str, Any], stream: TextIO) -> None:
        self._description = description
        self._is_terminal = stream.isatty()
        self._console = _Console(file=stream, width=None if self._is_terminal else PLAIN_WIDTH, highlight=False)

    async def run(self, running: Running) -> None:
        """Show until cancelled, or until the reader left."""
        with contextlib.suppress(BrokenPipeError):
            await self._show(running)

    async def _show(self, running: Running) -> None:
        if not self._is_terminal:
            while True:
                self._console.print(self._picture(running))
                await asyncio.sleep(PLAIN_EVERY_S)
        with Live(console=self._console, auto_refresh=False, screen=False) as live:
            while True:
                live.update(self._picture(running), refresh=True)
                await asyncio.sleep(REDRAW_S)

    def close(self, summary: dict[str, object]) -> None:
        """Say in a few lines what the run did."""
        rows = [f"{name}: {in_words(value)}" for name, value in summary.items()]
        self._console.print("\n".join(rows), markup=False)

    def _picture(self, running: Running) -> Group:
        view = running.view()
        seconds = (view.at_ns - running.started_at_ns) / 1e9
        return Group(
            self._head(view, seconds, running),
            pairs_table(view, frozenset(self._description.get("meaningless", ()))),
            opportunities_table(view),
            outcomes_table(view),
            feeds_line(view),
            surface_lines(running.web_url, running.set_up_link),
        )

    def _head(self, view: EngineView, seconds: float, running: Running) -> Text:
        head = Text()
        if view.is_armed:
            head.append(" ARMED ", "black on green")
        else:
            head.append(" NOT ARMED ", "white on red")
            head.append(" because " + "; ".join(view.not_armed_because), "red")
        head.append(f"  {running.settings.mode}   {seconds:.0f} s   {running.frames} frames   ")
        head.append(f"realised {format_e8(view.realised_e8)} {view.reporting_asset}", "bold")
        tally = view.tally
        head.append(
            f"   {tally.completed} completed, {tally.recovered} recovered, {tally.missed} missed, {view.open_plans} open"
        )
        head.append(f"\nkill switch last proven: {proven(running.kill_proofs.last, view.at_ns)}", "dim")
        head.append(f"\n{self._description['label']}", "yellow")
        for note in self._description.get("notes", ()):
            head.append(f"\n  {note}", "dim")
        return head


def proven(proof: KillProof | None, now_ns: int) -> str:
    """Say how long ago and how the kill switch last proved itself."""
    if proof is None:
        return "never"
    return f"{max(0, now_ns - proof.at_ns) / 3.6e12:.1f} h ago, by {proof.how}"


def pairs_table(view: EngineView, meaningless: frozenset[str]) -> Table:
    """Lay out each pair's best prices and edges."""
    table = Table(box=None, pad_edge=False, title="pairs", title_justify="left", title_style="bold")
    for name in ("pair", "buy at", "ask", "sell at", "bid", "won bid/ask", "gross %", "net %", "to break even %", "state"):
        table.add_column(name, justify="left" if name in ("pair", "buy at", "sell at", "state") else "right", no_wrap=True)
    for spread in view.spreads:
        net = spread.net_ppm
        missing = "" if spread.missing_ppm is None else ("pays" if not spread.missing_ppm else percent(spread.missing_ppm))
        won = " ".join(f"{format_e8(rate.bid_e8)}/{format_e8(rate.ask_e8)}" for rate in spread.fx)
        style = "green" if net is not None and net > 0 and not spread.locked else ""
        table.add_row(
            spread.asset, f"{spread.buy.node.venue} {spread.buy.quote}", format_e8(spread.buy.ask_e8),
            f"{spread.sell.node.venue} {spread.sell.quote}", format_e8(spread.sell.bid_e8), won,
            percent(spread.gross_ppm), percent(net), missing, spread.locked, style=style,
        )  # fmt: skip
    shown = {touch.market for spread in view.spreads for touch in (spread.buy, spread.sell)}
    for market in view.markets:
        if market.market in shown:
            continue
        label = "spread means nothing" if market.symbol in meaningless else (market.doubt or "")
        table.add_row(market.symbol, market.venue, price(market.ask), market.venue, price(market.bid), "", "", "", "", label)
    return table


def opportunities_table(view: EngineView) -> Table:
    """Lay out the last opportunities with their verdicts."""
    table = Table(box=None, pad_edge=False, title="last opportunities", title_justify="left", title_style="bold")
    table.add_column("edge %", no_wrap=True, justify="right", min_width=7)
    table.add_column(f"net {view.reporting_asset}", no_wrap=True, justify="right", min_width=11)
    table.add_column("verdict", no_wrap=True, min_width=18)
    table.add_column("cycle", no_wrap=True, overflow="ellipsis", max_width=70)
    table.add_column("detail", no_wrap=True, overflow="ellipsis")
    for line in list(view.opportunities)[-OPPORTUNITIES_SHOWN:]:
        style = "green" if line.verdict == "taken" else "dim"
        net = format_e8(line.net_e8) if line.notional_e8 else ""
        table.add_row(percent(line.edge_ppm), net, line.verdict, line.name, line.detail, style=style)
    return table


def outcomes_table(view: EngineView) -> Table:
    """Lay out the last closed arbitrages with expected and realised profit."""
    table = Table(box=None, pad_edge=False, title="last arbitrages", title_justify="left", title_style="bold")
    for name in ("plan", "state", "expected", "realised"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("expected", "realised") else "left")
    for line in list(view.outcomes)[-OUTCOMES_SHOWN:]:
        table.add_row(line.plan_id, line.state, format_e8(line.expected_e8), format_e8(line.realised_e8))
    return table


def feeds_line(view: EngineView) -> Text:
    """Say in one line how each venue's feed stands, and what was refused and why."""
    text = Text()
    for health in view.venues:
        markets = [market for market in view.markets if market.venue == health.venue]
        usable = sum(market.doubt is None for market in markets)
        state = "up" if health.is_connected else f"down: {health.reason}"
        clock = "clock ?" if health.clock_offset_ms is None else f"clock {health.clock_offset_ms:+d} ms"
        text.append(
            f"{health.venue} {state}, {usable}/{len(markets)} books usable, alive {health.alive_age_ms} ms ago, {clock}   "
        )
    counters = view.counters
    text.append(f"books {counters.get('equal', 0)}/{counters.get('compared', 0)} equal, {counters.get('gaps', 0)} gaps")
    refused = ", ".join(f"{reason} {count}" for reason, count in sorted(view.tally.refused.items(), key=lambda row: -row[1]))
    text.append(f"\nseen {view.tally.seen}, taken {view.tally.taken}; refused: {refused or 'none'}")
    return text


def surface_lines(url: str, set_up_link: str) -> Text:
    """Say where the screen in the browser is, and as long as nobody may sign in, how the first one comes in."""
    closed = "the surface for the browser is not open; the log says why when that lasts"
    text = Text(f"in the browser: {url}" if url else closed, "bold", overflow="fold")
    if set_up_link:
        text.append(f"\nfor the first visit, once and within an hour:\n{set_up_link}")
    return text


def in_words(value: object) -> str:
    """Write a value of the summary for people: names and values by commas, an empty one as none."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_nested(inner)}" for name, inner in value.items()) or "none"
    if isinstance(value, (list, tuple)):
        return ", ".join(_nested(inner) for inner in value) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else str(value)


def _nested(value: object) -> str:
    words = in_words(value)
    return f"({words})" if isinstance(value, (Mapping, list, tuple)) and value else words


def percent(ppm: int | None) -> str:
    """Print parts per million as per cent."""
    return "" if ppm is None else f"{ppm / 10_000:+.3f}"


def price(value: float) -> str:
    """Print a book's price for the eye."""
    return f"{value:,.8f}".rstrip("0").rstrip(".") if value else "-"
