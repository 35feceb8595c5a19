"""What hurts in a picture: each rule at its limit and just over it, the error budget, and the words that people read."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.app.alert_command import WORDS
from arbitrage.model.settings import AlertSettings
from arbitrage.ops.alerts.budget import Budget
from arbitrage.ops.alerts.catalog import CATALOG, HEARD
from arbitrage.ops.alerts.nouns import Note, Severity
from arbitrage.ops.alerts.picture import FeedPicture, LossPicture, Picture, ProcessPicture, StoresPicture
from arbitrage.ops.alerts.rules import findings, unexplained
from arbitrage.ops.alerts.wording import House, Message, duration, in_words

S = 1_000_000_000
E8 = 100_000_000
HOUSE = House("production", "live", "main", "trader1")
WELL = Picture(0, (), process=ProcessPicture(kill_proof_age_h=1.0))


def keys(picture: Picture, settings: AlertSettings | None = None) -> list[str]:
    return [found.key for found in findings(picture, settings or AlertSettings(), 1_000)]


def with_stores(**fields: object) -> Picture:
    return msgspec.structs.replace(WELL, stores=msgspec.structs.replace(StoresPicture(), **fields))


def with_process(**fields: object) -> Picture:
    return msgspec.structs.replace(WELL, process=msgspec.structs.replace(WELL.process, **fields))


def with_feed(**fields: object) -> Picture:
    feed = FeedPicture("upbit", is_connected=True, reason="", usable=3, markets=3, clock_offset_ms=1_000)
    return msgspec.structs.replace(WELL, feeds=(msgspec.structs.replace(feed, **fields),))


def with_loss(used: int, limit: int = 100) -> Picture:
    return msgspec.structs.replace(WELL, losses=(LossPicture("today", used * E8, limit * E8, "USDT"),))


@pytest.mark.parametrize(
    ("picture", "found"),
    [
        (WELL, []),
        (msgspec.structs.replace(WELL, not_armed_because=("no instrument rules",)), ["disarmed"]),
        (msgspec.structs.replace(WELL, not_armed_because=("kill switch: by x: y",), kill_reason="by x: y"), ["kill_switch"]),
        (msgspec.structs.replace(WELL, not_armed_because=("paused: by x",), pause_reason="by x"), ["paused"]),
        (msgspec.structs.replace(WELL, not_armed_because=("d",), differences={"d": "d"}), ["difference/d"]),
        (msgspec.structs.replace(WELL, naked={"XRP": "5 left"}), ["naked_leg/XRP"]),
        (msgspec.structs.replace(WELL, pairs_off={"XRP": "too bad"}), ["pair_off/XRP"]),
        (msgspec.structs.replace(WELL, accounts={"upbit": "", "binance": "down"}), ["account_down/binance"]),
        (with_process(kill_proof_age_h=30.0), []),
        (with_process(kill_proof_age_h=30.1), ["kill_unproven"]),
        (with_process(kill_proof_age_h=None, up_s=120), []),
        (with_process(kill_proof_age_h=None, up_s=121), ["kill_unproven"]),
        (with_process(errors_per_minute=60), []),
        (with_process(errors_per_minute=61), ["error_rate"]),
        (with_process(loop_late_ms=100), []),
        (with_process(loop_late_ms=100.5), ["loop_late"]),
        (with_process(troubles={"web": "port taken"}), ["part_down/web"]),
        (with_loss(79), []),
        (with_loss(80), ["loss_near/today"]),
        (with_loss(100), ["loss_limit/today"]),
        (with_feed(), []),
        (with_feed(clock_offset_ms=-1_001), ["clock/upbit"]),
        (with_feed(clock_offset_ms=None, is_connected=False), ["feed_down/upbit"]),
        (with_feed(usable=0), ["no_book/upbit"]),
        (with_feed(usable=0, markets=0), []),
        (with_stores(lease_fault="the lease is lost (x)"), ["lease_lost"]),
        (with_stores(postgres_error="away"), ["database_away"]),
        (with_stores(redis_error="away"), ["redis_away"]),
        (with_stores(is_journal_full=True), ["journal_full"]),
        (with_stores(journal_trouble="disk full"), ["journal_full"]),
        (with_stores(journal_bytes_waiting=50, journal_bytes_max=100), []),
        (with_stores(journal_bytes_waiting=51, journal_bytes_max=100), ["journal_filling"]),
        (with_stores(archive_trouble="stands still"), ["archive_behind"]),
        (with_stores(backup_age_h=50.0), []),
        (with_stores(backup_age_h=50.1), ["backup_old"]),
        (with_stores(snapshot_age_s=301.0), ["snapshot_old"]),
    ],
)  # fmt: skip
def test_each_rule_holds_at_its_limit_and_not_before(picture: Picture, found: list[str]) -> None:
    assert keys(picture) == found


def test_being_disarmed_is_told_only_when_no_other_alert_says_why() -> None:
    reasons = ("upbit XRP: differs", "kill switch: by a: b", "the lease is lost (gone)", "binance: down", "no rules yet")
    picture = msgspec.structs.replace(
        WELL, not_armed_because=reasons, differences={"upbit-XRP": "upbit XRP: differs"}, accounts={"binance": "down"}
    )
    assert unexplained(picture) == ["no rules yet"]


def test_every_finding_and_every_code_is_of_a_rule_that_exists() -> None:
    assert set(HEARD.values()) <= set(CATALOG)
    assert all(CATALOG[rule].is_event for rule in HEARD.values())


def budget_after(bad: list[bool]) -> list[str]:
    budget = Budget()
    for second, is_bad in enumerate(bad):
        budget.note(second * S, is_bad=is_bad)
    return [found.rule for found in budget.findings((len(bad) - 1) * S, 990_000)]


def test_the_budget_burns_when_the_long_and_the_short_window_agree() -> None:
    hour = 3_600
    assert budget_after([False] * hour) == []
    assert budget_after([False] * (hour - 540) + [True] * 540) == ["budget_fast"], "15 % of the last hour, and still bad"
    assert budget_after([True] * 600 + [False] * hour) == [], "long over"
    assert budget_after([False] * (hour - 600) + [True] * 300 + [False] * 300) == ["budget_slow"], "it has stopped"
    slow = ([False] * 13 + [True]) * (6 * hour // 14)
    assert budget_after(slow) == ["budget_slow"], "7 % of six hours"
    assert budget_after([True] * 100) == [], "too little was seen"


def note(state: str = "firing", severity: Severity = "critical", text: str = "5 XRP left", count: int = 1) -> Note:
    return Note("naked_leg/XRP", "naked_leg", severity, state, "a leg is left unhedged", text, 0, 95 * S, count)  # type: ignore[arg-type]  # one of the four words


def test_a_message_says_the_worst_first_and_where_to_look() -> None:
    text = Message("1", "alert", HOUSE, 95 * S, "critical", (note(), note("over", "warning"))).text(4_000)
    assert text.splitlines() == [
        "[CRITICAL] arbitrage production live main on trader1: a leg is left unhedged (naked_leg/XRP) and 1 more",
        "CRITICAL a leg is left unhedged: 5 XRP left (since 1970-01-01 00:00:00 UTC)",
        "OVER (warning) a leg is left unhedged, after 1 min 35 s: 5 XRP left",
        "what to do: docs/RUNBOOK.md, alert naked_leg",
    ]


@pytest.mark.parametrize(
    ("state", "count", "words"),
    [
        ("still", 1, "CRITICAL a leg is left unhedged, for 1 min 35 s: 5 XRP left"),
        ("over", 3, "OVER (critical) a leg is left unhedged, after 1 min 35 s, it came 3 times: 5 XRP left"),
        ("again", 9, "OVER (critical) a leg is left unhedged: 9 times in 1 min 35 s, none since; the last: 5 XRP left"),
    ],
)
def test_each_state_has_its_words(state: str, count: int, words: str) -> None:
    assert in_words(note(state, count=count)) == words


@settings(deadline=None)
@given(st.integers(200, 5_000), st.lists(st.text(max_size=400), min_size=1, max_size=20), st.integers(0, 3))
def test_no_message_is_longer_than_its_channel_takes(length: int, texts: list[str], dropped: int) -> None:
    message = Message("1", "alert", HOUSE, 95 * S, "critical", tuple(note(text=text) for text in texts), dropped)
    assert len(message.text(length)) <= length


def test_what_is_cut_is_said() -> None:
    message = Message("1", "alert", HOUSE, 95 * S, "critical", tuple(note(text="x" * 280) for _ in range(20)))
    assert "… and 17 more" in message.text(1_200)


def test_a_machine_reads_the_same() -> None:
    body = msgspec.json.decode(Message("id1", "alert", HOUSE, 95 * S, "critical", (note(),), 2).json())
    assert body["id"] == "id1" and body["at"] == "1970-01-01T00:01:35.000Z" and body["dropped"] == 2
    assert body["house"] == {"env": "production", "mode": "live", "session": "main", "host": "trader1"}
    (row,) = body["alerts"]
    assert row["key"] == "naked_leg/XRP" and row["state"] == "firing" and row["runbook"] == "docs/RUNBOOK.md#alert-naked_leg"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3_599, "59 min 59 s"), (3_600, "1 h"), (90_061, "1 d 1 h"), (-5, "0 s")],
)
def test_durations_have_two_units_at_most(seconds: int, words: str) -> None:
    assert duration(seconds) == words


def test_a_test_says_that_it_is_one() -> None:
    assert Message("1", "test", HOUSE, 0, "info", words=WORDS).text(400).startswith("[test] arbitrage production live main")
