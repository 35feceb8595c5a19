"""Every page, asked as the application asks: what it shows, what it says while the database is away, and what forms do."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from web_stage import (
    BINANCE,
    CYCLE,
    NOW_NS,
    PROJECT,
    REPORT,
    SECOND_NS,
    UPBIT,
    USDT,
    Stage,
    fill,
    order,
    outcome,
    spread,
    view,
)

from arbitrage.model.accounts import KillReceipt
from arbitrage.model.instruments import Node
from arbitrage.model.money import E8
from arbitrage.model.orders import PlanId
from arbitrage.ops.bank_rates import BankRate
from arbitrage.ops.config import Change, Reload
from arbitrage.ops.hops import HOPS
from arbitrage.store.cycle_names import spent_nodes
from arbitrage.store.ledger_nouns import Missed, Money
from arbitrage.web.api.drills import DRILLS
from arbitrage.web.api.signing_endpoints import SENTENCES
from arbitrage.web.callers import Role
from arbitrage.web.ports import DrillRun, LimitUse
from arbitrage.web.screen.live import TOPIC
from arbitrage.web.screen.overview import pair_key
from arbitrage.web.screen.premium_history import COINS_MAX
from arbitrage.web.screen.quality import round_trip_ms, venue_qualities
from arbitrage.web.screen.render import PLOTTER

VENDOR = PROJECT / "arbitrage" / "web" / "screen" / "vendor"
VOID = {"meta", "link", "input", "img", "br", "hr"}
OF_THE_DATABASE = ("/edge", "/opportunities", "/opportunities/o-1", "/money")
PAGES = (
    *OF_THE_DATABASE, "/", "/alerts", "/spreads", "/inventory", "/latency", "/orders", "/reports", "/configuration", "/audit",
    "/login", "/setup", "/drills", "/configuration/history", "/runbook/kill_switch",
)  # fmt: skip


THEN, NOW = "0" * 15 + "1", "0" * 15 + "2"
"""Versions of a configuration."""


class Outline(HTMLParser):
    """Checks that elements nest, and gathers what a strict policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.refused: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        if tag not in VOID:
            self.open.append(tag)
        self.refused += [f"{tag} {name}" for name in named if name == "style" or name.startswith("on")]
        self.refused += [tag] if tag == "style" or (tag == "script" and not named.get("src")) else []
        self.addresses += [str(named[name]) for name in ("href", "src", "action") if named.get(name)]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open = self.open[:-1] if tag not in VOID else self.open

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"


def outlined(text: str) -> Outline:
    found = Outline()
    found.feed(text)
    assert not found.open, found.open
    return found


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_well_formed_and_asks_only_its_own_host(path: str) -> None:
    found = outlined(Stage().text(path))
    assert not found.refused, "nothing inline: the policy refuses it"
    assert found.addresses and all(address.startswith(("/", "#")) for address in found.addresses)


@pytest.mark.parametrize("path", OF_THE_DATABASE)
def test_a_page_says_that_the_database_is_away_and_the_first_screen_goes_on(path: str) -> None:
    stage = Stage()
    stage.ledger.is_away = True
    answer = stage.ask(path)
    assert answer.status_code == 503 and b"does not answer" in bytes(answer.body)
    for page in ("/", "/alerts", "/spreads", "/inventory", "/latency", "/configuration", "/drills"):
        assert stage.ask(page).status_code == 200


@pytest.mark.parametrize(
    ("path", "reads"),
    [
        ("/orders", ("orders", "recent", "fills")), ("/reports", ("reports", "receipts")), ("/audit", ("audit",)),
        ("/configuration/history", ("configurations", "configuration")),
    ],
)  # fmt: skip
def test_a_page_of_records_says_so_whichever_read_fails(path: str, reads: Sequence[str]) -> None:
    for read in reads:
        stage = Stage()
        stage.records.versions = {THEN: {"risk": {"profit_min": "0.1"}}}
        stage.records.away = {read}
        assert stage.ask(path).status_code == 503
    assert Stage().ask(path).status_code == 200


