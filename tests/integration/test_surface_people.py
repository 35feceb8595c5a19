"""Who may use a real daemon's surface: the first admin by the link, people by the command line, the kill with no database."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from daemon_lab import PROJECT, House, Run, frozen, house_in, postgres_pid, wait_until
from live_lab import environ_of, forms, processes_in

from arbitrage.store.embedded import read_state, redis_of
from arbitrage.web.access.sessions import COOKIE

pytestmark = pytest.mark.integration
PASSWORD, OTHER_PASSWORD = "correct horse battery", "another long password"
HEED_SECONDS_MAX = 2.5
"""The daemon looks once a second."""
TABLES = """SELECT table_schema || '.' || table_name AS name FROM information_schema.tables
WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"""
LINK = re.compile(r"(http://\S+)/setup\?token=(\S+)")


class Surface:
    """One daemon's surface, asked over its socket."""

    def __init__(self, house: House) -> None:
        self.house = house
        house.configure({"web.port": 0, "web.logins_per_minute_max": 1_000})
        self.run: Run = house.start()
        self.run.says("/setup?token=")
        match = LINK.search(self.run.text())
        assert match is not None
        self.url, self.set_up_token = match.groups()
        self.client = httpx.Client(base_url=self.url, timeout=20)

    def ask(self, method: str, path: str, headers: dict[str, str] | None = None, body: Any = None) -> httpx.Response:
        return self.client.request(method, path, headers=headers, json=body)

    def sign_in(self, name: str, password: str = PASSWORD) -> dict[str, str]:
        return browser(self.ask("POST", "/api/v1/login", body={"name": name, "password": password}))

    def found(self) -> dict[str, str]:
        """Make anna the first admin."""
        body = {"token": self.set_up_token, "name": "anna", "password": PASSWORD}
        return browser(self.ask("POST", "/api/v1/setup", body=body))

    def command(self, words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "arbitrage", *words.split()]
        environ = {**self.house.environ, "ARBITRAGE_CONFIG_DIR": str(self.house.config)}
        return subprocess.run(
            command, input=typed, capture_output=True, text=True, env=environ, cwd=PROJECT, timeout=60, check=False
        )  # fmt: skip

    def status_of(self, path: str, headers: dict[str, str]) -> int:
        return self.ask("GET", path, headers).status_code


