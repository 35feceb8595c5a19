"""The command line: every command explains itself with an example, and every end has its documented status."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from arbitrage import __version__
from arbitrage.app.cli import EXITS, main
from arbitrage.app.exits import Exit
from arbitrage.store.locks import FolderLock

PROJECT = Path(__file__).parents[2]
COMMANDS = ("run", "demo", "replay", "cycles", "migrate", "config", "sim", "backup", "restore")


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the caller's environment configures what is tested; its files go to the test's own folder."""
    for name in os.environ:
        if name.startswith(("ARBITRAGE_", "POSTGRES_", "REDIS_")) or name in ("ENV", "MODE", "LOG_LEVEL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ARBITRAGE__STORE__DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("ARBITRAGE__LOG__DIRECTORY", str(tmp_path / "logs"))


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A copy of the project's configuration, to be spoilt."""
    shutil.copytree(PROJECT / "config", tmp_path / "config")
    return tmp_path / "config"


def spoil(config: Path, old: str, new: str) -> int:
    """Change one line of base.yaml; return its number."""
    file = config / "base.yaml"
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))
    return text[: text.index(old)].count("\n") + 1


def ended(words: list[str]) -> int:
    """Return the exit status of a command, however it ended."""
    try:
        return main(words)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else -1


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_s_help_has_an_example_and_the_exit_statuses(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert re.search(rf"^example:\n  arbitrage {command} ", text, re.MULTILINE)
    assert re.search(r"^exit status: 0 done, ", text, re.MULTILINE)


def test_the_help_lists_every_command_and_every_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(re.search(rf"^    {command} ", text, re.MULTILINE) for command in COMMANDS)
    assert all(f"{status.value} " in EXITS for status in Exit) and EXITS in text


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(["--version"]) == 0
    assert capsys.readouterr().out == f"arbitrage {__version__}\n"


@pytest.mark.parametrize("command", [[sys.executable, "-m", "arbitrage"], [str(Path(sys.executable).with_name("arbitrage"))]])
def test_both_doors_are_the_same(command: list[str]) -> None:
    if not Path(command[0]).exists():
        pytest.skip("the console script is not installed beside this Python")
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False, cwd=PROJECT)
    assert (done.returncode, done.stdout) == (0, f"arbitrage {__version__}\n")


@pytest.mark.parametrize(
    "words",
    [
        [], ["fly"], ["run", "--bogus"], ["run", "--for", "soon"], ["run", "--for", "-1"], ["demo", "--for", "nan"],
        ["demo", "--seed", "x"], ["replay"], ["cycles"], ["cycles", "--books", "x.csv", "--max-legs", "9"],
        ["cycles", "--books", "x.csv", "--fee-bps", "much"], ["migrate", "--status", "--dry-run"], ["config"],
        ["sim", "--speed", "0"], ["sim", "--for", "-1"],
    ],
)  # fmt: skip
def test_bad_usage_ends_with_two(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(words) == Exit.USAGE
    said = capsys.readouterr()
    assert said.out == "" and "error:" in said.err and "Traceback" not in said.err


def test_bad_configuration_is_one_line_with_file_line_and_key(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number = spoil(config, 'profit_min: "0.10"', "profit_min: plenty")
    assert ended(["run", "--config", str(config)]) == Exit.USAGE
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert said.err.startswith(f"{config / 'base.yaml'}:{number}") and "risk.profit_min" in said.err and "plenty" in said.err


def test_an_unknown_key_is_refused_by_file_line_and_key(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    number = spoil(config, 'profit_min: "0.10"', 'profit_minimum: "0.10"')
    assert ended(["run", "--config", str(config)]) == Exit.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"{config / 'base.yaml'}:{number}") and "risk.profit_minimum" in line and "unknown key" in line


@pytest.mark.parametrize("words", [["run"], ["replay", "x.jsonl"], ["migrate", "--status"], ["config", "validate"]])
def test_every_command_refuses_a_bad_environment_alike(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ARBITRAGE__RISK__OPEN_PLANS_MAX", "none")
    assert ended(words) == Exit.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("environment variable ARBITRAGE__RISK__OPEN_PLANS_MAX risk.open_plans_max")


def test_live_is_refused_with_three_and_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MODE", "live")
    assert ended(["run"]) == Exit.REFUSED_TO_TRADE
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("MODE=live is refused") and "arbitrage-binance-key" in line and line.endswith("set MODE=paper")


def test_a_data_folder_in_use_is_refused_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    lock = FolderLock(tmp_path / "data" / "daemon.lock")
    assert lock.acquire()
    assert ended(["run"]) == Exit.CHECK_FAILED
    lock.release()
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 1
    assert "another daemon runs on this data folder" in said.err and "ARBITRAGE__STORE__DATA_DIR" in said.err


def test_a_folder_that_cannot_be_made_is_a_configuration_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("ARBITRAGE__STORE__DATA_DIR", str(tmp_path / "file" / "data"))
    assert ended(["run"]) == Exit.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert "ARBITRAGE__STORE__DATA_DIR store.data_dir" in line and "cannot be made" in line


def test_a_reader_that_leaves_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    command = [sys.executable, "-m", "arbitrage", "config", "show"]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, check=False, cwd=PROJECT)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_refuses_to_run_without_its_assertions() -> None:
    command = [sys.executable, "-O", "-m", "arbitrage", "run"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=PROJECT)
    assert done.returncode == Exit.USAGE and "without its assertions" in done.stderr and len(done.stderr.splitlines()) == 1
