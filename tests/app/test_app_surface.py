"""What the API asks of a daemon's parts: words over HTTP become facts with a name, and views show what is there."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from app_world import DoorWorld, running, trading_door

from arbitrage.app.alerting import Alerting, make_office
from arbitrage.app.operator import Operator
from arbitrage.app.running import Running
from arbitrage.app.surface_commands import RunningCommands
from arbitrage.model.events import DifferenceFound
from arbitrage.model.facts import KillSwitched, Paused
from arbitrage.web.api import command_endpoints
from arbitrage.web.api.alert_endpoints import alerts_of
from arbitrage.web.callers import Caller, How, Role
from arbitrage.web.counts import Traffic
from arbitrage.web.endpoints import Call, Table
from arbitrage.web.events import Events
from arbitrage.web.ports import Ports

ANNA = Caller("anna", Role.OPERATOR, How.SESSION, "10.1.2.3", "s-1")


class Desk:
    """The real commands of a daemon's parts, asked as the application asks."""

    def __init__(self, folder: Path, world: DoorWorld) -> None:
        self.parts: Running = running(world, folder)
        nothing: Any = None  # no backup, drill or setting is asked for here
        self.commands = RunningCommands(self.parts, Operator(self.parts), nothing, nothing, nothing)
        self.ports = Ports(
            views=self.commands.views, commands=self.commands, records=nothing, ledger=nothing, audit=nothing,
            events=Events(1, kept_max=10, followers_max=1, queue_max=10), traffic=Traffic(), still_counts=lambda caller: True,
        )  # fmt: skip
        self._table = Table(command_endpoints.ENDPOINTS)

    def post(self, word: str, **body: str) -> Any:
        endpoint = self._table.find("POST", f"/api/v1/{word}").endpoint
        assert endpoint is not None and endpoint.body is not None
        call = Call(ports=self.ports, caller=ANNA, endpoint=endpoint, body=endpoint.body(**body))
        return asyncio.run(endpoint.handler(call)), call  # type: ignore[arg-type]  # a coroutine, as every handler is


def test_a_difference_is_accepted_over_the_api_by_its_name_and_then_it_is_armed(tmp_path: Path) -> None:
    world = trading_door()
    desk = Desk(tmp_path, world)
    world.feed(DifferenceFound(world.now_ns, "one thing"), DifferenceFound(world.now_ns, "another"))
    assert desk.ports.views.standing().differences == ("one thing", "another")
    unknown, _ = desk.post("accept", name="third", reason="x")
    assert unknown.status == 409 and "no difference is named third" in unknown.detail
    first, call = desk.post("accept", name="one thing", reason="counted by hand")
    assert first.standing.differences == ("another",) and call.subject == "one thing"
    rest, _ = desk.post("accept", reason="the other too")
    assert rest.standing.armed and rest.standing.differences == ()


def test_words_over_the_api_are_facts_with_who_from_where_and_why(tmp_path: Path) -> None:
    world = trading_door()
    desk = Desk(tmp_path, world)
    for word in ("pause", "resume", "kill", "release"):
        desk.post(word, reason=f"why {word}")
    told = [
        (type(fact).__name__, fact.is_on, fact.actor, fact.reason)
        for fact in world.journal.facts
        if isinstance(fact, Paused | KillSwitched)
    ]
    who = "session:anna@10.1.2.3"
    assert told == [
        ("Paused", True, who, "why pause"), ("Paused", False, who, "why resume"),
        ("KillSwitched", True, who, "why kill"), ("KillSwitched", False, who, "why release"),
    ]  # fmt: skip


def test_alerts_are_shown_as_the_office_has_them_and_a_house_without_one_says_so(tmp_path: Path) -> None:
    world = trading_door()
    desk = Desk(tmp_path, world)
    views = desk.ports.views
    assert views.alerts() is None and not alerts_of(views.alerts(), views.now_ns()).is_told
    desk.parts.office = make_office(desk.parts, {})
    alerting = Alerting(desk.parts, desk.parts.office, lambda: None)
    alerting.office.start()
    try:
        alerting.office.hear("broken", "a part failed")
        alerting.look(desk.parts.view(), world.now_ns)
    finally:
        alerting.office.close()
    told = alerts_of(views.alerts(), views.now_ns())
    assert told.is_told and [line.key for line in told.firing if line.rule == "broken"] == ["broken"]
    assert told.channels == () and told.spool_bytes > 0
