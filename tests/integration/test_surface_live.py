"""The surface of a real daemon: commands, audit log, configuration, events, and the bounds of every client."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

sys.path.append(str(Path(__file__).parents[2] / "scripts" / "surface"))

from prometheus_client.parser import text_string_to_metric_families
from surface_house import SurfaceHouse, surface_house

from arbitrage.store import audit
from arbitrage.store.embedded import postgres_of, read_state
from arbitrage.store.endpoints import PostgresEndpoint, connect_postgres

pytestmark = [pytest.mark.integration, pytest.mark.slow]
SMALL = {
    "ARBITRAGE__WEB__CONNECTIONS_MAX": "24", "ARBITRAGE__WEB__HEADER_MS_MAX": "500", "ARBITRAGE__WEB__STREAMS_MAX": "4",
    "ARBITRAGE__WEB__STREAM_QUEUE_MAX": "10", "ARBITRAGE__WEB__REQUESTS_PER_S_MAX": "2000",
    "ARBITRAGE__WEB__CLIENT_REQUESTS_PER_S_MAX": "1000",
}  # fmt: skip


@pytest.fixture(scope="module")
def house() -> Iterator[SurfaceHouse]:
    """One daemon for all tests that leave it as they found it."""
    with surface_house(SMALL) as running:
        yield running


def endpoint_of(house: SurfaceHouse) -> PostgresEndpoint:
    return postgres_of(read_state(house.data_dir))


async def execute(endpoint: PostgresEndpoint, *statements: str) -> None:
    connection = await connect_postgres(endpoint)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def switched(endpoint: PostgresEndpoint) -> list[tuple[str, dict[str, Any]]]:
    """Read the journal's facts on pauses and kills, oldest first."""
    connection = await connect_postgres(endpoint)
    try:
        kinds = "kind IN ('paused', 'kill_switched')"
        rows = await connection.fetch(f"SELECT kind, body FROM journal_facts WHERE {kinds} ORDER BY session, sequence")
        return [(row["kind"], json.loads(row["body"])) for row in rows]
    finally:
        await connection.close()


def audit_lines(house: SurfaceHouse, action: str) -> list[dict[str, Any]]:
    """Return the lines of one action once nothing waits any more, newest first."""

    def written() -> Any:
        answer = house.ask("GET", "/api/v1/audit?limit=200").json()
        return answer if answer["waiting"] == 0 else None

    return [line for line in house.wait("every audit line", written)["lines"] if line["action"] == action]


def drill_line(house: SurfaceHouse, name: str) -> dict[str, Any]:
    lines: list[dict[str, Any]] = house.ask("GET", "/api/v1/drills").json()["lines"]
    return next(line for line in lines if line["name"] == name)


def drill_processes(house: SurfaceHouse) -> list[psutil.Process]:
    """Return the family of the drill that runs: the command, its databases, exchanges, and all that they started."""
    assert house.process is not None, "it runs"
    drills = [each for each in psutil.Process(house.process.pid).children() if "drill" in each.cmdline()]
    return [each for drill in drills for each in (drill, *drill.children(recursive=True))]


def following(topics: str, key: str, more: str = "") -> bytes:
    """Write the request of a follower."""
    head = f"GET /api/v1/events?topics={topics} HTTP/1.1\r\nHost: localhost\r\n"
    return f"{head}Authorization: Bearer {key}\r\n{more}\r\n".encode()


