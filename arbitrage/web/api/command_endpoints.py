"""Endpoints by which operators act: kill and release, pause and resume, accept, snapshot, backup, drills. Decide no right."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from msgspec import Meta

from arbitrage.store.ledger_nouns import Moment
from arbitrage.web.api.drills import DRILLS, KILL_EXERCISE, KILL_STORY
from arbitrage.web.callers import Role, Scope
from arbitrage.web.endpoints import Answer, Call, Endpoint
from arbitrage.web.ports import BackupRun, Commands, Done, DrillRun
from arbitrage.web.problems import problem

ReasonText = Annotated[str, Meta(max_length=200)]


class Reason(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why."""

    reason: ReasonText = ""


class Acceptance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is accepted, and why."""

    name: ReasonText = ""
    """One of `differences` in the status; empty: all."""
    reason: ReasonText = ""


class DrillName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which drill."""

    name: Annotated[str, Meta(max_length=64)]


class DrillLine(msgspec.Struct, frozen=True):
    """One drill."""

    name: str
    story: str
    command: str
    """Runs the same at a terminal; empty where only a daemon can."""
    state: str
    """Of the last run that was begun here: `never`, `running`, `passed`, `failed`, or `not_run` (it came to no verdict)."""
    text: str
    """What held, why it failed, or why it came to no verdict."""
    notes: tuple[str, ...]
    """What was not as it is in earnest, such as shortened periods."""
    actor: str
    began: Moment | None
    ended: Moment | None
    last_proven: Moment | None
    """When it last passed."""


class Drills(msgspec.Struct, frozen=True):
    """Every drill."""

    refused: str
    """Why none of the `command`s can be begun here now; empty: one can."""
    lines: tuple[DrillLine, ...]


async def kill(call: Call) -> Answer:
    """Set the kill switch: before anything is read or written."""
    done = call.ports.commands.kill(call.caller, call.body.reason)
    call.note(after=_stand(done))
    return _told(done)


async def release(call: Call) -> Answer:
    """Release the kill switch."""
    return _carried_out(call, call.ports.commands.release)


async def pause(call: Call) -> Answer:
    """Enter nothing new."""
    return _carried_out(call, call.ports.commands.pause)


async def resume(call: Call) -> Answer:
    """End a pause."""
    return _carried_out(call, call.ports.commands.resume)


async def accept(call: Call) -> Answer:
    """Accept one difference, or all."""
    before = call.ports.views.standing()
    done = call.ports.commands.accept(call.caller, call.body.name, call.body.reason)
    call.note(subject=call.body.name or "all", before=list(before.differences), after=list(done.standing.differences))
    return _told(done)


async def accept_instruments(call: Call) -> Answer:
    """Accept changed rules of markets."""
    return _carried_out(call, call.ports.commands.accept_instruments)


async def snapshot(call: Call) -> Answer:
    """Save a snapshot now."""
    done = await call.ports.commands.snapshot(call.caller)
    call.note(after=done.text)
    return _told(done)


async def backup(call: Call) -> Answer:
    """Begin a backup."""
    done = await call.ports.commands.backup(call.caller)
    call.note(after=done.text)
    return _told(done)


async def backup_run(call: Call) -> Answer:
    """Answer how the last backup goes."""
    return call.ports.commands.backup_run()


async def drills(call: Call) -> Answer:
    """Answer every drill."""
    return drills_of(call.ports.commands)


def drills_of(commands: Commands) -> Drills:
    """Lay out every drill with its last run."""
    runs, nothing = commands.drill_runs(), DrillRun()
    lines = []
    for name, story in ((KILL_EXERCISE, KILL_STORY), *DRILLS):
        run = runs.get(name, nothing)
        command = "" if name == KILL_EXERCISE else f"arbitrage drill {name}"
        times = [Moment.of(ns) if ns else None for ns in (run.began_ns, run.ended_ns, run.proven_ns)]
        lines.append(DrillLine(name, story, command, run.state, run.text, run.notes, run.actor, *times))
    return Drills(commands.drill_refusal(), tuple(lines))


async def run_drill(call: Call) -> Answer:
    """Begin a drill; the exercise of the kill switch is over when this answers."""
    done = await began(call, call.query.name)
    return _told(done) if done is not None else problem(404, "unknown_drill", "there is no such drill")


async def began(call: Call, name: str) -> Done | None:
    """Begin a drill for a caller; None where there is no such drill."""
    if name != KILL_EXERCISE and name not in dict(DRILLS):
        return None
    commands = call.ports.commands
    done = await (commands.exercise_kill(call.caller) if name == KILL_EXERCISE else commands.begin_drill(call.caller, name))
    call.note(subject=name, after=done.text)
    return done


def _carried_out(call: Call, command: Any) -> Answer:
    standing = call.ports.views.standing()
    before = {"killed": standing.killed, "paused": standing.paused, "armed": standing.armed}
    done: Done = command(call.caller, call.body.reason)
    call.note(before=before, after=_stand(done))
    return _told(done)


def _stand(done: Done) -> dict[str, Any]:
    standing = done.standing
    return {"killed": standing.killed, "paused": standing.paused, "armed": standing.armed}


def _told(done: Done) -> Answer:
    return done if done.done else problem(409, "not_done", done.text)


def _command(path: str, handler: Any, summary: str, *, body: type[msgspec.Struct] = Reason, **row: Any) -> Endpoint:
    words: dict[str, Any] = {"role": Role.OPERATOR, "scope": Scope.TRADE, "errors": (409,), **row}
    return Endpoint(
        method="POST", path=f"/api/v1/{path}", handler=handler, body=body, answer=Done, is_write=True, tag="commands",
        summary=summary, **words,
    )  # fmt: skip


ENDPOINTS = (
    _command("kill", kill, "Set the kill switch: cancel everything, enter nothing. Works with every database down",
             is_urgent=True),
    _command("release", release, "Release the kill switch"),
    _command("pause", pause, "Enter nothing new; what is open is finished", is_urgent=True),
    _command("resume", resume, "End a pause"),
    _command("accept", accept, "Accept a difference that keeps trading disarmed, or all of them", body=Acceptance),
    _command("accept-instruments", accept_instruments, "Accept market rules that changed"),
    _command("snapshot", snapshot, "Save a snapshot now", scope=Scope.MAINTAIN),
    _command("backup", backup, "Begin a backup in a process of its own", role=Role.ADMIN, scope=Scope.MAINTAIN),
    Endpoint(
        method="GET", path="/api/v1/backup", handler=backup_run, role=Role.OPERATOR, scope=Scope.MAINTAIN, answer=BackupRun,
        tag="commands", summary="How the last backup that was begun here went",
    ),
    Endpoint(
        method="GET", path="/api/v1/drills", handler=drills, role=Role.OPERATOR, scope=Scope.MAINTAIN, answer=Drills,
        tag="commands", summary="Every fire drill, how it last went, and when it was last proven",
    ),
    _command("drills/{name}", run_drill, "Begin a fire drill in a process of its own; one at a time", query=DrillName,
             scope=Scope.MAINTAIN, errors=(404, 409)),
)  # fmt: skip
