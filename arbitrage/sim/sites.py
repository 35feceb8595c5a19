"""Puts one simulated venue together from a scenario: exchange, faults, test keys, server, port. Opens and plays nothing."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec

from arbitrage.model.money import parse_e8
from arbitrage.sim.exchange.acts import Acts
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.faults import Faults
from arbitrage.sim.exchange.keys import binance_key, upbit_key
from arbitrage.sim.exchange.nouns import ApiKey, Policy
from arbitrage.sim.exchange.policy import BINANCE_POLICY, UPBIT_POLICY
from arbitrage.sim.scenarios.changes import VenueKind
from arbitrage.sim.scenarios.scenario import Scenario
from arbitrage.sim.server.binance import BinanceServer
from arbitrage.sim.server.binance_private import Backing as BinanceBacking
from arbitrage.sim.server.listener import Listener
from arbitrage.sim.server.upbit import UpbitServer
from arbitrage.sim.server.upbit_pocket import Backing as UpbitBacking
from arbitrage.sim.truth import Site


class VenueKeys(msgspec.Struct, frozen=True):
    """The test keys of a run."""

    binance: ApiKey
    upbit: ApiKey


class Clocks(msgspec.Struct, frozen=True):
    """The two readings of one clock that a venue needs."""

    wall_ns: Callable[[], int]
    seconds: Callable[[], float]


Sites = dict[VenueKind, Site]


def make_keys(seed: int) -> VenueKeys:
    """Make the keys of a seed; the same every time."""
    return VenueKeys(binance_key(seed), upbit_key(seed))


def make_sites(scenario: Scenario, keys: VenueKeys, clocks: Clocks, seed: int) -> tuple[BinanceServer, UpbitServer, Sites]:
    """Make both venues with the scenario's inventory in their accounts."""
    binance_core, binance_faults = _core("binance", BINANCE_POLICY, scenario, clocks, seed)
    upbit_core, upbit_faults = _core("upbit", UPBIT_POLICY, scenario, clocks, seed)
    backing = BinanceBacking(binance_core, (keys.binance,), binance_faults, seed)
    binance = BinanceServer(scenario.markets, clocks.wall_ns, backing=backing)
    upbit = UpbitServer(
        scenario.markets, clocks.wall_ns, clocks.seconds, backing=UpbitBacking(upbit_core, (keys.upbit,), upbit_faults)
    )
    sites: Sites = {}
    for server, exchange, faults in ((binance, binance_core, binance_faults), (upbit, upbit_core, upbit_faults)):
        acts = Acts(exchange)
        faults.listen(acts)
        listener = Listener(server, clocks.wall_ns, clocks.seconds, faults)
        sites[exchange.venue] = Site(exchange, faults, acts, server, listener)
    return binance, upbit, sites


def _core(venue: VenueKind, policy: Policy, scenario: Scenario, clocks: Clocks, seed: int) -> tuple[Exchange, Faults]:
    balances = {asset: parse_e8(text) for asset, text in scenario.inventory.get(venue, {}).items()}
    exchange = Exchange(venue, scenario.markets, policy, balances, clocks.wall_ns)
    return exchange, Faults(venue, clocks.wall_ns, random.Random(f"{venue} {seed}"))
