import json
import re
from pathlib import Path

import pytest

from arbitrage.model.instruments import Side
from arbitrage.model.money import parse_e8
from arbitrage.sim.control import Control
from arbitrage.sim.exchange.faults import Fault, Kind
from arbitrage.sim.exchange.nouns import Force, HeldOrder, OrderRequest, OrderType, SelfTrade
from arbitrage.sim.exchange.scripts import parse_script
from arbitrage.sim.scenarios.synthetic import synthetic
from arbitrage.sim.server.binance_rest import ROUTES
from arbitrage.sim.server.http import Request
from arbitrage.sim.server.timeline import Timeline
from arbitrage.sim.sites import Clocks, make_keys, make_sites

NOW_NS = 1_785_000_000_000_000_000
REFERENCE = (Path(__file__).parents[2] / "docs" / "REFERENCE.md").read_text(encoding="utf-8")


class Lab:
    """Both venues at one moment of a scenario, and the control port before them."""

    def __init__(self) -> None:
        scenario = synthetic(1)
        self.now_ns = NOW_NS
        clocks = Clocks(lambda: self.now_ns, lambda: self.now_ns / 1e9)
        self.binance, self.upbit, self.sites = make_sites(scenario, make_keys(1), clocks, 1)
        Timeline(scenario.changes(), {"binance": self.binance, "upbit": self.upbit}).advance(200_000_000)
        self.control = Control(self.sites, lambda: self.now_ns)

    def ask(self, words: str, body: object = None) -> tuple[int, dict]:
        method, target = words.split(" ")
        raw = b"" if body is None else json.dumps(body).encode()
        response = self.control.respond(Request(method, target, {}, raw))
        return response.status, json.loads(response.body)

    def rest(self, price: str, quantity: str, *, client_id: str) -> HeldOrder:
        order = self.sites["binance"].exchange.place(OrderRequest(
            "BTCUSDT", Side.BUY, OrderType.LIMIT, Force.GTC, parse_e8(price), parse_e8(quantity), None, client_id,
            SelfTrade.NONE,
        ))  # fmt: skip
        assert isinstance(order, HeldOrder), order
        return order


def test_the_truth_tells_orders_fills_and_balances_that_add_up():
    lab = Lab()
    lab.rest("50000", "0.01", client_id="rests")
    lab.rest("150000", "0.01", client_id="takes")
    status, truth = lab.ask("GET /truth?venue=binance")
    assert status == 200 and set(truth) == {"at_ns", "binance"} and truth["at_ns"] == NOW_NS
    told = truth["binance"]
    assert [(row["client_id"], row["status"]) for row in told["orders"]] == [("rests", "new"), ("takes", "filled")]
    assert [row["client_id"] for row in told["open_orders"]] == ["rests"]
    assert sum(parse_e8(row["quantity"]) for row in told["fills"]) == parse_e8("0.01")
    assert told["balances"]["USDT"]["locked"] == "500" and told["fills"][0]["fee_asset"] == "BTC"
    for asset, row in told["balances"].items():
        parts = (row["free"], row["locked"], told["fees"][asset], told["outside"][asset])
        assert sum(map(parse_e8, parts)) == parse_e8(told["granted"][asset])
    assert [len(lab.ask(f"GET /truth?limit={limit}")[1]["binance"]["orders"]) for limit in (1, 0)] == [1, 2]


BTC = {"venue": "binance", "symbol": "BTCUSDT"}


@pytest.mark.parametrize(
    ("words", "body"),
    [
        ("GET /truth?venue=kraken", None), ("GET /truth?limit=x", None), ("POST /faults", {"kind": "x"}),
        ("POST /faults", {"kind": "halt", "symbol": "NONE"}),
        ("POST /faults", {"kind": "halt", "symbol": "KRW-BTC", "venue": "binance"}),
        ("POST /market", {"venue": "binance", "symbol": "NONE"}), ("POST /market", {**BTC, "x": 1}),
        ("POST /market", {**BTC, "bids": [["1000000", "1"]]}), ("POST /market", {**BTC, "bids": [["1", "-1"]]}),
        ("POST /market", {**BTC, "bids": [["0", "1"]]}), ("POST /market", {**BTC, "bids": [["x", "1"]]}),
        ("POST /market", {**BTC, "fill": {"client_id": "nobody"}}),
        ("POST /account", {"venue": "binance", "asset": "USDT", "delta": "-999999999"}),
    ],
)  # fmt: skip
def test_a_command_that_cannot_be_done_is_refused_with_words(words, body):
    status, told = Lab().ask(words, body)
    assert status == 400 and told["error"]


def test_an_unknown_command_names_the_known_ones():
    status, told = Lab().ask("GET /")
    assert status == 404 and "POST /market" in told["error"]


