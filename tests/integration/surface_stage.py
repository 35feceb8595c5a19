"""The surface's own server and dashboard over a made-up market with a day behind it. Trades nothing.

A daemon has no day of history when a test starts it; here the pages, the application and the server are the real ones, the
guard lets everybody in, and the market is a walk out of a seed that goes on as fast as it is told.
"""

from __future__ import annotations

import asyncio
import random
import sys
import threading
from collections import deque
from pathlib import Path

import msgspec
from browser_lab import Browser
from daemon_lab import PROJECT, wait_until
from starlette.types import ASGIApp, Receive, Scope, Send

sys.path.append(str(PROJECT / "tests" / "web"))  # the web's own tests keep `web_stage` there

from web_stage import E8, NOW_NS, SECOND_NS, Stage, opportunity, outcome, spread, view

from arbitrage.engine.views import EngineView
from arbitrage.model.opportunities import FxRate
from arbitrage.model.settings import WebSettings
from arbitrage.ops.alerts.nouns import OfficeStanding
from arbitrage.web.access.sessions import Session
from arbitrage.web.application import CALLER, build
from arbitrage.web.callers import Caller, How, Role
from arbitrage.web.faults import Faults
from arbitrage.web.screen.live import TOPIC
from arbitrage.web.screen.render import PACKAGED
from arbitrage.web.server import WebServer

DAY_S = 86_400
COINS = ("BTC", "ETH")
RECORDS_EVERY = 20
"""Pictures after which the records are read again."""
ANEW, PICTURES_KEPT = 10, 50
"""Every tenth picture is drawn anew; the others are earlier ones, as a browser takes more than this house draws."""
FASTER = """(() => {
  const later = window.setTimeout;
  window.setTimeout = (work, ms, ...more) => later(function due() { window.held ? later(due, 5) : work(...more); }, ms / %s);
})();"""
"""Divides every wait of a page; while `held`, nothing that waited begins."""
COUNTED = """(() => {
  window.heard = window.asking = 0;
  const [Source, ask] = [window.EventSource, window.fetch];
  window.EventSource = class extends Source {
    constructor(...words) { super(...words); super.addEventListener("overview", () => { window.heard += 1; }); }
  };
  window.fetch = async (...words) => {
    window.asking += 1;
    try { return await ask(...words); } finally { window.asking -= 1; window.heard += 1; }
  };
})();"""
"""Counts what a page takes in: pictures of the stream, answers to its own questions; and what it asks now."""


class StageHouse:
    """One server in a thread of its own. Each picture is half a second of the market later; the next comes after `period_s`."""

    def __init__(
        self, *, packaged: Path = PACKAGED, period_s: float = 0.5, seconds: int = DAY_S, pictures_kept: int = PICTURES_KEPT
    ) -> None:
        self._stage = Stage(packaged=packaged)
        self._pictures_kept = pictures_kept
        self.period_s = period_s
        self.is_held = False
        """No picture follows while it is: a page takes in what is under way and comes to rest."""
        self._dice = random.Random(7)
        self._net = dict.fromkeys(COINS, -2_000)
        self._pattern = view()
        rates = [FxRate(2, (1_415 + n) * E8, E8, (1_416 + n) * E8, E8, 10) for n in range(9)]
        self._pairs = [spread(fx=(rate,)) for rate in rates]
        self._rate = 4
        for second in range(seconds, 0, -1):
            self._stage.dashboard.live.sample(self._picture(NOW_NS - second * SECOND_NS))
        self.shown = 0
        self.url = ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), name="surface stage")
        self._thread.start()
        wait_until(lambda: self.url, "the stage listens")

    def close(self) -> None:
        """End it."""
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join()

    def tell(self, alerts: OfficeStanding) -> None:
        """Have the next picture that is drawn say this of the alerts."""
        self._stage.office = alerts

    def _picture(self, at_ns: int) -> EngineView:
        """Go one step on."""
        self._rate = max(0, min(8, self._rate + self._dice.randint(-1, 1)))
        pair, spreads = self._pairs[self._rate], []
        for coin in COINS:
            net = self._net[coin] = max(-9_000, min(9_000, self._net[coin] + self._dice.randint(-150, 150)))
            known = {"gross_ppm": net + 2_100, "net_ppm": net, "missing_ppm": max(0, -net)}
            figures = known if self._dice.random() > 0.001 else dict.fromkeys(known)
            spreads.append(msgspec.structs.replace(pair, asset=coin, **figures))
        return msgspec.structs.replace(self._pattern, at_ns=at_ns, spreads=tuple(spreads))

    async def _serve(self) -> None:
        stage, faults = self._stage, Faults()
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        settings = WebSettings(port=0)
        application = build(stage.ports, settings, _open_guard, stage.dashboard.endpoints(), faults=faults)
        server = WebServer(settings, application, stage.ports.traffic, faults)

        def opened() -> None:
            self.url = server.url

        work = [asyncio.ensure_future(server.serve(opened)), asyncio.ensure_future(self._go_on())]
        await self._ending.wait()
        stage.events.close()
        for task in work:
            task.cancel()
        await asyncio.gather(*work, return_exceptions=True)

    async def _go_on(self) -> None:
        """Show one picture after another, half a second of market time apart."""
        stage, live = self._stage, self._stage.dashboard.live
        pictures: deque[bytes] = deque(maxlen=self._pictures_kept)
        while True:
            await asyncio.sleep(self.period_s)
            if self.is_held:
                continue
            self.shown += 1
            at_ns = NOW_NS + self.shown * SECOND_NS // 2
            net_e8 = self._dice.randint(-E8, E8)
            stage.picture = msgspec.structs.replace(
                self._picture(at_ns),
                opportunities=tuple(opportunity(net_e8=net_e8 + n, at_ns=at_ns) for n in range(self.shown % 8 + 1)),
                outcomes=tuple(outcome(at_ns=at_ns, plan_id=f"p-{self.shown}-{n}") for n in range(self.shown % 5)),
            )
            live.sample(stage.picture)
            if self.shown % ANEW == 1:
                pictures.append(msgspec.json.encode(live.overview()))
            stage.events.show(TOPIC, pictures[self.shown % len(pictures)])
            if self.shown % RECORDS_EVERY == 1:
                await live.refresh()


def watched(house: StageHouse, path: str, *, faster: float = 1.0, planted: str = "") -> Browser:
    """Open a browser on a page of the house; `faster` divides every time for which the page's scripts wait, `planted` joins."""
    browser = Browser(house.url)
    try:
        for script in (COUNTED, FASTER % faster, planted):
            browser.cdp("Page.addScriptToEvaluateOnNewDocument", source=script)
        browser.look("light", 1440)
        browser.open(path)
    except BaseException:
        browser.close()
        raise
    return browser


def _open_guard(inner: ASGIApp) -> ASGIApp:
    """Take whoever asks for a viewer."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        scope[CALLER] = Caller("kim", Role.VIEWER, How.SESSION, "127.0.0.1", "s-1")
        scope["arbitrage.session"] = Session("s-1", "kim", 1, "csrf-of-kim", "127.0.0.1", "", 0, 0)
        await inner(scope, receive, send)

    return guarded
