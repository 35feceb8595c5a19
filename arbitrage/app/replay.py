"""Drives the engine with recorded frames in their own time, without sockets, as fast as it can. Writes nothing anywhere.

The same door, engine, codecs and paper venue as the daemon's; time is the recording's, and snapshots are its own REST answers
in the order in which they came.
"""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import msgspec

from arbitrage.app.clock import perf_ns
from arbitrage.app.door import Door
from arbitrage.app.modes import VirtualTiming, paper_transport
from arbitrage.engine.engine import Engine
from arbitrage.model.effects import Append, Judged, Report
from arbitrage.model.episodes import Episode
from arbitrage.model.events import ClockMeasured, Event, Funded, InstrumentsRead, LinkUp, StoreReported, Wake
from arbitrage.model.facts import Fact
from arbitrage.model.instruments import Instrument, TradingStatus, Venue
from arbitrage.model.money import Asset, parse_e8
from arbitrage.model.settings import Settings, VenueSettings
from arbitrage.sim.capture import CaptureError, CaptureRow, read_rows
from arbitrage.sim.scenarios.recorded import derived_markets
from arbitrage.sim.scenarios.scenario import MarketSpec
from arbitrage.venues.binance.codec import BinanceCodec
from arbitrage.venues.upbit.codec import UpbitCodec
from arbitrage.venues.wire import fees_for

WAKE_NS = 100_000_000
WARM_UP_SHARE = 6
"""The first sixth of the frames is left out of the time statistics (books fill, caches warm)."""


class Replayed(msgspec.Struct, frozen=True):
    """What a replay saw. Times are of this machine; everything else is the same on any."""

    frames: int
    events: dict[str, int]
    faults: dict[str, int]
    gaps: int
    resyncs: int
    books: dict[str, int]
    opportunities: int
    episodes: int
    taken: int
    refused: dict[str, int]
    arbitrages: dict[str, int]
    decision_ns: dict[str, int]
    frames_per_s: int
    event_hash: str
    decision_hash: str


class NullJournal:
    """Keeps nothing: a replay changes no state that outlives it."""

    def __init__(self) -> None:
        self._sequence = 0

    def append(self, appends: Sequence[Append]) -> int:
        self._sequence += len(appends)
        return self._sequence


