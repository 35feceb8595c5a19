"""The opportunity ledger in a real PostgreSQL: episodes, waterfalls that sum, pages, stories, profit, a database away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pytest
from kills.sweep import UNDO
from store_servers import fetch
from store_world import BTC, HUGE_E8, MARKETS, UPBIT, USDT, appends, one_of_each, opportunity, refused, ticking_clock

from arbitrage.model.effects import Append
from arbitrage.model.episodes import Episode, EpisodeState, FollowUp
from arbitrage.model.facts import Fact, PlanClosed, PlanOpened
from arbitrage.model.opportunities import Opportunity, Outcome, PlanState, Waterfall
from arbitrage.model.settings import StoreSettings
from arbitrage.model.waterfalls import STEPS
from arbitrage.store import migrations
from arbitrage.store.endpoints import PostgresEndpoint, connect_postgres
from arbitrage.store.ledger_nouns import (
    LINES_MAX,
    Away,
    BadQuestion,
    EpisodePage,
    Missed,
    Money,
    OpportunityPage,
    Profit,
    ProfitQuestion,
    Question,
    Story,
)
from arbitrage.store.ledger_reads import LedgerReads
from arbitrage.store.partitions import DAYS_AHEAD, EPISODE_DAYS_KEPT, PREFIX, drop_days, make_days
from arbitrage.store.rows import Scope
from arbitrage.store.statements import DAY_NS
from arbitrage.store.stores import Extras, Stores

pytestmark = pytest.mark.integration
Query = Callable[..., list[dict[str, Any]]]
Answer = TypeVar("Answer")
SCOPE = Scope("test", "main", MARKETS)
EARLY = ticking_clock(start_ns=200)


def offer(number: int, at_ns: int) -> Opportunity:
    return opportunity(f"{at_ns:x}-{number:x}", at_ns)


def episode(number: int, at_ns: int, **changes: object) -> Episode:
    first, peak = offer(2 * number, at_ns), offer(2 * number + 1, at_ns + 3)
    follow_ups = (FollowUp(50, at_ns + 51_000_000, -7), FollowUp(100, at_ns + 105_000_000, None, "market unusable: x"))
    times = (at_ns, at_ns + 9, at_ns + 9)
    names = (f"e{at_ns:x}-{number:x}", 7, "a cycle", "BTC", USDT, EpisodeState.GONE)
    made = Episode(*names, *times, 4, 1500, first, peak, (), 0, {"paused": 3}, follow_ups)
    return msgspec.structs.replace(made, **changes)


async def _working(settings: StoreSettings, work: Callable[[Stores], None], clock: Callable[[], int]) -> None:
    stores = await Stores.open(settings, "test", "main", clock, extras=Extras(markets=MARKETS))
    task = asyncio.ensure_future(stores.run())
    work(stores)
    assert await stores.writer.drain(10.0), stores.health()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await stores.close()


def working(settings: StoreSettings, work: Callable[[Stores], None], clock: Callable[[], int] = EARLY) -> None:
    asyncio.run(_working(settings, work, clock))


def read(postgres: PostgresEndpoint, ask: Callable[[LedgerReads], Awaitable[Answer]], scope: Scope = SCOPE) -> Answer:
    async def asked() -> Answer:
        reads = LedgerReads(lambda: postgres, scope)
        try:
            return await ask(reads)
        finally:
            await reads.close()

    return asyncio.run(asked())


def plan(tag: str, at_ns: int, realised: int, *, fx: bool = True) -> list[Fact]:
    """Return the facts of a plan that was taken at a time and realised so much."""
    found = opportunity(f"o{tag}", at_ns)
    if not fx:
        found = msgspec.structs.replace(found, fx=())
    steps = Waterfall(100, 10, -5, 2, realised - 100 - 10 + 5 - 2 - 7, realised, 7)
    facts: list[Fact] = list(one_of_each(tag)[1:4])
    opened = facts[0]
    assert isinstance(opened, PlanOpened)
    facts[0] = msgspec.structs.replace(opened, at_ns=at_ns, opportunity=found)
    end = Outcome(opened.plan_id, found.id, PlanState.COMPLETED, USDT, 100, realised, (), at_ns, at_ns + 90, steps)
    return [*facts, PlanClosed(at_ns + 90, end)]


def test_a_later_note_replaces_an_episode_and_an_earlier_one_does_not(
    store_settings: StoreSettings, postgres: PostgresEndpoint
) -> None:
    later = episode(1, 5, state=EpisodeState.OPEN, noted_at_ns=30, looks=9, peak=None, first=None)

    def work(stores: Stores) -> None:
        for each in (episode(1, 5), later, episode(1, 5), episode(2, 5, taken=("a",), taken_count=1)):
            stores.offer_episode(each)

    working(store_settings, work)
    page = read(postgres, lambda reads: reads.episodes(Question()))
    assert isinstance(page, EpisodePage) and page.next_cursor is None
    taken, line = page.lines
    assert (line.looks, line.state, line.net_peak, line.first) == (9, "open", None, None)
    assert (taken.taken, taken.refusals, taken.net_peak) == (("a",), {"paused": 3}, Money(USDT, "0.000001"))
    assert taken.follow_ups[0].looked_ms == 51 and taken.follow_ups[0].net == Money(USDT, "-0.00000007")
    assert taken.follow_ups[1].net is None and taken.follow_ups[1].reason == "market unusable: x"


def test_what_a_dead_process_left_open_is_stopped_by_the_next_start(store_settings: StoreSettings, query: Query) -> None:
    working(store_settings, lambda stores: stores.offer_episode(episode(1, 5, state=EpisodeState.OPEN)))

    async def again() -> None:
        stores = await Stores.open(store_settings, "test", "main", EARLY, extras=Extras(markets=MARKETS))
        assert await stores.writer.drain(10.0)
        await stores.close()

    assert query("SELECT state FROM episodes") == [{"state": "open"}]
    asyncio.run(again())
    assert query("SELECT state FROM episodes") == [{"state": "stopped"}]


def test_days_are_made_ahead_and_dropped_whole_when_they_are_old(
    store_settings: StoreSettings, postgres: PostgresEndpoint, query: Query
) -> None:
    now_ns = time.time_ns()
    today = now_ns // DAY_NS
    days = "SELECT relname FROM pg_class WHERE relname LIKE 'episodes\\_day\\_%' AND relkind = 'r' ORDER BY relname"

    def work(stores: Stores) -> None:
        stores.offer_episode(episode(1, now_ns - 10))
        stores.offer_episode(episode(2, now_ns - 5 * DAY_NS))

    working(store_settings, work, time.time_ns)
    assert [row["relname"] for row in query(days)] == [f"{PREFIX}{today + day}" for day in range(DAYS_AHEAD + 1)]
    assert query(f"SELECT count(*) FROM {PREFIX}{today}") == [{"count": 1}]
    assert query("SELECT count(*) FROM episodes_other") == [{"count": 1}], "no day of its own"

    async def later() -> None:
        connection = await connect_postgres(postgres)
        then_ns = now_ns + (EPISODE_DAYS_KEPT + 1) * DAY_NS
        await make_days(connection, now_ns - (EPISODE_DAYS_KEPT + 9) * DAY_NS)
        await make_days(connection, then_ns)
        await drop_days(connection, then_ns)
        await connection.close()

    asyncio.run(later())
    left = [row["relname"] for row in query(days)]
    assert left[0] == f"{PREFIX}{today + 1}" and f"{PREFIX}{today + EPISODE_DAYS_KEPT + 1 + DAYS_AHEAD}" in left
    assert query("SELECT count(*) FROM episodes") == [{"count": 0}], "both rows are too old then"


def test_a_plan_s_story_has_everything_and_its_waterfall_sums_to_the_fact(
    store_settings: StoreSettings, postgres: PostgresEndpoint
) -> None:
    def work(stores: Stores) -> None:
        stores.append(appends(one_of_each()))
        stores.offer_episode(episode(1, 2, taken=("o1",), taken_count=1))

    working(store_settings, work)
    by_plan, by_id = (read(postgres, lambda reads, name=name: reads.story(name)) for name in ("p1", "o1"))
    assert isinstance(by_plan, Story) and by_plan == by_id
    steps = {step.name: step.money.e8 for step in by_plan.waterfall.steps}
    assert by_plan.waterfall.is_closed and steps["realised"] == -HUGE_E8
    assert sum(step.money.e8 for step in by_plan.waterfall.steps if not step.is_total) == -HUGE_E8
    assert (steps["latency_drift"], steps["fx_drift"], steps["fee_changes"], steps["transfers_unpaid"]) == (-5, 7, 2, 10)
    assert by_plan.plan is not None and by_plan.plan.residuals[0].amount == Money.of(-3, BTC)
    first, second = by_plan.orders
    assert [fill.trade_id for fill in first.fills] == ["t1"] and second.fills == () and second.symbol == "KRW-BTC"
    assert by_plan.decisions[0].alternatives[0].cost == Money.of(12, USDT)
    assert [(leg.venue, leg.symbol, leg.age_ms) for leg in by_plan.legs][2] == (UPBIT, "KRW-USDT", 3)
    assert by_plan.rates[0].symbol == "KRW-USDT" and by_plan.opportunity.pair == "BTC"
    assert by_plan.episode is not None and by_plan.episode.taken == ("o1",)


def test_a_refused_one_that_only_its_episode_keeps_has_a_story_too(
    store_settings: StoreSettings, postgres: PostgresEndpoint
) -> None:
    kept = episode(3, 5)

    def work(stores: Stores) -> None:
        stores.offer_episode(kept)
        stores.offer_judged(refused("sampled"))

    working(store_settings, work)
    assert kept.first is not None and kept.peak is not None
    for name, which in ((kept.id, kept.peak), (kept.first.id, kept.first)):
        story = read(postgres, lambda reads, name=name: reads.story(name))
        assert isinstance(story, Story) and story.opportunity.id == which.id and story.plan is None
        assert not story.waterfall.is_closed and story.waterfall.steps[-1].money.e8 == 100
        assert story.legs[0].symbol == "KRW-BTC" and "paused" in story.opportunity.detail
    sampled = read(postgres, lambda reads: reads.story("sampled"))
    assert isinstance(sampled, Story) and sampled.opportunity.verdict == "below_threshold"
    for name in ("", "x" * 1000, "e5-99", "5-99", "f" * 16 + "-1", "no\x00", "eff-zz", "p1"):
        assert read(postgres, lambda reads, name=name: reads.story(name)) is None


def test_pages_follow_each_other_without_a_gap_or_a_repetition(
    store_settings: StoreSettings, postgres: PostgresEndpoint
) -> None:
    def work(stores: Stores) -> None:
        for number in range(25):
            stores.offer_judged(refused(f"r{number:02d}", 5 + number // 3))
            stores.offer_episode(episode(number, 5 + number // 3))
        stores.append([Append(fact) for fact in plan("1", 8, 50)])

    working(store_settings, work)

    def all_pages(ask: str, question: Question) -> list[str]:
        found: list[str] = []
        while True:
            page = read(postgres, lambda reads, question=question: getattr(reads, ask)(question))
            found += [line.id for line in page.lines]
            if page.next_cursor is None:
                return found
            question = msgspec.structs.replace(question, cursor=page.next_cursor)

    names = all_pages("opportunities", Question(limit=4))
    assert len(names) == len(set(names)) == 26 and names[0] == "r24"
    assert all_pages("opportunities", Question(is_taken=True)) == ["o1"]
    assert len(all_pages("opportunities", Question(is_taken=False, limit=25, pair="BTC"))) == 25
    assert all_pages("opportunities", Question(pair="ETH")) == []
    assert all_pages("opportunities", Question(since_ns=12, until_ns=13)) == ["r23", "r22", "r21"]
    assert len(all_pages("episodes", Question(limit=7))) == 25
    page = read(postgres, lambda reads: reads.opportunities(Question(is_taken=True)))
    assert isinstance(page, OpportunityPage)
    assert (page.lines[0].verdict, page.lines[0].plan_state, page.lines[0].realised) == (
        "taken", "completed", Money.of(50, USDT),
    )  # fmt: skip


@pytest.mark.parametrize(
    "question",
    [
        Question(limit=0),
        Question(limit=LINES_MAX + 1),
        Question(cursor="x"),
        Question(cursor="9" * 19 + "~a"),
        Question(since_ns=-1),
    ],
)
def test_a_question_that_cannot_be_asked_is_refused(postgres: PostgresEndpoint, question: Question) -> None:
    with pytest.raises(BadQuestion):
        read(postgres, lambda reads: reads.opportunities(question))
    with pytest.raises(BadQuestion):
        read(postgres, lambda reads: reads.profit(ProfitQuestion(by="moon")))


def profit(postgres: PostgresEndpoint, **question: Any) -> Profit:
    found = read(postgres, lambda reads: reads.profit(ProfitQuestion(**question)))
    assert isinstance(found, Profit)
    return found


def test_profit_sums_to_the_plans_by_every_group_and_in_won_at_the_stored_rate(
    store_settings: StoreSettings, postgres: PostgresEndpoint
) -> None:
    facts = [
        *plan("1", 8, 50),
        *plan("2", DAY_NS + 8, -30),
        *plan("3", DAY_NS + 9, 7, fx=False),
        *plan("4", 9 * DAY_NS, 1, fx=False),
    ]
    working(store_settings, lambda stores: stores.append([Append(fact) for fact in facts]))
    by_day = profit(postgres)
    assert by_day.currency == USDT
    assert [(line.key, line.plans, line.realised.e8) for line in by_day.lines] == [
        ("1970-01-01", 1, 50), ("1970-01-02", 2, -23), ("1970-01-10", 1, 1),
    ]  # fmt: skip
    assert by_day.total.realised == Money.of(28, USDT) and by_day.total.expected == Money.of(400, USDT)
    assert by_day.notes == () and by_day.total.fees is None, "a fill gave no rate for its fee"
    by_pair = profit(postgres, by="pair").lines
    assert {line.key: line.realised.e8 for line in by_pair} == {"BTC": 28}, "a fiat whose rate was not kept names no pair"
    page = read(postgres, lambda reads: reads.opportunities(Question()))
    assert isinstance(page, OpportunityPage) and {line.pair for line in page.lines} == {"BTC"}
    for pair, count in (("BTC", 4), ("btc", 4), ("KRW/BTC", 2), ("ETH", 0)):
        page = read(postgres, lambda reads, pair=pair: reads.opportunities(Question(pair=pair)))
        assert isinstance(page, OpportunityPage) and len(page.lines) == count, pair
    assert [line.key for line in profit(postgres, by="venue").lines] == ["upbit"] and profit(postgres, by="venue").notes
    components = profit(postgres, by="component")
    assert sum(line.realised.e8 for line in components.lines) == components.total.realised.e8 == 28
    assert {line.key: line.realised.e8 for line in components.lines}["fx_drift"] == 28
    assert profit(postgres, since_ns=DAY_NS, until_ns=2 * DAY_NS).total.realised.e8 == -23

    won = profit(postgres, currency="KRW")
    assert [line.realised.e8 for line in won.lines] == [50 * 1_399, 7 * 1_399 - 30 * 1_400, 0]
    assert won.total.unconverted == (Money.of(1, USDT),), "eight days after the last rate"
    assert len(won.notes) == 2 and won.notes[0].startswith("1 plans are not converted into KRW")
    parts = profit(postgres, by="component", currency="KRW")
    assert sum(line.realised.e8 for line in parts.lines) == parts.total.realised.e8 == won.total.realised.e8
    assert profit(postgres, currency="BTC").total.unconverted == (Money.of(28, USDT),)
    assert profit(postgres, since_ns=DAY_NS * 99).total.plans == 0


def test_a_waterfall_that_does_not_sum_is_refused_by_the_table(
    store_settings: StoreSettings, postgres: PostgresEndpoint
) -> None:
    working(store_settings, lambda stores: stores.append(appends(one_of_each())))
    wrong = "UPDATE plan_waterfalls SET latency_drift_e8 = latency_drift_e8 + 1"
    with pytest.raises(Exception, match="plan_waterfalls_check"):
        asyncio.run(fetch(postgres, wrong))


def test_an_unknown_session_has_nothing_and_a_database_away_is_an_answer(
    store_settings: StoreSettings, postgres: PostgresEndpoint
) -> None:
    missing = read(postgres, lambda reads: reads.episodes(Question()))
    assert isinstance(missing, Away) and "does not exist" in missing.reason, "no tables yet"
    working(store_settings, lambda stores: stores.append(appends(one_of_each())))
    nobody = Scope("test", "nobody", MARKETS)
    assert read(postgres, lambda reads: reads.episodes(Question()), nobody) == EpisodePage((), None)
    assert read(postgres, lambda reads: reads.story("p1"), nobody) is None
    empty = read(postgres, lambda reads: reads.profit(ProfitQuestion()), nobody)
    assert isinstance(empty, Profit) and empty.total.plans == 0
    assert read(postgres, lambda reads: reads.sessions()) == ("main",)
    gone = msgspec.structs.replace(postgres, port=1)
    for ask in ("story", "opportunities", "profit"):
        argument = {"story": "p1", "opportunities": Question(), "profit": ProfitQuestion()}[ask]
        answer = read(gone, lambda reads, ask=ask, argument=argument: getattr(reads, ask)(argument))
        assert isinstance(answer, Away) and gone.password not in answer.reason and "port" not in answer.reason[:4]


def test_a_connection_that_went_stale_is_replaced_and_reads_do_not_write(
    store_settings: StoreSettings, postgres: PostgresEndpoint
) -> None:
    working(store_settings, lambda stores: stores.append(appends(one_of_each())))

    async def asked() -> None:
        reads = LedgerReads(lambda: postgres, SCOPE)
        assert isinstance(await reads.story("p1"), Story)
        await fetch(
            postgres,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE state = 'idle' AND datname = $1",
            postgres.database,
        )
        assert isinstance(await reads.story("p1"), Story)
        answers = await asyncio.gather(*(reads.story("p1") for _ in range(20)))
        assert all(isinstance(answer, Story) for answer in answers)

        async def write(connection: Any) -> str:
            return str(await connection.execute("DELETE FROM plans"))

        refused_write = await reads._pool.ask(write)
        assert isinstance(refused_write, Away) and "read-only" in refused_write.reason
        await reads.close()

    asyncio.run(asked())
    assert asyncio.run(fetch(postgres, "SELECT count(*) FROM plans")) == [{"count": 1}]


def test_untaken_episodes_are_dropped_and_counted_past_the_bound_and_taken_ones_are_not(
    store_settings: StoreSettings, query: Query
) -> None:
    small = msgspec.structs.replace(store_settings, writer_queue_max=10)

    def work(stores: Stores) -> None:
        for number in range(100):
            stores.offer_episode(episode(number, 5 + number))
        for number in range(5):
            stores.offer_episode(episode(number, 500 + number, taken=("a",), taken_count=1))
        assert stores.writer.rows_waiting == 15 and stores.writer.counters.episodes_dropped == 90

    working(small, work)
    assert query("SELECT count(*) FROM episodes") == [{"count": 15}]
    assert query("SELECT count(*) FROM episodes WHERE taken_count > 0") == [{"count": 5}]


def test_what_was_closed_before_has_its_waterfall_and_the_sweep_can_undo_the_tables(
    postgres: PostgresEndpoint, tmp_path: Path, query: Query
) -> None:
    for each in migrations.read_migrations(migrations.migrations_dir())[:5]:
        (tmp_path / each.name).write_text(each.sql)
    asyncio.run(migrations.apply(postgres, tmp_path, tmp_path / "dumps"))
    steps = '{"expected_e8":90,"transfers_e8":10,"prices_e8":-5,"fees_e8":2,"legs_e8":-7,"realised_e8":90}'
    for statement in (
        "INSERT INTO sessions (env, session_id, first_start_ns, last_start_ns, starts) VALUES ('test', 'main', 1, 1, 1)",
        "INSERT INTO opportunities SELECT session, 'o1', 5, 1, 'n', 'v', 'USDT', 1, 2, 'USDT', 9, 9, 200, 50, 50, 10, 90, 1, "
        "'[]', '[]', NULL, '', 'p1' FROM sessions",
        "INSERT INTO plans SELECT session, 'p1', 'o1', 1, 5, 6, 'completed', 'USDT', 90, 90, '[]', 7, "
        f"'{steps}' FROM sessions",
    ):
        asyncio.run(fetch(postgres, statement))
    asyncio.run(migrations.apply(postgres, migrations.migrations_dir(), tmp_path / "dumps"))
    (row,) = query("SELECT * FROM plan_waterfalls")
    assert [int(row[f"{step}_e8"]) for step in STEPS] == [200, -50, -50, 0, -10, 90, 10, -5, 0, 2, -7, 90]
    by_pair = read(postgres, lambda reads: reads.profit(ProfitQuestion(by="pair")))
    assert isinstance(by_pair, Profit) and [(line.key, line.realised.e8) for line in by_pair.lines] == [("earlier", 90)]
    since = [each.name for each in migrations.read_migrations(migrations.migrations_dir())[5:]]
    for name in reversed(since):
        for statement in UNDO[name].split(";"):
            asyncio.run(fetch(postgres, statement))
    report = asyncio.run(migrations.apply(postgres, migrations.migrations_dir(), tmp_path / "dumps"))
    assert list(report.applied) == since and len(query("SELECT * FROM plan_waterfalls")) == 1


def test_what_lack_of_balance_cost_is_told_by_the_worst_delay_of_the_best_opening_of_each_second(
    store_settings: StoreSettings, postgres: PostgresEndpoint
) -> None:
    def answers(*nets: int | None) -> tuple[FollowUp, ...]:
        pairs = zip((50, 100, 250, 500), nets, strict=False)
        return tuple(FollowUp(delay_ms, DAY_NS + 1, net, "unusable" if net is None else "") for delay_ms, net in pairs)

    name = "USDT@upbit > BTC > BTC@binance > USDT > USDT@upbit"
    short: dict[str, Any] = {"name": name, "refusals": {"insufficient_balance": 2}}
    second = 1_000_000_000
    given = [
        episode(1, 5, refusals={"paused": 1}, name=short["name"]),
        episode(2, second, **short, follow_ups=answers(9, 8, 7, 6)),
        episode(3, second + 4, **short, follow_ups=answers(20, 30, 20, 40)),
        episode(4, 3 * second, **short, follow_ups=answers(5, 5, 5, 5)),
        episode(5, 4 * second, **short, follow_ups=answers(50, 50, -1, 50)),
        episode(6, 5 * second, **short, follow_ups=answers(50, None, 50, 50)),
        episode(7, 6 * second, **short, follow_ups=answers(50)),
        episode(8, 7 * second, **short, follow_ups=answers(90, 90, 90, 90), taken=("o1",), taken_count=1),
        episode(9, 8 * second, refusals=short["refusals"], name="ETH@upbit > BTC > ETH", follow_ups=answers(7, 7, 7, 7)),
    ]
    working(store_settings, lambda stores: [stores.offer_episode(each) for each in given])

    def missed(node: str, since_ns: int = 0) -> Missed:
        found = read(postgres, lambda reads: reads.missed(node, USDT, since_ns))
        assert isinstance(found, Missed)
        return found

    assert missed("BTC@binance") == Missed(6, 4, 3, Money.of(25, USDT), 5)
    assert missed("USDT@upbit") == missed("BTC@binance")
    assert missed("KRW@upbit", second + 1) == Missed(0, 0, 0, Money.of(0, USDT), second + 4), "no cycle spends that"
    assert missed("ETH@upbit") == Missed(1, 1, 1, Money.of(7, USDT), 5)
    assert missed("BTC@binance", 2 * second).net == Money.of(5, USDT)
    assert missed("BTC@binance", 60 * second) == Missed(0, 0, 0, Money.of(0, USDT), None)
