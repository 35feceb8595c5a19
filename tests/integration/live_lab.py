"""A real daemon in MODE=live under test: simulated exchanges, their test keys in private files, a hand of its own there."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import json
import os
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
from daemon_lab import PROJECT, SESSION, House, Venues

from arbitrage.app.child import ACCOUNT_WORDS
from arbitrage.app.identity import session_tag
from arbitrage.app.loopback_house import KEY_WORDS
from arbitrage.engine.engine import Engine
from arbitrage.model.facts import FillBooked, OrderIntended, PlanOpened
from arbitrage.model.money import parse_e8
from arbitrage.ops.config import load
from arbitrage.ops.keys import key_names
from arbitrage.ops.preflight import LIVE_PHRASE

VENUES = tuple(KEY_WORDS)
HAND = "-hand"
"""What stands in the ids of orders that a test placed by a hand of its own."""
LATE = ("timestamp_late", "requests_over_limit default")
"""What a loaded machine does to requests that left in time."""
BUNCHED = ("messages_over_limit",)
TAG = session_tag("development", SESSION)
"""What every order id of the lab's session begins with."""
UPBIT_PACE_S = 0.1
"""Between two orders of the hand: 12 a second are allowed."""
Row = dict[str, Any]


class LiveHouse(House):
    """A house whose daemon signs, and whose exchanges tell the truth."""

    def __init__(self, folder: Path, venues: Venues, **environ: str) -> None:
        super().__init__(folder, venues, **environ)
        self.keys = folder / "keys"
        self.keys.mkdir(mode=0o700)
        for venue, words in KEY_WORDS.items():
            for name, word in zip(key_names(venue), words, strict=True):
                self.write_key(name, venues.description[venue][word])
        live = {"mode": "live", "confirm_live": LIVE_PHRASE, "keys_dir": str(self.keys)}
        accounts = {f"venues.{venue}.account_url": venues.description[venue][word] for venue, word in ACCOUNT_WORDS.items()}
        self.always = {**live, **accounts}
        self.configure({})

    def configure(self, changes: Row) -> None:
        """Write base.yaml; what makes it live stays unless it is changed."""
        super().configure({**getattr(self, "always", {}), **changes})

    def write_key(self, name: str, text: str) -> None:
        """Write a key's file as an operator should."""
        path = self.keys / name
        path.write_text(text)
        path.chmod(0o600)

    def control(self, method: str, path: str, body: object = None) -> Row:
        """Say something to the exchanges' control port."""
        content = None if body is None else json.dumps(body).encode()
        return answered(urllib.request.Request(self.venues.description["control"] + path, content, method=method))

    def fault(self, kind: str, venue: str, endpoint: str = "*", **fields: object) -> None:
        """Arm a fault."""
        self.control("POST", "/faults", {"kind": kind, "venue": venue, "endpoint": endpoint, **fields})

    def heal(self) -> None:
        """Disarm every fault."""
        self.control("DELETE", "/faults")

    def truth(self) -> Row:
        """Return what really happened."""
        return self.control("GET", "/truth?limit=0")

    def has_struck(self, kind: str, venue: str) -> bool:
        """Say whether a fault met anything yet."""
        return bool(self.truth()[venue]["faults"].get(kind))

    def open_ids(self, venue: str) -> set[str]:
        """Return the client ids of a venue's open orders."""
        return {order["client_id"] for order in self.truth()[venue]["open_orders"]}

    def place_resting(self, venue: str, client_id: str) -> None:
        """Rest a small order far from the market in the daemon's own account, by a hand that is not the daemon's."""
        bid_e8 = self.best_bid_e8(venue)
        if venue == "binance":
            price = bid_e8 * 9 // 10 // 10**6 * 10**6
            pairs = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.0002"}
            pairs |= {"price": f"{price / 1e8:.2f}", "newClientOrderId": client_id}
            pairs["timestamp"] = str(time.time_ns() // 10**6)
            text = urlencode(pairs)
            secret = self.venues.description[venue]["secret"].encode()
            signed = f"{text}&signature={hmac.new(secret, text.encode(), 'sha256').hexdigest()}"
            url = f"{self.venues.description[venue]['rest']}/api/v3/order?{signed}"
            headers = {"X-MBX-APIKEY": self.venues.description[venue]["key"]}
            answered(urllib.request.Request(url, b"", headers, method="POST"))
            return
        price = bid_e8 * 9 // 10 // 10**13 * 10**5
        pairs = {"market": "KRW-BTC", "side": "bid", "ord_type": "limit", "price": str(price), "volume": "0.001"}
        pairs["identifier"] = client_id
        time.sleep(UPBIT_PACE_S)
        headers = {"Authorization": self._token(pairs), "Content-Type": "application/json"}
        url = f"{self.venues.description[venue]['rest']}/v1/orders"
        answered(urllib.request.Request(url, json.dumps(pairs).encode(), headers, method="POST"))

    def best_bid_e8(self, venue: str) -> int:
        """Return the best bid for bitcoin."""
        symbol = {"binance": "BTCUSDT", "upbit": "KRW-BTC"}[venue]
        return int(self.control("POST", "/market", {"venue": venue, "symbol": symbol})["best_bid_e8"])

    def unequal(self, positions: dict[tuple[str, str], int]) -> Row:
        """Return every balance of which the exchanges' truth says something else than these positions."""
        truth = self.truth()
        found = {}
        for venue in ("binance", "upbit"):
            for asset, row in truth[venue]["balances"].items():
                real_e8 = parse_e8(row["free"]) + parse_e8(row["locked"])
                if real_e8 != positions.get((venue, asset), 0):
                    found[f"{venue}-{asset}"] = (positions.get((venue, asset), 0), real_e8)
        return found

    def _token(self, pairs: dict[str, str]) -> str:
        description = self.venues.description["upbit"]
        text = "&".join(f"{name}={value}" for name, value in pairs.items())
        claims = {"access_key": description["access_key"], "nonce": str(uuid.uuid4())}
        claims |= {"query_hash": hashlib.sha512(text.encode()).hexdigest(), "query_hash_alg": "SHA512"}
        head, body = (base64url(json.dumps(part).encode()) for part in ({"alg": "HS512", "typ": "JWT"}, claims))
        signature = hmac.digest(description["secret_key"].encode(), f"{head}.{body}".encode(), "sha512")
        return f"Bearer {head}.{body}.{base64url(signature)}"


ANSWER_S_MAX = 60.0
"""The servers share their cores with everything else that runs."""


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def answered(request: urllib.request.Request) -> Row:
    """Send a request to loopback and return the answer's JSON."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=ANSWER_S_MAX) as response:
        found: Row = json.loads(response.read())
    return found


def command(house: House, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the operator's against the house's folder."""
    line = [sys.executable, "-m", "arbitrage", *words, "--data-dir", str(house.folder)]
    return subprocess.run(line, capture_output=True, text=True, env=house.environ, cwd=PROJECT, check=False, timeout=60)


def said(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command printed, which must have done its work."""
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def standing(house: House) -> Row:
    """Return how the daemon says that it stands."""
    found: Row = json.loads(said(command(house, "status", "--json")))["standing"]
    return found


def ledger(house: House) -> dict[tuple[str, str], int]:
    """Live the journal again and return what it says is held."""
    settings = load(house.config, house.environ).settings
    engine = Engine(settings.trading, settings.market_symbols, id_prefix="check")
    engine.restore(None, house.facts())
    return {(node.venue, node.asset): engine.ledger.total_e8(node) for node in engine.ledger.nodes()}


def sent_once(house: LiveHouse, excused: tuple[str, ...] = ()) -> None:
    """Fail unless every order there is one of the journal's, once, no fill is booked twice, and no rule was broken."""
    truth = house.truth()
    if os.getloadavg()[0] > (os.cpu_count() or 1):
        excused += BUNCHED  # an exchange that has no core for a while reads the pings of seconds within one
    for venue in VENUES:
        ids = [order["client_id"] for order in truth[venue]["orders"]]
        assert len(ids) == len(set(ids))
        wrong = {name: count for name, count in truth[venue]["violations"].items() if not name.startswith(LATE + excused)}
        assert not any(wrong.values()), wrong
    facts = house.facts()
    trades = [(fact.fill.venue, fact.fill.market, fact.fill.trade_id) for fact in facts if isinstance(fact, FillBooked)]
    assert len(trades) == len(set(trades)) > 0
    intended = {order.client_order_id for fact in facts if isinstance(fact, PlanOpened) for order in fact.orders}
    intended |= {fact.order.client_order_id for fact in facts if isinstance(fact, OrderIntended)}
    sent = {order["client_id"] for venue in VENUES for order in truth[venue]["orders"]}
    assert {name for name in sent if name.startswith(TAG) and HAND not in name} <= intended


def forms(secret: bytes) -> set[bytes]:
    """Return a secret in every form in which it might lie about: raw, hexadecimal, percent-encoded, base64 at any offset."""
    found = {secret, secret.hex().encode(), secret.hex().upper().encode()}
    found |= {"".join(f"%{byte:02X}" for byte in secret).encode(), "".join(f"%{byte:02x}" for byte in secret).encode()}
    for shift in range(3):
        # What stands before it moves the letters; those that only it makes are the same wherever it lies.
        code = base64.b64encode(b"\0" * shift + secret + b"\0\0")
        begin, end = -(-shift * 8 // 6), (shift + len(secret)) * 8 // 6
        found |= {code[begin:end], code[begin:end].translate(bytes.maketrans(b"+/", b"-_"))}
    return found


@contextlib.contextmanager
def live_house_in(folder: Path, *, speed: float = 8.0, **environ: str) -> Iterator[LiveHouse]:
    """Give a live house with its own exchanges; everything is gone afterwards."""
    venues = Venues(speed=speed)
    try:
        house = LiveHouse(folder, venues, **environ)
        try:
            yield house
        finally:
            house.close()
    finally:
        venues.stop()


def processes_in(folder: Path) -> list[psutil.Process]:
    """List live processes whose command line names the folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        words = " ".join(process.info["cmdline"] or ())
        if str(folder) in words and process.info["status"] != psutil.STATUS_ZOMBIE and process.pid != os.getpid():
            found.append(process)
    return found


def environ_of(pid: int) -> bytes:
    """Return what the kernel shows of a process to whoever may look: its command line and its surroundings."""
    return b"".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))


def private_to_nobody_else(path: Path) -> bool:
    """Whether only the owner may read a file."""
    return not os.stat(path).st_mode & 0o077
