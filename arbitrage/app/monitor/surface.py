"""Reads the first screen over the API with a key that may only read. What is refused or away is a note; the rest is shown."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Sequence
from statistics import median
from typing import TypeVar

import httpx
import msgspec

from arbitrage.app.monitor.picture import (
    FeedLine,
    LimitLine,
    MoneyLine,
    OpportunityLine,
    OutcomeLine,
    PairLine,
    Picture,
    ago,
)
from arbitrage.store.ledger_nouns import EpisodeLine, EpisodePage, Profit
from arbitrage.web.api.alert_endpoints import Alerts
from arbitrage.web.api.pictures import SpreadLine, Status, TouchLine
from arbitrage.web.api.state_endpoints import Recent, Risk, Spreads

ANSWER_SECONDS_MAX = 4.0
ANSWER_BYTES_MAX = 5_000_000
DAY_NS = 86_400_000_000_000
EPISODES_ASKED = 200
ENDS = ("completed", "recovered", "missed", "residual")
Wanted = TypeVar("Wanted", bound=msgspec.Struct)


class Refused(Exception):
    """The API does not answer, or not us; the text says why and holds no key."""


class Surface:
    """One daemon's API."""

    def __init__(self, url: str, key: str) -> None:
        self._url = url.rstrip("/")
        # Reading certificates takes a while, and plain http, on this machine, has none to verify.
        verify = ssl.create_default_context() if url.startswith("https:") else False
        headers = {"authorization": f"Bearer {key}"}
        self._client = httpx.AsyncClient(
            trust_env=False, timeout=ANSWER_SECONDS_MAX, headers=headers, follow_redirects=False, verify=verify
        )

    async def picture(self) -> Picture:
        """Read the whole screen. Raises Refused where not even the standing is told."""
        status = await self._get("status", Status)
        notes: list[str] = []
        since_ns = status.at.ns // DAY_NS * DAY_NS
        spreads, recent, risk, alerts, profit, episodes = await asyncio.gather(
            self._optional("spreads", Spreads, notes),
            self._optional("recent", Recent, notes),
            self._optional("risk", Risk, notes),
            self._optional("alerts", Alerts, notes),
            self._optional(f"pnl?by=component&since_ns={since_ns}", Profit, notes),
            self._optional(f"episodes?limit={EPISODES_ASKED}", EpisodePage, notes),
        )
        names = tuple(sorted((venue.venue for venue in status.venues), key=lambda name: (name != "upbit", name)))
        pasts = pasts_of(episodes.lines if episodes is not None else ())
        tally = status.tally
        notes += silent_channels(alerts)
        return Picture(
            source="api",
            notes=tuple(sorted(set(notes))),
            is_armed=status.is_armed,
            not_armed_because=status.not_armed_because,
            mode=status.mode,
            session=status.session,
            age_s=0.0,
            up_s=(status.at.ns - status.started_at.ns) / 1e9,
            counts=", ".join(f"{getattr(tally, end)} {end}" for end in ENDS),
            realised=str(status.realised),
            killed=status.killed,
            paused=status.paused,
            proven=proven(status),
            differences=status.differences,
            pairs_off=status.pairs_off,
            open_plans=status.open_plans,
            open_orders=status.open_orders,
            venues=names,
            pairs=tuple(pair_of(line, pasts, status.at.ns) for line in spreads.lines) if spreads is not None else (),
            opportunities=opportunities_of(recent),
            outcomes=outcomes_of(recent),
            money=money_of(profit),
            feeds=tuple(
                FeedLine(each.venue, each.is_connected, each.reason, each.alive_age_ms, each.usable, each.markets,
                         each.clock_offset_ms, each.account)
                for each in status.venues
            ),
            limits=limits_of(risk),
            refused=tally.refused,
            alerts=tuple(each.key for each in alerts.firing) if alerts is not None else (),
            figures=status.figures,
        )  # fmt: skip

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()

    async def _optional(self, path: str, kind: type[Wanted], notes: list[str]) -> Wanted | None:
        try:
            return await self._get(path, kind)
        except Refused as refusal:
            notes.append(f"{path.partition('?')[0]}: {refusal}")
            return None

    async def _get(self, path: str, kind: type[Wanted]) -> Wanted:
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                answer = await self._client.get(f"{self._url}/api/v1/{path}")
        except (TimeoutError, httpx.TimeoutException):
            raise Refused(f"no answer within {ANSWER_SECONDS_MAX:g} s") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
            raise Refused(f"not reached ({type(error).__name__})") from None
        if answer.status_code != httpx.codes.OK:
            raise Refused(WORDS.get(answer.status_code, f"status {answer.status_code}"))
        try:
            return msgspec.json.decode(answer.content[:ANSWER_BYTES_MAX], type=kind)
        except msgspec.MsgspecError:
            raise Refused("another version answers") from None


