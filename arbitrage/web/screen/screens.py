"""The first screen, its stream and its buttons, the pages for signing in, and the files of all pages. Draws no other page.

Buttons are forms, so that they work without JavaScript; what they do goes through the same commands as the API's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta
from starlette.responses import RedirectResponse

from arbitrage.web.api.probe_endpoints import Stream
from arbitrage.web.api.signing_endpoints import SENTENCES
from arbitrage.web.callers import Role, Scope
from arbitrage.web.endpoints import Answer, Call, Endpoint, Handler, Kind
from arbitrage.web.ports import Commands, Done
from arbitrage.web.problems import problem
from arbitrage.web.screen.live import TOPIC, Live
from arbitrage.web.screen.render import Pages

HTML, FIELDS_MAX, REASON_LENGTH_MAX = "text/html", 20, 200
SAID: Mapping[str, str] = {
    "pause": "Paused: nothing new is entered; open plans are worked to their end.",
    "resume": "Resumed.",
    "kill": "Killed: everything of ours is cancelled, and the venues are asked to prove it.",
    "release": "The kill switch is off.",
    "accept": "Accepted.",
    "not-resume": "Not resumed.",
    "not-pause": "Not paused.",
    "not-kill": "The daemon is stopping; the kill holds from its next start on.",
    "not-release": "Not released: the kill switch is not on, its file cannot be removed, or the daemon is stopping.",
    "not-accept": "Not accepted: there is no such difference.",
}
"""What the first screen says for the code in `?said=`; it shows no other text of an address."""
Word = Annotated[str, Meta(max_length=64)]
Text = Annotated[str, Meta(max_length=512)]


class FirstScreenQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was just done."""

    said: Word = ""


class DoorQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where to go after signing in, and why it did not work."""

    next: Text = "/"
    error: Word = ""
    token: Text = ""


class FileQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the pages."""

    version: Word
    name: Word


class Screens:
    """Handlers of the first screen; `endpoints` are its rows in the table."""

    def __init__(self, pages: Pages, live: Live) -> None:
        self._pages = pages
        self._live = live

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the rows of the table of endpoints."""
        words = ("pause", "resume", "kill", "release", "accept")
        return (
            page("/", self.first, Role.VIEWER, "The first screen", query=FirstScreenQuery),
            Endpoint(
                method="GET", path="/live", handler=self.stream, role=Role.VIEWER, produces="text/event-stream", streams=True,
                errors=(503,), kind=Kind.FILE, tag="pages", summary="The first screen as it changes",
            ),
            Endpoint(
                method="GET", path="/static/{version}/{name}", handler=self.file, role=None, query=FileQuery, errors=(404,),
                produces="text/css", kind=Kind.FILE, tag="pages", summary="Scripts, styles, pictures",
            ),
            page("/login", self.sign_in, None, "Sign in", query=DoorQuery),
            page("/setup", self.set_up, None, "Make the first admin", query=DoorQuery),
            *(self._button(word) for word in words),
        )  # fmt: skip

    def _button(self, word: str) -> Endpoint:
        async def press(call: Call) -> Answer:
            return self._pressed(call, word)

        return Endpoint(
            method="POST", path=f"/actions/{word}", handler=press, role=Role.OPERATOR, scope=Scope.TRADE, takes_form=True,
            is_write=True, is_urgent=word == "kill", produces=HTML, status=303, kind=Kind.PAGE, tag="pages",
            summary=f"The button for {word} on the first screen",
        )  # fmt: skip

    async def first(self, call: Call) -> Answer:
        """Draw the first screen."""
        asked: FirstScreenQuery = call.query
        return self._pages.page(call, "overview.html", o=self._live.overview(), said=SAID.get(asked.said, ""))

    async def stream(self, call: Call) -> Answer:
        """Follow the first screen."""
        ports = call.ports
        follower = ports.events.follow((TOPIC,), "", call.caller.actor)
        if follower is None:
            return problem(503, "too_many_followers", "no place is left for another follower", retry_after_s=5)
        return Stream(follower, lambda: ports.still_counts(call.caller), lambda: ports.events.leave(follower))

    async def file(self, call: Call) -> Answer:
        """Give a file."""
        asked: FileQuery = call.query
        return self._pages.file(asked.version, asked.name) or problem(404, "no_such_file", "there is no such file")

    async def sign_in(self, call: Call) -> Answer:
        """Draw the page for signing in."""
        asked: DoorQuery = call.query
        return self._pages.page(call, "login.html", next=asked.next, problem=SENTENCES.get(asked.error, ""), name="")

    async def set_up(self, call: Call) -> Answer:
        """Draw the page for making the first admin."""
        asked: DoorQuery = call.query
        return self._pages.page(call, "setup.html", token=asked.token, problem=SENTENCES.get(asked.error, ""), name="")

    def _pressed(self, call: Call, word: str) -> Answer:
        reason = form_fields(call.form).get("reason", "").strip()[:REASON_LENGTH_MAX] or "no reason given"
        before = call.ports.views.standing()
        done = _done(call.ports.commands, call, word, reason)
        call.note(
            subject=reason,
            before={"killed": before.killed, "paused": before.paused},
            after={"killed": done.standing.killed, "paused": done.standing.paused},
        )
        return RedirectResponse(f"/?said={word if done.done else f'not-{word}'}", 303)


def form_fields(form: bytes) -> dict[str, str]:
    """Read a form; of a field that is given twice none counts."""
    try:
        found = parse_qs(form.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MAX)
    except (UnicodeError, ValueError):
        return {}
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def page(path: str, handler: Handler, role: Role | None, summary: str, *, query: type[msgspec.Struct] | None) -> Endpoint:
    """Make the row of a page."""
    return Endpoint(
        method="GET",
        path=path,
        handler=handler,
        role=role,
        scope=Scope.READ if role is None or role is Role.VIEWER else Scope.RECORDS,
        query=query,
        produces=HTML,
        kind=Kind.PAGE,
        tag="pages",
        summary=summary,
    )


def _done(commands: Commands, call: Call, word: str, reason: str) -> Done:
    match word:
        case "kill":
            return commands.kill(call.caller, reason)
        case "release":
            return commands.release(call.caller, reason)
        case "pause":
            return commands.pause(call.caller, reason)
        case "resume":
            return commands.resume(call.caller, reason)
        case _:
            return commands.accept(call.caller, "", reason)
