"""Run inside the unit's sandbox: tries what a broken-in daemon would, and says as JSON what came of each. Changes nothing."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable

HERE = pathlib.Path.cwd()
"""The state folder: the unit's working directory, and the only place to write beside the logs."""
CLONE_NEWUSER = 0x10000000
LIBC = ctypes.CDLL(None, use_errno=True)


def called(result: int) -> None:
    """Turn a C function's refusal into an exception."""
    if result == -1:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def run_from(folder: pathlib.Path) -> None:
    """Execute a program that was put where the daemon may write."""
    copy = folder / "inside-program"
    try:
        shutil.copy("/bin/true", copy)
        copy.chmod(0o700)
        subprocess.run([copy], check=True)
    finally:
        copy.unlink(missing_ok=True)


def write_to(folder: str) -> None:
    """Write where only the mount says no: the user may not write there anyway."""
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def make_setuid() -> None:
    """Leave a program behind that runs as its owner."""
    copy = HERE / "inside-setuid"
    try:
        copy.touch(0o600)
        copy.chmod(0o4755)
    finally:
        copy.unlink(missing_ok=True)


def see_init() -> None:
    """Look at a process of another user."""
    pathlib.Path("/proc/1/status").read_text()


TRIES: dict[str, Callable[[], object]] = {
    "write_etc": lambda: write_to("/etc"),
    "write_usr": lambda: write_to("/usr"),
    "write_program": lambda: write_to(sys.prefix),
    "list_root": lambda: os.listdir("/root"),
    "see_init": see_init,
    "open_kernel_log": lambda: open("/dev/kmsg").close(),
    "raw_socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close(),
    "netlink_socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).close(),
    "packet_socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
    "writable_code": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close(),
    "user_namespace": lambda: called(LIBC.unshare(CLONE_NEWUSER)),
    "set_clock": lambda: time.clock_settime(time.CLOCK_REALTIME, time.time()),
    "set_hostname": lambda: socket.sethostname("inside"),
    "raise_priority": lambda: os.nice(-5),
    "run_from_state": lambda: run_from(HERE),
    "run_from_logs": lambda: run_from(pathlib.Path("/var/log/arbitrage")),
    "run_from_tmp": lambda: run_from(pathlib.Path("/tmp")),
    "run_from_var_tmp": lambda: run_from(pathlib.Path("/var/tmp")),
    "run_from_shm": lambda: run_from(pathlib.Path("/dev/shm")),
    "make_setuid": make_setuid,
}


def tried(work: Callable[[], object]) -> str:
    """Return the name of what stopped it, or `done`."""
    try:
        work()
    except OSError as error:
        return type(error).__name__ if error.errno is None else f"{type(error).__name__} {error.errno}"
    return "done"


if __name__ == "__main__":
    found = {name: tried(work) for name, work in TRIES.items()}
    (HERE / "inside.json").write_text(json.dumps(found))
