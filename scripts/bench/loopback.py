"""From another process's send to our decision, over a loopback WebSocket and the real transport. Books nothing of its own.

Client on one core, server on another. `engine` is codec, door and engine as the daemon wires them (apply everything, decide
once the socket is drained); `none` reads the stamp and nothing else: what the transport alone costs.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import uvloop

from arbitrage.app.door import Door
from arbitrage.model.effects import Append, Judged, Report
from arbitrage.model.episodes import Episode
from arbitrage.model.events import Decide
from arbitrage.model.facts import Fact
from arbitrage.venues.factory import transport_named
from arbitrage.venues.transport import ConnectOptions, Handlers
from arbitrage.venues.wiring import FRAMES_PER_YIELD
from bench.figures import WARM_UP_SHARE, Floor, at_most, percentile
from bench.frames import Universe
from bench.server import DIGITS, STAMP_BASE
from bench.subject import Subject

SYMBOLS = 10
RATES = {10_000: 20_000, 50_000: 50_000, 0: 60_000}
"""Frames a second (0: flat out) and how many are sent."""
TRANSPORTS = ("websockets", "picows")
SLIPS_SHARE_MAX = 0.01
"""With more frames than this sent late, a latency says more about the server than about us."""
CLIENT_CORE, SERVER_CORE = 0, 1


class Case(msgspec.Struct, frozen=True):
    """One way to run."""

    transport: str
    rate: int
    has_engine: bool
    is_polling: bool

    def __str__(self) -> str:
        rate = f"{self.rate:,}/s" if self.rate else "flat out"
        ways = f"{'engine' if self.has_engine else 'none':<6}  {'spin' if self.is_polling else 'sleep':<5}"
        return f"{self.transport:<10} {rate:>9}  {ways}"


class Row(msgspec.Struct, frozen=True):
    """Medians of all repeats; `lowest_p99_us` is the quietest one's."""

    case: Case
    p50_us: float
    p99_us: float
    p999_us: float
    lowest_p99_us: float
    frames_per_s: int
    cpu_us: float
    sent: int
    lost: int
    slips: int
    gaps: int

    def __str__(self) -> str:
        lowest = f"(lowest {self.lowest_p99_us:9.1f})"
        times = f"p50 {self.p50_us:8.1f}  p99 {self.p99_us:9.1f} {lowest}  p999 {self.p999_us:9.1f} us"
        rates = f"{self.frames_per_s:8,d}/s  CPU {self.cpu_us:5.1f} us a frame"
        doubt = "" if self.slips <= SLIPS_SHARE_MAX * self.sent else "; the server missed its schedule: no valid times"
        return f"{self.case}  {times}  {rates}  lost {self.lost}, slips {self.slips}{doubt}"


class _Run(msgspec.Struct):
    """One repeat's raw figures."""

    took_ns: list[int]
    cpu_ns: int
    span_ns: int
    lost: int
    slips: int
    gaps: int


