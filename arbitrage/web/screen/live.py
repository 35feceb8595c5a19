"""The first screen kept live: one picture drawn for everybody who looks, twice a second. Changes nothing and holds no client.

The database is asked only while somebody looks, and its silence shows as a note beside older figures.
"""

from __future__ import annotations

import asyncio
import statistics

import msgspec

from arbitrage.engine.views import EngineView
from arbitrage.store.ledger_nouns import Away, EpisodePage, Profit, ProfitQuestion, Question
from arbitrage.store.reads import Wanted
from arbitrage.web.ports import Ports
from arbitrage.web.screen import figures
from arbitrage.web.screen.alerts import alerts_picture
from arbitrage.web.screen.charts.fall import Amount
from arbitrage.web.screen.overview import Beside, Overview, Past, Proof, overview_of, readable
from arbitrage.web.screen.premium_history import PremiumHistory
from arbitrage.web.screen.quality import round_trip_ms
from arbitrage.web.screen.spread_history import SpreadHistory

TOPIC = "overview"
PERIOD_S = 0.5
RECORDS_EVERY_S = 5.0
LOOKED_AT_S = 30
"""For so long after the last look the records are kept fresh."""
SPARK_SECONDS = 600
EPISODES_ASKED, ORDERS_ASKED, FILLS_ASKED = 300, 100, 200


class Remembered(msgspec.Struct):
    """What was last read of the records."""

    money: tuple[Amount, ...] = ()
    note: str = "not read yet"
    lives_ms: dict[str, int] = {}
    """Median by coin."""
    round_trip_ms: int | None = None


class Live:
    """Made once; `run` is a task of the surface."""

    def __init__(self, ports: Ports, history: SpreadHistory, premiums: PremiumHistory) -> None:
        self._ports = ports
        self._history = history
        self._premiums = premiums
        self._remembered = Remembered()
        self._looked_at_ns = 0

    @property
    def round_trip_ms(self) -> int | None:
        """Our own median round trip as last read."""
        return self._remembered.round_trip_ms

    def overview(self) -> Overview:
        """Read the first screen as of now."""
        views = self._ports.views
        self._looked_at_ns = views.now_ns()
        view, standing, settings = views.view(), views.standing(), views.loaded().settings
        pasts = {}
        for key, asset in self._history.keys.items():
            recent = self._history.recent(key, SPARK_SECONDS)
            pasts[key] = Past(self._history.above_at_ns(key), self._remembered.lives_ms.get(asset), recent)
        receipt = views.kill_receipt()
        proof = None
        if standing.kill_last_proven_ns is not None:
            text = f"{readable(standing.kill_last_proven_how)} at {figures.moment(standing.kill_last_proven_ns)} UTC"
            if receipt is not None:
                text += f"; last kill by {receipt.actor}, proven {figures.moment(receipt.proven_at_ns)} UTC"
            proof = Proof(standing.kill_last_proven_ns, standing.kill_last_proven_how, text)
        beside = Beside(
            mode=settings.mode,
            session=settings.session_name,
            started_at_ns=standing.started_at_ns,
            killed=standing.killed,
            paused=standing.paused,
            differences=standing.differences,
            proof=proof,
            limits=views.limits(),
            money=self._remembered.money,
            money_note=self._remembered.note,
            pasts=pasts,
            round_trip_ms=self._remembered.round_trip_ms,
            alerts=alerts_picture(views.alerts(), views.now_ns()),
        )
        return overview_of(view, beside)

    async def run(self) -> None:
        """Sample every second, draw while somebody follows, and keep the records fresh while somebody looks."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._draw(), name="web.live")
            group.create_task(self._read(), name="web.live.records")

    def sample(self, view: EngineView) -> None:
        """Remember one second."""
        self._history.sample(view)
        self._premiums.sample(view, {fiat: rate.at(view.at_ns) for fiat, rate in self._ports.bank_rates().items()})

    async def _draw(self) -> None:
        while True:
            self.sample(self._ports.views.view())
            if self._ports.events.wanted(TOPIC):
                self._ports.events.show(TOPIC, msgspec.json.encode(self.overview()))
            await asyncio.sleep(PERIOD_S)

    async def _read(self) -> None:
        while True:
            if self._ports.views.now_ns() - self._looked_at_ns < LOOKED_AT_S * figures.SECOND_NS:
                await self.refresh()
            await asyncio.sleep(RECORDS_EVERY_S)

    async def refresh(self) -> None:
        """Read today's profit, the lives of openings and our round trip; keep the old where the records are away."""
        now_ns = self._ports.views.now_ns()
        midnight_ns = now_ns - now_ns % figures.DAY_NS
        profit = await self._ports.ledger.profit(ProfitQuestion("component", midnight_ns))
        if isinstance(profit, Away):
            self._remembered.note = f"as of before: {profit.reason}"
            return
        self._remembered.money, self._remembered.note = _components(profit), "; ".join(profit.notes)
        episodes = await self._ports.ledger.episodes(Question(limit=EPISODES_ASKED))
        if not isinstance(episodes, Away):
            self._remembered.lives_ms = _lives(episodes)
        self._remembered.round_trip_ms = await self._round_trip_ms()

    async def _round_trip_ms(self) -> int | None:
        """Return the median time from an order's intent to its last fill, of the newest orders."""
        orders = await self._ports.records.orders(Wanted(limit=ORDERS_ASKED, state="filled"))
        fills = await self._ports.records.fills(Wanted(limit=FILLS_ASKED))
        if isinstance(orders, Away) or isinstance(fills, Away):
            return self._remembered.round_trip_ms
        return round_trip_ms(orders, fills)


def _components(profit: Profit) -> tuple[Amount, ...]:
    parts = [Amount(readable(line.key), line.realised.e8) for line in profit.lines]
    return (*parts, Amount("realised", profit.total.realised.e8, is_total=True))


def _lives(page: EpisodePage) -> dict[str, int]:
    """Return the median life of ended openings by coin."""
    lives: dict[str, list[int]] = {}
    for line in page.lines:
        if line.state == "gone":
            lives.setdefault(line.pair, []).append(line.life_ms)
    return {pair: int(statistics.median_low(spans)) for pair, spans in lives.items()}
