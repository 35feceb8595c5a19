"""The documents tell the truth: commands parse, links resolve, and keys, figures, tables and reasons are named as they are."""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from house_source import ROOT, tell
from msgspec import inspect

from arbitrage.app.cli import build_parser
from arbitrage.app.cycles_command import Answer, Best
from arbitrage.app.exits import Exit
from arbitrage.app.monitor.command import KEY_FILE_VARIABLE, KEY_VARIABLE
from arbitrage.app.monitor.picture import Picture
from arbitrage.app.replay import Replayed
from arbitrage.market.doubt import Doubt
from arbitrage.model import settings as declared
from arbitrage.model.opportunities import PlanState, Refusal
from arbitrage.ops.config import CONFIG_DIR_VARIABLE, needs_restart
from arbitrage.ops.environment import NAMED
from arbitrage.ops.health import Check
from arbitrage.ops.log_lines import LogLine
from arbitrage.ops.secrets import CREDENTIALS
from arbitrage.ops.status import FeedStatus, Status
from arbitrage.sim.capture import DATA_VARIABLE
from arbitrage.sim.main import parse_options
from arbitrage.store.redis_metrics import METRICS
from arbitrage.strategy.board import refusal_of

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
REFERENCE = ROOT / "docs" / "REFERENCE.md"
RECORDS = ROOT / "docs" / "adr"
FREE_NAMES = {
    "venues": ("VENUE",), "quote_fees": ("ASSET",), "fx_policy_by_pair": ("ASSET",), "transfers": ("ASSET",),
    "inventory": ("VENUE", "ASSET"), "channels": ("CHANNEL",),
    "bank_rates": ("ASSET",),
}  # fmt: skip
"""What stands for the free names below a key."""
WORDS: tuple[tuple[object, str], ...] = (
    (declared.DecimalText, "decimal text"), (declared.TimeOfDay, "time of day"), (declared.Symbol, "symbol"),
    (declared.Name, "name"), (declared.Url, "URL"), (declared.Url | None, "URL or null"),
    (bool, "true or false"), (str, "text"), (str | None, "text or null"),
)  # fmt: skip
SHOWN = re.compile(r"(?:`|^ {4}|^)(?:\$ )?(?:[A-Z_]+=\S+ )*(?:\.venv/bin/)?arbitrage (?P<words>[a-z-][^`\n]*)", re.M)
FENCE = re.compile(r"^```.*?^```", re.M | re.S)
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#\s]*)(?:#(?P<part>[^)\s]+))?\)")
ROW = re.compile(r"^\| `(?P<key>\w+(?:\.\w+)*)` \| (?P<kind>[^|]+) \| (?P<default>[^|]+) \| (?P<swap>[^|]+) \| \S", re.M)


def shown(text: str) -> list[str]:
    """Find every command line of `arbitrage` in code, without its comment and what follows a pipe."""
    code = "\n".join([*FENCE.findall(text), *re.findall(r"^ {4}.*$", text, re.M), *re.findall(r"`[^`\n]+`", text)])
    return [re.split(r"\s+(?:#|\||>|2>|&)", match["words"])[0].strip() for match in SHOWN.finditer(code)]


def parsed(words: str) -> tuple[bool, str]:
    """Return whether the command line takes these words whole, and what it printed."""
    argv, out = shlex.split(words), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            if argv[0] == "sim":  # which looks at standard input when it is told --json
                parse_options([word for word in argv[1:] if word != "--json"], lambda: 0)
            else:
                build_parser().parse_args(argv)
        except SystemExit as end:
            return not end.code, out.getvalue()
    return True, out.getvalue()