def test_what_people_and_venues_wrote_is_shown_as_text() -> None:
    nasty = "<script>alert(1)</script>"
    stage = Stage(view(not_armed_because=(nasty,), spreads=(spread(locked=nasty),)))
    stage.paused = nasty
    for text in (stage.text("/"), stage.text("/audit", text=nasty), stage.text("/configuration", text=nasty)):
        assert nasty not in text and "&lt;script&gt;" in text
    assert nasty not in stage.text("/", said=nasty) and "alert(1)" not in Stage().text("/", said=nasty)


def test_links_are_those_that_a_role_may_follow_and_buttons_those_it_may_press() -> None:
    stage = Stage()
    seen = {role: stage.text("/", role=role) for role in Role}
    assert [seen[role].count('<a href="/') for role in Role] == sorted(seen[role].count('<a href="/') for role in Role)
    for role, text in seen.items():
        assert ('action="/actions/kill"' in text) == (role >= Role.OPERATOR)
        assert ('href="/users"' in text) == (role is Role.ADMIN)
        assert 'value="csrf-of-kim"' in text
    table = {endpoint.path: endpoint for endpoint in stage.table.endpoints if endpoint.method == "GET"}
    for role, text in seen.items():
        for path in re.findall(r"<nav.*?</nav>", text, re.S)[0].split('href="')[1:]:
            needed = table[path.split('"')[0]].role
            assert needed is not None and needed <= role, path


@pytest.mark.parametrize("word", ["kill", "release", "pause", "resume", "accept"])
def test_a_button_gives_one_command_with_its_reason_and_goes_back(word: str) -> None:
    stage = Stage()
    answer = stage.ask(f"/actions/{word}", form={"reason": "  because " + "x" * 300})
    assert (answer.status_code, answer.headers["location"]) == (303, f"/?said={word}")
    assert stage.given[0][:2] == (word, "kim") and str(stage.given[0][-1]).startswith("because xxx") and len(stage.given) == 1
    assert len(str(stage.given[0][-1])) == 200
    stage.done = False
    assert stage.ask(f"/actions/{word}", form={}).headers["location"] == f"/?said=not-{word}"
    assert stage.given[-1][-1] == "no reason given"
    endpoint = stage.table.find("POST", f"/actions/{word}").endpoint
    assert (
        endpoint is not None and endpoint.is_write and endpoint.role is Role.OPERATOR and endpoint.is_urgent == (word == "kill")
    )


def test_the_page_says_what_was_done() -> None:
    stage = Stage()
    assert "nothing new is entered" in stage.text("/", said="pause")
    stage.paused, stage.killed = "by kim: lunch", ""
    assert 'href="/x"' not in stage.text("/", said="/x") and "PAUSED" in stage.text("/")


def test_the_door_shows_reasons_by_their_code_alone_and_all_of_them() -> None:
    stage = Stage()
    for code, words in SENTENCES.items():
        assert words.partition("'")[0] in stage.text("/login", role=None, error=code, next="/orders"), code
    assert "gibberish" not in stage.text("/login", role=None, error="gibberish")
    assert 'value="abc"' in stage.text("/setup", role=None, token="abc") and "does not count" in stage.text("/setup", role=None)
    assert "<nav" not in stage.text("/login", role=None)


def test_files_are_kept_for_ever_under_their_version_and_not_under_another() -> None:
    stage = Stage()
    version = re.findall(r"/static/(\w+)/style.css", stage.text("/"))[0]
    good, other = stage.ask(f"/static/{version}/bind.js"), stage.ask("/static/old/bind.js")
    assert "immutable" in good.headers["cache-control"] and other.headers["cache-control"] == "no-cache"
    assert good.body == other.body and good.media_type == "text/javascript"
    assert stage.ask(f"/static/{version}/passwd").status_code == 404


def test_opportunities_are_asked_as_filtered_and_pages_follow() -> None:
    stage = Stage()
    text = stage.text("/opportunities", taken="no", pair="BTC", since="24h")
    question = stage.ledger.asked[-1]
    assert (
        "pair busy" in text and "cursor=next" in text and "is_taken=False" in repr(question) and "pair='BTC'" in repr(question)
    )
    assert f"since_ns={stage.now_ns() - 86_400 * SECOND_NS}" in repr(question)
    assert stage.ask("/opportunities", cursor="bad").status_code == 400