class Follower:
    """A client of the event stream, on a bare socket."""

    def __init__(self, house: SurfaceHouse, topics: str, *, last_id: str = "", key: str = "") -> None:
        place = urlsplit(house.origin)
        self.socket = socket.create_connection((place.hostname, place.port), timeout=10)
        last = f"Last-Event-ID: {last_id}\r\n" if last_id else ""
        self.socket.sendall(following(topics, key or house.key, last))
        self.text = ""

    def until(self, word: str, seconds: float = 10.0) -> str:
        """Read until a word was seen."""
        end = time.monotonic() + seconds
        while word not in self.text and time.monotonic() < end:
            self.socket.settimeout(max(0.05, end - time.monotonic()))
            try:
                chunk = self.socket.recv(65_536)
            except TimeoutError:
                break
            if not chunk:
                break
            self.text += chunk.decode("utf-8", "replace")
        assert word in self.text, f"{word} within {seconds:g} s; got {self.text[-500:]}"
        return self.text

    def ids(self) -> list[str]:
        return [line.removeprefix("id: ") for line in self.text.splitlines() if line.startswith("id: ")]

    def close(self) -> None:
        self.socket.close()


def test_whoever_has_no_key_sees_health_and_metrics_from_this_machine_and_nothing_else(house: SurfaceHouse) -> None:
    nobody = {"authorization": ""}
    house.wait("that it is ready", lambda: house.ask("GET", "/health/ready", headers=nobody).status == 200)
    here = house.ask("GET", "/health", headers=nobody).json()
    assert here == {"is_live": True, "is_ready": True, "why_not": [], "is_armed": here["is_armed"]}
    assert house.ask("GET", "/metrics", headers=nobody).status == 200
    proxied = {**nobody, "x-forwarded-for": "203.0.113.7"}
    bare = {"is_live": True, "is_ready": True, "why_not": None, "is_armed": None}
    for path in ("/health", "/health/ready"):
        assert house.ask("GET", path, headers=proxied).json() == bare
    assert house.ask("GET", "/metrics", headers=proxied).status == 401
    with_key = {"x-forwarded-for": "203.0.113.7"}
    assert house.ask("GET", "/metrics", headers=with_key).status == 200
    assert house.ask("GET", "/health", headers=with_key).json()["why_not"] == []
    page = house.ask("GET", "/metrics").body.decode()
    assert 'arbitrage_requests_refused_total{reason="not_signed_in"}' in page and 'queue="episodes"' in page
    for path in ("/api/v1/status", "/api/v1/config", "/api/v1/audit", "/api/v1/events"):
        assert house.ask("GET", path, headers=nobody).status == 401
    assert house.ask("POST", "/api/v1/kill", {}, headers=nobody).status == 401


def test_every_picture_and_record_of_the_table_is_answered(house: SurfaceHouse) -> None:
    house.wait("an arbitrage", lambda: house.ask("GET", "/api/v1/status").json()["tally"]["completed"])
    document = house.ask("GET", "/api/v1/openapi.json").json()
    plain = [path for path, row in document["paths"].items() if "get" in row and "{" not in path and path != "/api/v1/events"]
    assert len(plain) >= 25
    statuses = {path: house.ask("GET", path).status for path in plain}
    assert {path: status for path, status in statuses.items() if status != 200 and path != "/health/ready"} == {}
    orders = house.wait("an order", lambda: house.ask("GET", "/api/v1/orders?limit=5&venue=upbit").json()["lines"])
    story = house.ask("GET", f"/api/v1/orders/{orders[0]['client_order_id']}").json()
    assert story["order"]["client_order_id"] == orders[0]["client_order_id"]
    assert house.ask("GET", "/api/v1/orders/no-such-order").status == 404
    book = house.ask("GET", "/api/v1/books/upbit/KRW-BTC?levels=3").json()
    assert len(book["bids"]) == 3 and float(book["bids"][0]["price"]) < float(book["asks"][0]["price"])
    assert house.ask("GET", "/api/v1/books/upbit/KRW-NONE").status == 404


def test_metrics_are_named_as_prometheus_wants_them(house: SurfaceHouse) -> None:
    families = list(text_string_to_metric_families(house.ask("GET", "/metrics").body.decode()))
    assert len(families) >= 50 and len({family.name for family in families}) == len(families)
    for family in families:
        assert family.name.startswith("arbitrage_") and family.documentation, family.name
        assert not family.name.endswith(("_ms", "_us", "_count", "_bucket")), family.name
        totals = [sample.name.endswith("_total") for sample in family.samples]
        assert not totals or (family.type == "counter") == all(totals), family.name
        for sample in family.samples:
            assert not set(sample.labels) & {"client_order_id", "plan_id", "path", "address"}, "labels are of bounded number"