def slugs(path: Path) -> set[str]:
    """Return the anchors of a document's headings."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def dead_links(path: Path, text: str) -> Iterator[str]:
    """Name every relative link of a document that leads nowhere."""
    for match in LINK.finditer(text):
        target = (path.parent / match["path"]).resolve() if match["path"] else path
        if not target.exists() or (match["part"] and match["part"] not in slugs(target)):
            yield f"{path.relative_to(ROOT)}: {match[0]}"


def kind_words(kind: inspect.Type) -> str:
    """Say in words what a key takes."""
    for named, words in WORDS:
        if kind == inspect.type_info(named):
            return words
    match kind:
        case inspect.IntType():
            return "whole number" if kind.ge is None else f"whole number, {kind.ge} to {kind.le}"
        case inspect.FloatType():
            return f"number, {kind.ge} to {kind.le}"
        case inspect.LiteralType():
            return " or ".join(f"`{value}`" for value in kind.values)
        case inspect.VarTupleType():
            return f"list of {kind_words(kind.item_type)}s"
    raise AssertionError(f"no words for {kind}")


def keys_of(section: type, prefix: str = "") -> Iterator[tuple[str, str, str]]:
    """List every key that the settings declare, with what it takes and its default."""
    for field in msgspec.structs.fields(section):
        kind: Any = inspect.type_info(field.type)
        key, default = f"{prefix}{field.name}", field.default
        names = iter(FREE_NAMES.get(field.name, ()))
        while isinstance(kind, inspect.DictType):
            key, kind, default = f"{key}.{next(names)}", kind.value_type, msgspec.UNSET
        if isinstance(kind, inspect.StructType):
            yield from keys_of(kind.cls, f"{key}.")
        else:
            is_given = default not in (msgspec.NODEFAULT, msgspec.UNSET)
            text = f"`{msgspec.json.encode(default).decode()}`" if is_given else "none"
            yield key, kind_words(kind), "required" if default is msgspec.NODEFAULT else text


def reference_rows() -> dict[str, tuple[str, str, str]]:
    """Return what docs/REFERENCE.md has to say of every key."""
    return {
        key: (kind, default, "restart" if needs_restart(key) else "taken over")
        for key, kind, default in keys_of(declared.Settings)
        if key != "env"
    }


def unnamed(names: Iterable[str]) -> list[str]:
    text = REFERENCE.read_text(encoding="utf-8")
    return [name for name in names if f"`{name}`" not in text]


def tables() -> list[str]:
    sql = "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "db" / "migrations").glob("*.sql")))
    return re.findall(r"CREATE TABLE (\w+)", sql)


@pytest.mark.parametrize(
    ("words", "is_right"),
    [
        ("demo --for 60 --json", True), ("sim --seed 7", True), ("config show --origin", True), ("--help", True),
        ("trade", False), ("demo --keys", False), ("sim --speed 0", False), ("config", False),
    ],
)  # fmt: skip
def test_only_command_lines_that_exist_are_understood(words: str, *, is_right: bool) -> None:
    assert parsed(words)[0] is is_right


def test_command_lines_are_found_in_code_and_not_in_prose() -> None:
    text = "an arbitrage of\narbitrage here `ENV=x arbitrage run`:\n\n    arbitrage demo --for 1 | tail -1\n"
    text += "```\n.venv/bin/arbitrage sim # serve\n```\n"
    assert sorted(shown(text)) == ["demo --for 1", "run", "sim"]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_shown_exists(path: Path) -> None:
    faults = [f"arbitrage {words}" for words in shown(path.read_text(encoding="utf-8")) if not parsed(words)[0]]
    assert not faults, tell(faults, f"correct {path.relative_to(ROOT)}: show whole command lines that the parser takes")


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_relative_link_resolves(path: Path) -> None:
    faults = list(dead_links(path, path.read_text(encoding="utf-8")))
    assert not faults, tell(faults, "correct the path or the heading's anchor")


def test_a_link_to_a_missing_file_or_heading_is_seen() -> None:
    text = "[a](0001-exact-money.md) [b](no.md) [c](#decision-records) [d](#no) [e](../no.md#no) [f](https://g.h/i)"
    faults = [fault.partition("](")[2] for fault in dead_links(RECORDS / "README.md", text)]
    assert faults == ["no.md)", "#no)", "../no.md#no)"]


def test_the_reference_tells_every_key_with_type_default_and_whether_it_is_taken_over() -> None:
    rows = ROW.finditer(REFERENCE.read_text(encoding="utf-8"))
    written = {row["key"]: (row["kind"], row["default"], row["swap"]) for row in rows}
    wanted = reference_rows()
    differing = [key for key in wanted.keys() | written.keys() if wanted.get(key) != written.get(key)]
    faults = [f"{key}: wanted {wanted.get(key)}, written {written.get(key)}" for key in differing]
    assert not faults, tell(sorted(faults), "bring the table in docs/REFERENCE.md up to date with arbitrage/model/settings.py")


@pytest.mark.parametrize(
    ("what", "names"),
    [
        ("metrics", [*METRICS, "updated_at_ns"]),
        ("environment variables", ["ENV", *NAMED, CONFIG_DIR_VARIABLE, DATA_VARIABLE, KEY_VARIABLE, KEY_FILE_VARIABLE]),
        ("credentials", list(CREDENTIALS)),
        ("exit codes", [str(int(code)) for code in Exit]),
        ("tables", [*tables(), "schema_migrations"]),
        ("refusals", [refusal.value for refusal in Refusal]),
        ("doubts", [doubt.value for doubt in Doubt]),
        ("ends of a plan", [state.value for state in PlanState if state.is_terminal]),
        ("JSON of replay", [*Replayed.__struct_fields__]),
        ("JSON of cycles", [*Answer.__struct_fields__, *Best.__struct_fields__]),
        ("JSON of healthcheck.py", [*Check.__struct_fields__]),
        ("status.json", [*Status.__struct_fields__, *FeedStatus.__struct_fields__]),
        ("log lines", [*LogLine.__struct_fields__]),
        ("JSON of tools/monitor.py", [*Picture.__struct_fields__]),
    ],
)
def test_the_reference_names_all(what: str, names: list[str]) -> None:
    assert names, f"there are {what}"
    faults = unnamed(names)
    assert not faults, tell(faults, f"name them under {what} in docs/REFERENCE.md")


@pytest.mark.parametrize(
    "command",
    [
        "run", "demo", "sim", "replay", "cycles", "migrate", "backup", "restore", "alert", "config show", "config validate",
        "config diff", "user add", "user list", "key add",
    ],
)
def test_the_reference_names_every_option(command: str) -> None:
    options = set(re.findall(r"--[a-z][a-z-]*", parsed(f"{command} --help")[1].split("example")[0])) - {"--help"}
    text = REFERENCE.read_text(encoding="utf-8")
    faults = sorted(option for option in options if not re.search(rf"`{option}[ `]", text))
    assert options, "a command has options"
    assert not faults, tell(faults, f"add them to {command} in docs/REFERENCE.md")


def test_every_doubt_has_its_refusal_in_the_reference() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    rows = {doubt.value: rf"^\| `{doubt.value}` \|.*\| `{refusal_of(doubt).value}` \|" for doubt in Doubt}
    faults = [name for name, row in rows.items() if not re.search(row, text, re.M)]
    assert not faults, tell(faults, "correct the table of doubts in docs/REFERENCE.md")


def test_every_file_that_the_architecture_names_exists() -> None:
    names = re.findall(r"`([\w*/]+\.py)`", (ROOT / "docs" / "ARCHITECTURE.md").read_text(encoding="utf-8"))
    faults = sorted({name for name in names if not list((ROOT / "arbitrage").glob(f"**/{name}"))})
    assert names, "files are named as code"
    assert not faults, tell(faults, "bring docs/ARCHITECTURE.md up to date")


def test_every_decision_record_is_listed_once_under_its_title() -> None:
    index = (RECORDS / "README.md").read_text(encoding="utf-8")
    wanted = []
    for path in sorted(RECORDS.glob("0*.md")):
        number, _, title = path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ").partition(" ")
        wanted.append(f"| [{number}]({path.name}) | {title} |")
    assert [row for row in index.splitlines() if row.startswith("| [")] == wanted
