"""An outbox: bounded, grouped, paced and retried; what is critical goes at once, and nothing is lost without being counted."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from arbitrage.ops.alerts.bucket import MINUTE_NS, Bucket
from arbitrage.ops.alerts.nouns import Note, Severity
from arbitrage.ops.alerts.outbox import AGE_NS_MAX, BATCH_MAX, Batch, Limits, Outbox, Waiting
from arbitrage.ops.alerts.quiet import QuietHours, ZoneUnknown

S = 1_000_000_000
LIMITS = Limits(severity_min="info", per_minute=10, burst=5, group_ns=3 * S, waiting_max=50)


def note(key: str = "k", severity: Severity = "warning", at_ns: int = 0) -> Note:
    return Note(key, key, severity, "firing", "title", "text", at_ns, at_ns)


def outbox(limits: Limits = LIMITS) -> Outbox:
    return Outbox(limits, 0)


def keys(batch: Batch | None) -> list[str]:
    return [each.key for each in batch.notes] if batch is not None else []


def test_what_is_not_critical_waits_for_company_and_goes_as_one() -> None:
    box = outbox()
    box.put(note("a"), 0)
    box.put(note("b"), S)
    assert box.take(2 * S, is_quiet=False) is None
    assert keys(box.take(3 * S, is_quiet=False)) == ["a", "b"]


def test_what_is_critical_goes_at_once_and_first_and_takes_the_others_along() -> None:
    box = outbox()
    box.put(note("a"), 0)
    box.put(note("b", "critical"), 1)
    assert keys(box.take(1, is_quiet=False)) == ["b", "a"]


def test_one_message_at_a_time_and_of_bounded_length() -> None:
    box = outbox()
    for number in range(30):
        box.put(note(str(number), "critical"), 0)
    assert len(keys(box.take(0, is_quiet=False))) == BATCH_MAX
    assert box.take(0, is_quiet=False) is None, "one is under way"
    box.sent()
    assert len(keys(box.take(0, is_quiet=False))) == 10


def test_in_quiet_hours_only_what_is_critical_goes() -> None:
    box = outbox()
    box.put(note("a"), 0)
    box.put(note("b", "critical"), 0)
    assert keys(box.take(10 * S, is_quiet=True)) == ["b"]
    box.sent()
    assert box.take(10_000 * S, is_quiet=True) is None and box.due_ns(0, is_quiet=True) is None
    assert keys(box.take(10_000 * S, is_quiet=False)) == ["a"]


def test_the_last_token_is_kept_for_what_is_critical() -> None:
    box = outbox()
    for number in range(4):
        box.put(note(str(number)), number * S // 10)
        assert box.take(3 * S + number * S // 10, is_quiet=False) is not None
        box.sent()
    box.put(note("later"), 4 * S)
    assert box.take(7 * S, is_quiet=False) is None, "the bucket is at its last"
    box.put(note("naked", "critical"), 7 * S)
    assert keys(box.take(7 * S, is_quiet=False)) == ["naked", "later"]


def test_a_note_of_the_same_alert_takes_the_place_of_the_one_that_waits() -> None:
    box = outbox()
    box.put(note("a", at_ns=1), 0)
    box.put(note("a", at_ns=2), 2 * S)
    batch = box.take(3 * S, is_quiet=False)
    assert batch is not None and [each.at_ns for each in batch.notes] == [2], "and keeps its place in time"


def test_what_failed_is_tried_again_with_growing_pauses_and_a_success_forgets_them() -> None:
    box, now_ns, pauses = outbox(Limits(per_minute=1_000, burst=50, group_ns=0)), 0, []
    box.put(note("a", "critical"), 0)
    for _ in range(12):
        due_ns = box.due_ns(now_ns, is_quiet=False)
        assert due_ns is not None
        pauses.append(due_ns // S)
        now_ns += due_ns
        assert keys(box.take(now_ns, is_quiet=False)) == ["a"]
        box.failed(now_ns)
    assert pauses == [0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert keys(box.take(now_ns + 300 * S, is_quiet=False)) == ["a"]
    box.sent()
    box.put(note("b", "critical"), now_ns + 301 * S)
    assert box.due_ns(now_ns + 301 * S, is_quiet=False) == 0


def test_something_new_and_critical_tries_a_failing_channel_again_within_a_second() -> None:
    box = outbox(Limits(per_minute=1_000, burst=50, group_ns=0))
    box.put(note("a", "critical"), 0)
    for now_ns in (0, S, 3 * S, 7 * S):
        assert box.take(now_ns, is_quiet=False) is not None
        box.failed(now_ns)
    box.put(note("b", "critical"), 7 * S + 1)
    assert box.due_ns(7 * S + 1, is_quiet=False) == S - 1
    assert keys(box.take(8 * S, is_quiet=False)) == ["a", "b"]


def test_a_channel_that_asked_for_patience_gets_it_within_a_bound() -> None:
    box = outbox()
    box.put(note("a", "critical"), 0)
    box.take(0, is_quiet=False)
    box.failed(0, 30 * S)
    box.put(note("b", "critical"), 1)
    assert box.due_ns(1, is_quiet=False) == 30 * S - 1
    box.take(30 * S, is_quiet=False)
    box.failed(30 * S, 10**6 * S)
    assert box.due_ns(30 * S, is_quiet=False) == 900 * S


def test_the_bound_loses_the_least_severe_and_oldest_and_says_how_many() -> None:
    box = outbox()
    box.put(note("old", "critical"), 0)
    for number in range(60):
        box.put(note(str(number)), number)
    assert len(box.waiting) == 50 and box.dropped == 11
    batch = box.take(10 * S, is_quiet=False)
    assert batch is not None and batch.dropped == 11 and batch.notes[0].key == "old"
    box.sent()
    assert box.dropped == 0, "it was told"


def test_what_waited_a_day_is_worth_nothing() -> None:
    box = outbox()
    box.put(note("a"), 0)
    assert box.take(AGE_NS_MAX, is_quiet=False) is None
    assert box.dropped == 1 and box.waiting == ()


def test_a_channel_gets_nothing_below_what_it_wants() -> None:
    box = Outbox(Limits(severity_min="critical"), 0)
    assert not box.put(note("a", "warning"), 0) and box.put(note("b", "critical"), 0)
    assert [each.note.key for each in box.waiting] == ["b"]


def test_what_waited_at_a_stop_goes_after_the_start() -> None:
    box = Outbox(LIMITS, 100, (Waiting(note("a", "critical"), 10**20),), dropped=3)
    batch = box.take(100, is_quiet=False)
    assert keys(batch) == ["a"] and batch is not None and batch.dropped == 3


def test_a_bucket_gives_so_many_at_once_and_so_many_a_minute() -> None:
    bucket, taken = Bucket(6, 3, 0), []
    for now_ns in range(0, 2 * MINUTE_NS, S):
        while bucket.free_ns(now_ns) == 0:
            shown = bucket.tokens(now_ns)
            bucket.take(now_ns)
            taken.append(now_ns // S)
            assert bucket.tokens(now_ns) == shown - 1
        assert bucket.tokens(now_ns) == 0 and bucket.tokens(now_ns + 20 * S) in (2, 3), "looking takes nothing"
    assert taken == [0, 0, 0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110]


def test_quiet_hours_follow_the_zone_over_midnight_and_its_summer_time() -> None:
    night = QuietHours("22:00", "07:00", "Asia/Seoul")
    at = 1_750_000_000  # 2025-06-15 15:06:40 UTC, 00:06 in Seoul
    assert night.holds(at * S) and not night.holds((at + 7 * 3_600) * S) and night.holds((at - 3_600) * S)
    berlin = QuietHours("22:00", "07:00", "Europe/Berlin")
    six_utc_in_june, six_utc_in_january = 1_750_140_000, 1_768_543_200
    assert not berlin.holds(six_utc_in_june * S) and not berlin.holds(six_utc_in_january * S)
    assert berlin.holds((six_utc_in_january - 60) * S), "05:59 UTC is 06:59 in winter"
    assert not QuietHours("08:00", "08:00", "UTC").holds(0)
    try:
        QuietHours("08:00", "09:00", "Mars/Olympus")
    except ZoneUnknown as unknown:
        assert "Mars/Olympus" in str(unknown)
    else:
        raise AssertionError("a zone that does not exist was taken")


class Post(RuleBasedStateMachine):
    """A channel that fails as it likes: what is put is delivered, replaced, counted as lost, or still there."""

    @initialize()
    def begin(self) -> None:
        self.box, self.now_ns, self.serial = outbox(), 0, 0
        self.accepted: dict[str, int] = {}
        self.under_way: Batch | None = None
        self.taken_ns: list[int] = []
        self.told_dropped = 0

    @rule(key=st.integers(0, 80), severity=st.sampled_from(["info", "warning", "critical"]))
    def put(self, key: int, severity: Severity) -> None:
        self.serial += 1
        self.box.put(note(str(key), severity, self.serial), self.now_ns)
        self.accepted[str(key)] = self.serial

    @rule(seconds=st.integers(0, 400))
    def wait(self, seconds: int) -> None:
        self.now_ns += seconds * S

    @rule(is_quiet=st.booleans())
    @precondition(lambda self: self.under_way is None)
    def take(self, is_quiet: bool) -> None:
        due_ns = self.box.due_ns(self.now_ns, is_quiet=is_quiet)
        batch = self.box.take(self.now_ns, is_quiet=is_quiet)
        assert (batch is not None) <= (due_ns == 0)
        if batch is not None:
            assert 0 < len(batch.notes) <= BATCH_MAX
            assert not is_quiet or all(each.severity == "critical" for each in batch.notes)
            self.taken_ns = [at_ns for at_ns in self.taken_ns if at_ns > self.now_ns - MINUTE_NS] + [self.now_ns]
            assert len(self.taken_ns) <= LIMITS.per_minute + LIMITS.burst, "the bucket holds"
            self.under_way = batch

    @rule()
    @precondition(lambda self: self.under_way is not None)
    def arrive(self) -> None:
        self.box.sent()
        assert self.under_way is not None
        for each in self.under_way.notes:
            if self.accepted.get(each.key) == each.at_ns:
                del self.accepted[each.key]
        self.told_dropped += self.under_way.dropped
        self.under_way = None

    @rule(wait_s=st.sampled_from([0, 0, 5, 5_000]))
    @precondition(lambda self: self.under_way is not None)
    def fail(self, wait_s: int) -> None:
        self.box.failed(self.now_ns, wait_s * S)
        self.under_way = None

    @invariant()
    def nothing_is_lost_uncounted(self) -> None:
        there = {each.note.key: each.note.at_ns for each in self.box.waiting}
        lost = [key for key, serial in self.accepted.items() if there.get(key, -1) < serial]
        assert len(lost) <= self.box.dropped + self.told_dropped
        waiting = [each.note.key for each in self.box.waiting]
        assert len(waiting) <= LIMITS.waiting_max + BATCH_MAX


TestPost = Post.TestCase
TestPost.settings = settings(max_examples=60, stateful_step_count=50, deadline=None)
