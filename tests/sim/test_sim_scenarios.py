import hashlib
import itertools
import os
import subprocess
import sys

import msgspec
import pytest
from sim_client import KeptPipe, upgrade

from arbitrage.model.instruments import Side
from arbitrage.model.money import parse_e8
from arbitrage.model.settings import FeeSettings, Settings
from arbitrage.sim.capture import find_data
from arbitrage.sim.scenarios.catalog import combine, make_scenario
from arbitrage.sim.scenarios.changes import BookChanged, Change, Restarted, Traded
from arbitrage.sim.scenarios.kimchi import read_table
from arbitrage.sim.scenarios.scenario import Scenario
from arbitrage.sim.scenarios.synthetic import synthetic
from arbitrage.sim.scenarios.ticks import UPBIT_KRW, UPBIT_USDT, upbit_market
from arbitrage.sim.server.binance import BinanceServer
from arbitrage.sim.server.timeline import Timeline
from arbitrage.sim.server.upbit import UpbitServer

SECOND_NS = 1_000_000_000
NEEDS_DATA = pytest.mark.skipif(find_data() is None, reason="recordings not found: set ARBITRAGE_DATA or ../shared/data")
SCENARIOS = [
    "synthetic",
    *(pytest.param(name, marks=NEEDS_DATA) for name in ("recorded", "kimchi-2025", "lunc-20251011", "recorded+kimchi-2025")),
]
PRICED = ["synthetic", *(pytest.param(name, marks=NEEDS_DATA) for name in ("kimchi-2025", "lunc-20251011"))]


def until(scenario: Scenario, seconds: float) -> list[Change]:
    return list(itertools.takewhile(lambda change: change.at_ns <= seconds * SECOND_NS, scenario.changes()))