class HashingRecorder:
    """Digests every verdict and durable fact, and at the end the tally: replays that decide alike have equal digests."""

    def __init__(self) -> None:
        self.digest = hashlib.blake2b(digest_size=16)

    def facts(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            self.digest.update(msgspec.json.encode(fact))

    def judged(self, judged: Judged) -> None:
        self.digest.update(msgspec.json.encode((judged.opportunity, judged.verdict)))

    def episode(self, episode: Episode) -> None:
        """Leave it out of the digest: it groups what is in there already."""

    def report(self, report: Report) -> None:
        self.digest.update(report.code.encode())


class Replay:
    """One run over one or several captures, merged by receive time."""

    def __init__(self, paths: Sequence[Path], settings: Settings) -> None:
        specs = _specs(paths)
        self._paths = paths
        self._settings = msgspec.structs.replace(settings, venues=_venues(settings, specs))
        symbols = self._settings.market_symbols
        self._ids = {key: market for market, key in enumerate(symbols)}
        self._codecs = {name: _codec(name, self._settings, self._ids) for name in self._settings.venues}
        self._timing = VirtualTiming()
        self._recorder = HashingRecorder()
        self._events = hashlib.blake2b(digest_size=16)
        self._counts: dict[str, int] = {}
        engine = Engine(self._settings.trading, symbols, id_prefix="r")
        self.door = Door(engine, self._timing, NullJournal(), self._recorder)
        self._instruments = {
            name: tuple(_instrument(spec, self._ids, self._settings.venues[name]) for spec in specs if spec.venue == name)
            for name in self._settings.venues
        }

    def run(self, progress: Callable[[int], None] | None = None) -> Replayed:
        """Play everything; call `progress` with the frame count now and then."""
        durations: list[int] = []
        is_open = False
        for row in rows_of(self._paths):
            if not is_open:
                self._open(row.ts)
                is_open = True
            self._timing.run_until(row.ts)
            if row.kind == "http":
                self._feed(self._answer(row))
            elif row.kind == "frame":
                durations.append(self._frame(row))
                if progress is not None and len(durations) % 10_000 == 0:
                    progress(len(durations))
        self._timing.run_until(self._timing.now_ns() + self._settings.execution.plan_deadline_ms * 1_000_000)
        return self._summary(durations)

    def _frame(self, row: CaptureRow) -> int:
        raw, decode = row.raw.encode(), self._codec_of(row).decode
        started_ns = perf_ns()
        events = decode(raw, row.ts)
        self.door.feed(events)
        self._timing.run_until(row.ts)
        elapsed_ns = perf_ns() - started_ns
        self._note(events)
        return elapsed_ns

    def _feed(self, events: Sequence[Event]) -> None:
        self.door.feed(events)
        self._timing.run_until(self._timing.now_ns())
        self._note(events)

    def _note(self, events: Sequence[Event]) -> None:
        for event in events:
            name = type(event).__name__
            self._counts[name] = self._counts.get(name, 0) + 1
            self._events.update(name.encode())
            self._events.update(msgspec.json.encode(event))

    def _open(self, at_ns: int) -> None:
        self._timing.run_until(at_ns)
        inventory = self._settings.paper.inventory
        funding = [
            Funded(at_ns, Venue(venue), Asset(asset), parse_e8(text), "paper inventory")
            for venue, assets in inventory.items()
            for asset, text in assets.items()
        ]
        healthy = StoreReported(at_ns, is_postgres_up=True, is_redis_up=True, journal_bytes_waiting=0, is_journal_full=False)
        self._feed([healthy, *funding])
        self.door.connect(paper_transport(self._settings, self.door, self._timing), lambda market: None)
        for name, instruments in self._instruments.items():
            markets = tuple(instrument.id for instrument in instruments)
            # A capture's times are the engine's; how far the venue's clock was off was not recorded and is taken as nothing.
            clock = ClockMeasured(at_ns, Venue(name), offset_ms=0, round_trip_ms=0)
            self._feed([InstrumentsRead(at_ns, Venue(name), instruments), LinkUp(at_ns, Venue(name), name, markets), clock])
        self._timing.at(at_ns + WAKE_NS, self._wake)

    def _wake(self) -> None:
        self.door.feed([Wake(self._timing.now_ns())])
        self._timing.at(self._timing.now_ns() + WAKE_NS, self._wake)

    def _answer(self, row: CaptureRow) -> Sequence[Event]:
        codec = self._codec_of(row)
        symbol = parse_qs(urlsplit(row.url).query).get("symbol", [""])[0]
        market = self._ids.get((row.venue, symbol))
        if market is None or not isinstance(codec, BinanceCodec):
            return ()
        return (codec.decode_snapshot(row.raw.encode(), market, row.ts),)

    def _codec_of(self, row: CaptureRow) -> BinanceCodec | UpbitCodec:
        codec = self._codecs.get(row.venue)
        if codec is None:
            known = ", ".join(self._codecs) or "none"
            raise CaptureError(f"venue {row.venue!r} is not configured, or the files hold no market of it (known: {known})")
        return codec

    def _summary(self, durations: list[int]) -> Replayed:
        engine = self.door.engine
        tally, counters = engine.tally, engine.board.counters
        self._recorder.digest.update(msgspec.json.encode(tally, order="sorted"))
        timed = durations[len(durations) // WARM_UP_SHARE :]
        known = ("gaps", "resyncs", "compared", "equal")
        return Replayed(
            frames=len(durations),
            events=dict(sorted(self._counts.items())),
            faults={name: count for name, count in sorted(counters.items()) if name not in known and count},
            gaps=counters.get("gaps", 0),
            resyncs=counters.get("resyncs", 0),
            books={"compared": counters.get("compared", 0), "equal": counters.get("equal", 0)},
            opportunities=tally.seen,
            episodes=engine.episodes.counters["episodes_opened"],
            taken=tally.taken,
            refused=dict(sorted(tally.refused.items())),
            arbitrages={"completed": tally.completed, "recovered": tally.recovered, "open": len(engine.desk.open_plans())},
            decision_ns=percentiles(timed),
            frames_per_s=round(len(timed) * 1e9 / max(1, sum(timed))),
            event_hash=self._events.hexdigest(),
            decision_hash=self._recorder.digest.hexdigest(),
        )


def percentiles(samples: Sequence[int]) -> dict[str, int]:
    """Return p50, p99 and p999 of the samples; zeros when there are none."""
    ordered = sorted(samples) or [0]
    last = len(ordered) - 1
    return {
        name: ordered[min(last, int(len(ordered) * share))] for name, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999))
    }


def _specs(paths: Sequence[Path]) -> list[MarketSpec]:
    found: dict[tuple[str, str], MarketSpec] = {}
    for path in paths:
        for spec in derived_markets(path):
            found.setdefault(spec.key, spec)
    return list(found.values())


def _venues(settings: Settings, specs: Sequence[MarketSpec]) -> dict[str, VenueSettings]:
    venues = {}
    for name, section in settings.venues.items():
        symbols = tuple(spec.symbol for spec in specs if spec.venue == name)
        if symbols:
            venues[name] = msgspec.structs.replace(section, symbols=symbols)
    return venues


def _codec(name: str, settings: Settings, ids: Mapping[tuple[str, str], int]) -> BinanceCodec | UpbitCodec:
    section = settings.venues[name]
    markets = {symbol: ids[(name, symbol)] for symbol in section.symbols}
    return (BinanceCodec if section.kind == "binance" else UpbitCodec)(Venue(name), markets, section)


def _instrument(spec: MarketSpec, ids: Mapping[tuple[str, str], int], section: VenueSettings) -> Instrument:
    return Instrument(
        id=ids[spec.key],
        venue=Venue(spec.venue),
        symbol=spec.symbol,
        base=Asset(spec.base),
        quote=Asset(spec.quote),
        ticks=spec.ticks,
        lot_e8=spec.lot_e8,
        quantity_e8_min=spec.quantity_e8_min,
        quantity_e8_max=spec.quantity_e8_max,
        notional_e8_min=spec.notional_e8_min,
        status=TradingStatus.TRADING,
        fees=fees_for(section, Asset(spec.quote)),
    )


def rows_of(paths: Sequence[Path]) -> Iterator[CaptureRow]:
    """Yield the rows of several captures by receive time."""
    return heapq.merge(*(read_rows(path) for path in paths), key=lambda row: row.ts)