def test_every_hop_is_measured(house: SurfaceHouse) -> None:
    def counts() -> Any:
        lines = [line for line in house.ask("GET", "/metrics").body.decode().splitlines() if "hop_seconds_count" in line]
        found = {line.split('"')[1]: float(line.split()[-1]) for line in lines}
        return found if len(found) == 4 and all(found.values()) else None

    assert set(house.wait("all four hops", counts)) == {
        "exchange_to_receive", "receive_to_decision", "decision_to_ack", "ack_to_fill",
    }  # fmt: skip


def test_a_pause_and_a_kill_are_journaled_and_audited_with_before_and_after(house: SurfaceHouse) -> None:
    paused = house.ask("POST", "/api/v1/pause", {"reason": "lunch"}).json()
    assert paused["done"] is True and "lunch" in paused["standing"]["paused"]
    assert house.ask("GET", "/api/v1/status").json()["is_armed"] is False
    assert house.ask("POST", "/api/v1/resume", {}).json()["standing"]["paused"] == ""
    killed = house.ask("POST", "/api/v1/kill", {"reason": "prices look wrong"}).json()
    assert "prices look wrong" in killed["standing"]["killed"]
    assert (house.data_dir / "KILL").exists()
    assert house.ask("POST", "/api/v1/release", {"reason": "looked at it"}).json()["standing"]["killed"] == ""
    assert house.ask("POST", "/api/v1/release", {}).status == 409
    kill, *_ = audit_lines(house, "POST /api/v1/kill")
    assert kill["actor"].startswith("root") and kill["address"] == "127.0.0.1" and kill["reason"] == "prices look wrong"
    assert kill["after"]["killed"] and kill["status"] == 200
    refused, done, *_ = audit_lines(house, "POST /api/v1/release")
    assert refused["status"] == 409 and done["before"]["killed"] and not done["after"]["killed"]
    facts = house.wait("four facts", lambda: found if len(found := asyncio.run(switched(endpoint_of(house)))) >= 4 else None)
    assert [(kind, fact["is_on"], fact["reason"]) for kind, fact in facts[-4:]] == [
        ("paused", True, "lunch"), ("paused", False, "no reason given"),
        ("kill_switched", True, "prices look wrong"), ("kill_switched", False, "looked at it"),
    ]  # fmt: skip
    assert all("root" in fact["actor"] and "127.0.0.1" in fact["actor"] for _, fact in facts[-4:])


