"""`arbitrage config show | validate | diff`: prints what is configured and from where. Changes nothing and shows no secret."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec

from arbitrage.model.settings import Settings
from arbitrage.ops.config import Change, Loaded, compare, find_config_dir, flat, load, needs_restart, shown
from arbitrage.ops.environment import variable_table
from arbitrage.ops.preflight import database_problems, fee_report
from arbitrage.ops.problems import ConfigError
from arbitrage.ops.tree import Origin

DONE, CHECK_FAILED, USAGE, REFUSED_TO_TRADE = 0, 1, 2, 3


Refusal = Callable[[Settings, Mapping[str, str]], str | None]
"""Says in one line why the configured mode may not run; only the floor above knows modes."""


class ConfigCommand:
    """`arbitrage config`."""

    def __init__(self, refusal: Refusal) -> None:
        self._refusal = refusal

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the subcommands of `arbitrage config`: show, validate, diff."""
        actions = parser.add_subparsers(dest="action", required=True, metavar="show|validate|diff")
        show = actions.add_parser("show", help="print every key and its value")
        show.add_argument("--origin", action="store_true", help="also print where each value comes from")
        show.add_argument("--json", action="store_true", help="print JSON")
        validate = actions.add_parser("validate", help="check everything; one line a problem")
        validate.add_argument("--databases", action="store_true", help="also ask the named PostgreSQL and Redis servers")
        diff = actions.add_parser("diff", help="compare two environments or configuration folders")
        diff.add_argument("before", metavar="A", help="an environment's name or a configuration folder")
        diff.add_argument("after", metavar="B", help="the same")
        diff.add_argument("--json", action="store_true", help="print JSON")

    def run(self, args: argparse.Namespace) -> int:
        """Carry out one subcommand in the process's own environment. Returns the exit status."""
        try:
            text, code = self._answer(args, os.environ)
        except ConfigError as error:
            sys.stderr.write(f"{error}\n")
            return USAGE
        stream = sys.stdout if code in (DONE, CHECK_FAILED) else sys.stderr
        stream.write(f"{text}\n")
        return code

    def _answer(self, args: argparse.Namespace, environ: Mapping[str, str]) -> tuple[str, int]:
        if args.action == "diff":
            before, after = _load_named(args.before, environ), _load_named(args.after, environ)
            return diff_text(before, after, as_json=args.json), DONE
        loaded = load(find_config_dir(environ), environ)
        if args.action == "show":
            return show_text(loaded, with_origin=args.origin, as_json=args.json), DONE
        if (refusal := self._refusal(loaded.settings, environ)) is not None:
            return refusal, REFUSED_TO_TRADE
        return asyncio.run(validate_text(loaded, ask_databases=args.databases))


def show_text(loaded: Loaded, *, with_origin: bool, as_json: bool) -> str:
    """Print every leaf, with its origin if asked. Secrets are `***`."""
    rows = [(key, value, loaded.origins[key]) for key, value in flat(loaded.settings).items()]
    if as_json:
        table: dict[str, object] = {}
        for key, value, origin in rows:
            hidden = shown(key, value, origin)
            plain = value if hidden not in ("***", "(not set)") else hidden
            table[key] = {"value": plain, "origin": str(origin)} if with_origin else plain
        return msgspec.json.format(msgspec.json.encode(table), indent=2).decode()
    lines = [_row(key, value, origin, with_origin) for key, value, origin in rows]
    lines.append(f"# version {loaded.version}")
    if with_origin:
        lines += ["# environment variables:", *(f"#   {name:<20} {key}" for name, key in variable_table())]
        lines.append("#   ARBITRAGE__A__B      a.b (any key)")
    return "\n".join(lines)


async def validate_text(loaded: Loaded, *, ask_databases: bool) -> tuple[str, int]:
    """Say that the configuration is valid and what it means, or which server is away. Types were checked by loading it."""
    if ask_databases and (problems := await database_problems(loaded)):
        return "\n".join(str(problem) for problem in problems), CHECK_FAILED
    settings = loaded.settings
    head = f"valid: env {settings.env}, mode {settings.mode}, {len(settings.market_symbols)} markets, version {loaded.version}"
    return f"{head}\n{fee_report(loaded)}", DONE


def diff_text(before: Loaded, after: Loaded, *, as_json: bool) -> str:
    """List what differs, and which of it a running process could not take over."""
    changes = compare(before, after).changes
    if as_json:
        rows = [msgspec.to_builtins(change) | {"restart": needs_restart(change.key)} for change in changes]
        return msgspec.json.encode(rows).decode()
    return "\n".join(_difference(change) for change in changes) or "no difference"


def _difference(change: Change) -> str:
    return f"{change.key}: {change.before} -> {change.after}" + (" (restart)" if needs_restart(change.key) else "")


def _row(key: str, value: object, origin: Origin, with_origin: bool) -> str:
    text = f"{key} = {shown(key, value, origin)}"
    return f"{text:<60}  # {origin}" if with_origin else text


def _load_named(name: str, environ: Mapping[str, str]) -> Loaded:
    """Load an environment by name, or the configuration of a folder as it stands."""
    if Path(name).is_dir():
        return load(Path(name), environ, overrides={})
    return load(find_config_dir(environ), {**environ, "ENV": name}, overrides={})
