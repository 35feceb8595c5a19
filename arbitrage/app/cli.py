"""The command line: one subcommand a job, each with an example. Parses and hands over; contains no behaviour."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from arbitrage import __version__
from arbitrage.app.clock import EngineClock
from arbitrage.app.exits import Exit


class Subcommand(Protocol):
    """A module or an object behind one word of the command line."""

    def add_arguments(self, parser: argparse.ArgumentParser, /) -> None: ...

    def run(self, arguments: argparse.Namespace, /) -> int: ...


class Later:
    """A word whose module is read when the word is used: who starts second is not to wait for the simulated exchanges' code."""

    def __init__(self, make: Callable[[], Subcommand]) -> None:
        self._make = make

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        self._make().add_arguments(parser)

    def run(self, arguments: argparse.Namespace) -> int:
        return self._make().run(arguments)


def _module(name: str) -> Later:
    def make() -> Subcommand:
        module: Any = importlib.import_module(f"arbitrage.{name}")
        found: Subcommand = module
        return found

    return Later(make)


def _operator(word: str) -> Later:
    def make() -> Subcommand:
        command: Any = importlib.import_module("arbitrage.app.operator_command")
        found: Subcommand = command.OperatorCommand(word)
        return found

    return Later(make)


def _people(noun: str) -> Later:
    def make() -> Subcommand:
        command: Any = importlib.import_module("arbitrage.app.people_command")
        found: Subcommand = command.PeopleCommand(noun)
        return found

    return Later(make)


def _config() -> Subcommand:
    command: Any = importlib.import_module("arbitrage.ops.config_command")
    found: Subcommand = command.ConfigCommand(importlib.import_module("arbitrage.app.modes").refusal)
    return found


COMMANDS: tuple[tuple[str, str, str, Subcommand], ...] = (
    ("run", "run the daemon against the configured exchanges", "arbitrage run --config config", _module("app.run_command")),
    (
        "demo",
        "trade against local venue servers: no network",
        "arbitrage demo --scenario synthetic --for 60",
        _module("app.demo"),
    ),
    (
        "drill",
        "let simulated exchanges misbehave, and see what your own configuration makes of it",
        "arbitrage drill lost-ack",
        _module("app.drill_command"),
    ),
    ("status", "ask the running daemon how it stands", "arbitrage status --json", _operator("status")),
    (
        "kill",
        "stop all trading now; open orders are cancelled, and the venues are asked for proof",
        'arbitrage kill --reason "prices look wrong"',
        _operator("kill"),
    ),
    (
        "release",
        "release the kill switch; nothing else does, no restart either",
        'arbitrage release --reason "checked both accounts"',
        _operator("release"),
    ),
    (
        "pause",
        "make no new entries; what is open is finished",
        'arbitrage pause --reason "maintenance"',
        _operator("pause"),
    ),
    ("resume", "end a pause", "arbitrage resume", _operator("resume")),
    (
        "accept",
        "accept a difference that start-up found, or a venue's changed rules that are held",
        'arbitrage accept upbit-XRP --reason "deposited by hand"',
        _operator("accept"),
    ),
    (
        "report",
        "print the last restart report, or the last receipt of the kill switch",
        "arbitrage report --last --json",
        _module("app.report_command"),
    ),
    (
        "opportunities",
        "list what was found: openings of cycles, taken or refused, and what they would have paid",
        "arbitrage opportunities --refused --pair BTC --since 2h --csv",
        _module("app.opportunities_command"),
    ),
    (
        "explain",
        "tell where one opportunity's edge went, with quotes, orders and fills",
        "arbitrage explain 18fae27693b40000-1",
        _module("app.explain_command"),
    ),
    (
        "pnl",
        "tell realised profit by day, pair, venue or component, in any currency",
        "arbitrage pnl --by component --in KRW --since 7d",
        _module("app.pnl_command"),
    ),
    (
        "alert",
        "send a test by the channels of alerts, and say what happened",
        "arbitrage alert test --channel ops",
        _module("app.alert_command"),
    ),
    (
        "replay",
        "drive the engine with recorded frames, as fast as it can",
        "arbitrage replay FILE.capture.jsonl.zst --json",
        _module("app.replay_command"),
    ),
    (
        "simulate",
        "live whole lives of daemon and exchanges out of seeds, faults and crashes included, and check every rule",
        "arbitrage simulate --seeds 1000 --jobs 2",
        _module("app.simulate_command"),
    ),
    (
        "cycles",
        "find arbitrage cycles in a table of best prices",
        "arbitrage cycles --books book.csv.zst --max-legs 4",
        _module("app.cycles_command"),
    ),
    (
        "backup",
        "make a verified copy of database, journals and configuration; --drill proves that it restores",
        "arbitrage backup --json",
        _module("app.backup_command"),
    ),
    (
        "restore",
        "restore a backup into an empty folder or an empty database",
        "arbitrage restore var/backups --to var-restored",
        _module("app.restore_command"),
    ),
    (
        "migrate",
        "apply database migrations, or show where they stand",
        "arbitrage migrate --status",
        _module("app.migrate_command"),
    ),
    (
        "user",
        "say who may use the operator's surface: add, role, password, disable, enable, list",
        "arbitrage user add anna --role operator",
        _people("user"),
    ),
    (
        "key",
        "make and end keys for programs that use the operator's surface: add, revoke, list",
        "arbitrage key add anna --role viewer --scope read",
        _people("key"),
    ),
    (
        "audit",
        "check the audit log line by line, or print its newest lines",
        "arbitrage audit verify",
        _module("app.audit_command"),
    ),
    ("config", "show, validate or compare the configuration", "arbitrage config show --origin", Later(_config)),
)
EXITS = "exit status: 0 done, 1 failed check, 2 bad usage or configuration, 3 refused to trade, 70 broken invariant"


def _command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, example: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=f"example:\n  {example}\n\n{EXITS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def build_parser(only: str = "") -> argparse.ArgumentParser:
    """Build the command line; with `only` a command's name, the options of that one alone."""
    parser = argparse.ArgumentParser(
        prog="arbitrage",
        description="Cross-venue arbitrage daemon: Binance and Upbit, KRW against USDT, on paper unless told otherwise.",
        epilog=f"example:\n  arbitrage demo --for 60\n\n{EXITS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"arbitrage {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _command(commands, "sim", "serve simulated exchanges on loopback", "arbitrage sim --scenario synthetic --seed 7 --json")
    for name, summary, example, module in COMMANDS:
        command = _command(commands, name, summary, example)
        if only in ("", name):
            module.add_arguments(command)
            command.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one subcommand; return its exit status."""
    if not __debug__:
        print(
            "arbitrage refuses to run without its assertions: start Python without -O and unset PYTHONOPTIMIZE", file=sys.stderr
        )
        return Exit.USAGE
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words[:1] == ["sim"]:
            # The simulated exchanges read their own words, so that a room below needs no knowledge of this command line.
            return int(importlib.import_module("arbitrage.sim.main").main(words[1:], clock=EngineClock()))
        named = words[0] if words and not words[0].startswith("-") else ""
        arguments = build_parser(named).parse_args(words)
        status = int(arguments.run(arguments))
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return Exit.DONE
    except BrokenPipeError:
        # The reader of our output left (such as `head`); that is not an error of ours. What is still buffered goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.DONE
    except AssertionError:
        traceback.print_exc()
        return Exit.BROKEN