def test_a_setting_is_taken_over_whole_shown_with_its_origin_and_taken_back(house: SurfaceHouse) -> None:
    key = "/api/v1/config/keys/risk.profit_min"
    before = house.ask("GET", key).json()
    put = house.ask("PUT", key, {"value": "0.55", "reason": "too many small ones"})
    assert put.status == 200 and put.json()["lines"][0]["key"] == "risk.profit_min"
    now = house.ask("GET", key).json()
    assert now["value"] == "0.55" and "set by root" in now["origin"] and now["is_set_here"] is True
    line, *_ = audit_lines(house, "PUT /api/v1/config/keys/{key}")
    assert (line["subject"], line["before"], line["after"]) == ("risk.profit_min", before["value"], "0.55")
    for value in ("much", "-1", None, [1], "1" * 400):
        assert house.ask("PUT", key, {"value": value}).status == 422, value
    assert house.ask("GET", key).json()["value"] == "0.55", "what is refused changes nothing"
    assert house.ask("PUT", "/api/v1/config/keys/store.data_dir", {"value": "/elsewhere"}).status == 409
    assert house.ask("PUT", "/api/v1/config/keys/store.postgres_password", {"value": "x"}).status == 409
    assert house.ask("PUT", "/api/v1/config/keys/risk.no_such", {"value": 1}).status == 404
    tried = house.ask("POST", "/api/v1/config/validate", {"values": {"risk.profit_min": "0.60"}}).json()
    assert tried["is_possible"] is True and house.ask("GET", key).json()["value"] == "0.55"
    history = "/api/v1/config/history"
    house.wait("its history", lambda: len(house.ask("GET", history).json()["lines"]) > 1)
    first = house.ask("GET", history).json()["lines"][-1]["version"]
    page = house.ask("GET", f"/configuration/history?left={first}&right={first}").body.decode()
    assert "risk.profit_min" in page and "They hold the same settings" in page and f"version={first}" in page
    changes = house.ask("GET", f"/api/v1/config/compare/{first}").json()
    assert [each["key"] for each in changes["lines"]] == ["risk.profit_min"]
    rolled = house.ask("POST", "/api/v1/config/rollback", {"version": first, "reason": "back"})
    assert rolled.status == 200 and house.ask("GET", key).json() == before
    assert house.ask("POST", "/api/v1/config/rollback", {"version": "0" * 16}).status == 404
    house.ask("PUT", key, {"value": "0.55"})
    assert house.ask("DELETE", key).status == 200 and house.ask("DELETE", key).status == 404
    assert house.ask("GET", key).json() == before
    house.ask("PUT", key, {"value": "0.55"})
    assert house.ask("POST", "/api/v1/config/reset", {}).status == 200 and house.ask("GET", key).json() == before
    assert house.ask("GET", "/api/v1/config/export").json()["settings"]["store"]["postgres_password"] == ""


def test_a_follower_sees_what_happens_and_misses_nothing_when_it_comes_back(house: SurfaceHouse) -> None:
    first = Follower(house, "happening,report,status")
    house.ask("POST", "/api/v1/pause", {"reason": "one"})
    first.until("on by key:root")
    first.until("event: status")
    last = first.ids()[-1]
    first.close()
    house.ask("POST", "/api/v1/resume", {"reason": "two"})
    house.ask("POST", "/api/v1/pause", {"reason": "three"})
    house.ask("POST", "/api/v1/resume", {"reason": "four"})
    second = Follower(house, "happening", last_id=last)
    text = second.until(": four")
    assert ": two" in text and ": three" in text and "event: gap" not in text
    second.close()
    stranger = Follower(house, "happening", last_id="999-1")
    stranger.until("event: gap")
    stranger.close()


def test_one_caller_does_not_take_every_place_of_the_followers(house: SurfaceHouse) -> None:
    house.wait("no follower", lambda: house.ask("GET", "/api/v1/resources").json()["followers"] == 0)
    held = [Follower(house, "happening") for _ in range(2)]
    for follower in held:
        follower.until("200 OK")
    refused = Follower(house, "happening")
    assert "200 OK" not in refused.until("503 Service Unavailable")
    other = Follower(house, "happening", key=house.new_key("viewer"))
    assert "503 Service" not in other.until("200 OK")
    for follower in (*held, refused, other):
        follower.close()


def test_a_follower_that_reads_nothing_is_dropped_and_holds_nobody(house: SurfaceHouse) -> None:
    house.wait("no follower", lambda: house.ask("GET", "/api/v1/resources").json()["followers"] == 0)
    place = urlsplit(house.origin)
    deaf = socket.socket()
    deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2_048)
    deaf.connect((place.hostname, place.port))
    deaf.sendall(following("spreads,status,happening", house.key))
    house.wait("the deaf one", lambda: house.ask("GET", "/api/v1/resources").json()["followers"] == 1)
    house.wait("its end", lambda: house.ask("GET", "/api/v1/resources").json()["followers"] == 0, 180)
    assert house.ask("GET", "/health").status == 200
    deaf.close()


