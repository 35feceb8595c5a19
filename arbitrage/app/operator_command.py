"""`arbitrage kill | release | pause | resume | accept | status`: an operator's word to the running daemon. Trades nothing.

`kill` always leaves the file `KILL` where no daemon answers: a daemon that lives heeds it, and the next start is killed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from arbitrage.app.clock import EngineClock
from arbitrage.app.control_client import NoAnswer, ask
from arbitrage.app.control_words import Answer, Ask, Word, one_line
from arbitrage.app.exits import Exit
from arbitrage.app.kill_file import KillFile
from arbitrage.ops.places import find_places
from arbitrage.ops.standing import Standing
from arbitrage.store.locks import FolderLock

HOUR_NS = 3_600_000_000_000


class OperatorCommand:
    """One word on the command line."""

    def __init__(self, word: Word) -> None:
        self._word = word

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the options of this word."""
        if self._word == "accept":
            what = parser.add_mutually_exclusive_group(required=True)
            what.add_argument("name", nargs="?", default="", metavar="NAME", help="the difference, by its name in the report")
            what.add_argument("--all", action="store_true", help="every difference")
            what.add_argument("--instruments", action="store_true", help="the venues' changed rules that are held")
        if self._word != "status":
            parser.add_argument("--reason", default="", metavar="TEXT", help="why; it is kept with your name")
        parser.add_argument("--data-dir", default="", metavar="FOLDER", help="the daemon's data folder (default: configured)")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def run(self, arguments: argparse.Namespace) -> int:
        """Ask the daemon and print its answer."""
        folder = data_folder(os.environ, arguments.data_dir)
        question = question_of(self._word, arguments, os.environ)
        try:
            answer = ask(folder, question)
        except NoAnswer as failure:
            return self._without_daemon(folder, question, str(failure), as_json=arguments.json)
        text = status_text(answer.standing) if answer.standing is not None and not arguments.json else answer.text
        return told(answer, text, as_json=arguments.json)

    def _without_daemon(self, folder: Path, question: Ask, why: str, *, as_json: bool) -> int:
        if self._word == "kill":
            return kill_by_file(folder, question, why, as_json=as_json)
        text = f"{folder}: {why}; is the daemon running, and is this its data folder (--data-dir)?"
        if self._word == "release" and KillFile(folder).is_there:
            text += f" {KillFile(folder).path} is there: the next start is killed, release it then"
        return told(Answer(done=False, text=text), text, as_json=as_json)


def data_folder(environ: Mapping[str, str], named: str) -> Path:
    """Find the data folder; a configuration that cannot be read must not keep anybody from killing."""
    places = find_places(environ, data_dir=named)
    if places.config_fault and not named:
        print(f"{places.config_fault}: taking the data folder from the environment", file=sys.stderr)
        return Path(environ.get("ARBITRAGE__STORE__DATA_DIR") or places.data_dir)
    return places.data_dir


def question_of(word: Word, arguments: argparse.Namespace, environ: Mapping[str, str]) -> Ask:
    """Put the words of the command line into a question."""
    reason = one_line(getattr(arguments, "reason", ""))
    if word == "accept" and arguments.instruments:
        word = "accept_instruments"
    name = one_line(arguments.name) if word == "accept" else ""
    behalf = environ.get("SUDO_USER", "")
    known = behalf if all(character.isalnum() or character in "_.@-" for character in behalf) else ""
    return Ask(word=word, reason=reason, name=name, on_behalf_of=known[:64])


def kill_by_file(folder: Path, question: Ask, why: str, *, as_json: bool) -> int:
    """Leave the file `KILL`, and say what that means here."""
    file = KillFile(folder)
    try:
        file.write(question.reason or "no reason given")
    except OSError as error:
        text = f"NOT KILLED: {folder}: {why}, and {file.path} cannot be written ({error.strerror}); stop the daemon instead"
        return told(Answer(done=False, text=text), text, as_json=as_json)
    if is_daemon_there(folder):
        text = (
            f"not confirmed: a daemon holds {folder} but gives no answer ({why}); {file.path} is written, which it heeds "
            "within 0.1 s if it still works; look at `arbitrage status`, or stop it"
        )
        return told(Answer(done=False, text=text), text, as_json=as_json)
    text = f"no daemon runs on {folder}: {file.path} is written, so its next start is killed until `arbitrage release`"
    return told(Answer(done=True, text=text), text, as_json=as_json)


def is_daemon_there(folder: Path) -> bool:
    """Whether some process holds the data folder."""
    lock = FolderLock(folder / "daemon.lock")
    try:
        is_free = lock.acquire()
    except OSError:
        return False
    lock.release()
    return not is_free


def told(answer: Answer, text: str, *, as_json: bool) -> int:
    """Print an answer; return the exit status that says the same."""
    if as_json:
        print(json.dumps(msgspec.to_builtins(answer)))
    else:
        print(text, file=sys.stdout if answer.done else sys.stderr)
    return Exit.DONE if answer.done else Exit.CHECK_FAILED


def status_text(standing: Standing) -> str:
    """Lay a standing out for people."""
    head = "armed" if standing.armed else "NOT ARMED"
    lines = [f"{head}   mode {standing.mode}, session {standing.session}, epoch {standing.epoch}, process {standing.pid}"]
    lines += [f"  because {reason}" for reason in standing.not_armed_because]
    lines += [f"  difference {name}" for name in standing.differences]
    lines.append(f"kill switch: {f'ON, {standing.killed}' if standing.killed else 'off'}; last proven {last_proven(standing)}")
    for venue in standing.venues:
        account = f", account {venue.account}" if venue.account else ""
        feed = "up" if venue.connected else "down"
        lines.append(f"{venue.venue}: feed {feed}, {venue.usable}/{venue.markets} markets usable{account}")
    lines.append(f"open: {standing.open_plans} arbitrages, {standing.open_orders} orders")
    lines.append(f"realised: {standing.realised} {standing.reporting_asset}")
    if standing.shadow:
        lines.append("shadow: " + ", ".join(f"{name} {count}" for name, count in standing.shadow.items()))
    return "\n".join(lines)


def last_proven(standing: Standing) -> str:
    """Say when and how the kill switch last proved itself."""
    if standing.kill_last_proven_ns is None:
        return "never"
    age_ns = max(0, EngineClock()() - standing.kill_last_proven_ns)
    return f"{age_ns / HOUR_NS:.1f} hours ago ({standing.kill_last_proven_how})"