def wire_hash(name: str, seed: int, seconds: int) -> str:
    """Hash every byte that two listeners to everything receive."""
    scenario = make_scenario(name, seed)
    moments = [0]
    binance = BinanceServer(scenario.markets, lambda: moments[0])
    upbit = UpbitServer(scenario.markets, lambda: moments[0], lambda: 0.0)
    pipes = KeptPipe(), KeptPipe()
    kinds = ("depth@100ms", "depth", "depth5", "bookTicker", "aggTrade", "trade")
    streams = [f"{symbol.lower()}@{kind}" for symbol in binance.markets for kind in kinds]
    binance.accept(upgrade("/stream?streams=" + "/".join(streams)), pipes[0])
    session = upbit.accept(upgrade("/websocket/v1"), pipes[1])
    wishes = [{"type": kind, "codes": list(upbit.markets)} for kind in ("orderbook", "trade", "ticker")]
    session.on_message(msgspec.json.encode([{"ticket": "t"}, *wishes]))
    timeline = Timeline(scenario.changes(), {"binance": binance, "upbit": upbit})
    for step in range(1, seconds * 10 + 1):
        moments[0] = step * SECOND_NS // 10
        while not timeline.advance(moments[0]):
            pass
    digest = hashlib.sha256()
    for pipe in pipes:
        assert len(pipe.sent) >= 3
        for payload in pipe.sent:
            digest.update(payload)
    return digest.hexdigest()


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_same_seed_gives_the_same_bytes_whatever_the_hash_seed(name):
    program = "import sys; from test_sim_scenarios import wire_hash; print(wire_hash(sys.argv[1], 7, 8))"
    hashes = set()
    for hash_seed in ("1", "99"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        result = subprocess.run(
            [sys.executable, "-c", program, name], env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        hashes.add(result.stdout.strip())
    assert len(hashes) == 1


def test_another_seed_is_another_market():
    assert wire_hash("synthetic", 1, 3) != wire_hash("synthetic", 2, 3)


@pytest.mark.parametrize("name", SCENARIOS)
def test_changes_come_in_time_order_for_listed_markets_only(name):
    scenario = make_scenario(name, 1)
    keys = {market.key for market in scenario.markets}
    before = 0
    for change in until(scenario, 20):
        assert change.at_ns >= before
        before = change.at_ns
        symbols = change.symbols if isinstance(change, Restarted) else (change.symbol,)
        assert {(change.venue, symbol) for symbol in symbols} <= keys


@pytest.mark.parametrize("name", PRICED)
def test_prices_and_sizes_sit_on_their_grids(name):
    scenario = make_scenario(name, 1)
    specs = {market.key: market for market in scenario.markets}
    seen = 0
    for change in until(scenario, 10):
        assert isinstance(change, BookChanged | Traded)
        spec = specs[change.venue, change.symbol]
        levels = [*change.bids, *change.asks] if isinstance(change, BookChanged) else [(change.price_e8, change.quantity_e8)]
        for price_e8, quantity_e8 in levels:
            assert price_e8 % spec.ticks.tick_e8_at(price_e8) == 0 and quantity_e8 % spec.lot_e8 == 0
            seen += 1
    assert seen > 200


def test_a_trade_takes_exactly_what_its_level_loses():
    levels: dict[tuple[str, str, Side, int], int] = {}
    lost: dict[tuple[str, str, Side, int], int] = {}
    trades = 0
    for change in until(synthetic(1), 10):
        if isinstance(change, BookChanged):
            lost = {}
            for side, changed in ((Side.SELL, change.bids), (Side.BUY, change.asks)):
                for price_e8, quantity_e8 in changed:
                    key = (change.venue, change.symbol, side, price_e8)
                    lost[key] = levels.get(key, 0) - quantity_e8
                    levels[key] = quantity_e8
            continue
        assert isinstance(change, Traded)
        assert lost == {(change.venue, change.symbol, change.taker_side, change.price_e8): change.quantity_e8}
        trades += 1
    assert trades > 100


def best_edges_bps(scenario: Scenario, seconds: int) -> tuple[list[tuple[float, str]], list[float]]:
    """Follow the tops and list (time, coin) of moments with a net edge, and KRW-USDT's premium over the bank's rate."""
    tops: dict[tuple[str, str], list[dict[int, int]]] = {}
    edges, premia = [], []
    for change in until(scenario, seconds):
        if not isinstance(change, BookChanged):
            continue
        sides = tops.setdefault((change.venue, change.symbol), [{}, {}])
        for side, levels in zip(sides, (change.bids, change.asks), strict=True):
            side.update(levels)
            for price_e8 in [price for price, quantity in side.items() if not quantity]:
                del side[price_e8]
        if change.venue != "upbit" or change.symbol in {"KRW-USDT", "BTC-ETH"} or ("upbit", "KRW-USDT") not in tops:
            continue
        coin = change.symbol.removeprefix("KRW-")
        quotes = [(max(bids), min(asks)) for bids, asks in (tops["binance", coin + "USDT"], sides, tops["upbit", "KRW-USDT"])]
        (bid, ask), (won_bid, won_ask), (rate_bid, rate_ask) = quotes
        out = won_bid / rate_ask / (ask / 1e8) - 1.0
        back = bid / 1e8 / (won_ask / rate_bid) - 1.0
        if max(out, back) > 0.0023:
            edges.append((change.at_ns / SECOND_NS, coin))
        premia.append((rate_bid + rate_ask) / 2e8 / 1390.0 - 1.0)
    return edges, premia


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_synthetic_market_has_a_premium_of_one_to_two_percent_and_rare_net_edges(seed):
    edges, premia = best_edges_bps(synthetic(seed), 60)
    assert all(0.005 < premium < 0.025 for premium in premia)
    bursts = [group for _, group in itertools.groupby(edges, key=lambda edge: (edge[1], int(edge[0] / 4)))]
    assert 2 <= len(bursts) <= 30
    assert edges[0][0] < 45
    assert len(edges) < 0.4 * len(premia)


@pytest.mark.parametrize("name", SCENARIOS)
def test_settings_overlay_is_accepted_by_the_configuration(name):
    overlay = make_scenario(name, 1).settings()
    fees = msgspec.to_builtins(FeeSettings(maker_ppm=1000, taker_ppm=1000, payment="quote"))
    for venue, section in overlay["venues"].items():
        section |= {"kind": venue, "rest_url": "http://127.0.0.1:1", "stream_url": "ws://127.0.0.1:1", "fees": fees}
    settings = msgspec.convert(overlay, Settings)
    assert len(settings.market_symbols) == len(make_scenario(name, 1).markets)
    assert all(transfer.is_identity_confirmed for transfer in settings.strategy.transfers.values())
    for assets in settings.paper.inventory.values():
        assert all(parse_e8(amount) > 0 for amount in assets.values())


@NEEDS_DATA
def test_recorded_markets_close_no_cycle_with_another_days_prices():
    """A recorded price must never form an arbitrage with a price of another day: its edges make a forest."""
    scenario = make_scenario("recorded+kimchi-2025", 1)
    parent: dict[tuple[str, str], tuple[str, str]] = {}

    def root(node):
        while parent.setdefault(node, node) != node:
            node = parent[node]
        return node

    for asset in scenario.transfers:
        parent[root(("binance", asset))] = root(("upbit", asset))
    meaningful = [market for market in scenario.markets if market.symbol not in scenario.meaningless]
    for market in meaningful:
        parent[root((market.venue, market.base))] = root((market.venue, market.quote))
    for market in scenario.markets:
        if market.symbol in scenario.meaningless:
            base, quote = root((market.venue, market.base)), root((market.venue, market.quote))
            assert base != quote, f"{market.symbol} closes a cycle"
            parent[base] = quote


@NEEDS_DATA
def test_labels_say_what_is_recorded_and_what_is_synthetic():
    assert "mean nothing" in make_scenario("recorded", 1).label
    for name in ("kimchi-2025", "lunc-20251011"):
        assert "recorded" in make_scenario(name, 1).label or "quotes of" in make_scenario(name, 1).label
        assert "synthetic" in make_scenario(name, 1).label


@NEEDS_DATA
def test_kimchi_stays_inside_its_bars_and_restarts_between_blocks():
    folder = find_data()
    assert folder is not None
    rows = list(read_table(folder / "kimchi-2025" / "klines-5m.csv.zst"))
    bars = {(row["symbol"], int(row["ts_ms"])): row for row in rows}
    first_ms = min(at_ms for symbol, at_ms in bars if symbol == "KRW-BTC")
    books: dict[str, dict[int, int]] = {"BTCUSDT": {}, "KRW-BTC": {}, "KRW-USDT": {}}
    restarted = set()
    for change in until(make_scenario("kimchi-2025", 0), 401):
        if isinstance(change, Restarted):
            assert change.at_ns > 200 * 2 * SECOND_NS - SECOND_NS
            restarted.add(change.venue)
        elif isinstance(change, BookChanged) and not restarted and change.symbol != "KRW-USDT":
            bids = books[change.symbol]
            bids.update(change.bids)
            if len(change.bids) < 2:
                continue  # a trade takes from one level of the book as it stood before the bar began
            best_e8 = max(price for price, quantity in bids.items() if quantity)
            bar = bars[change.symbol, first_ms + change.at_ns // (2 * SECOND_NS) * 300_000]
            assert float(bar["low"]) * 0.9998 < best_e8 / 1e8 <= float(bar["high"]) * 1.0001
    assert restarted == {"binance", "upbit"}


def test_unknown_and_overlapping_names_are_refused_in_words():
    with pytest.raises(LookupError, match="unknown scenario 'nonsense'"):
        make_scenario("nonsense", 1)
    with pytest.raises(LookupError, match="both serve binance BTCUSDT"):
        combine([synthetic(1), synthetic(2)])


def test_missing_recordings_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("ARBITRAGE_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="ARBITRAGE_DATA"):
        make_scenario("recorded", 1)


@pytest.mark.parametrize(
    ("price", "tick"),
    [
        ("2000000", "1000"), ("1000000", "1000"), ("999500", "500"), ("100000", "100"), ("99950", "50"), ("10000", "10"),
        ("9995", "5"), ("5000", "5"), ("4999", "1"), ("100", "1"), ("99.9", "0.1"), ("9.99", "0.01"), ("0.999", "0.001"),
        ("0.00000999", "0.00000001"),
    ],
)  # fmt: skip
def test_the_won_tick_table_is_the_published_one(price, tick):
    assert UPBIT_KRW.tick_e8_at(parse_e8(price)) == parse_e8(tick)


@pytest.mark.parametrize(
    ("price", "tick"), [("10", "0.01"), ("9.999", "0.001"), ("0.00003534", "0.00000001"), ("0.0001", "0.0000001")]
)
def test_the_tether_tick_table_is_the_published_one(price, tick):
    assert UPBIT_USDT.tick_e8_at(parse_e8(price)) == parse_e8(tick)


def test_minimums_differ_by_quote():
    assert [upbit_market(code, origin="published").notional_e8_min for code in ("KRW-BTC", "BTC-ETH", "USDT-BTC")] == [
        parse_e8("5000"), parse_e8("0.00005"), parse_e8("0.5"),
    ]  # fmt: skip