def test_clients_that_send_no_request_are_dropped_and_leave_room(house: SurfaceHouse) -> None:
    place = urlsplit(house.origin)
    idle = [socket.create_connection((place.hostname, place.port)) for _ in range(30)]
    for each in idle[:5]:
        each.sendall(b"GET /health HTTP/1.1\r\nHost: lo")
    house.wait("room", lambda: _is_answered(house), 5)
    shed = house.ask("GET", "/metrics").body.decode()
    assert 'arbitrage_http_connections_shed_total{why="dropped"} 0.0' not in shed
    for each in idle:
        each.settimeout(2)
        assert each.recv(100) == b"", "a connection that says nothing is closed"
        each.close()


def _is_answered(house: SurfaceHouse) -> bool:
    try:
        return house.ask("GET", "/health").status == 200
    except OSError:
        return False


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (b"POST /api/v1/kill HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n", 413),
        (b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET /health?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /nowhere HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"DELETE /health HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
    ],
)
def test_what_is_no_request_of_ours_gets_its_own_status(house: SurfaceHouse, words: bytes, status: int) -> None:
    place = urlsplit(house.origin)
    with socket.create_connection((place.hostname, place.port), timeout=5) as client:
        named = words.replace(b"\r\n\r\n", f"\r\nAuthorization: Bearer {house.key}\r\n\r\n".encode(), 1)
        client.sendall(named if b"NONSENSE" not in words else words)
        assert int(client.recv(4_096).split()[1]) == status


def test_a_snapshot_and_the_drill_that_is_safe_are_made_at_once(house: SurfaceHouse) -> None:
    assert "snapshot-" in house.ask("POST", "/api/v1/snapshot", {}).json()["text"]
    assert house.ask("POST", "/api/v1/drills/kill-exercise", {}).json()["done"] is True
    assert house.ask("POST", "/api/v1/drills/no-such", {}).status == 404
    assert drill_line(house, "kill-exercise")["last_proven"] is not None
    assert house.ask("POST", "/api/v1/accept", {"name": "nothing"}).status == 409


def test_a_drill_proves_itself_beside_trading_and_its_result_is_kept(house: SurfaceHouse) -> None:
    assert drill_line(house, "leg-reject")["state"] == "never"
    assert house.ask("POST", "/api/v1/drills/leg-reject", {}).json()["done"] is True
    second = house.ask("POST", "/api/v1/drills/gap", {})
    assert second.status == 409 and "one at a time" in second.json()["detail"]
    house.wait("its end", lambda: drill_line(house, "leg-reject")["state"] != "running")
    line = drill_line(house, "leg-reject")
    assert line["state"] == "passed" and "no order was placed twice" in line["text"], line
    assert line["last_proven"] == line["ended"] and line["actor"].startswith("key:root")
    refused, begun, *_ = audit_lines(house, "POST /api/v1/drills/{name}")
    assert begun["actor"] in line["actor"] and (begun["subject"], refused["status"]) == ("leg-reject", 409)
    house.wait("it written", (house.data_dir / "drills.json").exists)
    assert drill_processes(house) == [], "nothing is left of it"


def test_a_backup_is_made_beside_trading_and_says_how_it_went(house: SurfaceHouse) -> None:
    assert house.ask("POST", "/api/v1/backup", {}).status == 200
    assert house.ask("POST", "/api/v1/backup", {}).status == 409

    def ended() -> Any:
        run = house.ask("GET", "/api/v1/backup").json()
        return run if run["state"] != "running" else None

    run = house.wait("its end", ended)
    assert run["state"] == "made", run["text"]
    assert json.loads(run["text"])["verified"] is True


