"""Scenario names and how to make them; several joined by `+` play side by side on disjoint symbols. Makes no prices."""

from __future__ import annotations

import functools
import heapq
from collections.abc import Callable, Iterator
from pathlib import Path

from arbitrage.sim.capture import DATA_VARIABLE, find_data
from arbitrage.sim.scenarios.changes import Change
from arbitrage.sim.scenarios.kimchi import kimchi
from arbitrage.sim.scenarios.lunc import lunc
from arbitrage.sim.scenarios.recorded import recorded
from arbitrage.sim.scenarios.scenario import Scenario
from arbitrage.sim.scenarios.still import PREFIX, still
from arbitrage.sim.scenarios.synthetic import synthetic

RECORDED: dict[str, Callable[[Path, int], Scenario]] = {
    "recorded": lambda folder, _: recorded(folder),
    "kimchi-2025": kimchi,
    "lunc-20251011": lunc,
}
SCENARIOS = (*RECORDED, "synthetic")


def make_scenario(name: str, seed: int) -> Scenario:
    """Make a scenario by name.

    Raises LookupError for an unknown name or symbols that two parts share, FileNotFoundError when recordings are missing,
    CaptureError when they cannot be read.
    """
    parts = [_make(part, seed) for part in name.split("+")]
    return parts[0] if len(parts) == 1 else combine(parts)


def combine(parts: list[Scenario]) -> Scenario:
    """Let several scenarios play side by side."""
    keys = [market.key for part in parts for market in part.markets]
    shared = sorted({f"{venue} {symbol}" for venue, symbol in keys if keys.count((venue, symbol)) > 1})
    if shared:
        raise LookupError(f"scenarios {' and '.join(part.name for part in parts)} both serve {', '.join(shared)}")
    inventory: dict[str, dict[str, str]] = {}
    for part in parts:
        for venue, assets in part.inventory.items():
            inventory.setdefault(venue, {}).update(assets)
    return Scenario(
        name="+".join(part.name for part in parts),
        label=" | ".join(part.label for part in parts),
        notes=tuple(note for part in parts for note in part.notes),
        meaningless=tuple(symbol for part in parts for symbol in part.meaningless),
        markets=tuple(market for part in parts for market in part.markets),
        transfers={asset: transfer for part in parts for asset, transfer in part.transfers.items()},
        inventory=inventory,
        changes=functools.partial(_merge, parts),
    )


def _merge(parts: list[Scenario]) -> Iterator[Change]:
    return heapq.merge(*(part.changes() for part in parts), key=lambda change: change.at_ns)


def _make(name: str, seed: int) -> Scenario:
    if name == "synthetic":
        return synthetic(seed)
    if name.startswith(PREFIX):
        return still(name.removeprefix(PREFIX))
    if name not in RECORDED:
        raise LookupError(f"unknown scenario {name!r}; there are {', '.join(SCENARIOS)}, and several joined by +")
    folder = find_data()
    if folder is None:
        raise FileNotFoundError(f"scenario {name} needs recordings: set {DATA_VARIABLE}, or put them in ../shared/data")
    return RECORDED[name](folder, seed)