def test_a_story_tells_waterfall_orders_fills_decisions_and_what_it_would_have_paid_later() -> None:
    text = Stage().text("/opportunities/o-1")
    for words in (
        "top of book",
        "c-1",
        "2 at 99",
        "after 40.0 ms",
        "reverse: costs 1 USDT",
        "hold: too dear",
        "-1 USDT",
        "stale market",
    ):
        assert words in text, words
    assert Stage().ask("/opportunities/unknown").status_code == 404
    assert Stage().ask("/opportunities/p/1").status_code == 200, "ids may hold slashes"


def test_long_lists_lead_to_older_ones() -> None:
    stage = Stage()
    assert 'rel="next"' not in stage.text("/orders") + stage.text("/audit")
    stage.records.count = 500
    assert 'rel="next"' in stage.text("/orders", state="filled") and 'rel="next"' in stage.text("/audit", actor="kim")


@pytest.mark.parametrize(
    ("form", "given"),
    [
        ({"key": "risk.profit_min", "value": "0.2", "reason": "r"}, ("put", {"risk.profit_min": "0.2"}, "r")),
        ({"key": "risk.open_plans_max", "value": "3", "reason": "r"}, ("put", {"risk.open_plans_max": 3}, "r")),
        ({"key": "risk.open_plans_max", "value": "x y"}, ("put", {"risk.open_plans_max": "x y"}, "")),
        ({"key": "risk.profit_min", "back": "1"}, ("reset", ("risk.profit_min",))),
    ],
)
def test_a_key_is_set_as_what_it_holds_or_taken_back(form: dict[str, str], given: tuple[object, ...]) -> None:
    stage = Stage()
    answer = stage.ask("/configuration/set", form=form)
    assert stage.given == [given] and answer.headers["location"].endswith("said=set")
    stage.change = Reload((Change("a", "1", "2"),), ("store.data_dir",))
    assert stage.ask("/configuration/set", form=form).headers["location"].endswith("said=needs-restart")
    stage.change = ("risk.profit_min: no number",)
    refused = stage.ask("/configuration/set", form=form)
    assert refused.status_code == 422 and b"no number" in bytes(refused.body)


def test_reports_tell_what_a_start_found_and_what_a_kill_proved_also_where_no_record_is_kept() -> None:
    stage = Stage()
    text = stage.text("/reports")
    assert all(words in text for words in ("not armed", "1 difference at upbit", "p-9", "by kim", "foreign orders"))
    stage.records.count, stage.report = 0, msgspec.structs.replace(REPORT, not_armed_because=(), left_plans=(PlanId("p-8"),))
    assert "p-8" in stage.text("/reports") and ">armed<" in stage.text("/reports")


def test_secrets_are_not_shown_and_origins_are() -> None:
    text = Stage().text("/configuration", text="store")
    assert "store.postgres_password" in text and "(not set)" in text and "store.journal_bytes_max" in text and "default" in text
    assert "Set over the files" not in Stage().text("/configuration", role=Role.ANALYST)


def test_the_picture_is_drawn_for_those_who_follow_and_the_ledger_is_read_for_those_who_look() -> None:
    stage = Stage()
    stage.limits_in_use = (LimitUse("drawdown_max", "", "1", "2", "USDT", 500_000),)
    live = stage.dashboard.live

    async def watched() -> list[bytes]:
        follower = stage.events.follow((TOPIC,), "", "kim")
        assert follower is not None
        live.overview()
        running = asyncio.create_task(live.run())
        pictures = [await anext(follower.taken())]
        await live.refresh()
        running.cancel()
        return pictures

    (picture,) = asyncio.run(watched())
    assert picture.startswith(b"event: overview\ndata: {") and b'"ARMED"' in picture
    found = live.overview()
    assert [row.name for row in found.money] == ["top of book", "fees", "realised"] and found.money_note == "a note"
    assert found.round_trip == "40 ms" and (found.pairs[0].life.text, found.pairs[0].life.tone) == ("20 ms", "bad")
    stage.ledger.is_away = True
    asyncio.run(live.refresh())
    assert live.overview().money == found.money, "older figures stay"
    assert "does not answer" in live.overview().money_note


