"""A client's side for the tests: a book rebuilt by the published procedure, exactly, and a pipe that keeps what it gets."""

from __future__ import annotations

import json

from arbitrage.model.money import parse_e8
from arbitrage.sim.server.http import Request, Response


class KeptPipe:
    """A pipe into a list, in place of a socket."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.binary: list[bool] = []
        self.closed: list[int] = []

    def send(self, payload: bytes, *, is_binary: bool = False, is_data: bool = True) -> None:
        self.sent.append(payload)
        self.binary.append(is_binary)

    def close(self, code: int, reason: str) -> None:
        self.closed.append(code)

    def abort(self) -> None:
        self.closed.append(1006)

    def allow(self, messages_per_s: int) -> None:
        self.messages_per_s = messages_per_s

    def take(self) -> list:
        sent, self.sent = [json.loads(payload) for payload in self.sent], []
        return sent


class DiffBook:
    """Binance's procedure of 2025-11-12: snapshot, dropped old events, a straddling first one, then no gap."""

    def __init__(self, snapshot: dict) -> None:
        self.id = snapshot["lastUpdateId"]
        self.bids = {parse_e8(price): parse_e8(quantity) for price, quantity in snapshot["bids"]}
        self.asks = {parse_e8(price): parse_e8(quantity) for price, quantity in snapshot["asks"]}
        self.compared = 0
        self.applied = 0

    def apply(self, diff: dict) -> None:
        if diff["u"] <= self.id:
            return
        assert diff["U"] <= self.id + 1, "gap"
        for side, levels in ((self.bids, diff["b"]), (self.asks, diff["a"])):
            for price, quantity in levels:
                if parse_e8(quantity):
                    side[parse_e8(price)] = parse_e8(quantity)
                else:
                    side.pop(parse_e8(price), None)
        self.id = diff["u"]
        self.applied += 1

    def compare(self, ticker: dict) -> None:
        """Check a bookTicker at an equal update id."""
        if ticker["u"] == self.id:
            bid, ask = max(self.bids), min(self.asks)
            ours = (bid, self.bids[bid], ask, self.asks[ask])
            assert ours == tuple(parse_e8(ticker[key]) for key in ("b", "B", "a", "A"))
            self.compared += 1


def get(server, target: str) -> tuple[Response, object]:
    response = server.respond(Request("GET", target, {}, b""))
    return response, json.loads(response.body)


def upgrade(target: str) -> Request:
    return Request("GET", target, {"upgrade": "websocket"}, b"")
