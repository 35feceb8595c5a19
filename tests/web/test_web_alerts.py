"""Alerts on the first screen, on their page, over the API and as metrics: all of one standing, and bounded."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from web_stage import NOW_NS, SECOND_NS, Stage

from arbitrage.ops.alerts.catalog import CATALOG
from arbitrage.ops.alerts.nouns import ActiveAlert, Board, ChannelStanding, EndedAlert, OfficeStanding
from arbitrage.web.api.alert_endpoints import alerts_of
from arbitrage.web.api.exposition import Exposition
from arbitrage.web.callers import Role
from arbitrage.web.counts import Access
from arbitrage.web.screen.alerts import FIRING_SHOWN, FIRST_SHOWN, NOBODY_TOLD, NOT_KNOWN, NOT_TOLD, alerts_picture
from arbitrage.web.screen.runbook import POINTS, read_runbook, sections_of

KILLED = ActiveAlert(
    "kill_switch", "kill_switch", "critical", "the kill switch is on", "by kim", NOW_NS - 90 * SECOND_NS, 1,
    NOW_NS - 90 * SECOND_NS,
)  # fmt: skip
FLAPPING = ActiveAlert(
    "clock/upbit", "clock", "warning", "clocks differ", "+1200 ms", NOW_NS - 5 * SECOND_NS, 4, NOW_NS - 4 * SECOND_NS
)
HELD = ActiveAlert(
    "redis_away", "redis_away", "warning", "Redis is away", "x", NOW_NS - SECOND_NS, 1, None, NOW_NS + 59 * SECOND_NS
)
OVER = EndedAlert(
    "no_book/upbit", "no_book", "warning", "no usable book", "x", NOW_NS - 90 * SECOND_NS, NOW_NS - 30 * SECOND_NS, 2
)
OPS = ChannelStanding("ops", "webhook", 0, 7, 2, 0, tokens=3, burst=5, per_minute=10, sent_ns=NOW_NS - SECOND_NS)


def standing(*channels: ChannelStanding, **board: Any) -> OfficeStanding:
    return OfficeStanding(Board(**board), channels, 120)


def changed(channel: ChannelStanding, **fields: Any) -> ChannelStanding:
    return msgspec.structs.replace(channel, **fields)


def test_the_first_screen_says_what_is_on_and_who_is_told() -> None:
    stage = Stage()
    assert f"none on; {NOBODY_TOLD}" in stage.text("/", role=Role.VIEWER)
    stage.office = standing(OPS, firing=(KILLED, FLAPPING))
    text = stage.text("/", role=Role.VIEWER)
    for words in ("1 critical, 1 warning; told by ops", "the kill switch is on", "clocks differ (4 times)"):
        assert words in text
    assert 'href="/alerts"' in text and "alert kill_switch" in text and "by kim" in text
    stage.office = None
    assert "not judged in this house" in stage.text("/")
    page = stage.text("/alerts")
    assert "Nothing hurts" not in page and NOT_KNOWN in page and NOT_TOLD in page, "what is not known is not claimed"


def test_the_strip_is_short_and_says_how_many_more_there_are() -> None:
    many = tuple(msgspec.structs.replace(FLAPPING, key=f"clock/{number}") for number in range(FIRING_SHOWN + 2))
    drawn = alerts_picture(standing(firing=many), NOW_NS)
    assert len(drawn.first) == FIRST_SHOWN and drawn.more == f"and {len(many) - FIRST_SHOWN} more"
    assert len(drawn.firing) == FIRING_SHOWN and drawn.notes == ("2 more are on; the API has all of them",)
    assert len(alerts_of(standing(firing=many), NOW_NS).firing) == len(many)


def test_the_page_has_what_is_held_back_what_is_over_and_every_channel() -> None:
    stage = Stage()
    beating = changed(OPS, heartbeat_ns=60 * SECOND_NS, beat_ns=NOW_NS - 10 * SECOND_NS)
    stage.office = standing(beating, firing=(KILLED,), pending=(HELD,), over=(OVER,))
    text = stage.text("/alerts", role=Role.VIEWER)
    for words in ("in 59 s, if it lasts", "no_book/upbit", "alert no_book", "3 of 5", "10 s ago, every 60 s", "90 s ago"):
        assert words in text, words
    assert "Nothing hurts now" in Stage().text("/alerts") and 'data-src="/live"' in text


def test_an_alert_that_did_not_arrive_says_by_which_channel() -> None:
    stuck = changed(OPS, name="mail", trouble="not reached", waiting=1, keys_waiting=("kill_switch",), failing_since_ns=NOW_NS)
    drawn = alerts_picture(standing(OPS, stuck, firing=(KILLED, FLAPPING)), NOW_NS)
    assert [row.told.text for row in drawn.firing] == ["not yet by mail", "4 s ago"]
    assert drawn.summary.text.endswith("mail does not take messages") and drawn.summary.tone == "bad"
    assert [(row.state.text, row.waiting.tone) for row in drawn.channels] == [("well", ""), ("fails", "warn")]
    told = alerts_of(standing(OPS, stuck, firing=(KILLED,)), NOW_NS)
    assert told.firing[0].waiting_at == ("mail",) and told.channels[1].is_failing and told.channels[1].trouble == "not reached"
    assert alerts_picture(standing(firing=(KILLED,)), NOW_NS).firing[0].told.text == "nobody"


def test_a_channel_says_its_quiet_hours_its_last_fault_and_a_sign_of_life_that_is_late() -> None:
    mended = changed(OPS, fault_last="no answer in time", failed_ns=NOW_NS - 5 * SECOND_NS)
    late = changed(OPS, heartbeat_ns=SECOND_NS, beat_ns=NOW_NS - 4 * SECOND_NS, is_quiet=True, dropped=1)
    fresh = changed(OPS, heartbeat_ns=SECOND_NS, sent_ns=None)
    first, second, third = alerts_picture(standing(mended, late, fresh), NOW_NS).channels
    assert "last failed 5 s ago: no answer in time" in first.detail and first.beat.text == "none is sent"
    assert second.state.text == "quiet" and second.beat.tone == "bad" and second.lost.tone == "bad"
    assert third.beat.text == "none yet, every 1 s" and third.last == "never"


def test_what_is_wrong_with_the_alerts_themselves_is_said() -> None:
    broken = OfficeStanding(spool_faults=2, events_lost=1_000, faults=3)
    notes = alerts_picture(broken, NOW_NS).notes
    assert len(notes) == 3 and "1,000 events" in notes[1] and "3 faults" in notes[2]


def test_the_api_tells_every_alert_with_its_times_and_where_to_look() -> None:
    told = alerts_of(standing(OPS, firing=(KILLED,), pending=(HELD,), over=(OVER,)), NOW_NS)
    line, held, over = told.firing[0], told.pending[0], told.over[0]
    assert told.is_told and told.spool_bytes == 120
    assert (line.runbook, line.due) == ("docs/RUNBOOK.md#alert-kill_switch", None) and line.told is not None
    assert held.told is None and held.due is not None and held.due.ns == HELD.due_ns
    assert over.ended.ns - over.since.ns == 60 * SECOND_NS and over.count == 2
    assert told.channels[0].last_sent is not None and told.channels[0].last_failed is None and told.channels[0].tokens == 3
    assert alerts_of(None, NOW_NS).is_told is False


def test_every_alert_has_its_page_of_the_runbook_and_each_link_leads_to_one() -> None:
    stage, known = Stage(), read_runbook()
    assert set(CATALOG) <= set(known)
    for rule, section in known.items():
        answer = stage.ask(f"/runbook/{rule}", role=Role.VIEWER)
        assert answer.status_code == 200
        assert [point.title for point in section.points] == list(POINTS.values()), rule
        pieces = [*section.aside, *(piece for point in section.points for piece in point.pieces)]
        left = [piece.text for piece in pieces if piece.kind != "code" and re.search(r"[`*\]|]|\]\(|^\|", piece.text)]
        assert not left, f"{rule}: Markdown that is not understood: {left}"
        assert {piece.rule for piece in pieces if piece.kind == "link"} <= set(known)
    assert "what was cancelled, and what both venues answered" in stage.text("/runbook/kill_switch")
    assert '<a href="/runbook/feed_down">feed_down</a>' in stage.text("/runbook/budget_fast")
    assert stage.ask("/runbook/none").status_code == 404
    stage.office = standing(OPS, firing=(KILLED,), over=(OVER,))
    assert 'href="/runbook/kill_switch"' in stage.text("/") and 'href="/runbook/no_book"' in stage.text("/alerts")


def test_a_text_of_sections_is_taken_apart_and_what_is_none_is_left() -> None:
    first = "### alert a\n\nIn Prometheus: `A`.\n\n- **means**: see [b](#alert-b),\n  [c](C.md#c) `x y`\n\n"
    found = sections_of(f"# x\n{first}## other\nno\n### alert b\n")
    assert set(found) == {"a", "b"} and found["b"].points == ()
    (point,) = found["a"].points
    assert [(piece.text, piece.kind, piece.rule) for piece in point.pieces] == [
        ("see ", "", ""), ("b", "link", "b"), (", ", "", ""), ("c (docs/C.md)", "", ""), (" ", "", ""), ("x y", "code", ""),
    ]  # fmt: skip
    assert [piece.text for piece in found["a"].aside] == ["In Prometheus: ", "A", "."]


def rows(stage: Stage) -> dict[str, float]:
    """Read the metrics of alerts and of the guard."""
    page = Exposition(stage.ports)
    families = [*page._alerts(), *page._access()]
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value for family in families for sample in family.samples
    }


def test_metrics_count_alerts_channels_and_who_was_turned_away() -> None:
    stage = Stage()
    beating = changed(OPS, heartbeat_ns=60 * SECOND_NS, beat_ns=NOW_NS, trouble="x", waiting=4)
    stage.office = msgspec.structs.replace(standing(beating, firing=(KILLED, FLAPPING), pending=(HELD,)), spool_faults=1)
    stage.ports.access = lambda: Access(2, {"scope_missing": 5}, 7, 8, 9)
    seen = rows(stage)
    wanted = {
        "arbitrage_alerts_firing['critical']": 1, "arbitrage_alerts_firing['warning']": 1, "arbitrage_alerts_firing['info']": 0,
        "arbitrage_alerts_pending[]": 1, "arbitrage_alert_messages_sent_total['ops']": 7,
        "arbitrage_alert_messages_failed_total['ops']": 2, "arbitrage_alert_notes_waiting['ops']": 4,
        "arbitrage_alert_channel_failing['ops']": 1, "arbitrage_alert_heartbeat_timestamp_seconds['ops']": NOW_NS / 1e9,
        "arbitrage_alert_heartbeat_interval_seconds['ops']": 60, "arbitrage_alert_spool_failing[]": 1,
        "arbitrage_alert_spool_bytes[]": 120, "arbitrage_alert_tokens['ops']": 3, "arbitrage_sessions[]": 2,
        "arbitrage_requests_refused_total['scope_missing']": 5, "arbitrage_requests_rate_limited_total[]": 7,
        "arbitrage_sign_ins_held_total['failures']": 8, "arbitrage_sign_ins_held_total['rate']": 9,
    }  # fmt: skip
    assert wanted.items() <= seen.items()
    stage.office = None
    assert rows(stage)["arbitrage_alerts_firing['critical']"] == 0
