"""The gate before every benchmark: open for the real codecs and engine, shut for ones that were spoiled on purpose."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from bench import gate
from bench.subject import Subject, trading_settings

from arbitrage.model.events import BookDiff, BookFull, FeedEvent, FeedFault, Reloaded

FRAMES = 1_500
FRAMES_UNTIL_SEEN = 300


@pytest.mark.parametrize("seed", [7, 20_251_121])
def test_books_and_decisions_equal_the_decimal_reference_over_a_bad_wire(seed: int) -> None:
    found = gate.run(seed, FRAMES)
    assert found.is_open, found.shown
    assert found.deliveries > FRAMES
    assert found.decisions == found.deliveries
    assert found.gaps > 20, "frames were lost"
    assert found.opportunities > 100, "decisions were compared, and not only their absence"
    assert found.levels > 3_000
    assert found.tickers_equal > 10
    assert found.wire.keys() >= {"lost", "stale", "repeated", "swapped", "damaged", "exponents", "noise", "not a number"}


def one_level_short(events: Sequence[FeedEvent]) -> Sequence[FeedEvent]:
    return [msgspec.structs.replace(event, asks=event.asks[:-1]) if type(event) is BookDiff else event for event in events]


def one_size_off(events: Sequence[FeedEvent]) -> Sequence[FeedEvent]:
    for event in events:
        if type(event) is BookFull and event.units:
            event.units[0].bid_size += 1e-08
    return events


def faults_swallowed(events: Sequence[FeedEvent]) -> Sequence[FeedEvent]:
    return [event for event in events if type(event) is not FeedFault]


@pytest.mark.parametrize("spoil", [one_level_short, one_size_off, faults_swallowed])
def test_the_gate_shuts_for_a_codec_that(spoil: type) -> None:
    def prepare(subject: Subject) -> None:
        for venue, decode in subject.decoders.items():
            subject.decoders[venue] = lambda raw, at_ns, decode=decode: spoil(decode(raw, at_ns))

    found = gate.run(7, FRAMES_UNTIL_SEEN, prepare)
    assert not found.is_open
    assert 0 < len(found.shown) <= gate.FAULTS_SHOWN


def test_the_gate_shuts_for_an_engine_that_forgets_the_cost_of_transfers() -> None:
    def prepare(subject: Subject) -> None:
        settings = trading_settings(subject.universe, resize_interval_ms=0)
        transfers = {name: msgspec.structs.replace(each, cost_ppm=0) for name, each in settings.strategy.transfers.items()}
        strategy = msgspec.structs.replace(settings.strategy, transfers=transfers)
        subject.feed([Reloaded(gate.START_NS, msgspec.structs.replace(settings, strategy=strategy), "cheaper")])

    found = gate.run(7, FRAMES_UNTIL_SEEN, prepare)
    assert not found.is_open
    assert all(text.startswith("delivery") for text in found.shown), "its books are right, only its decisions are not"