def browser(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 200, answer.text
    token = answer.headers["set-cookie"].partition(";")[0].partition("=")[2]
    return {"cookie": f"{COOKIE}={token}", "x-csrf-token": answer.json()["csrf_token"]}


@pytest.fixture
def surface(data_folder: Path) -> Iterator[Surface]:
    with house_in(data_folder) as house:
        yield Surface(house)
    wait_until(lambda: not processes_in(data_folder), "a killed daemon's servers are gone", 20)


def test_a_fresh_daemon_takes_no_credential_and_then_its_first_admin_once(surface: Surface) -> None:
    for name in ("admin", "root", "arbitrage", "anna"):
        for password in ("", "admin", "password", "arbitrage", "changeme"):
            answer = surface.ask("POST", "/api/v1/login", body={"name": name, "password": password})
            assert answer.status_code in (401, 429)
            assert surface.client.get("/api/v1/status", auth=(name, password)).status_code == 401
    for path in ("/api/v1/status", "/api/v1/users", "/api/v1/me"):
        assert surface.status_of(path, {}) == 401
    assert surface.ask("POST", "/api/v1/kill", body={"reason": "nobody"}).status_code == 401
    admin = surface.found()
    assert surface.ask("GET", "/api/v1/me", admin).json()["role"] == "admin"
    again = surface.ask("POST", "/api/v1/setup", body={"token": surface.set_up_token, "name": "berta", "password": PASSWORD})
    assert again.status_code == 403
    assert surface.run.end() == 0
    second = surface.house.start()
    second.says("the surface for operators: ")
    second.says("arbitrage.daemon: ready: ")
    assert "setup?token=" not in second.text(), "there is an admin"
    assert second.end() == 0


def test_the_command_line_is_heeded_while_the_daemon_runs_and_while_it_does_not(surface: Surface) -> None:
    assert surface.command("user add berta --role admin", PASSWORD + "\n").returncode == 0
    time.sleep(HEED_SECONDS_MAX)
    late = surface.ask("POST", "/api/v1/setup", body={"token": surface.set_up_token, "name": "x", "password": PASSWORD})
    assert late.status_code == 403, "the link has ended"
    berta = surface.sign_in("berta")
    assert surface.command("user add carla --role viewer", PASSWORD + "\n").returncode == 0
    made = json.loads(surface.command("key add carla --role admin --scope read --scope trade --json").stdout)
    bot = {"authorization": f"Bearer {made['text']}"}
    wait_until(lambda: surface.status_of("/api/v1/status", bot) == 200, "the key counts", HEED_SECONDS_MAX)
    assert surface.ask("POST", "/api/v1/kill", bot, {"reason": "carla is a viewer"}).status_code == 403
    assert surface.command(f"key revoke {made['key']['key']}").returncode == 0
    wait_until(lambda: surface.status_of("/api/v1/status", bot) == 401, "the key is revoked", HEED_SECONDS_MAX)
    carla = surface.sign_in("carla")
    assert surface.command("user disable carla").returncode == 0
    wait_until(lambda: surface.status_of("/api/v1/me", carla) == 401, "carla is signed out", HEED_SECONDS_MAX)
    assert surface.status_of("/api/v1/me", berta) == 200
    assert surface.run.end() == 0
    assert surface.command("user enable carla").returncode == 0, "no daemon runs"
    users = json.loads(surface.command("user list --json").stdout)["users"]
    assert [(user["name"], user["is_disabled"]) for user in users] == [("berta", False), ("carla", False)]


def test_the_kill_switch_works_with_the_database_down(surface: Surface) -> None:
    admin = surface.found()
    body = {"name": "oskar", "role": "operator", "password": PASSWORD}
    assert surface.ask("POST", "/api/v1/users", admin, body).status_code == 200
    with frozen(postgres_pid(surface.house)):
        began = time.monotonic()
        oskar = surface.sign_in("oskar")
        viewer = surface.ask("POST", "/api/v1/users", admin, {**body, "name": "berta"})
        assert viewer.status_code == 503, "people cannot be changed"
        told = surface.ask("POST", "/api/v1/kill", oskar, {"reason": "the database is down"})
        assert told.status_code == 200 and told.json()["done"] is True
        assert surface.ask("GET", "/api/v1/status", oskar).json()["killed"].endswith(": the database is down")
        assert time.monotonic() - began < 25
    actions = [row["action"] for row in _until_rows(surface.house, "SELECT action FROM audit_log WHERE action LIKE '%kill'")]
    assert actions == ["POST /api/v1/kill"]


def _until_rows(house: House, statement: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def has() -> bool:
        found[:] = house.query(statement)
        return bool(found)

    wait_until(has, statement, 30)
    return found


def stored(house: House) -> Iterator[tuple[str, bytes]]:
    """Give every row of every table, and every value in Redis, as text."""
    for row in house.query(TABLES):
        rows = house.query(f"SELECT row_to_json(t)::text AS row FROM {row['name']} t")
        yield f"table {row['name']}", "\n".join(each["row"] for each in rows).encode()
    endpoint = redis_of(read_state(house.folder))
    client = redis.Redis(endpoint.host, endpoint.port, password=endpoint.password or None)
    for key in client.scan_iter():
        value = client.hgetall(key) if client.type(key) == b"hash" else client.xrange(key)
        yield f"redis {key.decode()}", repr(value).encode()
    client.close()


def test_no_password_cookie_key_or_token_lies_anywhere(surface: Surface) -> None:
    house, admin = surface.house, surface.found()
    made = surface.ask("POST", "/api/v1/keys", admin, {"role": "operator", "scopes": ["read", "trade"]}).json()
    bot = {"authorization": f"Bearer {made['text']}"}
    token = surface.ask("POST", "/api/v1/tokens", bot, {}).json()["access_token"]
    change = {"password": PASSWORD, "new_password": OTHER_PASSWORD}
    changed = browser(surface.ask("POST", "/api/v1/me/password", admin, change))
    provoke(surface, changed, made["text"], token)
    secrets = {
        "password": PASSWORD, "new password": OTHER_PASSWORD, "cookie": changed["cookie"].partition("=")[2],
        "csrf": changed["x-csrf-token"], "first cookie": admin["cookie"].partition("=")[2],
        "key": made["text"].partition(made["key"]["key"] + "_")[2], "token": token.rpartition(".")[2],
        "token key": (house.folder / "web" / "token-key").read_text(), "set-up token": surface.set_up_token,
    }  # fmt: skip
    wanted = {name: forms(text.encode()) for name, text in secrets.items()}
    wanted["token key"] |= forms(bytes.fromhex(secrets["token key"]))

    def leaks(text: bytes) -> list[str]:
        return [name for name, codes in wanted.items() if any(code in text for code in codes)]

    assert leaks((house.folder / "web" / "token-key").read_bytes()) == ["token key"], "the search finds what is there"
    found = {name: leaks(surface.ask("GET", name, changed).content) for name in READABLE}
    found["process"] = leaks(environ_of(surface.run.process.pid))
    found["status"] = leaks(surface.command("status --json").stdout.encode())
    found |= {name: leaks(text) for name, text in stored(house)}
    assert surface.run.end(signal.SIGTERM) == 0
    printed = surface.run.printed.read_bytes()
    assert leaks(printed) == ["set-up token"], "and that is all that is printed"
    for path in sorted(house.folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.name != "token-key" and path != surface.run.printed:
            found[str(path.relative_to(house.folder))] = leaks(path.read_bytes())
    assert {place: names for place, names in found.items() if names} == {}
    assert any("pg_wal" in name for name in found) and any("logs/" in name for name in found) and len(found) > 100
    assert b'"action":"POST /api/v1/me/password"' in printed or "audit/head.json" in found


READABLE = (
    "/metrics", "/health", "/api/v1/status", "/api/v1/users", "/api/v1/keys", "/api/v1/audit", "/api/v1/logs",
    "/api/v1/sessions?everybody=true", "/api/v1/config", "/api/v1/config/export",
)  # fmt: skip


def provoke(surface: Surface, headers: dict[str, str], key: str, token: str) -> None:
    """Send secrets where they do not belong, so that errors would repeat them."""
    wrong = {"authorization": f"Bearer {key[:-1]}"}
    surface.ask("POST", "/api/v1/login", body={"name": PASSWORD, "password": OTHER_PASSWORD, "more": PASSWORD})
    surface.ask("POST", "/api/v1/login", body={"name": OTHER_PASSWORD, "password": PASSWORD})
    surface.ask("GET", "/api/v1/me", wrong)
    surface.ask("GET", "/api/v1/me", {"authorization": f"Bearer {token}x"})
    surface.ask("PUT", "/api/v1/users/anna", headers, {"role": PASSWORD})
    surface.ask("POST", "/api/v1/users", headers, {"name": OTHER_PASSWORD, "role": "viewer", "password": PASSWORD})
    surface.ask("GET", f"/api/v1/config/keys/{PASSWORD}", headers)
    surface.ask("GET", f"/api/v1/unknown?token={token}", headers)
    surface.ask("POST", "/api/v1/setup", body={"token": surface.set_up_token, "name": PASSWORD, "password": PASSWORD})
    form = f"name=anna&password={PASSWORD}&next=//{token}"
    surface.client.post("/login", content=form, headers={"content-type": "text/plain"})