def test_a_stream_is_given_while_there_is_room() -> None:
    stage = Stage()
    assert stage.ask("/live").media_type == "text/event-stream"
    assert stage.ask("/live").status_code == 503, "one caller takes half of the places at most"


def test_the_receipt_of_a_kill_stands_beside_its_proof() -> None:
    stage = Stage(view(outcomes=(outcome(state="missed", realised_e8=0),)))
    stage.receipt = KillReceipt(stage.now_ns(), "kim", "drill", proven_at_ns=stage.now_ns())
    receipt = stage.dashboard.live.overview().kill.receipt
    assert "exercise at" in receipt and "last kill by kim" in receipt


def test_venues_are_told_by_what_they_filled() -> None:
    orders = (
        order(),
        order(client_order_id="c-2", filled_quantity="0"),
        order(client_order_id="c-3", venue="upbit", side="sell"),
    )
    fills = (fill(), fill(client_order_id="c-3", venue="upbit", price="101", is_maker=True))
    binance, upbit = venue_qualities(orders, fills)
    assert (binance.orders, binance.filled, binance.better_bps, binance.to_fill, binance.maker) == (
        "2",
        "50.0 %",
        "100.00",
        "40 ms",
        "0 %",
    )
    assert (upbit.better_bps, upbit.maker) == ("100.00", "100 %")
    assert venue_qualities((order(),), ())[0].better_bps == "–" and venue_qualities((), ()) == ()
    assert round_trip_ms(orders, fills) == 40 and round_trip_ms(orders, ()) is None


def test_hops_are_told_by_venue_with_bounds_that_are_never_too_short_and_nothing_is_told_of_nothing() -> None:
    stage = Stage()
    assert stage.text("/latency").count("No sample since the start.") == 2 * len(HOPS)
    hops = stage.measured.hops
    for us in [*[900] * 98, 7_001, 12_000_001]:
        hops.add("exchange_to_receive", us, "upbit")
    hops.add("receive_to_decision", 10)
    text = stage.text("/latency")
    assert text.count("No sample since the start.") == 4 and text.count("<svg") == 3
    row = re.findall(r"<tr>.*?exchange → receive.*?</tr>", text)
    assert len(row) == 2 and all(words in row[1] for words in ("upbit", ">100<", "≤ 1.00 ms", "≤ 10 ms", "12,001 ms"))
    assert "≤ 0.01 ms" in text, "a bucket's bound is not told where the worst is less"
    assert "over 10 s: 1" in text
    assert "40 ms" in text, "our own round trip stands beside"
    stage.records.away = {"fills"}
    assert "Not known now: PostgreSQL does not answer." in stage.text("/latency")
    stage.records.away = {"recent"}
    assert "Not known now" in stage.text("/latency") and "12,001 ms" in stage.text("/latency")


def test_every_drill_has_a_button_and_says_when_it_was_last_proven() -> None:
    stage = Stage()
    text = stage.text("/drills", role=Role.OPERATOR)
    assert text.count("never here") == text.count('value="csrf-of-kim"') - 1 == len(DRILLS) + 1
    assert all(f'action="/drills/{name}"' in text for name, _ in DRILLS)
    held, nasty = "every balance is the ledger's", "<b>why</b>"
    stage.runs = {
        "gap": DrillRun("passed", stage.now_ns(), stage.now_ns(), "session:kim@::1", held, ("shortened",), stage.now_ns()),
        "ban": DrillRun("not_run", stage.now_ns(), stage.now_ns(), "", nasty * 400, (), stage.now_ns()),
    }
    text = stage.text("/drills", role=Role.OPERATOR)
    assert "session:kim@::1" in text and "ledger&#39;s" in text and "shortened" in text and nasty not in text
    assert "http-equiv" not in text and text.count("never here") == len(DRILLS) - 1
    stage.runs, stage.refusal = {"gap": DrillRun("running", stage.now_ns())}, "gap is running; one at a time"
    text = stage.text("/drills", role=Role.OPERATOR)
    assert 'http-equiv="refresh"' in text and "None can be begun now" in text
    assert re.findall(r'action="/drills/([\w-]+)"', text) == ["kill-exercise"], "that one takes no processors"


