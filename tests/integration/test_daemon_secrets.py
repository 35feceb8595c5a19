"""A live daemon's keys are in no place where anything is written: looked for in every sink, in every form, after errors too."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from daemon_lab import PROJECT, wait_until
from live_lab import LiveHouse, command, environ_of, forms, live_house_in, processes_in, standing

from arbitrage.app.loopback_house import KEY_WORDS
from arbitrage.ops.keys import key_names
from arbitrage.store.embedded import read_state, redis_of

pytestmark = pytest.mark.integration
ARMED = "arbitrage.daemon: armed"
ENDED = "arbitrage.engine: arbitrage "
SEED_BYTES = 32
"""What an Ed25519 key really is stands at the end of its PEM."""
TABLES = """SELECT table_schema || '.' || table_name AS name FROM information_schema.tables
WHERE table_schema NOT IN ('pg_catalog', 'information_schema')"""


@pytest.fixture(params=["secret", "ed25519_key"])
def house(data_folder: Path, request: pytest.FixtureRequest) -> Iterator[LiveHouse]:
    with live_house_in(data_folder) as house:
        house.write_key(key_names("binance")[1], house.venues.description["binance"][request.param])
        yield house
    wait_until(lambda: not processes_in(data_folder), "a killed daemon's servers are gone", 20)


def canaries(house: LiveHouse) -> dict[str, set[bytes]]:
    """Return every form of what must not be found, by the name of its file; of a PEM key, each line and the bytes it codes."""
    found = {}
    for path in sorted(house.keys.iterdir()):
        raw = path.read_bytes().strip()
        lines = [line for line in raw.splitlines() if not line.startswith(b"-----")]
        found[path.name] = set().union(*(forms(line) for line in lines))
        if raw.startswith(b"-----"):
            found[path.name] |= forms(base64.b64decode(b"".join(lines))[-SEED_BYTES:])
    assert len(found) == 4
    return found


def leaks(text: bytes, wanted: dict[str, set[bytes]]) -> list[str]:
    return [name for name, codes in wanted.items() if any(code in text for code in codes)]


def stored(house: LiveHouse) -> Iterator[tuple[str, bytes]]:
    """Give every row of every table, and every value in Redis, as text."""
    names = [row["name"] for row in house.query(TABLES)]
    assert len(names) > 15
    for name in names:
        rows = house.query(f"SELECT row_to_json(t)::text AS row FROM {name} t")
        yield f"table {name}", "\n".join(row["row"] for row in rows).encode()
    endpoint = redis_of(read_state(house.folder))
    client = redis.Redis(endpoint.host, endpoint.port, password=endpoint.password or None)
    keys = list(client.scan_iter())
    assert any(b"logs" in key for key in keys) and any(b"METRICS" in key for key in keys)
    for key in keys:
        kind = client.type(key)
        value = client.hgetall(key) if kind == b"hash" else client.xrange(key)
        yield f"redis {key.decode()}", repr(value).encode()
    client.close()


def outputs(house: LiveHouse) -> Iterator[tuple[str, bytes]]:
    """Give everything that the operator's commands print."""
    data = ("--data-dir", str(house.folder))
    for line in ("status --json", "status", "report --last --json", "kill --json", "report --kill --json"):
        if line.startswith("report --kill"):
            wait_until(lambda: command(house, "report", "--kill").returncode == 0, "the receipt is written", 30)
        done = command(house, *line.split())
        yield line, (done.stdout + done.stderr).encode()
    for path, *words in (("healthcheck.py", "--json", *data), ("tools/monitor.py", "--metrics", "--once", "--json", *data)):
        done = house.script(path, *words)
        yield path, (done.stdout + done.stderr).encode()


def files(house: LiveHouse) -> Iterator[tuple[str, bytes]]:
    """Give every file of the data folder but the keys' own, the database's included."""
    for path in sorted(house.folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and house.keys not in path.parents:
            yield str(path.relative_to(house.folder)), path.read_bytes()


def provoke(house: LiveHouse) -> None:
    """Have the exchanges repeat the keys to us in their errors, and lose connections in the middle of signed requests."""
    words = {}
    for venue, names in KEY_WORDS.items():
        words[venue] = "; ".join(f"your {name} is {house.venues.description[venue][name]}" for name in names)
    said_by_binance = json.dumps({"code": -1100, "msg": words["binance"]})
    said_by_upbit = json.dumps({"error": {"name": "validation_error", "message": words["upbit"]}})
    house.fault("error_before", "binance", "order.place", times=2, status=400, body=said_by_binance)
    house.fault("error_before", "binance", "GET /api/v3/*", times=2, status=400, body=said_by_binance)
    house.fault("error_before", "upbit", "POST /v1/orders", times=2, status=400, body=said_by_upbit)
    house.fault("error_before", "upbit", "GET /v1/orders*", times=2, status=400, body=said_by_upbit)
    wait_until(lambda: house.has_struck("error_before", "binance"), "Binance repeats our keys", 60)
    wait_until(lambda: house.has_struck("error_before", "upbit"), "Upbit repeats our keys", 60)
    house.fault("cut", "upbit", "POST /v1/orders", times=1)
    house.fault("cut", "binance", "socket /ws-api/v3", times=1)
    wait_until(lambda: house.has_struck("cut", "upbit"), "a request is cut", 60)


def test_no_key_lies_anywhere_after_a_live_run_with_errors(house: LiveHouse) -> None:
    wanted = canaries(house)
    for name, codes in wanted.items():
        assert leaks((house.keys / name).read_bytes(), wanted) == [name], "the search finds what is there"
        assert len(codes) >= 6
    run = house.start()
    run.says(ARMED)
    run.says(ENDED)
    provoke(house)
    found = {"process": leaks(environ_of(run.process.pid), wanted)}
    found |= {name: leaks(text, wanted) for name, text in outputs(house)}
    wait_until(lambda: standing(house)["kill_last_proven_how"] == "kill", "the kill is proven", 30)
    found |= {name: leaks(text, wanted) for name, text in stored(house)}
    configured = ["-m", "arbitrage", "config", "show", "--origin", "--json"]
    environ = {**house.environ, "ARBITRAGE_CONFIG_DIR": str(house.config)}
    shown = subprocess.run([sys.executable, *configured], capture_output=True, env=environ, cwd=PROJECT, check=True)
    found["config show"] = leaks(shown.stdout + shown.stderr, wanted)
    assert run.end(signal.SIGTERM) == 0
    found["stdout"] = leaks(run.printed.read_bytes(), wanted)
    seen = dict(files(house))
    assert any(".journal" in name for name in seen) and any("snapshot-" in name for name in seen) and "status.json" in seen
    assert any(name.startswith("logs/") for name in seen) and any("pg_wal" in name for name in seen)
    found |= {name: leaks(text, wanted) for name, text in seen.items()}
    assert {place: names for place, names in found.items() if names} == {}
    assert len(found) > 100 and not house.venues.process.poll()

