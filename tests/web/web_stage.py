"""A stage for the dashboard's pages: a made-up engine picture, records held in memory, pages asked without sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
from starlette.responses import Response

from arbitrage.engine.views import EngineView, MarketView, OpportunityLine, OutcomeLine, Tally
from arbitrage.model.accounts import KillReceipt, RestartReport, VenueAnswer
from arbitrage.model.instruments import Node, Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.opportunities import FxRate, VenueHealth
from arbitrage.model.orders import PlanId
from arbitrage.ops.alerts.nouns import OfficeStanding
from arbitrage.ops.bank_rates import BankRate
from arbitrage.ops.config import Loaded, Reload, load
from arbitrage.ops.metrics import Metrics
from arbitrage.ops.standing import Standing
from arbitrage.store import ledger_nouns as nouns
from arbitrage.store.reads import AuditLine, ConfigurationVersion, FillRow, OrderRow, PaperRow, Wanted
from arbitrage.strategy.spreads import Spread, Touch
from arbitrage.web.access.sessions import Session
from arbitrage.web.callers import Caller, How, Role
from arbitrage.web.counts import Traffic
from arbitrage.web.endpoints import Call, Endpoint, Table
from arbitrage.web.events import Events
from arbitrage.web.ports import Done, DrillRun, LimitUse, Ports
from arbitrage.web.problems import Problem
from arbitrage.web.screen.dashboard import LINKS, Dashboard
from arbitrage.web.screen.render import PACKAGED, Pages

PROJECT = Path(__file__).resolve().parents[2]
SECOND_NS = 10**9
NOW_NS = 1_790_000_000 * SECOND_NS
USDT, KRW, BTC = Asset("USDT"), Asset("KRW"), Asset("BTC")
BINANCE, UPBIT = Venue("binance"), Venue("upbit")
CYCLE = "USDT@upbit > KRW > BTC > BTC@binance > USDT > USDT@upbit"
STEPS = (
    ("top_of_book", 5 * E8), ("depth", -E8), ("fees", -2 * E8), ("fx", 0), ("transfers", -E8 // 2), ("expected", 3 * E8 // 2),
    ("transfers_unpaid", E8 // 2), ("latency_drift", -7), ("fx_drift", 0), ("fee_changes", 3), ("partial_fills", 0),
    ("realised", 2 * E8 - 4),
)  # fmt: skip


REPORT = RestartReport(NOW_NS, "start", (PlanId("p-9"),), (), (), ("1 difference at upbit",))
RECEIPT = KillReceipt(NOW_NS, "kim", "drill", (), (VenueAnswer(UPBIT, 1, 2, 0, 1),), NOW_NS + SECOND_NS)


def touch(venue: Venue, quote: Asset, bid_e8: int, ask_e8: int, market: int) -> Touch:
    return Touch(market, Node(venue, BTC), f"BTC{quote}", quote, bid_e8, ask_e8, 40)


def spread(net_ppm: int | None = -1_200, gross_ppm: int | None = 900, **changes: Any) -> Spread:
    """A coin that Binance sells and Upbit buys."""
    missing = None if net_ppm is None else max(0, -net_ppm)
    made = Spread(
        BTC, touch(BINANCE, USDT, 100_000 * E8, 100_001 * E8, 0), touch(UPBIT, KRW, 141_500_000 * E8, 141_600_000 * E8, 1),
        (FxRate(2, 1_415 * E8, E8, 1_416 * E8, E8, 10),), gross_ppm, net_ppm, missing, "",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


def outcome(**changes: Any) -> OutcomeLine:
    made = OutcomeLine(NOW_NS - SECOND_NS, "p-1", "completed", 3 * E8 // 2, 2 * E8 - 4, "o-1", CYCLE, STEPS)
    return msgspec.structs.replace(made, **changes)


def opportunity(verdict: str = "taken", net_e8: int = E8, **changes: Any) -> OpportunityLine:
    made = OpportunityLine(NOW_NS - SECOND_NS, CYCLE, verdict, "", 150, net_e8, 1_000 * E8, USDT)
    return msgspec.structs.replace(made, **changes)


def view(**changes: Any) -> EngineView:
    """An armed engine that watches one pair."""
    made = EngineView(
        at_ns=NOW_NS,
        not_armed_because=(),
        spreads=(spread(),),
        markets=(
            MarketView(0, BINANCE, "BTCUSDT", 1.0, 2.0, 4, 9, None),
            MarketView(1, UPBIT, "KRW-BTC", 1.0, 2.0, 4, 9, None),
        ),
        venues=(VenueHealth(BINANCE, True, 4, -3, ""), VenueHealth(UPBIT, True, 1_500, None, "")),
        opportunities=(opportunity(),),
        outcomes=(outcome(),),
        tally=Tally(seen=9, taken=1, refused={"below_threshold": 5, "pair_busy": 3}, completed=1),
        counters={"gaps": 0, "compared": 7, "equal": 7},
        reporting_asset=USDT,
        realised_e8=2 * E8 - 4,
        open_plans=0,
        balances={Node(BINANCE, BTC): (E8, 5), Node(UPBIT, BTC): (0, 0), Node(UPBIT, KRW): (9 * E8, 0)},
        links_lost={"binance": 2, "upbit": 0},
    )
    return msgspec.structs.replace(made, **changes)


def moment(seconds: float = 0.0) -> nouns.Moment:
    return nouns.Moment.of(NOW_NS + int(seconds * SECOND_NS))


def money(e8: int) -> nouns.Money:
    return nouns.Money.of(e8, "USDT")


def line(**changes: Any) -> nouns.OpportunityLine:
    made = nouns.OpportunityLine(
        "o-1",
        moment(-5),
        CYCLE,
        "BTC",
        "taken",
        "",
        150,
        money(E8),
        money(1_000 * E8),
        40,
        "p-1",
        "completed",
        money(2 * E8 - 4),
    )
    return msgspec.structs.replace(made, **changes)


def episode(life_ms: int, state: str = "gone", pair: str = "BTC") -> nouns.EpisodeLine:
    later = (
        nouns.FollowUpLine(50, 52, money(-E8), ""), nouns.FollowUpLine(100, 101, None, "market unusable: stale_market"),
    )  # fmt: skip
    return nouns.EpisodeLine(
        "e-1", 0, CYCLE, pair, moment(-9), moment(-8), life_ms, state, 3, 170, money(E8), None, None, ("o-1",), 1, {}, later
    )


def order(**changes: Any) -> OrderRow:
    made = OrderRow(
        "c-1", "p-1", 0, "binance", "BTCUSDT", "buy", "100", "2", "2", "ioc", "filled", "", moment(-5), moment(-4.95)
    )
    return msgspec.structs.replace(made, **changes)


def fill(**changes: Any) -> FillRow:
    made = FillRow(1, moment(-4.96), "binance", "BTCUSDT", "c-1", "t", "buy", "99", "2", "198", "0.1", "USDT", "0.1", False)
    return msgspec.structs.replace(made, **changes)


def story() -> nouns.Story:
    """An arbitrage with one leg, one order and all that can be told of it."""
    amount = nouns.Money("BTC", "0.01")
    steps = tuple(nouns.Step(name, "", money(e8), name in ("expected", "realised")) for name, e8 in STEPS)
    told = nouns.FillLine(moment(-4.96), "t", "99", "2", "198", amount, None, False)
    return nouns.Story(
        opportunity=line(),
        waterfall=nouns.WaterfallLine("USDT", steps, True),
        legs=(nouns.LegLine("binance", "BTCUSDT", "buy", "99", "100", 40, "2", amount, amount, amount, True),),
        rates=(nouns.RateLine("KRW-USDT", "1415", "1", "1416", "1", 10),),
        plan=nouns.PlanLine(
            "p-1",
            "completed",
            moment(-5),
            moment(9),
            moment(-4),
            money(E8),
            money(E8),
            (nouns.ResidualLine(amount, money(1), ""),),
        ),
        orders=(
            nouns.OrderLine(
                "c-1", 0, "binance", "BTCUSDT", "buy", "100", "2", "2", "filled", "", moment(-5), moment(-4), (told,)
            ),
            nouns.OrderLine("c-2", 1, "upbit", "KRW-BTC", "sell", "100", "2", "0", "rejected", "x", moment(-5), moment(-4), ()),
        ),
        decisions=(
            nouns.DecisionLine(
                moment(-4.5),
                "reverse",
                (nouns.ChoiceLine("reverse", money(E8), ""), nouns.ChoiceLine("hold", None, "too dear")),
            ),
        ),
        episode=episode(900),
    )


class HeldLedger:
    """What `LedgerReads` promises, in memory; with `is_away` a database that does not answer."""

    def __init__(self) -> None:
        self.is_away = False
        self.asked: list[object] = []
        self.short = nouns.Missed(0, 0, 0, money(0), NOW_NS - 3 * 86_400 * SECOND_NS)

    async def missed(self, node: str, currency: str, since_ns: int) -> nouns.Missed | nouns.Away:
        self.asked.append((node, currency, since_ns))
        return self._answer(self.short)

    async def opportunities(self, question: nouns.Question) -> nouns.OpportunityPage | nouns.Away:
        self.asked.append(question)
        if question.cursor == "bad":
            raise nouns.BadQuestion("the cursor is none of ours")
        lost = line(id="o-2", verdict="pair_busy", plan_id=None, plan_state=None, realised=None)
        return self._answer(nouns.OpportunityPage((line(), lost), "next"))

    async def episodes(self, question: nouns.Question) -> nouns.EpisodePage | nouns.Away:
        lines = (episode(20), episode(900), episode(2_000, pair="BTC+ETH"), episode(5, "open"))
        return self._answer(nouns.EpisodePage(lines, None))

    async def story(self, name: str) -> nouns.Story | nouns.Away | None:
        return self._answer(story() if name in ("o-1", "p/1") else None)

    async def profit(self, question: nouns.ProfitQuestion) -> nouns.Profit | nouns.Away:
        total = nouns.ProfitLine("total", 1, money(E8), money(2 * E8), None, ())
        parts = (("top_of_book", 3 * E8), ("fees", -E8)) if question.by == "component" else (("BTC", 2 * E8),)
        lines = tuple(nouns.ProfitLine(key, 1, money(E8), money(e8), money(E8), ()) for key, e8 in parts)
        return self._answer(nouns.Profit(question.by, "USDT", lines, total, ("a note",)))

    def _answer(self, value: Any) -> Any:
        return nouns.Away("PostgreSQL does not answer") if self.is_away else value


class HeldRecords:
    """What `Reads` promises, likewise; `away` names the reads that do not answer."""

    def __init__(self) -> None:
        self.away: set[str] = set()
        self.count = 1
        self.versions: dict[str, dict[str, Any]] = {}

    async def orders(self, wanted: Wanted) -> Sequence[OrderRow] | nouns.Away:
        return self._answer("orders" if wanted.limit == 50 else "recent", [order()] * min(self.count, wanted.limit))

    async def fills(self, wanted: Wanted) -> Sequence[FillRow] | nouns.Away:
        return self._answer("fills", [fill()])

    async def reports(self, limit: int) -> Sequence[PaperRow] | nouns.Away:
        return self._answer("reports", [] if not self.count else [PaperRow(1, moment(), msgspec.to_builtins(REPORT))])

    async def receipts(self, limit: int) -> Sequence[PaperRow] | nouns.Away:
        return self._answer("receipts", [PaperRow(1, moment(), msgspec.to_builtins(RECEIPT))])

    async def configurations(self, limit: int) -> tuple[ConfigurationVersion, ...] | nouns.Away:
        lines = [ConfigurationVersion(version, moment(-place), "kim") for place, version in enumerate(self.versions)]
        return self._answer("configurations", tuple(lines[:limit]))

    async def configuration(self, version: str) -> dict[str, Any] | nouns.Away | None:
        return self._answer("configuration", self.versions.get(version))

    async def audit(self, wanted: Wanted) -> Sequence[AuditLine] | nouns.Away:
        said = AuditLine(1, moment(), "kim", "::1", "POST /x", "<b>", 200, "why", {"a": 1}, None, "ab" * 32)
        return self._answer("audit", [said] * min(self.count, wanted.limit))

    def _answer(self, name: str, value: Any) -> Any:
        return nouns.Away("PostgreSQL does not answer") if name in self.away else value


class Stage:
    """All of it, with every command that was given."""

    def __init__(self, picture: EngineView | None = None, packaged: Path = PACKAGED) -> None:
        self.picture = picture or view()
        self.killed = self.paused = ""
        self.done = True
        self.limits_in_use: tuple[LimitUse, ...] = (LimitUse("loss_today_max", "", "0", "200", "USDT", 0),)
        self.change: Reload | tuple[str, ...] = Reload((), ())
        self.given: list[tuple[object, ...]] = []
        self.receipt: KillReceipt | None = None
        self.report: RestartReport | None = None
        self.measured = Metrics()
        self.runs: dict[str, DrillRun] = {}
        self.refusal = ""
        self.office: OfficeStanding | None = OfficeStanding()
        self.configuration = load(PROJECT / "config", {})
        self.banks: dict[str, BankRate] = {}
        self.ledger, self.records = HeldLedger(), HeldRecords()
        self.events = Events(1, kept_max=10, followers_max=2, queue_max=10)
        self.ports = Ports(
            views=self, commands=self, records=self.records, ledger=self.ledger, audit=self, events=self.events,  # type: ignore[arg-type]  # held ones
            traffic=Traffic(), still_counts=lambda caller: True, bank_rates=lambda: self.banks,
        )  # fmt: skip
        self.dashboard = Dashboard(self.ports, Pages(LINKS, packaged))
        self.table = Table(self.dashboard.endpoints())

    def now_ns(self) -> int:
        return self.picture.at_ns

    def view(self) -> EngineView:
        return self.picture

    def loaded(self) -> Loaded:
        return self.configuration

    def overrides(self) -> dict[str, Any]:
        return {"risk.profit_min": None}

    def metrics(self) -> Metrics:
        return self.measured

    def limits(self) -> tuple[LimitUse, ...]:
        return self.limits_in_use

    def kill_receipt(self) -> KillReceipt | None:
        return self.receipt

    def restart_report(self) -> RestartReport | None:
        return self.report

    def alerts(self) -> OfficeStanding | None:
        return self.office

    def standing(self) -> Standing:
        reasons = self.picture.not_armed_because
        return Standing(
            1, "paper", "demo", 1, not reasons, reasons, self.killed, self.paused, (), 0, 0, "0", "USDT", (),
            NOW_NS - 60 * SECOND_NS, "exercise", {}, NOW_NS, NOW_NS - 3_600 * SECOND_NS,
        )  # fmt: skip

    def _did(self, word: str, *values: object) -> Done:
        self.given.append((word, *values))
        return Done(self.done, word, self.standing())

    def kill(self, caller: Caller, reason: str) -> Done:
        return self._did("kill", caller.name, reason)

    def release(self, caller: Caller, reason: str) -> Done:
        return self._did("release", caller.name, reason)

    def pause(self, caller: Caller, reason: str) -> Done:
        return self._did("pause", caller.name, reason)

    def resume(self, caller: Caller, reason: str) -> Done:
        return self._did("resume", caller.name, reason)

    def accept(self, caller: Caller, name: str, reason: str) -> Done:
        return self._did("accept", caller.name, name, reason)

    async def roll_back(self, caller: Caller, body: dict[str, Any], reason: str) -> Reload | tuple[str, ...]:
        self._did("back", body, reason)
        return self.change

    def drill_runs(self) -> dict[str, DrillRun]:
        return self.runs

    def drill_refusal(self) -> str:
        return self.refusal

    async def begin_drill(self, caller: Caller, name: str) -> Done:
        return self._did("drill", caller.name, name)

    async def exercise_kill(self, caller: Caller) -> Done:
        return self._did("exercise", caller.name)

    async def put_settings(self, caller: Caller, values: dict[str, Any], reason: str) -> Reload | tuple[str, ...]:
        self._did("put", values, reason)
        return self.change

    async def reset_settings(self, caller: Caller, keys: tuple[str, ...] | None) -> Reload | tuple[str, ...]:
        self._did("reset", keys)
        return self.change

    def ask(self, path: str, *, role: Role | None = Role.ADMIN, form: dict[str, str] | None = None, **query: Any) -> Response:
        """Ask for a page as the application does, the guard aside; a problem comes back as a response of its status."""
        found = self.table.find("POST" if form is not None else "GET", path)
        assert found.endpoint is not None, f"{path} is a page"
        given = {**query, **found.parameters}
        endpoint: Endpoint = found.endpoint
        caller = Caller("kim" if role else "", role, How.SESSION if role else How.NOBODY, "::1", "s-1" if role else "")
        session = Session("s-1", "kim", 1, "csrf-of-kim", "::1", "", 0, 0) if role else None
        call = Call(
            ports=self.ports, caller=caller, endpoint=endpoint, form=urlencode(form or {}).encode(),
            query=msgspec.convert(given, endpoint.query, strict=False) if endpoint.query is not None else None,
            scope={"path": path, "arbitrage.session": session},
        )  # fmt: skip
        answer: Any = asyncio.run(endpoint.handler(call))  # type: ignore[arg-type]  # a coroutine, as every handler is
        if isinstance(answer, Problem):
            return Response(answer.detail, answer.status)
        if endpoint.answer is not None and isinstance(answer, endpoint.answer):
            return Response(msgspec.json.encode(answer))
        assert isinstance(answer, Response), "a page is a response"
        return answer

    def text(self, path: str, **more: Any) -> str:
        """Ask for a page and return it as text."""
        return bytes(self.ask(path, **more).body).decode()