@pytest.mark.parametrize(("name", "given"), [("gap", ("drill", "kim", "gap")), ("kill-exercise", ("exercise", "kim"))])
def test_the_button_of_a_drill_begins_it_and_goes_back(name: str, given: tuple[str, ...]) -> None:
    stage = Stage()
    answer = stage.ask(f"/drills/{name}", form={})
    assert (answer.status_code, answer.headers["location"]) == (303, "/drills?said=begun") and stage.given == [given]
    stage.done = False
    assert stage.ask(f"/drills/{name}", form={}).headers["location"] == "/drills?said=not-begun"
    assert "what stands below says why" in stage.text("/drills", said="not-begun")
    assert stage.ask("/drills/no-such", form={}).status_code == 404


def versions() -> dict[str, dict[str, object]]:
    """Two configurations, newest first; the one in force holds what could be taken for markup, and a password."""
    store = {"postgres_password": "hush"}
    newer = {"risk": {"profit_min": "0.5", "open_plans_max": 3}, "strategy": {"reporting_asset": "<b>"}, "store": store}
    return {NOW: newer, THEN: {"risk": {"profit_min": "0.1", "open_plans_max": 3}, "strategy": {"reporting_asset": "USDT"}}}


def test_the_history_tells_who_changed_what_from_what_to_what_and_compares_two() -> None:
    stage = Stage()
    assert "None is kept yet" in stage.text("/configuration/history")
    stage.records.versions = versions()
    text = stage.text("/configuration/history", role=Role.ANALYST)
    assert "risk.profit_min" in text and "&#34;0.1&#34; →" in text and "the first that is known" in text and "kim" in text
    assert "hush" not in text and "<b>" not in text and "open_plans_max" not in text
    assert "rollback" not in text and "csrf" not in text.partition("<main")[2], "an analyst is shown no way back"
    assert f'href="/configuration/rollback?version={THEN}"' in stage.text("/configuration/history")
    text = stage.text("/configuration/history", left=NOW, right=THEN)
    assert text.count("risk.profit_min") == 2 and "They hold the same" not in text
    assert "They hold the same" in stage.text("/configuration/history", left=NOW, right=NOW)
    assert stage.ask("/configuration/history", left="f" * 16).status_code == 404
    assert 'href="/configuration/history"' in stage.text("/configuration")


def test_a_long_history_is_told_in_part_and_then_as_far_as_it_is_kept_for_this() -> None:
    stage = Stage()
    stage.records.versions = {f"{number:016x}": {"risk": {"profit_min": str(number)}} for number in range(130)}
    text = stage.text("/configuration/history")
    assert text.count("Go back…") == 20 and "the first that is known" not in text and "limit=100" in text
    text = stage.text("/configuration/history", limit=100)
    assert text.count("Go back…") == 100 and "limit=" not in text


def test_going_back_shows_what_it_changes_before_its_button_and_says_what_came_of_it() -> None:
    stage = Stage()
    stage.records.versions = {**versions(), NOW: msgspec.to_builtins(stage.configuration.settings)}
    text = stage.text("/configuration/rollback", version=THEN)
    assert "risk.profit_min" in text and f'name="version" value="{THEN}"' in text and 'value="csrf-of-kim"' in text
    assert "Nothing would change" in stage.text("/configuration/rollback", version=NOW)
    assert stage.ask("/configuration/rollback", version="f" * 16).status_code == 404
    form = {"version": THEN, "reason": "worse"}
    assert stage.ask("/configuration/rollback", form=form).headers["location"] == "/configuration?said=back"
    assert stage.given == [("back", stage.records.versions[THEN], "worse")]
    assert "earlier settings are in force" in stage.text("/configuration", said="back")
    stage.change = Reload((), ("store.data_dir",))
    assert stage.ask("/configuration/rollback", form=form).headers["location"].endswith("said=needs-restart")
    stage.change = ("risk.profit_min: no number",)
    assert stage.ask("/configuration/rollback", form=form).status_code == 422
    assert stage.ask("/configuration/rollback", form={"version": "f" * 16}).status_code == 404
    stage.records.away = {"configuration"}
    assert stage.ask("/configuration/rollback", form=form).status_code == 503
    assert stage.ask("/configuration/rollback", version=THEN).status_code == 503
    for method in ("GET", "POST"):
        endpoint = stage.table.find(method, "/configuration/rollback").endpoint
        assert endpoint is not None and endpoint.role is Role.ADMIN


