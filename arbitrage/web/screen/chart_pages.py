"""Pages with charts: spreads over time, whether there is an edge, where the money comes from, what lies where. Reads only.

Every picture is drawn from what was seen or kept; where there is too little to draw, the page says so in place of the picture.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Meta

from arbitrage.engine.views import Tally
from arbitrage.store.ledger_nouns import Away, EpisodeLine, OpportunityLine, ProfitQuestion, Question
from arbitrage.web.callers import Role
from arbitrage.web.endpoints import Answer, Call, Endpoint, Kind
from arbitrage.web.problems import problem
from arbitrage.web.screen import figures
from arbitrage.web.screen.charts.fall import Amount, fall_of
from arbitrage.web.screen.charts.shares import bars, heat_rows, survival_chart
from arbitrage.web.screen.charts.svg import Chart
from arbitrage.web.screen.inventory import Transfer, inventory_of, payback_of, value_e8
from arbitrage.web.screen.live import Live
from arbitrage.web.screen.overview import MEANINGS, readable
from arbitrage.web.screen.plots import PlotFigures, spread_plot
from arbitrage.web.screen.premium import premiums
from arbitrage.web.screen.premium_history import PremiumHistory
from arbitrage.web.screen.render import Pages
from arbitrage.web.screen.screens import page
from arbitrage.web.screen.spread_history import SpreadHistory

Span = Literal["10m", "1h", "6h", "24h"]
SPANS_NS: dict[str, int] = {
    "10m": 10 * figures.MINUTE_NS, "1h": figures.HOUR_NS, "6h": 6 * figures.HOUR_NS, "24h": figures.DAY_NS,
}  # fmt: skip
EVERY_S: dict[str, int] = {"10m": 5, "1h": 10, "6h": 30, "24h": 60}
"""A browser asks so often for a chart that it keeps drawing; of a longer span a second is less to see."""
LINES_MAX = 1_000
HEAT_DAYS = 7
UNKNOWN = problem(404, "unknown_pair", "no such pair is remembered")
PAYBACK_DAYS, PAYBACKS_MAX = 7, 12
BELOW_COST = ("below_threshold", "below_minimum", "time_budget")
"""Refusals that say: not worth it, or not even looked at closely."""


class SpreadsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which time."""

    span: Span = "1h"


class PointsQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which plot of the page, and which time: the span up to now, or what lies between two moments."""

    key: Annotated[str, Meta(max_length=200)]
    chart: Literal["spread", "premium", "rate"] = "spread"
    span: Span = "1h"
    from_s: Annotated[int, Meta(ge=0, le=10**10)] = 0
    until_s: Annotated[int, Meta(ge=0, le=10**10)] = 0


class MoneyQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many days."""

    days: Annotated[int, Meta(ge=1, le=366)] = 30


class Drawn(msgspec.Struct, frozen=True):
    """One chart of the page: its heading, its picture where there is enough to draw, and where its figures are asked for."""

    name: str
    picture: Chart | None
    points: str
    row: str = ""
    """Which row of the table beside it says the same of now."""