def test_faults_are_armed_where_they_fit_told_and_disarmed():
    lab = Lab()
    status, told = lab.ask("POST /faults", [{"kind": "lost"}, {"kind": "halt", "symbol": "BTCUSDT"}])
    assert (status, told) == (200, {"armed": 3})
    assert lab.sites["binance"].exchange.halted == {"BTCUSDT"}
    assert lab.sites["upbit"].faults.take("POST /v1/orders").kind is Kind.LOST
    _, told = lab.ask("GET /faults")
    assert {venue: [fault["kind"] for fault in armed] for venue, armed in told["armed"].items()} == {
        "binance": ["lost", "halt"], "upbit": []
    }  # fmt: skip
    assert [(row["venue"], row["kind"], row["phase"]) for row in told["fired"]] == [
        ("binance", "halt", "began"), ("upbit", "lost", "")
    ]  # fmt: skip
    assert lab.ask("DELETE /faults")[0] == 200 and not lab.sites["binance"].exchange.halted
    assert lab.ask("GET /truth")[1]["upbit"]["faults"] == {"lost": 1}


def test_other_people_move_a_market_on_command():
    lab = Lab()
    order = lab.rest("50000", "0.01", client_id="mine")
    market = {"venue": "binance", "symbol": "BTCUSDT"}
    lab.ask("POST /market", {**market, "trade": {"price": "50000", "quantity": "0.004", "taker": "sell"}})
    assert order.executed_e8 == parse_e8("0.004")
    lab.ask("POST /market", {**market, "fill": {"client_id": "mine", "quantity": "0.002"}})
    assert order.executed_e8 == parse_e8("0.006")
    levels = {(level[0], Side.BUY): "0" for level in lab.binance.markets["BTCUSDT"].book.bids.levels()}
    status, told = lab.ask("POST /market", {
        **market, "bids": [[str(price / 1e8), "0"] for price, _ in levels], "asks": [["49999.99", "0.003"]],
    })  # fmt: skip
    assert status == 200 and order.executed_e8 == parse_e8("0.009") and told["best_bid_e8"] == parse_e8("50000")
    lab.ask("POST /market", {**market, "fill": {"order_id": order.order_id}})
    assert not order.is_open
    lab.sites["binance"].exchange.account.check()


def test_a_deposit_is_granted_and_the_fee_asset_is_switched():
    lab = Lab()
    told = []
    exchange = lab.sites["binance"].exchange
    exchange.listen_grants(lambda asset, delta_e8: told.append((asset, delta_e8)))
    status, answer = lab.ask("POST /account", {"venue": "binance", "asset": "BNB", "delta": "2", "fee_asset": "BNB"})
    assert (status, answer) == (200, {"fee_asset": "BNB"}) and told == [("BNB", 2 * 10**8)]
    assert exchange.account.free_e8("BNB") == 2 * 10**8 and exchange.settlement.named_fee_asset == "BNB"
    assert lab.ask("POST /account", {"venue": "binance", "fee_asset": ""})[1] == {"fee_asset": ""}


def test_the_control_port_is_no_venue():
    lab = Lab()
    control = lab.control
    assert control.accept(Request("GET", "/ws", {}, b""), None).status == 404
    assert control.refuse(Fault(Kind.CUT, status=503)).status == 503
    control.arm(Fault(Kind.FILL_BEFORE_CANCEL))
    control.apply(None)
    control.flush(1)
    control.announce_shutdown()
    assert lab.ask("GET /requests")[1] == {"binance": [], "upbit": []}


def test_the_reference_has_an_example_of_every_fault_that_can_be_armed():
    rows = re.findall(r"^\| `(\w+)` \|.*\| `(\{.*\})` \|$", REFERENCE, re.MULTILINE)
    assert [name for name, _ in rows] == [kind.value for kind in Kind]
    for name, example in rows:
        lab = Lab()
        [fault] = parse_script(example.encode())
        assert fault.kind.value == name and lab.ask("POST /faults", json.loads(example))[1]["armed"] in (1, 2)


def test_the_reference_has_every_command_and_both_examples_of_one():
    commands = Lab().ask("GET /")[1]["error"].partition("there are ")[2].split(", ")
    assert [command for command in commands if f"`{command}`" not in REFERENCE] == []
    market, account = re.findall(r"^    (\{\"venue.*?\})\n(?=    \{|\n)", REFERENCE, re.MULTILINE | re.DOTALL)
    lab = Lab()
    lab.rest("90000", "0.1", client_id="abc-1")
    assert lab.ask("POST /market", json.loads(market))[0] == 200
    assert lab.ask("POST /account", json.loads(account)) == (200, {"fee_asset": "BNB"})


def test_the_reference_names_every_path_of_binance():
    served = REFERENCE.partition("REST `/api/v3`")[2].partition("| | streams")[0]
    assert [path for _, path in ROUTES if path.removeprefix("/api/v3/") not in re.split(r"[ `|]+", served)] == []