def test_inventory_that_lies_at_one_venue_is_told_with_what_carrying_it_costs() -> None:
    text = Stage().text("/inventory")
    assert "0.50000002 BTC from binance to upbit" in text and "100.0 %" in text
    assert "evenly enough" in Stage(view(balances={})).text("/inventory")


def test_a_transfer_pays_for_itself_by_nothing_but_what_was_refused_for_lack_of_balance() -> None:
    stage = Stage()
    text = stage.text("/inventory")
    assert stage.ledger.asked == [("BTC@upbit", "USDT", stage.now_ns() - 7 * 86_400 * SECOND_NS)]
    assert "In 3 days no opening that spends BTC at upbit was refused" in text and "Pays for itself" not in text
    stage.ledger.short = Missed(9, 4, 0, Money.of(0, "USDT"), stage.now_ns() - 1)
    assert "In 1 day 9 openings" in stage.text("/inventory") and "none of them still paid" in stage.text("/inventory")
    stage.ledger.short = Missed(9, 4, 3, Money.of(40 * E8, "USDT"), stage.now_ns() - 86_400 * SECOND_NS * 3 // 2)
    found = re.findall(r"Pays for itself in (\S+) days at most: it costs (\S+) USDT", stage.text("/inventory"))
    assert len(found) == 1
    days, cost = found[0]
    assert float(days) * 20 >= float(cost.replace(",", "")) > (float(days) - 0.1) * 20, "40 in 2 days, rounded up"
    assert "5 could not be priced and count as nothing" in stage.text("/inventory")
    stage.ledger.is_away = True
    assert "not known now: PostgreSQL does not answer" in stage.text("/inventory")
    bare = Stage(view(spreads=()))
    assert "no best price here values BTC in USDT" in bare.text("/inventory") and bare.ledger.asked == []
    same = Stage(view(balances={Node(BINANCE, USDT): (9 * E8, 0), Node(UPBIT, USDT): (0, 0)}))
    same.text("/inventory")
    assert len(same.ledger.asked) <= 1, "an asset whose transfer has no configured cost is not asked about"


@pytest.mark.parametrize(
    ("name", "spent"),
    [
        (CYCLE, {"USDT@upbit", "KRW@upbit", "BTC@binance"}),
        ("BTC@binance > ETH > ETH@upbit > BTC > BTC@binance", {"BTC@binance", "ETH@upbit"}),
        ("KRW@upbit > ETH > BTC > KRW", {"KRW@upbit", "ETH@upbit", "BTC@upbit"}),
        ("a cycle", set()),
    ],
)
def test_a_cycle_s_name_tells_whose_stock_it_spends(name: str, spent: set[str]) -> None:
    assert spent_nodes(name) == spent


def test_the_premium_is_taken_apart_into_rate_and_own_part() -> None:
    text = Stage().text("/spreads")
    assert "1,415.4929" in text and "1,415.5000" in text and "-0.0005" in text
    assert "taken apart" not in Stage(view(spreads=(spread(fx=()),))).text("/spreads")
    empty = spread(buy=spread().buy.__class__(0, spread().buy.node, "x", spread().buy.quote, 0, E8, 1))
    assert "taken apart" not in Stage(view(spreads=(empty,))).text("/spreads")


def test_the_bank_stands_beside_the_premium_where_it_is_configured_with_its_age_and_what_went_wrong() -> None:
    assert "no bank's rate is configured" in Stage().text("/spreads") and "at the bank" not in Stage().text("/spreads")
    stage = Stage()
    read_ns = NOW_NS - 90 * SECOND_NS
    for rate, said in (
        (BankRate(100 * SECOND_NS, 1_400 * E8, read_ns, ""), "KRW 1,400.0000 for one dollar at the bank, read 90 s ago."),
        (BankRate(100 * SECOND_NS, 1_400 * E8, read_ns, "no answer in time"), "ago; since then: no answer in time."),
        (BankRate(80 * SECOND_NS, 1_400 * E8, read_ns, "x"), "read 90 s ago, which is too old to be used; since then: x."),
        (BankRate(SECOND_NS), "The bank&#39;s rate of KRW is not known: not read yet."),
    ):
        stage.banks = {"KRW": rate}
        text = stage.text("/spreads")
        assert said in text and "configured as a source" not in text
        cells = re.findall(r'data-t="(bank|whole|basis)">([^<]*)<', text)
        known = [("bank", "1,400.0000"), ("whole", "+1.1066"), ("basis", "+1.1071")]
        assert cells == (known if rate.at(NOW_NS) else [(name, "–") for name, _ in known])


def test_the_premium_is_remembered_apart_and_drawn_beside_what_the_bank_says() -> None:
    stage = Stage()
    for second in range(6):
        if second == 2:
            stage.banks = {"KRW": BankRate(10**18, 1_400 * E8, NOW_NS, "")}
        shown = spread(fx=()) if second == 4 else spread()
        stage.dashboard.live.sample(view(at_ns=NOW_NS + (second - 5) * SECOND_NS, spreads=(shown,)))
    key = pair_key(spread())
    parts = json.loads(bytes(stage.ask("/spreads/points", key=key, chart="premium").body))
    assert {line["kind"]: line["values"] for line in parts["lines"]} == {
        "coin": [-5, -5, -5, -5, None, -5],
        "basis": [None, None, 11_071, 11_071, None, 11_071],
        "gross": [None, None, 11_066, 11_066, None, 11_066],
    }
    assert parts["row"]["bank"] == "1,400.0000" and "own part last -0.0005 %" in parts["title"]
    rates = json.loads(bytes(stage.ask("/spreads/points", key=key, chart="rate").body))
    assert (rates["unit"], rates["row"]) == ("rate", None)
    assert [line["values"][-2:] for line in rates["lines"]] == [
        [None, 141_549_292_253], [None, 141_550_000_000], [140_000_000_000, 140_000_000_000],
    ]  # fmt: skip
    for chart in ("premium", "rate"):
        assert stage.ask("/spreads/points", key="no", chart=chart).status_code == 404
    text = stage.text("/spreads", span="10m")
    assert "BTC: parts" in text and "BTC: rates" in text and text.count("<svg class=\"plot\"") == 3


def test_coins_are_bounded_and_what_is_not_remembered_is_said() -> None:
    stage = Stage()
    stage.dashboard.live.sample(view(spreads=tuple(spread(asset=f"C{n}") for n in range(COINS_MAX + 2))))
    assert "2 more are not remembered" in stage.text("/spreads")


def test_the_wheel_holds_every_page_and_file_and_what_npm_installed(tmp_path: Path) -> None:
    project = tmp_path / "project"
    ignored = shutil.ignore_patterns("__pycache__", "node_modules")
    shutil.copytree(PROJECT / "arbitrage", project / "arbitrage", ignore=ignored)
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(PROJECT / name, project)
    uplot = Path("arbitrage/web/screen/vendor/node_modules/uplot")
    installed = {uplot / "LICENSE", *(uplot / "dist" / name for name in PLOTTER)}
    for path in (*installed, uplot / "dist" / "uPlot.esm.js"):
        (project / path).parent.mkdir(parents=True, exist_ok=True)
        (project / path).write_text("as npm leaves it")
    build = ["-c", "import setuptools; setuptools.setup()", "-q", "build", "--build-base", str(tmp_path / "built")]
    environment = {**os.environ, "PYTHONWARNINGS": "ignore"}
    subprocess.run([sys.executable, *build], cwd=project, check=True, capture_output=True, env=environment, timeout=120)
    wanted = {
        path.relative_to(PROJECT)
        for room in ("pages", "static")
        for path in (PROJECT / "arbitrage" / "web" / "screen" / room).iterdir()
    }
    assert len(wanted) > 15
    assert {path for path in wanted | installed if not (tmp_path / "built" / "lib" / path).is_file()} == set()
    assert not list((tmp_path / "built").rglob("*.esm.js")), "what no page asks for is left out"


def test_the_chart_package_is_locked_by_version_and_digest_and_names_no_host() -> None:
    wanted = json.loads((VENDOR / "package.json").read_text())["dependencies"]
    text = (VENDOR / "package-lock.json").read_text()
    packages = json.loads(text)["packages"]
    assert list(wanted) == ["uplot"] and re.fullmatch(r"\d+\.\d+\.\d+", wanted["uplot"]), "one package, one version"
    assert set(packages) == {"", "node_modules/uplot"}
    assert packages["node_modules/uplot"]["version"] == wanted["uplot"]
    assert re.fullmatch(r"sha512-[A-Za-z0-9+/]{86}==", packages["node_modules/uplot"]["integrity"])
    assert "resolved" not in text and "://" not in text


def test_set_up_without_npm_or_its_registry_goes_on_and_says_what_is_shown_instead(tmp_path: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(VENDOR / name, tmp_path)
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in ("cmp", "timeout", "dirname", "cp", "mkdir"):
        (programs / program).symlink_to(str(shutil.which(program)))
    command = ["/bin/sh", str(PROJECT / "scripts" / "chart_package.sh"), str(tmp_path)]
    said = []
    for npm in ("", "#!/bin/sh\nexit 1\n", "#!/bin/sh\nmkdir node_modules\n", "#!/bin/sh\nexit 1\n"):
        if npm:
            (programs / "npm").write_text(npm)
            (programs / "npm").chmod(0o755)
        done = subprocess.run(command, env={"PATH": str(programs)}, capture_output=True, text=True, check=True, timeout=60)
        said.append(done.stdout)
    assert [line.count("\n") for line in said] == [1, 1, 0, 0], "what is installed is not fetched again"
    assert "npm is not installed, so the server draws them" in said[0] and "could not fetch" in said[1]


def test_the_spreads_page_offers_the_plotter_where_it_is_and_draws_the_same_picture_where_not(tmp_path: Path) -> None:
    for name in PLOTTER:
        (tmp_path / name).write_text(name)
    pictures = []
    for folder in (tmp_path, tmp_path / "none"):
        stage = Stage(packaged=folder)
        for second in range(3):
            stage.dashboard.live.sample(view(at_ns=NOW_NS - (2 - second) * SECOND_NS))
        text = stage.text("/spreads", span="10m")
        outlined(text)
        has = folder is tmp_path
        assert ("uPlot.iife.min.js" in text, "data-points=" in text, "<noscript><meta" in text) == (has, has, has)
        version = re.findall(r"/static/(\w+)/style.css", text)[0]
        assert stage.ask(f"/static/{version}/uPlot.min.css").status_code == (200 if has else 404)
        pictures += re.findall(r"<svg class=\"plot\".*?</svg>", text)
        assert "uPlot" not in stage.text("/"), "the first screen stays small"
    assert len(pictures) == 6 and pictures[:3] == pictures[3:]


def test_the_figures_of_a_chart_are_those_of_its_picture_and_an_unknown_pair_has_none() -> None:
    stage = Stage()
    for second in range(4):
        stage.dashboard.live.sample(view(at_ns=NOW_NS - (3 - second) * SECOND_NS, spreads=(spread(net_ppm=second),)))
    key = pair_key(spread())
    found = json.loads(bytes(stage.ask("/spreads/points", key=key).body))
    assert found["lines"][2]["values"] == [0, 1, 2, 3] and found["at_s"][-1] == NOW_NS // SECOND_NS
    between = {"from_s": found["at_s"][1], "until_s": found["at_s"][2]}
    assert json.loads(bytes(stage.ask("/spreads/points", key=key, **between).body))["lines"][2]["values"] == [1, 2]
    assert stage.ask("/spreads/points", key="no").status_code == 404
    stage.ledger.is_away = True
    assert stage.ask("/spreads/points", key=key).status_code == 200, "the picture needs no database"