def test_the_database_refuses_to_change_the_audit_log_and_a_line_changed_by_force_is_found(house: SurfaceHouse) -> None:
    house.ask("POST", "/api/v1/pause", {"reason": "to be changed"})
    house.ask("POST", "/api/v1/resume", {})
    line, *_ = audit_lines(house, "POST /api/v1/pause")
    endpoint, number = endpoint_of(house), line["number"]
    for statement in ("UPDATE audit_log SET actor = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"):
        with pytest.raises(Exception, match="append-only"):
            asyncio.run(execute(endpoint, statement))
    assert asyncio.run(audit.verify(endpoint, house.data_dir)).is_whole
    off, on = "ALTER TABLE audit_log DISABLE TRIGGER ALL", "ALTER TABLE audit_log ENABLE TRIGGER ALL"
    change = "UPDATE audit_log SET actor = {} WHERE number = " + str(number)
    asyncio.run(execute(endpoint, off, change.format("'somebody else'")))
    verdict = asyncio.run(audit.verify(endpoint, house.data_dir))
    assert (verdict.is_whole, verdict.first_bad) == (False, number)
    command = [sys.executable, "-m", "arbitrage", "audit", "verify"]
    told = subprocess.run(command, env=house.environment, capture_output=True, text=True, check=False)
    assert told.returncode == 1 and f"line {number} is not what was written" in told.stdout
    actor = line["actor"]
    asyncio.run(execute(endpoint, change.format(f"'{actor}'"), on))
    assert asyncio.run(audit.verify(endpoint, house.data_dir)).is_whole
    asyncio.run(execute(endpoint, off, "DELETE FROM audit_log WHERE number = (SELECT max(number) FROM audit_log)", on))
    cut = asyncio.run(audit.verify(endpoint, house.data_dir))
    assert not cut.is_whole and "missing" in cut.text, "a cut end is noticed by what this machine remembers"


def test_the_port_of_another_is_said_and_the_daemon_trades_on_without_the_surface(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        tmp_path.chmod(0o755)
        house = SurfaceHouse(_reachable(), {"ARBITRAGE__WEB__PORT": port})
        try:
            house.start(wait_for_surface=False)
            house.wait("an arbitrage", lambda: "ended completed" in house.log())
            assert f"no surface for operators: 127.0.0.1 port {port}" in house.log()
            house.wait("it stands armed", lambda: house.status()["armed"] is True)
            assert house.status()["web_url"] == ""
        finally:
            house.stop()
    assert house.errors() == []


def test_without_the_database_kill_works_at_once_and_its_audit_line_comes_later_even_after_a_restart() -> None:
    house = SurfaceHouse(_reachable(), {})
    try:
        house.start()
        house.set_up()
        server = _processes_of_postgres(house)
        for each in server:
            each.suspend()
        try:
            began = time.monotonic()
            killed = house.ask("POST", "/api/v1/kill", {"reason": "database is gone"})
            seconds = time.monotonic() - began
            assert killed.status == 200 and killed.json()["standing"]["killed"]
            assert seconds < 1.0
            assert house.ask("GET", "/api/v1/orders").status == 503
            assert house.ask("GET", "/api/v1/status").status == 200
            assert "database is gone" in (house.data_dir / "audit" / "spool.jsonl").read_text()
            assert house.process is not None
            house.process.kill()
            house.process.wait(10)
        finally:
            for each in server:
                each.resume()
        house.start()
        line, *_ = house.wait("the line", lambda: audit_lines(house, "POST /api/v1/kill"))
        assert line["reason"] == "database is gone"
        assert house.ask("GET", "/api/v1/status").json()["killed"], "the switch outlives the process"
        assert asyncio.run(audit.verify(endpoint_of(house), house.data_dir)).is_whole
        assert house.ask("POST", "/api/v1/drills/gap", {}).status == 200
        house.wait("the drill's own database", lambda: len(drill_processes(house)) > 3)
        family = drill_processes(house)
        house.stop()
        assert [each for each in family if each.is_running() and each.status() != psutil.STATUS_ZOMBIE] == []
    finally:
        house.stop()


def _reachable() -> Path:
    from store_servers import reachable_folder

    return reachable_folder()


def _processes_of_postgres(house: SurfaceHouse) -> list[psutil.Process]:
    pid = (house.data_dir / "postgres" / "cluster" / "postmaster.pid").read_text().split()[0]
    parent = psutil.Process(int(pid))
    return [parent, *parent.children(recursive=True)]
