"""Pages of the configuration's history: who changed what and when, two of them compared, and the way back. Show no secret.

Going back is asked for twice: the page shows what it would change before its button does it, through the same command as the
API's. Only who may press it is shown a way to it.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta
from starlette.responses import RedirectResponse

from arbitrage.ops.config import Reload, flat_of
from arbitrage.store.ledger_nouns import Away
from arbitrage.store.reads import ConfigurationVersion
from arbitrage.web.api.config_endpoints import ChangeLine, changed_keys
from arbitrage.web.callers import Role, Scope
from arbitrage.web.endpoints import Answer, Call, Endpoint, Kind
from arbitrage.web.screen.render import Pages
from arbitrage.web.screen.screens import HTML, REASON_LENGTH_MAX, form_fields, page

ROWS, ROWS_MAX = 20, 100
Version = Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$")]
AnyVersion = Annotated[str, Meta(pattern=r"^([0-9a-f]{16})?$")]
UNKNOWN = "no such configuration was in force"
Flat = dict[str, object]


class HistoryQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many, and which two are compared."""

    limit: Annotated[int, Meta(ge=1, le=ROWS_MAX)] = ROWS
    left: AnyVersion = ""
    right: AnyVersion = ""


class VersionQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which one comes back."""

    version: Version


class HistoryRow(msgspec.Struct, frozen=True):
    """One configuration that was in force, and how it differed from the one before."""

    line: ConfigurationVersion
    changes: tuple[ChangeLine, ...]
    is_first: bool
    """Nothing before it is shown."""
    is_in_force: bool


class ConfigurationPages:
    """Handlers; `endpoints` are their rows in the table."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the rows of the table of endpoints."""
        row: dict[str, Any] = {
            "path": "/configuration/rollback", "role": Role.ADMIN, "scope": Scope.CONFIGURE, "produces": HTML,
            "kind": Kind.PAGE, "tag": "pages",
        }  # fmt: skip
        return (
            page("/configuration/history", self.history, Role.ANALYST, "Who changed which setting when", query=HistoryQuery),
            Endpoint(method="GET", handler=self.ask, query=VersionQuery, summary="What going back would change", **row),
            Endpoint(
                method="POST", handler=self.roll_back, takes_form=True, is_write=True, status=303,
                summary="The form that brings an earlier configuration back", **row,
            ),
        )  # fmt: skip

    async def history(self, call: Call) -> Answer:
        """List what was in force, each with what it changed, and compare the two that were chosen."""
        asked: HistoryQuery = call.query
        lines = await call.ports.records.configurations(asked.limit + 1)
        if isinstance(lines, Away):
            return self._pages.away(call, lines.reason)
        bodies: dict[str, Flat] = {}
        for version in {line.version for line in lines} | {asked.left, asked.right} - {""}:
            body = await call.ports.records.configuration(version)
            if isinstance(body, Away):
                return self._pages.away(call, body.reason)
            if body is not None:
                bodies[version] = flat_of(body)
        if not {asked.left, asked.right} - {""} <= bodies.keys():
            return self._pages.away(call, UNKNOWN, 404)
        compared = changed_keys(bodies[asked.left], bodies[asked.right]) if asked.left and asked.right else None
        rows = history_rows(lines, bodies, call.ports.views.loaded().version)[: asked.limit]
        more = len(lines) > asked.limit and asked.limit < ROWS_MAX
        return self._pages.page(
            call, "history.html", rows=rows, asked=asked, compared=compared, more=ROWS_MAX if more else 0
        )

    async def ask(self, call: Call) -> Answer:
        """Show what going back would change, and the button."""
        asked: VersionQuery = call.query
        body = await call.ports.records.configuration(asked.version)
        if isinstance(body, Away):
            return self._pages.away(call, body.reason)
        if body is None:
            return self._pages.away(call, UNKNOWN, 404)
        loaded = call.ports.views.loaded()
        changes = changed_keys(flat_of(msgspec.to_builtins(loaded.settings)), flat_of(body))
        return self._pages.page(call, "rollback.html", version=asked.version, now=loaded.version, changes=changes)

    async def roll_back(self, call: Call) -> Answer:
        """Bring an earlier configuration back, as far as a running process can take it over."""
        fields = form_fields(call.form)
        version, reason = fields.get("version", "")[:64], fields.get("reason", "")[:REASON_LENGTH_MAX]
        body = await call.ports.records.configuration(version)
        if isinstance(body, Away):
            return self._pages.away(call, body.reason)
        if body is None:
            return self._pages.away(call, UNKNOWN, 404)
        before = call.ports.views.loaded().version
        change = await call.ports.commands.roll_back(call.caller, body, reason)
        call.note(subject=version, before=before, after=call.ports.views.loaded().version)
        if isinstance(change, Reload):
            return RedirectResponse(f"/configuration?said={'back' if change.is_accepted else 'needs-restart'}", 303)
        return self._pages.away(call, "; ".join(change), 422)


def history_rows(lines: tuple[ConfigurationVersion, ...], bodies: dict[str, Flat], in_force: str) -> list[HistoryRow]:
    """Set each configuration beside the one before it; lines are newest first."""
    rows = []
    for place, line in enumerate(lines):
        older = lines[place + 1] if place + 1 < len(lines) else None
        changes: tuple[ChangeLine, ...] = ()
        if older is not None:
            changes = changed_keys(bodies.get(older.version, {}), bodies.get(line.version, {}))
        rows.append(HistoryRow(line, changes, older is None, line.version == in_force))
    return rows
