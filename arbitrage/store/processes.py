"""Child servers: how to recognise, stop and guard them. Never signals a process whose command line does not match."""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

STOP_SECONDS_MAX = 10.0
_STEP_SECONDS = 0.02
_SHELL = "/bin/sh"
_GUARD = """read -r _
ours() {
  if [ -r "/proc/$1/cmdline" ]; then line=$(tr '\\0' ' ' < "/proc/$1/cmdline")
  else line=$(ps -ww -o command= -p "$1" 2>/dev/null); fi
  case "$line" in *"$2"*) return 0 ;; esac
  return 1
}
ours "$1" "$2" && kill -s "$3" "$1" && kill -s CONT "$1"
for _ in 1 2 3 4 5 6 7 8 9 10; do ours "$1" "$2" || exit 0; sleep 0.5; done
ours "$1" "$2" && kill -s KILL "$1"
"""


class RunAs(msgspec.Struct, frozen=True):
    """The system user that a server runs as when this process may not run it itself."""

    name: str
    uid: int
    gid: int


def spawn(
    command: list[str],
    *,
    log: Path,
    run_as: RunAs | None = None,
    stdin: bytes | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, so that a terminal's Ctrl-C does not reach it. Its output replaces `log`."""
    identity: dict[str, Any] = {"user": run_as.uid, "group": run_as.gid, "extra_groups": []} if run_as else {}
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=descriptor,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment or {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,
            **identity,
        )
    finally:
        os.close(descriptor)
    if process.stdin is not None and stdin is not None:
        process.stdin.write(stdin)
        process.stdin.close()
    return process


class Guard:
    """A tiny shell that waits for this process to end in any way, kill -9 included, and then stops the server."""

    def __init__(self, pid: int, marker: str, stop_signal: signal.Signals) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        arguments = [_SHELL, "-c", _GUARD, "arbitrage-guard", str(pid), marker, stop_signal.name.removeprefix("SIG")]
        with contextlib.suppress(OSError):  # a sandbox without a shell: the next start still replaces what is left behind
            self._process = subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                cwd="/",
                start_new_session=True,
            )

    def dismiss(self) -> None:
        """End the guard. Call it when the server has ended, or the guard ends it."""
        if self._process is None:
            return
        assert self._process.stdin is not None, "a guard listens"
        self._process.stdin.close()
        self._process.wait()


def is_running(pid: int, marker: str) -> bool:
    """Tell whether `pid` is a live process whose command line holds `marker`."""
    psutil = importlib.import_module("psutil")
    try:
        process = psutil.Process(pid)
        return process.status() != psutil.STATUS_ZOMBIE and marker in " ".join(process.cmdline())
    except psutil.Error:
        return False


def stop_stranger(pid: int, marker: str, stop_signal: signal.Signals) -> None:
    """Stop a server that an earlier process left behind: politely, then with its children by SIGKILL."""
    if not is_running(pid, marker):
        return
    _signal_family(pid, signal.SIGCONT)  # a frozen one hears nothing else
    os.kill(pid, stop_signal)
    if not _ends(pid, marker):
        _signal_family(pid, signal.SIGKILL)
        _ends(pid, marker)


def _ends(pid: int, marker: str) -> bool:
    for _ in range(int(STOP_SECONDS_MAX / _STEP_SECONDS)):
        if not is_running(pid, marker):
            return True
        time.sleep(_STEP_SECONDS)
    return False


def _signal_family(pid: int, number: signal.Signals) -> None:
    psutil = importlib.import_module("psutil")
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)


def kill_family(pid: int) -> None:
    """Kill a server and its children without a word, as a power cut would: for drills."""
    _signal_family(pid, signal.SIGKILL)


def stop_child(process: subprocess.Popen[bytes], stop_signal: signal.Signals) -> None:
    """Stop a server that this process started, and collect it."""
    if process.poll() is None:
        _signal_family(process.pid, signal.SIGCONT)
        process.send_signal(stop_signal)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            _signal_family(process.pid, signal.SIGKILL)
    process.wait()
