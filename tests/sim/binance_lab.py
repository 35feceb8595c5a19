"""A simulated Binance with an account, a known book and a client that signs for itself, in place of sockets."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import random
from urllib.parse import urlencode

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from sim_client import KeptPipe, upgrade

from arbitrage.model.money import parse_e8
from arbitrage.sim.exchange.acts import Acts
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.faults import Fault, Faults
from arbitrage.sim.exchange.keys import binance_key
from arbitrage.sim.exchange.nouns import ApiKey
from arbitrage.sim.exchange.policy import BINANCE_POLICY
from arbitrage.sim.scenarios.changes import BookChanged
from arbitrage.sim.scenarios.ticks import binance_market
from arbitrage.sim.server.binance import BinanceServer
from arbitrage.sim.server.binance_private import Backing
from arbitrage.sim.server.http import Request, Response

START_NS = 1_785_000_000_000_000_000
SPECS = (
    binance_market("BTC/USDT", tick="0.01", lot="0.00001", origin="published"),
    binance_market("ETH/BTC", tick="0.00001", lot="0.0001", notional_min="0.0001", origin="published"),
    binance_market("BNB/USDT", tick="0.01", lot="0.001", origin="published"),
)
BALANCES = {"USDT": "10000", "BTC": "1", "BNB": "0"}
ASKS = (("64000.20", "1.2"), ("64000.30", "0.5"))
BIDS = (("64000.10", "0.431"), ("64000.00", "1"))


class Lab:
    """The venue, its clock and one client."""

    def __init__(self, key: ApiKey | None = None, **balances: str) -> None:
        self.now_ns = START_NS
        self.drift_ns = 0
        """How far the clock goes on by being looked at."""
        self.key = key or binance_key(7)
        amounts = {asset: parse_e8(text) for asset, text in (BALANCES | balances).items()}
        self.exchange = Exchange("binance", SPECS, BINANCE_POLICY, amounts, self.clock)
        self.faults = Faults("binance", self.clock, random.Random(1))
        self.faults.listen(Acts(self.exchange))
        self.server = BinanceServer(
            SPECS, self.clock, backing=Backing(self.exchange, (self.key,), self.faults)
        )
        self.book(bids=BIDS, asks=ASKS)
        self.book("BNBUSDT", bids=(("600.00", "50"),), asks=(("600.01", "50"),))
        self.book("ETHBTC", bids=(("0.03400", "50"),), asks=(("0.03401", "50"),))

    def clock(self) -> int:
        self.now_ns += self.drift_ns
        return self.now_ns

    def pass_ms(self, ms: int) -> None:
        self.now_ns += ms * 1_000_000

    def book(self, symbol: str = "BTCUSDT", bids=(), asks=()) -> None:
        sides = [tuple((parse_e8(price), parse_e8(quantity)) for price, quantity in side) for side in (bids, asks)]
        self.server.apply(BookChanged(self.now_ns - START_NS, "binance", symbol, *sides))

    def fault(self, kind, **fields) -> None:
        assert self.faults.add(Fault(kind, **fields))

    def send(self, method: str, target: str, body: bytes = b"", api_key: str | None = None) -> tuple[Response, object]:
        headers = {"x-mbx-apikey": self.key.access_key if api_key is None else api_key}
        response = self.server.respond(Request(method, target, headers, body))
        is_json = response.content_type.startswith("application/json") and response.body
        return response, json.loads(response.body) if is_json else response.body

    def signed(self, **parameters) -> str:
        parameters.setdefault("timestamp", self.now_ns // 1_000_000)
        query = urlencode(parameters)
        return f"{query}&signature={self.sign(query)}"

    def sign(self, text: str) -> str:
        return hmac.new(self.key.secret.encode(), text.encode(), hashlib.sha256).hexdigest()

    def sign_ed25519(self, text: str) -> str:
        private = load_pem_private_key(self.key.ed25519_pem.encode(), None)
        return base64.b64encode(private.sign(text.encode())).decode()

    def call(self, method: str, path: str, **parameters) -> tuple[Response, object]:
        """Send a signed request, in the query or (POST) in the body."""
        text = self.signed(**parameters)
        if method == "POST":
            return self.send(method, path, text.encode())
        return self.send(method, f"{path}?{text}")

    def place(self, price: str | None = "64000.20", quantity: str = "0.01", side: str = "BUY", **more):
        """Place a limit order, IOC unless told otherwise; returns the status and the answer."""
        order = {"symbol": "BTCUSDT", "side": side, "type": "LIMIT", "quantity": quantity}
        if price is not None:
            order |= {"price": price, "timeInForce": "IOC"}
        order = {name: value for name, value in (order | more).items() if value is not None}
        response, answer = self.call("POST", "/api/v3/order", **order)
        return response.status, answer

    def connect(self, target: str = "/ws-api/v3"):
        pipe = KeptPipe()
        return pipe, self.server.accept(upgrade(target), pipe)


class WsClient:
    """A client of the WebSocket API."""

    def __init__(self, lab: Lab, target: str = "/ws-api/v3") -> None:
        self.lab = lab
        self.pipe, self.session = lab.connect(target)
        self.number = 0

    def ask(self, method: str, *, sign: str = "hmac", **params) -> dict:
        """Send one request and return its answer."""
        self.send(method, sign=sign, **params)
        answers = [message for message in self.pipe.take() if message.get("id") == self.number]
        assert len(answers) == 1
        return answers[0]

    def send(self, method: str, *, sign: str = "hmac", **params) -> None:
        if sign:
            params = {"apiKey": self.lab.key.access_key, "timestamp": self.lab.now_ns // 1_000_000} | params
            text = "&".join(f"{name}={params[name]}" for name in sorted(params))
            params["signature"] = self.lab.sign(text) if sign == "hmac" else self.lab.sign_ed25519(text)
        self.number += 1
        request = {"id": self.number, "method": method, "params": params}
        self.session.on_message(json.dumps(request, ensure_ascii=False).encode())

    def events(self) -> list[dict]:
        """Return the account events that came since."""
        return [message["event"] for message in self.pipe.take() if "event" in message]
