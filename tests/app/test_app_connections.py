"""Engine time may go ahead of the wall at a start; the venues' clocks are held against the wall all the same."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from test_app_modes import NotingAccount, settings_of

from arbitrage.app.bans import BanFile
from arbitrage.app.connections import Connections
from arbitrage.model.events import ClockMeasured, LinkAlive, OrdersHeld
from arbitrage.model.instruments import Venue
from arbitrage.venues.wiring import VenueEvent

HOUR_NS = 3_600_000_000_000
BINANCE = Venue("binance")


def heard(folder: Path, ahead_ns: int) -> list[VenueEvent]:
    """Return what comes out for a clock that was measured before and one that is measured after engine time went ahead."""
    found: list[VenueEvent] = []

    def sink(events: Sequence[VenueEvent]) -> None:
        found.extend(events)

    connections = Connections(settings_of(folder / str(ahead_ns), "paper"), {}, lambda: 1, BanFile(folder))
    session = next(iter(connections.feeds.values()))
    say = session.context.wiring.sink
    say((ClockMeasured(1, BINANCE, 5, 2),))
    connections.attach(sink, sink, lambda market: None, ahead_ns=ahead_ns)
    say((ClockMeasured(HOUR_NS, BINANCE, 5 - ahead_ns // 1_000_000, 2),))
    say((LinkAlive(HOUR_NS, BINANCE, "one"),))
    return found


def test_a_venue_s_clock_is_held_against_the_wall_however_far_engine_time_went_ahead(tmp_path: Path) -> None:
    for ahead_ns in (0, HOUR_NS):
        measured = [event for event in heard(tmp_path, ahead_ns) if isinstance(event, ClockMeasured)]
        assert [event.offset_ms for event in measured] == [5, 5]


def test_what_is_no_clock_is_handed_on_as_it_is(tmp_path: Path) -> None:
    assert heard(tmp_path, HOUR_NS)[-1] == LinkAlive(HOUR_NS, BINANCE, "one")


class HeldAccount(NotingAccount):
    """An account that takes no order for a while."""

    wait_ns = 0

    def orders_wait_ns(self) -> int:
        return self.wait_ns


def test_a_hold_is_told_whichever_request_met_it_and_a_venue_s_rhythm_is_none(tmp_path: Path) -> None:
    found: list[VenueEvent] = []
    connections = Connections(settings_of(tmp_path, "paper"), {}, lambda: 7, BanFile(tmp_path))
    account = connections.accounts["binance"] = HeldAccount("binance", found.extend)
    connections.attach(found.extend, found.extend, lambda market: None)
    connections.note_holds()
    account.wait_ns = 100_000_000
    connections.note_holds()
    assert found == []
    account.wait_ns = 60_000_000_000
    connections.note_holds()
    assert found == [OrdersHeld(7, BINANCE, 60_000_000_007)]
