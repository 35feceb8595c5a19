"""A trading Upbit without sockets, its clock in the test's hand, and a client that signs with PyJWT and the venue's own SDK."""

from __future__ import annotations

import hashlib
import json
import random
import uuid
from urllib.parse import quote

import jwt
from sim_client import KeptPipe

from arbitrage.model.instruments import Side
from arbitrage.model.money import parse_e8
from arbitrage.sim.exchange.acts import Acts
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.faults import Faults
from arbitrage.sim.exchange.nouns import ApiKey
from arbitrage.sim.exchange.policy import UPBIT_POLICY
from arbitrage.sim.scenarios.changes import BookChanged, Traded
from arbitrage.sim.scenarios.ticks import upbit_market
from arbitrage.sim.server.http import Request, Response
from arbitrage.sim.server.upbit import UpbitServer
from arbitrage.sim.server.upbit_pocket import Backing

START_NS = 1_795_150_613_000_000_000
KEY = ApiKey("A" * 40, "s" * 64)
CODES = ("KRW-BTC", "KRW-USDT", "USDT-BTC")
Parameters = list[tuple[str, str]]


class World:
    """One venue. KRW-BTC stands at 148601000 / 148602000 with 0.1 a level, 40 levels a side."""

    def __init__(self, *, krw: str = "10000000", btc: str = "0.5", keys: tuple[ApiKey, ...] = (KEY,)) -> None:
        self.now_ns = START_NS
        specs = [upbit_market(code, origin="published") for code in CODES]
        balances = {"KRW": parse_e8(krw), "BTC": parse_e8(btc), "USDT": parse_e8("1000")}
        self.exchange = Exchange("upbit", specs, UPBIT_POLICY, balances, self.clock)
        self.faults = Faults("upbit", self.clock, random.Random(1))
        self.faults.listen(Acts(self.exchange))
        backing = Backing(self.exchange, keys, self.faults)
        self.server = UpbitServer(specs, self.clock, lambda: self.now_ns / 1e9, backing=backing)
        rungs = range(40)
        bids, asks = (
            {str(best + sign * rung): "0.1" for rung in rungs} for best, sign in ((148_601_000, -1000), (148_602_000, 1000))
        )
        self.book(bids, asks)

    def clock(self) -> int:
        return self.now_ns

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.now_ns += int(seconds * 1e9)

    def book(self, bids: dict[str, str], asks: dict[str, str], code: str = "KRW-BTC") -> None:
        """Set levels of other people."""
        sides = [tuple((parse_e8(price), parse_e8(size)) for price, size in side.items()) for side in (bids, asks)]
        self.server.apply(BookChanged(self.now_ns, "upbit", code, sides[0], sides[1]))

    def trade(self, price: str, quantity: str, taker_side: Side) -> None:
        """Let two others trade."""
        self.server.apply(Traded(self.now_ns, "upbit", "KRW-BTC", parse_e8(price), parse_e8(quantity), taker_side))

    def send(self, method: str, path: str, parameters: Parameters | None = None, key: ApiKey = KEY) -> Response:
        """Ask, signed, a second after the last time."""
        self.wait(1.0)
        return self.send_now(method, path, parameters or [], key)

    def send_now(self, method: str, path: str, parameters: Parameters, key: ApiKey = KEY) -> Response:
        """Ask, signed, at this moment."""
        headers = {"authorization": f"Bearer {token(key, joined(parameters))}"}
        if method == "POST":
            headers["content-type"] = "application/json; charset=utf-8"
            return self.server.respond(Request(method, path, headers, json.dumps(dict(parameters)).encode()))
        return self.server.respond(Request(method, f"{path}?{encoded(parameters)}" if parameters else path, headers, b""))

    def ask(self, method: str, path: str, *parameters: tuple[str, str]):
        """Ask and expect success."""
        response = self.send(method, path, list(parameters))
        assert response.status in (200, 201), response.body
        return json.loads(response.body)

    def refusal(self, method: str, path: str, *parameters: tuple[str, str]) -> tuple[int, str]:
        """Ask and expect a refusal: its status and its name."""
        response = self.send(method, path, list(parameters))
        assert response.status >= 400, response.body
        return response.status, json.loads(response.body)["error"]["name"]

    def order(self, **words: str) -> dict:
        """Place an order on KRW-BTC."""
        return self.ask("POST", "/v1/orders", *{"market": "KRW-BTC", **words}.items())

    def refused_order(self, **words: str) -> tuple[int, str]:
        return self.refusal("POST", "/v1/orders", *{"market": "KRW-BTC", **words}.items())

    def limit(self, side: str, price: str, volume: str, **words: str) -> dict:
        return self.order(side=side, ord_type="limit", price=price, volume=volume, **words)

    def look(self, row: dict) -> dict:
        """Query an order that was answered."""
        return self.ask("GET", "/v1/order", ("uuid", row["uuid"]))

    def balance(self, asset: str) -> tuple[str, str]:
        rows = {row["currency"]: row for row in self.ask("GET", "/v1/accounts")}
        row = rows.get(asset, {"balance": "0", "locked": "0"})  # what is all sold has no row
        return row["balance"], row["locked"]

    def listen(self, *wishes: dict, form: str = "DEFAULT", key: ApiKey = KEY):
        """Connect to the private stream and subscribe."""
        self.wait(1.0)
        pipe = KeptPipe()
        headers = {"upgrade": "websocket", "authorization": f"Bearer {token(key, '')}"}
        session = self.server.accept(Request("GET", "/websocket/v1/private", headers, b""), pipe)
        if wishes:
            session.on_message(json.dumps([{"ticket": "t"}, *wishes, {"format": form}]).encode())
        return pipe, session


def joined(parameters: Parameters) -> str:
    return "&".join(f"{name}={value}" for name, value in parameters)


def encoded(parameters: Parameters) -> str:
    return "&".join(f"{quote(name, safe='[]')}={quote(value, safe='')}" for name, value in parameters)


def token(key: ApiKey, text: str, *, algorithm: str = "HS512", **claims: str) -> str:
    """Sign a parameter text; any claim can be replaced."""
    hashed = {"query_hash": hashlib.sha512(text.encode()).hexdigest(), "query_hash_alg": "SHA512"} if text else {}
    payload = {"access_key": key.access_key, "nonce": str(uuid.uuid4()), **hashed, **claims}
    return jwt.encode(payload, key.secret, algorithm=algorithm)