WORDS = {
    401: "the key is not taken", 403: "the key may not", 429: "asked too often", 503: "PostgreSQL is away",
}  # fmt: skip


class Past(msgspec.Struct, frozen=True):
    """What the kept openings say of one coin."""

    last_ns: int
    life_ms_median: int


def pasts_of(lines: Sequence[EpisodeLine]) -> dict[str, Past]:
    """Say when each coin last gained, and how long its openings lasted, by what the ledger keeps of late."""
    by_pair: dict[str, list[EpisodeLine]] = {}
    for line in lines:
        for asset in line.pair.split("+"):
            by_pair.setdefault(asset, []).append(line)
    return {
        asset: Past(max(line.last_seen.ns for line in found), round(median(line.life_ms for line in found)))
        for asset, found in by_pair.items()
    }


def pair_of(line: SpreadLine, pasts: dict[str, Past], now_ns: int) -> PairLine:
    """Lay out one coin."""
    past = pasts.get(line.asset)
    prices = {line.buy.venue: _price("buy", line.buy), line.sell.venue: _price("sell", line.sell)}
    return PairLine(
        line.asset, prices, " ".join(f"{rate.bid}/{rate.ask}" for rate in line.fx), line.gross_ppm, line.net_ppm,
        line.missing_ppm, line.locked, ago(past.last_ns, now_ns) if past is not None else "",
        past.life_ms_median if past is not None else None,
    )  # fmt: skip


def silent_channels(alerts: Alerts | None) -> list[str]:
    """Name the channels of alerts that people may not hear by."""
    lines = alerts.channels if alerts is not None else ()
    return [f"alerts do not arrive by {each.name}: {each.trouble}" for each in lines if each.is_failing]


def opportunities_of(recent: Recent | None) -> tuple[OpportunityLine, ...]:
    """Lay out the last opportunities, the newest first."""
    if recent is None:
        return ()
    return tuple(
        OpportunityLine(line.at.at[11:19], line.edge_ppm, str(line.net), line.verdict, line.name, line.detail)
        for line in reversed(recent.opportunities)
    )


def outcomes_of(recent: Recent | None) -> tuple[OutcomeLine, ...]:
    """Lay out the last closed arbitrages, the newest first."""
    if recent is None:
        return ()
    return tuple(
        OutcomeLine(line.at.at[11:19], line.plan_id, line.state, str(line.expected), str(line.realised))
        for line in reversed(recent.outcomes)
    )


def money_of(profit: Profit | None) -> tuple[MoneyLine, ...]:
    """Lay out today's profit by component, its total last."""
    if profit is None:
        return ()
    parts = [MoneyLine(line.key, str(line.realised)) for line in profit.lines]
    return (*parts, MoneyLine("total", str(profit.total.realised)))


def limits_of(risk: Risk | None) -> tuple[LimitLine, ...]:
    """Lay out the limits, the most used first."""
    if risk is None:
        return ()
    rows = [
        LimitLine(" ".join(part for part in (use.name, use.subject) if part), use.used or "", use.limit, use.used_ppm)
        for use in risk.limits
    ]
    return tuple(sorted(rows, key=lambda row: -(row.used_ppm or 0)))


def proven(status: Status) -> str:
    """Say when and how the kill switch last proved itself."""
    if status.kill_last_proven is None:
        return "never"
    return f"{ago(status.kill_last_proven.ns, status.at.ns)}, by {status.kill_last_proven_how}"


def _price(action: str, touch: TouchLine) -> str:
    return f"{action} {touch.ask if action == 'buy' else touch.bid} {touch.quote}"