class ChartPages:
    """Handlers; `endpoints` are their rows in the table."""

    def __init__(self, pages: Pages, live: Live, history: SpreadHistory, premiums: PremiumHistory) -> None:
        self._pages = pages
        self._live = live
        self._history = history
        self._premiums = premiums

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the rows of the table of endpoints."""
        return (
            page("/spreads", self.spreads, Role.VIEWER, "Spreads over time and the premium taken apart", query=SpreadsQuery),
            Endpoint(
                method="GET", path="/spreads/points", handler=self.points, role=Role.VIEWER, query=PointsQuery,
                answer=PlotFigures, errors=(404,), kind=Kind.FILE, tag="pages", summary="The figures of one chart over time",
            ),
            page("/edge", self.edge, Role.ANALYST, "Is there an edge: funnel, hours, lives of openings", query=None),
            page("/money", self.money, Role.ANALYST, "Profit by component, day and pair", query=MoneyQuery),
            page("/inventory", self.inventory, Role.ANALYST, "What lies where", query=None),
        )

    async def spreads(self, call: Call) -> Answer:
        """Draw each pair's net and gross edge over time, with what was executed."""
        asked: SpreadsQuery = call.query
        view = call.ports.views.view()
        since_ns = view.at_ns - SPANS_NS[asked.span]
        marks = await self._executed(call, since_ns)
        drawn = []
        for key, asset in self._history.keys.items():
            series = await self._history.series(key, since_ns)
            if series is not None:
                drawn.append(Drawn(asset, spread_plot(series, marks).chart(), _address("spread", key, asked.span)))
                await asyncio.sleep(0)  # a picture takes milliseconds: trading goes first
        banks, since = call.ports.bank_rates(), self._history.since_ns
        values = {
            "charts": drawn,
            "asked": asked,
            "spans": tuple(SPANS_NS),
            "premiums": premiums(view, banks),
            "premium_charts": await self._premium_charts(since_ns, asked.span),
            "banks": banks,
            "not_kept": self._history.pairs_not_kept + self._premiums.coins_not_kept,
        }
        remembered = "" if since is None else figures.moment(since)
        every = EVERY_S[asked.span] if self._pages.has_plots else 0
        return self._pages.page(call, "spreads.html", values=values, remembered=remembered, every=every)

    async def _premium_charts(self, since_ns: int, span: str) -> list[Drawn]:
        """Draw each coin's premium over time: its parts, and the rates that they come from."""
        drawn = []
        for key, asset in self._premiums.keys.items():
            series = await self._premiums.series(key, since_ns)
            if series is not None:
                drawn.append(Drawn(f"{asset}: parts", series.parts().chart(), _address("premium", key, span), key))
                await asyncio.sleep(0)
                drawn.append(Drawn(f"{asset}: rates", series.rates().chart(), _address("rate", key, span)))
        return drawn

    async def points(self, call: Call) -> Answer:
        """Give the figures of one chart; what lies between two moments comes second by second where they are near."""
        asked: PointsQuery = call.query
        view = call.ports.views.view()
        since_ns, until_ns = asked.from_s * figures.SECOND_NS, (asked.until_s + 1) * figures.SECOND_NS - 1
        if not asked.until_s:
            since_ns, until_ns = view.at_ns - SPANS_NS[asked.span], view.at_ns
        if asked.chart == "spread":
            series = await self._history.series(asked.key, since_ns, until_ns)
            return UNKNOWN if series is None else spread_plot(series, await self._executed(call, since_ns)).figures()
        premium = await self._premiums.series(asked.key, since_ns, until_ns)
        if premium is None:
            return UNKNOWN
        if asked.chart == "rate":
            return premium.rates().figures()
        rows = premiums(view, call.ports.bank_rates())
        return premium.parts().figures(next((row for row in rows if row.key == asked.key), None))

    async def _executed(self, call: Call, since_ns: int) -> Sequence[OpportunityLine]:
        """Return what was taken lately; nothing while the database is away."""
        found = await call.ports.ledger.opportunities(Question(is_taken=True, since_ns=max(0, since_ns), limit=LINES_MAX))
        return () if isinstance(found, Away) else found.lines

    async def edge(self, call: Call) -> Answer:
        """Show where openings are lost, when they come, and how long they live beside our round trip."""
        views, ledger = call.ports.views, call.ports.ledger
        now_ns, started_ns = views.now_ns(), views.standing().started_at_ns
        episodes = await ledger.episodes(Question(since_ns=max(0, now_ns - HEAT_DAYS * figures.DAY_NS), limit=LINES_MAX))
        taken = await ledger.opportunities(Question(is_taken=True, since_ns=started_ns, limit=LINES_MAX))
        if isinstance(episodes, Away):
            return self._pages.away(call, episodes.reason)
        if isinstance(taken, Away):
            return self._pages.away(call, taken.reason)
        tally = views.view().tally
        return self._pages.page(
            call,
            "edge.html",
            funnel=bars(funnel_of(tally, taken.lines), of_first=True),
            refusals=bars([(readable(name), count) for name, count in sorted(tally.refused.items(), key=lambda row: -row[1])]),
            heat=heat_rows(by_hour(episodes.lines)),
            survival=survival_chart(
                [line.life_ms for line in episodes.lines if line.state == "gone"], self._live.round_trip_ms
            ),
            episodes=len(episodes.lines),
            days=HEAT_DAYS,
        )

    async def money(self, call: Call) -> Answer:
        """Take profit apart."""
        asked: MoneyQuery = call.query
        since_ns = max(0, call.ports.views.now_ns() // figures.DAY_NS * figures.DAY_NS - (asked.days - 1) * figures.DAY_NS)
        answers = [await call.ports.ledger.profit(ProfitQuestion(by, since_ns)) for by in ("component", "day", "pair")]
        found = []
        for answer in answers:
            if isinstance(answer, Away):
                return self._pages.away(call, answer.reason)
            found.append(answer)
        parts, days, pairs = found
        amounts = [Amount(readable(line.key), line.realised.e8, text=MEANINGS.get(line.key, "")) for line in parts.lines]
        whole = Amount("realised", parts.total.realised.e8, is_total=True)
        fall = fall_of([*amounts, whole], parts.currency)
        return self._pages.page(call, "money.html", fall=fall, by_day=days, by_pair=pairs, asked=asked)

    async def inventory(self, call: Call) -> Answer:
        """Show what lies where, what carrying some of it over would cost, and when that would pay for itself."""
        view, settings = call.ports.views.view(), call.ports.views.loaded().settings
        assets, asked = [], 0
        for row in inventory_of(view, settings.strategy):
            text = ""
            if row.transfer is not None and row.transfer.cost_e8 is not None:
                asked += 1
                text = await _payback(call, row.transfer) if asked <= PAYBACKS_MAX else "Its payback was not looked up."
            assets.append(msgspec.structs.replace(row, payback=text))
        return self._pages.page(call, "inventory.html", assets=assets, dust=view.dust)


async def _payback(call: Call, transfer: Transfer) -> str:
    """Say when a transfer pays for itself, or why nobody can say."""
    view = call.ports.views.view()
    assert transfer.cost_e8 is not None, "its cost is known"
    cost_e8 = value_e8(view, transfer.asset, transfer.cost_e8)
    if cost_e8 is None:
        return f"Its payback is not known: no best price here values {transfer.asset} in {view.reporting_asset}."
    since_ns = max(0, view.at_ns - PAYBACK_DAYS * figures.DAY_NS)
    missed = await call.ports.ledger.missed(transfer.node, view.reporting_asset, since_ns)
    if isinstance(missed, Away):
        return f"Its payback is not known now: {missed.reason}."
    return payback_of(transfer, cost_e8, missed, view.at_ns)


def _address(chart: str, key: str, span: str) -> str:
    return "/spreads/points?" + urlencode({"chart": chart, "key": key, "span": span})


def funnel_of(tally: Tally, taken: Sequence[OpportunityLine]) -> list[tuple[str, int]]:
    """Count what was left after each sieve since the start of the process."""
    below = sum(tally.refused.get(reason, 0) for reason in BELOW_COST)
    filled = [line for line in taken if line.plan_state not in (None, "missed", "working", "governed")]
    return [
        ("seen", tally.seen),
        ("worth it after cost", tally.seen - below),
        ("passed the guard, sent", tally.taken),
        ("filled", len(filled)),
        ("profitable", sum(line.realised is not None and line.realised.e8 > 0 for line in filled)),
    ]


def by_hour(episodes: Sequence[EpisodeLine]) -> dict[str, dict[int, int]]:
    """Count openings by pair and hour of the day, UTC."""
    counts: dict[str, dict[int, int]] = {}
    for line in episodes:
        hours = counts.setdefault(line.pair, {})
        hour = line.first_seen.ns // figures.HOUR_NS % 24
        hours[hour] = hours.get(hour, 0) + 1
    return counts
