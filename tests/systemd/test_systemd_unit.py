"""The unit as systemd itself judges it: silent verification, an exposure of at most 1.2, and promises that people rely on."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from arbitrage.ops.keys import key_names

PROJECT = Path(__file__).resolve().parents[2]
UNIT = PROJECT / "systemd" / "arbitrage.service"
BACKUP = PROJECT / "systemd" / "arbitrage-backup.service"
EXPOSURE_MAX = 1.2

needs_systemd_analyze = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed (Debian: apt-get install systemd)"
)


def staged(folder: Path, text: str) -> Path:
    """Write the unit with its program where a program is: verification complains about missing ones."""
    program = folder / "opt" / ".venv" / "bin" / "arbitrage"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    (folder / "opt" / "README.md").write_text("x")
    unit = folder / ("arbitrage-backup.service" if "oneshot" in text else "arbitrage.service")
    unit.write_text(text.replace("/opt/arbitrage", str(folder / "opt")))
    return unit


def verified(unit: Path) -> str:
    """Return all that verification says; its exit status is 0 even for a misspelt key."""
    done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False, timeout=60)
    return done.stdout + done.stderr


@needs_systemd_analyze
@pytest.mark.parametrize("unit", [UNIT, BACKUP], ids=["daemon", "backup"])
def test_verification_is_silent(tmp_path: Path, unit: Path) -> None:
    assert verified(staged(tmp_path, unit.read_text())) == ""


@needs_systemd_analyze
@pytest.mark.parametrize(("old", "new"), [("WatchdogSec=", "WatchDogSec="), ("/bin/arbitrage run", "/bin/gone run")])
def test_verification_would_notice_a_misspelt_key_and_a_missing_program(tmp_path: Path, old: str, new: str) -> None:
    text = UNIT.read_text()
    assert old in text
    assert verified(staged(tmp_path, text.replace(old, new))) != ""


@needs_systemd_analyze
@pytest.mark.parametrize("unit", [UNIT, BACKUP], ids=["daemon", "backup"])
def test_the_exposure_is_at_most_that_of_the_best_network_daemon(tmp_path: Path, unit: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(staged(tmp_path, unit.read_text()))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    score = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
    assert score is not None, done.stdout + done.stderr
    assert float(score.group(1)) <= EXPOSURE_MAX, f"exposure {score.group(1)}: see `{' '.join(command)}` for what was loosened"


@pytest.mark.parametrize(
    "line",
    [
        "Type=notify", "NotifyAccess=main", "Restart=on-failure", "RestartPreventExitStatus=2 3 70", "KillMode=mixed",
        "ExecReload=/bin/kill -HUP $MAINPID", "ExecStart=/opt/arbitrage/.venv/bin/arbitrage run", "User=arbitrage",
        "StateDirectory=arbitrage", "LogsDirectory=arbitrage", "MemoryDenyWriteExecute=yes", "LimitCORE=0",
        "LoadCredential=postgres_password:arbitrage.postgres_password", "ProtectSystem=strict",
        "NoExecPaths=%S/arbitrage %L/arbitrage /tmp /var/tmp /dev/shm /run",
        *(f"LoadCredential={name}:{name}" for venue in ("binance", "upbit") for name in key_names(venue)),
    ],
)
def test_the_unit_keeps_a_promise(line: str) -> None:
    assert line in UNIT.read_text().splitlines()


def test_nothing_is_mounted_anew_for_being_executable() -> None:
    """What `ExecPaths=` names loses `ProtectSystem=`: it was writable as far as the mount goes (systemd 252)."""
    assert not re.search(r"^ExecPaths=", UNIT.read_text(), re.M)


def sandbox(unit: Path) -> str:
    text = unit.read_text()
    return text[text.index("# Sandbox") :].partition("[Install]")[0].strip()


def test_a_backup_has_the_daemons_own_sandbox_user_and_key() -> None:
    assert sandbox(BACKUP) == sandbox(UNIT)
    shared = ("User=", "Group=", "Environment", "LoadCredential=arbitrage-backup-key", "StateDirectory=", "UMask=")
    wanted = {line for line in UNIT.read_text().splitlines() if line.startswith(shared)}
    assert wanted <= set(BACKUP.read_text().splitlines()) and len(wanted) > 6


def test_the_watchdog_is_shorter_than_the_patience_for_a_stop() -> None:
    text = UNIT.read_text()
    seconds = {key: int(value) for key, value in re.findall(r"^(\w+Sec)=(\d+)$", text, re.M)}
    assert seconds["WatchdogSec"] < seconds["TimeoutStopSec"] < seconds["TimeoutStartSec"]


def test_the_user_of_the_unit_is_the_one_that_sysusers_makes_and_tmpfiles_gives_folders() -> None:
    sysusers = (PROJECT / "systemd" / "arbitrage.sysusers").read_text()
    assert re.search(r"^u arbitrage ", sysusers, re.M)
    tmpfiles = (PROJECT / "systemd" / "arbitrage.tmpfiles").read_text()
    for line in ("d /var/lib/arbitrage 0700 arbitrage", "d /var/log/arbitrage 0750 arbitrage", "d /etc/arbitrage 0750 root"):
        assert line in tmpfiles


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="systemd-sysusers is not installed")
def test_sysusers_and_tmpfiles_are_understood_by_systemd(tmp_path: Path) -> None:
    for program, name in (("systemd-sysusers", "arbitrage.sysusers"), ("systemd-tmpfiles", "arbitrage.tmpfiles")):
        folder = tmp_path / program
        (folder / "etc").mkdir(parents=True)
        (folder / "etc" / "passwd").write_text("root:x:0:0:root:/root:/bin/sh\narbitrage:x:999:999::/:/bin/false\n")
        (folder / "etc" / "group").write_text("root:x:0:\narbitrage:x:999:\n")
        target = folder / name.replace("arbitrage.", "") / "arbitrage.conf"
        target.parent.mkdir()
        shutil.copy(PROJECT / "systemd" / name, target)
        action = "--create" if "tmpfiles" in program else "--dry-run"
        command = [program, f"--root={folder}", action, f"/{target.relative_to(folder)}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        assert not any(word in done.stderr for word in ("Unknown", "nvalid", "Failed to parse")), done.stderr


def test_the_environment_template_names_every_documented_variable_and_holds_no_password() -> None:
    from arbitrage.ops.environment import variable_table

    text = (PROJECT / "systemd" / "arbitrage.env.example").read_text()
    assigned = dict(re.findall(r"^([A-Z_]+)=(.*)$", text, re.M))
    assert {name for name, _ in variable_table()} <= set(assigned)
    assert assigned["POSTGRES_PASSWORD"] == assigned["REDIS_PASSWORD"] == ""
    unit_environment = " ".join(re.findall(r"^Environment=(.*)$", UNIT.read_text(), re.M))
    for name, folder in (("ARBITRAGE__STORE__DATA_DIR", "%S/arbitrage"), ("ARBITRAGE__LOG__DIRECTORY", "%L/arbitrage")):
        assert f"{name}={folder}" in unit_environment
        assert assigned[name] == folder.replace("%S", "/var/lib").replace("%L", "/var/log")
