"""PostgreSQL refuses to run as root: the system user that runs it instead, and what that user can reach. Opens no folders."""

from __future__ import annotations

import importlib.metadata
import os
import pwd
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

from arbitrage.store.processes import RunAs

USER_NAME = "embedded_postgres"
RELOCATED_PARENT = Path("/var/lib")
_MEND = "start as another user, or set POSTGRES_HOST to a server"


class EmbeddedRefused(Exception):
    """An embedded server cannot be had. One line: why, and what to do."""


def find_run_as(messages: list[str]) -> RunAs | None:
    """Return the system user for the server when this process is root, making it on first use. Raises EmbeddedRefused."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(USER_NAME)
    except KeyError:
        entry = _make_user(messages)
    return RunAs(USER_NAME, entry.pw_uid, entry.pw_gid)


def _make_user(messages: list[str]) -> pwd.struct_passwd:
    program = shutil.which("useradd", path=os.defpath + ":/usr/sbin:/sbin")
    complaint = "useradd is not installed"
    if program is not None:
        command = [program, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", USER_NAME]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        complaint = " ".join(done.stderr.split())
    try:
        entry = pwd.getpwnam(USER_NAME)  # another process may have made it meanwhile
    except KeyError:
        raise EmbeddedRefused(f"PostgreSQL refuses root and user {USER_NAME} cannot be made ({complaint}): {_MEND}") from None
    messages.append(f"PostgreSQL refuses to run as root: made the system user {USER_NAME} for it (remove with userdel)")
    return entry


def can_traverse(path: Path, run_as: RunAs) -> bool:
    """Tell whether the user may pass every folder above `path`, by their permission bits."""
    return all(_may_pass(folder.stat(), run_as) for folder in path.parents)


def _may_pass(folder: os.stat_result, run_as: RunAs) -> bool:
    if folder.st_uid == run_as.uid:
        return bool(folder.st_mode & stat.S_IXUSR)
    if folder.st_gid == run_as.gid:
        return bool(folder.st_mode & stat.S_IXGRP)
    return bool(folder.st_mode & stat.S_IXOTH)


def reachable_home(home: Path, run_as: RunAs, messages: list[str]) -> Path:
    """Return a folder that the user can reach: `home`, or one under /var/lib that `home` then links to."""
    if not home.is_symlink() and can_traverse(home, run_as):
        home.mkdir(exist_ok=True)
        home.chmod(0o711)
        return home
    if home.is_symlink() and home.is_dir():
        return home.resolve()
    if home.is_symlink():
        home.unlink()
    if home.exists():
        raise EmbeddedRefused(
            f"{home}: user {run_as.name} cannot reach it any more: chmod o+x the folders above it, or move it"
        )
    try:
        place = Path(tempfile.mkdtemp(prefix="arbitrage-postgres-", dir=RELOCATED_PARENT))
    except OSError as error:
        raise EmbeddedRefused(
            f"user {run_as.name} cannot reach {home}, and {RELOCATED_PARENT} takes no folder ({error.strerror}): {_MEND}"
        ) from None
    place.chmod(0o711)
    home.symlink_to(place)
    messages.append(f"user {run_as.name} cannot reach {home.parent}: the database lives in {place}, linked from {home}")
    return place


def reachable_programs(programs: Path, home: Path, run_as: RunAs, messages: list[str]) -> Path:
    """Return a folder with PostgreSQL's programs that the user can reach: the installed one, or a copy inside `home`."""
    if can_traverse(programs / "postgres", run_as):
        return programs
    version = importlib.metadata.version("embedded-postgres")
    package = programs.parents[1]
    copy = home / f"programs-{version}"
    if not copy.exists():
        for old in home.glob("programs-*"):
            shutil.rmtree(old)
        fresh = home / "programs.new"
        shutil.rmtree(fresh, ignore_errors=True)
        for source in (package / "pginstall", package.with_name("embedded_postgres.libs")):
            if source.is_dir():
                shutil.copytree(source, fresh / source.relative_to(package.parent), symlinks=True)
        _open_for_reading(fresh)
        fresh.rename(copy)
        messages.append(f"user {run_as.name} cannot reach {programs}: copied PostgreSQL's programs to {copy}")
    return copy / programs.relative_to(package.parent)


def _open_for_reading(top: Path) -> None:
    for path in (top, *top.rglob("*")):
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | 0o055 if mode & stat.S_IXUSR else mode | 0o044)
