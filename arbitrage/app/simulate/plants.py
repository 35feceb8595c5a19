"""Bugs on purpose: each is the real daemon with one part replaced (`parts.py` says how). No product room knows of them.

Every one must be caught by a checker that is right for it, in the median within 50 seeds (`arbitrage simulate --plants`). A
plant that is not caught says that the weather or a checker is too weak; the plant is never made coarser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from arbitrage.app.door import Door
from arbitrage.app.simulate import plants_engine as engine
from arbitrage.app.simulate import plants_wire as wire
from arbitrage.app.simulate.feeds import Feed
from arbitrage.app.simulate.links import AccountLink
from arbitrage.app.simulate.parts import PARTS, Parts
from arbitrage.engine.engine import Engine


class Plant(msgspec.Struct, frozen=True):
    """One bug: what is wrong, which checkers are right for it, and the parts that have it."""

    says: str
    checkers: tuple[str, ...]
    engine: Callable[..., Engine] = PARTS.engine
    door: Callable[..., Door] = PARTS.door
    feeds: Mapping[str, Callable[..., Feed]] = {}
    links: Mapping[str, Callable[..., AccountLink]] = {}


# What a bug does to money, to orders, to what is believed, and to what is kept: the checkers that see it from outside.
BOOKED, MISSED = ("booked_truly",), ("accounts_agreed", "nothing_believed_wrongly", "all_fills_booked", "ledger_is_truth")
LEFT = ("exposure_within_limits", "flat", "comes_to_rest")
KEPT = ("restart_changes_nothing",)
DOUBTED = ("no_doubtful_market",)
STUCK = ("plans_ended", "all_fills_booked", "nothing_reserved", "comes_to_rest")

PLANTS: Mapping[str, Plant] = {
    "absence-believed-too-early": Plant('the first "does not exist" ends an order', MISSED, engine.AbsenceBelieved),
    "account-loss-ignored": Plant("entries go on while an account's link is lost", DOUBTED, engine.AccountLossIgnored),
    "ban-forgotten-at-start": Plant(
        "a start asks although a ban was written down", ("nothing_asked_while_banned",),
        feeds={"binance": wire.ForgetfulBinanceFeed}, links={"binance": wire.ForgetfulBinance},
    ),
    "ban-ignored": Plant(
        "a venue's ban holds nothing back", ("nothing_asked_while_banned",),
        feeds={"binance": wire.HeedlessBinanceFeed, "upbit": wire.HeedlessUpbitFeed},
        links={"binance": wire.HeedlessBinance, "upbit": wire.HeedlessUpbit},
    ),
    "cancel-treated-as-final": Plant(
        "a cancel that was sent ends its order; later fills are dropped", MISSED, engine.CancelIsFinal
    ),
    "clock-offset-ignored": Plant("a venue is traded on whose clock is far off", DOUBTED, engine.ClockIgnored),
    "difference-explained-away": Plant(
        "whatever an account differs by is booked as a deposit", ("booked_by_word",), engine.DifferenceExplainedAway
    ),
    "duplicate-message-applied": Plant(
        "a fill that is told again is booked again", ("fills_once", "nothing_believed_wrongly"), engine.Undeduplicated
    ),
    "fee-asset-ignored": Plant("every fee is booked in the quote asset", BOOKED, engine.FeeAssetIgnored),
    "fill-applied-twice": Plant("stream and answer give a fill two names, and it is booked twice", BOOKED, engine.FillTwice),
    "gap-ignored": Plant("a book goes on over a missing update", ("gaps_are_doubted", *DOUBTED), engine.GapIgnored),
    "hedge-forgotten": Plant("a leg that fell short is neither mended nor hedged", LEFT, engine.HedgeForgotten),
    "hedge-on-the-wrong-side": Plant("what is missing is sold, what is left over is bought", LEFT, engine.HedgeOnWrongSide),
    "hold-ignored": Plant(
        "orders are intended for a venue that takes none now", ("none_intended_in_vain",), engine.HoldIgnored
    ),
    "journal-forgotten-at-start": Plant("a start takes its snapshot and nothing after it", KEPT, engine.JournalForgotten),
    "journal-refusal-ignored": Plant(
        "an entry is sent although no disk took its intent", ("written_first",), door=wire.SentUnwritten
    ),
    "journal-write-after-send": Plant(
        "orders leave first and are written down afterwards", ("written_first",), door=wire.WrittenAfterSent
    ),
    "kill-switch-forgotten-at-start": Plant(
        "a start releases the kill switch", (*KEPT, "nothing_stopped", "not_killed"), engine.KillForgottenAtStart
    ),
    "kill-switch-ignored-by-entries": Plant(
        "entries go on under the kill switch", ("nothing_stopped", "not_killed"), engine.KillForgotten
    ),
    "kill-switch-ignored-by-hedges": Plant(
        "legs are mended by new orders under the kill switch", ("not_killed",), engine.KillIgnoredByGovernor
    ),
    "late-fill-dropped": Plant("a fill of an order that has ended is dropped", MISSED, engine.LateFillDropped),
    "link-loss-ignored": Plant("books are traded on behind a lost connection", DOUBTED, engine.LinkLossIgnored),
    "partial-fill-counted-as-full": Plant("a partial fill is booked with the order's quantity", BOOKED, engine.PartIsWhole),
    "price-loosened-on-the-wire": Plant(
        "an order leaves one tick worse than it was intended", ("as_intended",), links={"upbit": wire.LooseningUpbit}
    ),
    "rate-of-another-time": Plant(
        "the won's rate passes for fresh while its connection lives", DOUBTED, engine.RateOfAnotherTime
    ),
    "reload-forgets-limits": Plant(
        "a reload says that new limits hold, and the old ones do", ("limits_in_force",), engine.ReloadForgotten
    ),
    "reservation-leaked": Plant("what an ended order held stays reserved", ("nothing_reserved",), engine.ReservationLeaked),
    "retry-under-a-new-id": Plant(
        "an unanswered order is sent again under another id", ("written_first",),
        links={"binance": wire.ResendingBinance, "upbit": wire.ResendingUpbit},
    ),
    "retry-under-the-same-id": Plant(
        "an unanswered order is sent again under its own id", ("placed_once", "as_intended"),
        links={"binance": wire.RepeatingBinance},
    ),
    "rounding-for-us": Plant("fees are computed instead of read, and cut off", BOOKED, engine.RoundingForUs),
    "silence-is-a-refusal": Plant("an order without an answer is taken for refused", MISSED, engine.SilenceIsRefusal),
    "silence-never-asked": Plant("an order without an answer is waited for, and never asked about", STUCK, engine.NeverAsks),
    "snapshot-ahead-of-journal": Plant("a snapshot says that it holds one fact more than it does", KEPT, engine.SnapshotAhead),
    "snapshot-misses-fills": Plant(
        "a snapshot forgets which fills were booked", (*KEPT, "fills_once"), engine.SnapshotWithoutFills
    ),
    "snapshot-misses-reservations": Plant("a snapshot frees every reservation", KEPT, engine.SnapshotWithoutReservations),
    "stale-book-traded": Plant("a book is traded on however old it is", DOUBTED, engine.StaleTraded),
    "validity-ignored": Plant(
        "an order is sent however late it has become", ("valid_still",),
        links={"binance": wire.TimelessBinance, "upbit": wire.TimelessUpbit},
    ),
}  # fmt: skip
"""By name."""


def parts_of(name: str) -> Parts:
    """Return the parts with a plant in them; the real ones for no name."""
    assert name in ("", *PLANTS), "a plant is known by its name"
    if not name:
        return PARTS
    plant = PLANTS[name]
    return Parts(plant.engine, plant.door, {**PARTS.feeds, **plant.feeds}, {**PARTS.links, **plant.links})
