"""Where faults come from: a script's JSON, or a seed. Arms none."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec

from arbitrage.sim.exchange.faults import Fault, Kind

FAULTS_MAX = 1_000


class ScriptError(ValueError):
    """A script that says nothing a venue could do."""


def parse_script(raw: bytes) -> list[Fault]:
    """Read a JSON list of faults, or one. Raises ScriptError."""
    try:
        is_list = raw.lstrip()[:1] == b"["
        faults = msgspec.json.decode(raw, type=list[Fault]) if is_list else [msgspec.json.decode(raw, type=Fault)]
    except msgspec.DecodeError as wrong:
        raise ScriptError(str(wrong)) from None
    if len(faults) > FAULTS_MAX:
        raise ScriptError(f"more than {FAULTS_MAX} faults")
    return faults


def read_faults(word: str) -> list[Fault]:
    """Read `--faults`: a whole number is a seed, anything else a file. Raises ScriptError."""
    if word.isascii() and word.isdecimal():
        return seeded_faults(int(word))
    try:
        return parse_script(Path(word).read_bytes())
    except OSError as missing:
        raise ScriptError(f"cannot read {word}: {missing.strerror}") from None


def seeded_faults(seed: int) -> list[Fault]:
    """Make a venue's bad day: each sort of fault with a chance drawn from the seed, on orders, answers and streams."""
    generator = random.Random(seed)

    def chance(low_ppm: int, high_ppm: int) -> int:
        return generator.randint(low_ppm, high_ppm)

    faults: list[Fault] = []
    for endpoint in ("* /api/v3/order", "order.*", "* /v1/order*"):
        faults += [
            Fault(Kind.LOST, endpoint=endpoint, times=0, chance_ppm=chance(2_000, 20_000)),
            Fault(Kind.LATE, endpoint=endpoint, times=0, chance_ppm=chance(5_000, 50_000), ms=generator.randint(200, 3_000)),
            Fault(Kind.ERROR_AFTER, endpoint=endpoint, times=0, chance_ppm=chance(2_000, 20_000)),
            Fault(Kind.ERROR_BEFORE, endpoint=endpoint, times=0, chance_ppm=chance(2_000, 20_000)),
            Fault(Kind.HTML, endpoint=endpoint, times=0, chance_ppm=chance(1_000, 5_000)),
            Fault(Kind.CUT, endpoint=endpoint, times=0, chance_ppm=chance(1_000, 10_000)),
        ]
    for endpoint in ("executionReport", "myOrder"):
        faults += [
            Fault(Kind.LOST, endpoint=endpoint, times=0, chance_ppm=chance(1_000, 10_000)),
            Fault(Kind.LATE, endpoint=endpoint, times=0, chance_ppm=chance(5_000, 50_000), ms=generator.randint(100, 2_000)),
            Fault(Kind.REPEATED, endpoint=endpoint, times=0, chance_ppm=chance(5_000, 50_000)),
            Fault(Kind.REORDERED, endpoint=endpoint, times=0, chance_ppm=chance(2_000, 20_000)),
        ]
    for kind in (Kind.LOST, Kind.REPEATED, Kind.REORDERED):
        faults.append(Fault(kind, endpoint="*@depth*", times=0, chance_ppm=chance(100, 1_000)))
    for endpoint in ("DELETE /api/v3/order", "order.cancel", "DELETE /v1/order"):
        faults.append(Fault(Kind.FILL_BEFORE_CANCEL, endpoint=endpoint, times=0, chance_ppm=chance(10_000, 100_000)))
    faults.append(Fault(Kind.NOT_FOUND, ms=generator.randint(200, 3_000), for_s=30.0, at_s=generator.uniform(5.0, 60.0)))
    return faults
