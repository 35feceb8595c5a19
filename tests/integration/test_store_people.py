"""Users and keys on a real PostgreSQL: changed by several at once and by the command line, and read again for the picture."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from daemon_lab import PROJECT, clean_environment

from arbitrage.app.clock import wall_ns
from arbitrage.store import migrations
from arbitrage.store.endpoints import PostgresEndpoint
from arbitrage.store.people import KeyRow, PeopleRefused, PeopleStore, UserChange
from arbitrage.web.access.people import LOOK_SECONDS, People
from arbitrage.web.callers import Role

pytestmark = pytest.mark.integration
PASSWORD = "correct horse battery"
Query = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def store(postgres: PostgresEndpoint, tmp_path: Path) -> PeopleStore:
    asyncio.run(migrations.apply(postgres, migrations.migrations_dir(), tmp_path))
    return PeopleStore(lambda: postgres, wall_ns)


def key_of(owner: str, number: int) -> KeyRow:
    return KeyRow(f"{number:016x}", owner, "", "viewer", ("read",), ("10.0.0.0/8",), bytes([number] * 32), number, 10**19 // 2)


def test_what_is_kept_is_read_back_and_every_change_counts_up(store: PeopleStore) -> None:
    async def live() -> None:
        first = await store.read()
        assert first.users == first.keys == ()
        await store.add_user("anna", "admin", "hash 1", is_first_admin=True)
        await store.add_user("berta", "viewer", "hash 2")
        await store.change_user("berta", UserChange(role="operator"))
        await store.add_key(key_of("berta", 1))
        await store.add_key(key_of("berta", 2))
        await store.revoke_key(key_of("berta", 1).key_id)
        await store.note_used({key_of("berta", 2).key_id: 77})
        await store.note_used({key_of("berta", 2).key_id: 66})
        picture = await store.read()
        assert picture.version == await store.version() == first.version + 6
        anna, berta = picture.users
        assert (anna.role, anna.password_hash, anna.is_disabled) == ("admin", "hash 1", False)
        assert (berta.role, berta.password_hash) == ("operator", "hash 2") and berta.generation > anna.generation
        good, revoked = picture.keys
        assert (good.scopes, good.addresses, good.secret_sha256) == (("read",), ("10.0.0.0/8",), bytes([2] * 32))
        assert good.last_used_at_ns == 77 and good.revoked_at_ns is None and revoked.revoked_at_ns is not None
        assert "hash" not in repr(picture) and "\\x02" not in repr(picture)
        await store.close()

    asyncio.run(live())


@pytest.mark.parametrize("change", [UserChange(role="viewer"), UserChange(is_disabled=True)])
def test_the_last_admin_cannot_be_lost_even_by_two_at_once(store: PeopleStore, change: UserChange) -> None:
    async def live() -> list[Any]:
        await store.add_user("anna", "admin", "hash")
        await store.add_user("berta", "admin", "hash")
        both = (store.change_user(name, change) for name in ("anna", "berta"))
        answers = await asyncio.gather(*both, return_exceptions=True)
        assert sum(user.role == "admin" and not user.is_disabled for user in (await store.read()).users) == 1
        return answers

    answers = asyncio.run(live())
    assert sorted(type(answer).__name__ for answer in answers) == ["NoneType", "PeopleRefused"]


def test_only_one_becomes_the_first_admin(store: PeopleStore) -> None:
    async def live() -> list[Any]:
        tries = (store.add_user(f"user{number}", "admin", "hash", is_first_admin=True) for number in range(5))
        return await asyncio.gather(*tries, return_exceptions=True)

    assert [type(answer).__name__ for answer in asyncio.run(live())].count("NoneType") == 1


def test_what_cannot_be_changed_leaves_everything_as_it_was(store: PeopleStore) -> None:
    async def live() -> None:
        await store.add_user("anna", "admin", "hash")
        before = await store.read()
        for attempt in (
            store.add_user("anna", "viewer", "hash"), store.change_user("nobody", UserChange(role="viewer")),
            store.add_key(key_of("nobody", 1)), store.revoke_key("0" * 16),
        ):  # fmt: skip
            with pytest.raises(PeopleRefused):
                await attempt
        assert await store.read() == before

    asyncio.run(live())


def test_the_database_itself_refuses_what_is_no_name_and_no_role(store: PeopleStore, query: Query) -> None:
    for name, role in (("Anna", "admin"), ("anna smith", "admin"), ("anna", "root")):
        with pytest.raises(Exception, match="check constraint"):
            query("INSERT INTO users VALUES ($1, $2, '', false, 1, 1, 1)", name, role)
    with pytest.raises(Exception, match="people_version"):
        query("INSERT INTO people_version VALUES (false, 1)")


def test_a_picture_is_fresh_within_a_second_and_survives_the_database(
    store: PeopleStore, until: Callable[..., Coroutine[Any, Any, None]]
) -> None:
    async def live() -> None:
        people = People(store, wall_ns)
        task = asyncio.ensure_future(people.run())
        await until(lambda: people.is_known)
        assert not people.has_admin
        await store.add_user("anna", "admin", "hash")
        await until(lambda: people.has_admin, LOOK_SECONDS + 1)
        await store.add_key(key_of("anna", 1))
        await until(lambda: people.key(key_of("anna", 1).key_id, "10.0.0.1") is not None, LOOK_SECONDS + 1)
        assert people.key(key_of("anna", 1).key_id, "11.0.0.1") is None
        await store.change_user("anna", UserChange(password_hash="other"))
        await until(lambda: people.user("anna").password_hash == "other", LOOK_SECONDS + 1)  # type: ignore[union-attr]  # anna is there
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await people.close()

    asyncio.run(live())


def test_a_database_that_is_away_leaves_the_picture_as_it_is(until: Callable[..., Coroutine[Any, Any, None]]) -> None:
    async def live() -> str:
        nowhere = PostgresEndpoint("127.0.0.1", 1, "a", "b", "c")
        people = People(PeopleStore(lambda: nowhere, wall_ns), wall_ns)
        task = asyncio.ensure_future(people.run())
        await until(lambda: bool(people.trouble))
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await people.close()
        return people.trouble

    assert "PostgreSQL does not answer" in asyncio.run(live())


@pytest.fixture
def environ(postgres: PostgresEndpoint, tmp_path: Path) -> dict[str, str]:
    return clean_environment(
        ARBITRAGE__STORE__DATA_DIR=str(tmp_path), POSTGRES_HOST=postgres.host, POSTGRES_PORT=str(postgres.port),
        POSTGRES_USER=postgres.user, POSTGRES_PASSWORD=postgres.password, POSTGRES_DB=postgres.database,
        ARBITRAGE_CONFIG_DIR=str(PROJECT / "config"),
    )  # fmt: skip


@pytest.fixture
def commanded(environ: dict[str, str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "arbitrage", *words.split()]
        return subprocess.run(
            command, input=typed, capture_output=True, text=True, env=environ, cwd=PROJECT, timeout=60, check=False
        )  # fmt: skip

    return run


def test_the_command_line_manages_users_and_keys(
    commanded: Callable[..., subprocess.CompletedProcess[str]], query: Query, postgres: PostgresEndpoint, tmp_path: Path
) -> None:
    early = commanded("user list")
    assert early.returncode == 1 and "arbitrage migrate" in early.stderr
    asyncio.run(migrations.apply(postgres, migrations.migrations_dir(), tmp_path))
    assert commanded("user add anna --role admin --json", f"{PASSWORD}\n").returncode == 0
    assert commanded("user add berta --role viewer", f"{PASSWORD}\r\n").returncode == 0
    for words, typed, status in (
        ("user add carla --role viewer", "", 2), ("user add carla --role viewer", "short\n", 1),
        ("user add carla --role root", f"{PASSWORD}\n", 1), ("user role nobody viewer", "", 1), ("user disable anna", "", 1),
        ("user add carla", "", 2), ("key add berta --role viewer", "", 1), ("key revoke 0123456789abcdef", "", 1),
        ("user", "", 2),
    ):  # fmt: skip
        told = commanded(words, typed)
        assert (told.returncode, told.stdout) == (status, ""), (words, told.stdout, told.stderr)
        assert len(told.stderr.strip()) > 10
    assert commanded("user role berta operator").returncode == 0
    assert commanded("user password berta", "another long password\n").returncode == 0
    assert commanded("user disable berta").returncode == commanded("user enable berta").returncode == 0
    made = json.loads(commanded("key add berta --role viewer --scope read --scope records --address 10.0.0.0/8 --json").stdout)
    assert made["text"].startswith(f"ak_{made['key']['key']}_") and made["key"]["scopes"] == ["read", "records"]
    listed = commanded("key list --json").stdout
    assert made["text"].rpartition("_")[2] not in listed and made["key"]["key"] in listed
    assert commanded(f"key revoke {made['key']['key']}").returncode == 0
    users = json.loads(commanded("user list --json").stdout)["users"]
    assert [(user["name"], user["role"], user["is_disabled"]) for user in users] == [
        ("anna", "admin", False), ("berta", "operator", False),
    ]  # fmt: skip
    assert "berta" in commanded("user list").stdout and "revoked" in commanded("key list").stdout
    lines = query("SELECT actor, action, subject, after FROM audit_log ORDER BY number")
    assert [line["action"] for line in lines] == [
        "user add", "user add", "user role", "user password", "user disable", "user enable", "key add", "key revoke",
    ]  # fmt: skip
    assert all(line["actor"].startswith("cli:uid ") for line in lines)
    everything = json.dumps(lines) + json.dumps(query("SELECT row_to_json(u)::text AS t FROM users u"))
    assert PASSWORD not in everything and made["text"].rpartition("_")[2] not in everything
    assert "$argon2id$v=19$m=19456,t=2,p=1$" in everything


def test_a_password_is_asked_for_twice_at_a_terminal_and_is_not_shown(
    postgres: PostgresEndpoint, tmp_path: Path, environ: dict[str, str]
) -> None:
    asyncio.run(migrations.apply(postgres, migrations.migrations_dir(), tmp_path))

    def typed(*lines: str) -> tuple[int, str]:
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(PROJECT)
            os.execve(sys.executable, [sys.executable, "-m", "arbitrage", "user", "add", "anna", "--role", "admin"], environ)
        shown = b""
        for line in lines:
            while not shown.endswith(b": "):
                shown += os.read(terminal, 1_000)
            os.write(terminal, line.encode() + b"\n")
            shown += b"\n"
        try:
            while more := os.read(terminal, 1_000):
                shown += more
        except OSError:
            pass
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()

    status, shown = typed(PASSWORD, "another long password")
    assert status == 2 and "not the same" in shown
    status, shown = typed(PASSWORD, PASSWORD)
    assert status == 0 and "done" in shown and PASSWORD not in shown
    assert asyncio.run(PeopleStore(lambda: postgres, wall_ns).read()).users[0].role == Role.ADMIN.word
