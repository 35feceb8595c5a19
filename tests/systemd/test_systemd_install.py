"""scripts/install.sh without its effects: what it would do, what it refuses. The effects are proven in `make systemd-lab`."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]
SCRIPT = PROJECT / "scripts" / "install.sh"
SYSTEM_PYTHON = Path("/usr/bin/python3")


def install(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def has_fitting_system_python() -> bool:
    if not SYSTEM_PYTHON.exists():
        return False
    code = "import ensurepip, sys; sys.exit(sys.version_info < (3, 11))"
    return subprocess.run([str(SYSTEM_PYTHON), "-c", code], capture_output=True, check=False).returncode == 0


needs_system_python = pytest.mark.skipif(
    not has_fitting_system_python(), reason="no system Python 3.11 with venv at /usr/bin/python3 (Debian: python3-venv)"
)


@needs_system_python
def test_a_dry_run_names_every_step_and_does_nothing(tmp_path: Path) -> None:
    prefix = tmp_path / "arbitrage"
    done = install("--dry-run", "--prefix", str(prefix), "--python", str(SYSTEM_PYTHON))
    assert done.returncode == 0, done.stderr
    assert not prefix.exists() and done.stderr == ""
    *steps, last = done.stdout.strip().splitlines()
    assert last == "nothing was done (--dry-run)"
    for words in (
        f"-m venv {prefix}/.venv", "systemd-sysusers", "systemd-tmpfiles --create", "/etc/systemd/system/arbitrage.service",
        "/etc/arbitrage/base.yaml", f"{prefix}/healthcheck.py", "/usr/local/bin/arbitrage-monitor",
        "share/arbitrage/docs/RUNBOOK.md",
    ):
        assert any(words in step for step in steps), words
    assert all(step.startswith(("would: ", "systemd does not run here", "kept ")) for step in steps)


@needs_system_python
def test_going_back_takes_the_newer_program_s_tables_away_from_the_older_one(tmp_path: Path) -> None:
    folder = tmp_path / ".venv" / "share" / "arbitrage" / "db" / "migrations"
    folder.mkdir(parents=True)
    newer, known = folder / "0999_newer.sql", folder / "0001_sessions_and_snapshots.sql"
    newer.touch()
    known.touch()
    done = install("--dry-run", "--prefix", str(tmp_path), "--python", str(SYSTEM_PYTHON))
    assert done.returncode == 0 and f"would: rm -f {newer}" in done.stdout.splitlines(), done.stdout
    assert f"rm -f {known}" not in done.stdout


def test_a_dry_run_of_the_removal_keeps_configuration_data_and_logs(tmp_path: Path) -> None:
    prefix = tmp_path / "arbitrage"
    prefix.mkdir()
    done = install("--uninstall", "--dry-run", "--prefix", str(prefix))
    assert done.returncode == 0, done.stderr
    assert prefix.exists()
    assert f"would: rm -rf {prefix}" in done.stdout
    removed = " ".join(line for line in done.stdout.splitlines() if line.startswith("would: rm"))
    assert "/var/lib" not in removed and "/etc/arbitrage" not in removed and "/var/log" not in removed
    assert "kept: /etc/arbitrage, /var/lib/arbitrage, /var/log/arbitrage" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prefix", "/"], "a folder of its own"), (["--prefix", "/usr"], "a folder of its own"),
        (["--prefix", "here"], "absolute path"), (["--prefix", "/tmp/a b"], "a character that a unit file"),
        (["--prefix"], "wants a value"), (["--frobnicate"], "unknown option --frobnicate"),
        (["--dry-run", "--python", "/bin/false"], "not Python 3.11 or newer"),
    ],
)
def test_bad_usage_is_refused_with_status_2(arguments: list[str], words: str) -> None:
    done = install(*arguments)
    assert done.returncode == 2 and words in done.stderr


def test_help_shows_an_example() -> None:
    done = install("--help")
    assert done.returncode == 0 and "Example: sudo scripts/install.sh --dry-run" in done.stdout


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed (Debian package)")
def test_shell_scripts_have_no_warnings() -> None:
    scripts = [SCRIPT, *sorted((PROJECT / "scripts" / "systemd-lab").glob("*.sh"))]
    done = subprocess.run(["shellcheck", "-S", "warning", *map(str, scripts)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", ["healthcheck.py", "tools/monitor.py"])
def test_the_operators_scripts_explain_themselves(name: str) -> None:
    command = [sys.executable, str(PROJECT / name), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 and "examples:" in done.stdout


def test_scripts_start_with_what_they_do() -> None:
    for script in (SCRIPT, *(PROJECT / "scripts" / "systemd-lab").glob("*.sh")):
        lines = script.read_text().splitlines()
        assert lines[0] == "#!/bin/bash" and re.match(r"# \S", lines[1])
