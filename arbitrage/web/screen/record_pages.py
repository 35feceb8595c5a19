"""Pages of what was kept: opportunities and their stories, orders, restart reports, the audit log, the configuration.

Reads records and changes nothing. While the database is away a page says so, with status 503, and nothing else is affected.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import msgspec
from msgspec import Meta
from starlette.responses import RedirectResponse

from arbitrage.ops.config import Reload, flat, needs_restart, shown
from arbitrage.ops.schema import SECRET_KEYS
from arbitrage.ops.tree import DEFAULT
from arbitrage.store.ledger_nouns import Away, BadQuestion, Moment, Question
from arbitrage.store.reads import PaperRow, Wanted
from arbitrage.web.callers import Role, Scope
from arbitrage.web.endpoints import Answer, Call, Endpoint, Kind
from arbitrage.web.screen import figures
from arbitrage.web.screen.charts.fall import Amount, fall_of
from arbitrage.web.screen.overview import MEANINGS, readable
from arbitrage.web.screen.quality import venue_qualities
from arbitrage.web.screen.render import Pages
from arbitrage.web.screen.screens import HTML, REASON_LENGTH_MAX, form_fields, page

ROWS, PAPERS, QUALITY_ORDERS, QUALITY_FILLS = 50, 20, 500, 500
HOURS: dict[str, int] = {"1h": 1, "24h": 24, "7d": 168, "30d": 720}
Short = Annotated[str, Meta(max_length=64)]
Long = Annotated[str, Meta(max_length=512)]
Since = Literal["", "1h", "24h", "7d", "30d"]


class OpportunityQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which opportunities."""

    taken: Literal["", "yes", "no"] = ""
    pair: Short = ""
    since: Since = ""
    cursor: Long = ""


class NameQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One opportunity, by its own id or its plan's."""

    name: Annotated[str, Meta(max_length=200)]


class OrderQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which orders."""

    state: Short = ""
    venue: Short = ""
    before: Annotated[int, Meta(ge=0)] | None = None


class AuditQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which lines of the audit log."""

    actor: Short = ""
    text: Short = ""
    before: Annotated[int, Meta(ge=0)] | None = None


class ConfigurationQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which keys, and what was just done."""

    text: Short = ""
    said: Short = ""


class Setting(msgspec.Struct, frozen=True):
    """One key with its value and where that came from."""

    key: str
    value: str
    origin: str
    is_set_here: bool
    needs_restart: bool


class RecordPages:
    """Handlers; `endpoints` are their rows in the table."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the rows of the table of endpoints."""
        return (
            page("/opportunities", self.opportunities, Role.ANALYST, "Opportunities, taken or not", query=OpportunityQuery),
            page("/opportunities/{name:path}", self.story, Role.ANALYST, "One opportunity's whole story", query=NameQuery),
            page("/orders", self.orders, Role.ANALYST, "Orders, and how well venues fill", query=OrderQuery),
            page("/reports", self.reports, Role.ANALYST, "Restart reports and kill receipts", query=None),
            page("/audit", self.audit, Role.ADMIN, "Who changed what", query=AuditQuery),
            page("/configuration", self.configuration, Role.ANALYST, "Settings with their origin", query=ConfigurationQuery),
            Endpoint(
                method="POST", path="/configuration/set", handler=self.set_key, role=Role.ADMIN, scope=Scope.CONFIGURE,
                takes_form=True, is_write=True, produces=HTML, status=303, kind=Kind.PAGE, tag="pages",
                summary="The form that sets one key",
            ),
        )  # fmt: skip

    async def opportunities(self, call: Call) -> Answer:
        """List opportunities, newest first."""
        asked: OpportunityQuery = call.query
        since_ns = since(call, asked.since)
        question = Question(TAKEN[asked.taken], asked.pair, since_ns, None, ROWS, asked.cursor)
        try:
            found = await call.ports.ledger.opportunities(question)
        except BadQuestion as refusal:
            return self._pages.away(call, str(refusal), 400)
        if isinstance(found, Away):
            return self._pages.away(call, found.reason)
        fields = {"taken": asked.taken, "pair": asked.pair, "since": asked.since, "cursor": found.next_cursor or ""}
        more = f"/opportunities?{urlencode(fields)}" if found.next_cursor else ""
        return self._pages.page(call, "opportunities.html", lines=found.lines, asked=asked, more=more, hours=tuple(HOURS))

    async def story(self, call: Call) -> Answer:
        """Show everything kept of one opportunity."""
        asked: NameQuery = call.query
        found = await call.ports.ledger.story(asked.name)
        if isinstance(found, Away):
            return self._pages.away(call, found.reason)
        if found is None:
            return self._pages.away(call, "there is no such opportunity; untaken ones are kept for 30 days", 404)
        steps = found.waterfall.steps
        amounts = [
            Amount(readable(step.name), step.money.e8, step.is_total, MEANINGS.get(step.name, step.text)) for step in steps
        ]
        fall = fall_of(amounts, found.waterfall.asset)
        return self._pages.page(call, "story.html", s=found, fall=fall, cycle=figures.cycle(found.opportunity.name))

    async def orders(self, call: Call) -> Answer:
        """List orders, newest first, and how well each venue filled them."""
        asked: OrderQuery = call.query
        wanted = Wanted(limit=ROWS, before_ns=asked.before, state=asked.state, venue=asked.venue)
        found = await call.ports.records.orders(wanted)
        recent = await call.ports.records.orders(Wanted(limit=QUALITY_ORDERS))
        fills = await call.ports.records.fills(Wanted(limit=QUALITY_FILLS))
        if isinstance(found, Away):
            return self._pages.away(call, found.reason)
        if isinstance(recent, Away) or isinstance(fills, Away):
            return self._pages.away(call, "the database stopped answering")
        fields = {"state": asked.state, "venue": asked.venue, "before": found[-1].intended_at.ns if found else 0}
        more = f"/orders?{urlencode(fields)}" if len(found) == ROWS else ""
        qualities = venue_qualities(recent, fills)
        return self._pages.page(call, "orders.html", orders=found, asked=asked, more=more, qualities=qualities)

    async def reports(self, call: Call) -> Answer:
        """Show what starts found, and each proof of the kill switch."""
        reports, receipts = await call.ports.records.reports(PAPERS), await call.ports.records.receipts(PAPERS)
        if isinstance(reports, Away):
            return self._pages.away(call, reports.reason)
        if isinstance(receipts, Away):
            return self._pages.away(call, receipts.reason)
        newest = call.ports.views.restart_report()
        if not reports and newest is not None:
            # Without accounts nobody is asked at a start, so no fact tells of it and the report is in the data folder only.
            reports = (PaperRow(0, Moment.of(newest.at_ns), msgspec.to_builtins(newest)),)
        return self._pages.page(call, "reports.html", reports=reports, receipts=receipts)

    async def audit(self, call: Call) -> Answer:
        """Show the audit log."""
        asked: AuditQuery = call.query
        wanted = Wanted(limit=ROWS, before_ns=asked.before, actor=asked.actor, text=asked.text)
        found = await call.ports.records.audit(wanted)
        if isinstance(found, Away):
            return self._pages.away(call, found.reason)
        fields = {"actor": asked.actor, "text": asked.text, "before": found[-1].at.ns if found else 0}
        more = f"/audit?{urlencode(fields)}" if len(found) == ROWS else ""
        return self._pages.page(call, "audit.html", lines=found, asked=asked, more=more)

    async def set_key(self, call: Call) -> Answer:
        """Set one key over the files, or take it back to what the files say."""
        fields = form_fields(call.form)
        key, text, reason = fields.get("key", ""), fields.get("value", ""), fields.get("reason", "")[:REASON_LENGTH_MAX]
        before = flat(call.ports.views.loaded().settings).get(key)
        if fields.get("back"):
            change = await call.ports.commands.reset_settings(call.caller, (key,))
        else:
            change = await call.ports.commands.put_settings(call.caller, {key: value_of(text, like=before)}, reason)
        after = flat(call.ports.views.loaded().settings).get(key)
        is_shown = tuple(key.split(".")) not in SECRET_KEYS
        call.note(subject=key, before=before if is_shown else None, after=after if is_shown else None)
        if isinstance(change, Reload):
            said = "set" if change.is_accepted else "needs-restart"
            return RedirectResponse(f"/configuration?{urlencode({'text': key, 'said': said})}", 303)
        return self._pages.away(call, "; ".join(change), 422)

    async def configuration(self, call: Call) -> Answer:
        """Show every setting in force with where it came from; a secret is never shown."""
        asked: ConfigurationQuery = call.query
        loaded, overrides = call.ports.views.loaded(), call.ports.views.overrides()
        rows = []
        for key, value in sorted(flat(loaded.settings).items()):
            if asked.text.lower() in key.lower():
                origin = loaded.origins.get(key, DEFAULT)
                rows.append(Setting(key, shown(key, value, origin), str(origin), key in overrides, needs_restart(key)))
        said = CHANGED.get(asked.said, "")
        return self._pages.page(call, "configuration.html", rows=rows, asked=asked, version=loaded.version, said=said)


CHANGED = {
    "set": "Taken over; it is kept in the data folder and shown here with its origin.",
    "back": "The earlier settings are in force, as far as a running daemon can take them over.",
    "needs-restart": "Refused: a running daemon cannot take this key over. Put it into the files and restart.",
}
TAKEN: dict[str, bool | None] = {"": None, "yes": True, "no": False}


def since(call: Call, word: str) -> int:
    """Return the moment that lies so long back; 0 for all of it."""
    hours = HOURS.get(word, 0)
    return call.ports.views.now_ns() - hours * figures.HOUR_NS if hours else 0


def value_of(text: str, *, like: object) -> Any:
    """Read what was typed as what the key holds now: text stays text, all else is JSON where it can be."""
    if isinstance(like, str):
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