def run(seed: int, repeats: int, share: float = 1.0) -> list[Row]:
    """Measure every case `repeats` times, the cases in turn; `share` shortens every run."""
    universe = Universe(SYMBOLS, seed)
    cases = [
        Case(transport, rate, has_engine, is_polling)
        for transport in TRANSPORTS
        for rate in RATES
        for is_polling in (False, True)
        for has_engine in (False, True)
    ]
    runs: dict[Case, list[_Run]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames"
        frames = universe.frames(int(max(RATES.values()) * share))
        path.write_bytes(b"".join(struct.pack("!I", len(frame.raw)) + frame.raw for frame in frames))
        for _ in range(repeats):
            for case in cases:
                runs[case].append(_once(case, path, universe, int(RATES[case.rate] * share)))
    return [_row(case, found) for case, found in runs.items()]


def floors(rows: Sequence[Row]) -> list[Floor]:
    """Nothing may be lost."""
    return [at_most("loopback, frames lost in all runs", sum(row.lost + row.gaps for row in rows), 0)]


class _Timing:
    """The running loop's time, and a word after every decision."""

    def __init__(self, clock: Callable[[], int], decided: Callable[[], None]) -> None:
        self._clock, self._decided = clock, decided

    def now_ns(self) -> int:
        return self._clock()

    def soon(self, work: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_soon(self._run, work)

    def at(self, at_ns: int, work: Callable[[], None]) -> None:
        asyncio.get_running_loop().call_later(max(0, at_ns - self._clock()) / 1e9, work)

    def _run(self, work: Callable[[], None]) -> None:
        work()
        self._decided()


class _Nowhere:
    """A journal and a recorder that keep nothing: no order is sent here."""

    def append(self, appends: Sequence[Append]) -> int:
        return len(appends)

    def facts(self, facts: Sequence[Fact]) -> None: ...

    def judged(self, judged: Judged) -> None: ...

    def episode(self, episode: Episode) -> None: ...

    def report(self, report: Report) -> None: ...


class _Client:
    """Takes frames and notes how long each took to its decision."""

    def __init__(self, universe: Universe, case: Case) -> None:
        offset_ns = time.time_ns() - time.monotonic_ns()
        monotonic_ns = time.monotonic_ns
        self.took_ns: list[int] = []
        self.cpu_ns = 0
        self.span_ns = 0
        """From the first frame to the newest decision."""
        self._first_ns = 0
        self._waiting: list[int] = []
        self._clock: Callable[[], int] = lambda: monotonic_ns() + offset_ns
        self.subject = Subject(universe, self._clock())
        self.subject.feed([Decide(self._clock())])
        timing = _Timing(self._clock, self._decided)
        self._door = Door(self.subject.engine, timing, _Nowhere(), _Nowhere())
        self._binance, self._upbit = self.subject.decoders["binance"], self.subject.decoders["upbit"]
        self.frame = self._decide if case.has_engine else self._stamp_only

    def _stamp_only(self, raw: bytes) -> None:
        now_ns = time.monotonic_ns() + STAMP_BASE
        self._first_ns = self._first_ns or now_ns
        self.took_ns.append(now_ns - int(raw[-DIGITS - 1 : -1]))
        self.span_ns = now_ns - self._first_ns

    def _decide(self, raw: bytes) -> None:
        self._waiting.append(int(raw[-DIGITS - 1 : -1]))
        decode = self._binance if raw.startswith(b'{"s') else self._upbit
        self._door.feed(decode(raw, self._clock()))

    def _decided(self) -> None:
        now_ns = time.monotonic_ns() + STAMP_BASE
        self._first_ns = self._first_ns or now_ns
        self.span_ns = now_ns - self._first_ns
        self.took_ns += [now_ns - sent_ns for sent_ns in self._waiting]
        self._waiting.clear()


def _once(case: Case, path: Path, universe: Universe, count: int) -> _Run:
    script = Path(__file__).with_name("server.py")
    command = [sys.executable, str(script), str(path), str(case.rate), str(count), str(SERVER_CORE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        client = _Client(universe, case)
        gc.collect()
        port = int(server.stdout.readline())
        uvloop.run(asyncio.wait_for(_read(client, case, f"ws://127.0.0.1:{port}/"), 120))
        done = json.loads(server.stdout.readline())
    lost = done["sent"] - len(client.took_ns)
    gaps = client.subject.engine.board.counters["gaps"]
    return _Run(client.took_ns, client.cpu_ns, client.span_ns, lost, done["slips"], gaps)


async def _read(client: _Client, case: Case, url: str) -> None:
    loop, is_over = asyncio.get_running_loop(), False

    def poll() -> None:
        if not is_over:
            loop.call_soon(poll)

    def nothing() -> None:
        """Pings and pongs are not counted here."""

    handlers = Handlers(opened=nothing, frame=client.frame, pinged=nothing, ponged=nothing)
    options = ConnectOptions(timeout_s=5.0, frames_per_yield=FRAMES_PER_YIELD, is_proxied=False)
    connection = await transport_named(case.transport)(url, handlers, options)  # type: ignore[arg-type]  # one of TRANSPORTS
    if case.is_polling:
        poll()
    cpu_ns = time.thread_time_ns()
    await connection.read()
    await asyncio.sleep(0)
    is_over = True
    client.cpu_ns = time.thread_time_ns() - cpu_ns


def _row(case: Case, runs: Sequence[_Run]) -> Row:
    ordered = [sorted(run.took_ns[len(run.took_ns) // WARM_UP_SHARE :]) for run in runs]
    p50, p99, p999 = ([percentile(each, share) / 1e3 for each in ordered] for share in (0.5, 0.99, 0.999))
    return Row(
        case=case,
        p50_us=round(statistics.median(p50), 1),
        p99_us=round(statistics.median(p99), 1),
        p999_us=round(statistics.median(p999), 1),
        lowest_p99_us=round(min(p99), 1),
        frames_per_s=round(statistics.median(len(run.took_ns) * 1e9 / run.span_ns for run in runs)),
        cpu_us=round(statistics.median(run.cpu_ns / len(run.took_ns) / 1e3 for run in runs), 2),
        sent=sum(len(run.took_ns) + run.lost for run in runs),
        lost=sum(run.lost for run in runs),
        slips=sum(run.slips for run in runs),
        gaps=sum(run.gaps for run in runs),
    )
