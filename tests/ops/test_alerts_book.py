"""The book of alerts: each is told once, held back, counted, repeated and ended as its rule says, whatever comes when."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from arbitrage.ops.alerts.book import ENDED_MAX, EPISODES_MAX, Book, Pace
from arbitrage.ops.alerts.catalog import CATALOG
from arbitrage.ops.alerts.nouns import Board, Finding, Note, Rule, Topic

S = 1_000_000_000
RULES = {
    "now": Rule("now", "critical", "at once", Topic.TRADING),
    "held": Rule("held", "warning", "after 10 s", Topic.FEEDS, hold_ms=10_000),
    "event": Rule("event", "critical", "an event", Topic.PROCESS, is_event=True),
}
PACE = Pace(clear_ns=30 * S, repeat_ns=3_600 * S, quiet_ns=60 * S)


def book(now_ns: int = 0) -> Book:
    return Book(RULES, PACE, (), now_ns)


def states(notes: list[Note]) -> list[tuple[str, str]]:
    return [(note.key, note.state) for note in notes]


def test_a_condition_is_told_once_and_its_end_once() -> None:
    it = book()
    assert states(it.look([Finding("now", "x")], 0)) == [("now", "firing")]
    assert [it.look([Finding("now", "x")], t * S) for t in range(1, 20)] == [[]] * 19
    assert [it.look([], t * S) for t in range(20, 49)] == [[]] * 29
    assert states(it.look([], 49 * S)) == [("now", "over")]
    assert it.look([], 50 * S) == [] and it.active() == ()


def test_a_condition_that_flaps_is_one_alert_and_its_end_says_how_often_it_came() -> None:
    it = book()
    notes = [note for t in range(100) for note in it.look([Finding("now", "x")] if t % 10 < 3 else [], t * S)]
    assert states(notes) == [("now", "firing")]
    (over,) = it.look([], 140 * S)
    assert (over.state, over.count) == ("over", 10)


def test_what_does_not_last_its_hold_is_never_told() -> None:
    it = book()
    found = [Finding("held", "x", "upbit")]
    assert it.look(found, 0) == [] and it.look(found, 9 * S) == [] and it.look([], 9 * S + 1) == []
    assert it.look(found, 12 * S) == [] and it.look(found, 21 * S) == []
    assert states(it.look(found, 22 * S)) == [("held/upbit", "firing")]


def test_what_lasts_is_told_again_at_its_pace() -> None:
    it = book()
    told = [note.state for t in range(0, 7_300, 10) for note in it.look([Finding("now", "x")], t * S)]
    assert told == ["firing", "still", "still"]


def test_ten_thousand_equal_events_are_one_message_and_one_summary() -> None:
    it = book()
    told = [note for n in range(10_000) for note in it.hear(Finding("event", f"number {n}"), n * S // 10_000)]
    assert states(told) == [("event", "firing")] and told[0].text == "number 0"
    assert [it.look([], t * S) for t in range(1, 60)] == [[]] * 59
    (summary,) = it.look([], 61 * S)
    assert (summary.state, summary.count, summary.text) == ("again", 10_000, "number 9999")
    assert it.look([], 200 * S) == []


def test_events_that_were_counted_together_are_counted_alike() -> None:
    it = book()
    assert states(it.hear(Finding("event", "x"), 0, count=10_000)) == [("event", "firing")]
    assert it.look([], 60 * S)[0].count == 10_000


def test_a_single_event_needs_no_summary() -> None:
    it = book()
    assert len(it.hear(Finding("event", "x"), 0)) == 1
    assert it.look([], 61 * S) == [] and it.active() == ()


def test_an_event_that_turns_out_to_last_is_one_alert() -> None:
    it = book()
    assert states(it.hear(Finding("now", "heard"), 0)) == [("now", "firing")]
    assert [it.look([Finding("now", "seen")], t * S) for t in range(1, 5)] == [[]] * 4
    assert states(it.look([], 40 * S)) == [("now", "over")]


def test_a_restart_tells_nothing_twice_and_ends_what_ended_meanwhile() -> None:
    it = book()
    it.look([Finding("now", "a", "1"), Finding("now", "b", "2"), Finding("held", "c")], 0)
    again = Book(RULES, PACE, it.episodes, 500 * S)
    assert {each.finding.key for each in it.episodes} == {"now/1", "now/2"}, "what was not told is found anew"
    assert again.look([Finding("now", "a", "1")], 500 * S) == []
    assert states(again.look([Finding("now", "a", "1")], 531 * S)) == [("now/2", "over")]
    assert [each.key for each in again.active()] == ["now/1"]


def test_a_clock_that_went_back_between_two_runs_holds_no_alert_back() -> None:
    it = book(10_000 * S)
    it.look([Finding("now", "x")], 10_000 * S)
    again = Book(RULES, PACE, it.episodes, 5 * S)
    assert states(again.look([Finding("now", "x")], 3_605 * S)) == [("now", "still")]


def test_a_rule_that_is_gone_from_the_catalog_is_forgotten() -> None:
    it = book()
    it.look([Finding("now", "x")], 0)
    assert Book({"held": RULES["held"]}, PACE, it.episodes, S).active() == ()


def test_the_worst_and_oldest_comes_first() -> None:
    it = book()
    it.look([Finding("held", "x")], 0)
    it.look([Finding("held", "x"), Finding("now", "y", "b")], 11 * S)
    it.look([Finding("held", "x"), Finding("now", "y", "b"), Finding("now", "y", "a")], 12 * S)
    assert [each.key for each in it.active()] == ["now/b", "now/a", "held"]


def test_keys_are_bounded_and_what_is_beyond_is_one_alert() -> None:
    it = book()
    many = [Finding("now", "x", str(number)) for number in range(EPISODES_MAX + 300)]
    notes = it.look(many, 0)
    assert len(notes) == len(it.active()) == EPISODES_MAX + 1
    assert notes[-1].key == "now/others"


class Life(RuleBasedStateMachine):
    """Findings come and go as they like; a person reads only the notes."""

    @initialize()
    def begin(self) -> None:
        self.book, self.now_ns = book(), 0
        self.on: dict[str, Note] = {}
        self.present: set[str] = set()

    def read(self, notes: list[Note]) -> None:
        for note in notes:
            if note.state == "firing":
                assert note.key not in self.on, "nothing begins twice"
                self.on[note.key] = note
            elif note.state == "still":
                assert note.key in self.on, "what lasts has begun"
            else:
                assert note.key in self.on, "what ends has begun"
                assert note.began_ns == self.on.pop(note.key).began_ns

    @rule(
        keys=st.sets(st.tuples(st.sampled_from(["now", "held"]), st.sampled_from(["", "a", "b"]))),
        seconds=st.integers(0, 100),
    )
    def look(self, keys: set[tuple[str, str]], seconds: int) -> None:
        self.now_ns += seconds * S
        found = [Finding(name, "x", subject) for name, subject in sorted(keys)]
        self.present = {each.key for each in found}
        self.read(self.book.look(found, self.now_ns))

    @rule(count=st.integers(1, 5), subject=st.sampled_from(["", "a"]))
    def hear(self, count: int, subject: str) -> None:
        self.read(self.book.hear(Finding("event", "x", subject), self.now_ns, count))

    @rule(seconds=st.integers(0, 5_000))
    def restart(self, seconds: int) -> None:
        self.now_ns += seconds * S
        self.book = Book(RULES, PACE, self.book.episodes, self.now_ns)

    @invariant()
    def the_book_and_the_reader_agree(self) -> None:
        silent = {each.key for each in self.book.active() if each.rule == "event" and each.count == 1}
        shown = {each.key for each in self.book.active()}
        assert shown <= set(self.on), "what is on was told"
        # An event that came once ends without a word.
        gone = {key for key in set(self.on) - shown if not key.startswith("event")}
        assert not gone, gone
        self.on = {key: note for key, note in self.on.items() if key in shown or key in silent}


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(st.lists(st.booleans(), min_size=1, max_size=300))
@settings(max_examples=100, deadline=None)
def test_begins_and_ends_alternate_whatever_flaps(seen: list[bool]) -> None:
    it = book()
    notes = [note.state for t, is_on in enumerate(seen) for note in it.look([Finding("now", "x")] if is_on else [], t * S)]
    assert notes == ["firing", "over"] * (len(notes) // 2) + ["firing"] * (len(notes) % 2)


def test_every_rule_has_its_own_name_and_words() -> None:
    assert all(name == each.name and each.title for name, each in CATALOG.items())
    assert len({each.title for each in CATALOG.values()}) == len(CATALOG)


def test_the_board_shows_what_is_held_back_what_is_on_and_what_is_over() -> None:
    it = book()
    it.look([Finding("held", "x", "upbit"), Finding("now", "y")], 0)
    board = it.board()
    assert [(each.key, each.told_ns, each.due_ns) for each in board.pending] == [("held/upbit", None, 10 * S)]
    assert [(each.key, each.told_ns, each.due_ns) for each in board.firing] == [("now", 0, 0)] and board.over == ()
    it.look([Finding("held", "x", "upbit")], 10 * S)
    assert [each.key for each in it.board().firing] == ["now", "held/upbit"] and it.board().pending == ()
    it.look([Finding("held", "z", "upbit")], 31 * S)
    assert [(each.key, each.began_ns, each.ended_ns, each.text) for each in it.board().over] == [("now", 0, 0, "y")]
    it.hear(Finding("event", "again"), 40 * S, count=3)
    it.look([], 101 * S)
    assert [(each.key, each.ended_ns, each.count) for each in it.board().over] == [
        ("event", 40 * S, 3), ("held/upbit", 31 * S, 1), ("now", 0, 1),
    ]  # fmt: skip
    assert it.board().firing == ()


def test_what_is_over_is_remembered_within_its_bound_and_mere_news_and_what_was_never_told_are_not() -> None:
    it = Book(CATALOG, PACE, (), 0)
    it.hear(Finding("started", "epoch 1"), 0)
    it.look([Finding("feed_down", "x", "upbit")], 0)
    it.look([], S)
    it.look([], 100 * S)
    assert it.board() == Board()
    for number in range(ENDED_MAX + 5):
        it.hear(Finding("broken", "x", f"part {number}"), 200 * S)
    it.look([], 300 * S)
    assert len(it.board().over) == ENDED_MAX and it.board().over[0].key == f"broken/part {ENDED_MAX + 4}"
