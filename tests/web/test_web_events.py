"""Events: nobody is waited for, nothing is missed that the ring still has, and who is too slow is told so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from hypothesis import given
from hypothesis import strategies as st

from arbitrage.web.events import Events, Follower, wire


def made(*, kept: int = 5, followers: int = 4, queue: int = 3) -> Events:
    return Events(7, kept_max=kept, followers_max=followers, queue_max=queue)


async def read(follower: Follower, count: int) -> list[str]:
    """Take so many chunks."""
    stream: AsyncIterator[bytes] = follower.taken()
    return [(await anext(stream)).decode() for _ in range(count)]


def taken(follower: Follower, count: int) -> list[str]:
    async def work() -> list[str]:
        async with asyncio.timeout(5):
            return await read(follower, count)

    return asyncio.run(work())


def follow(events: Events, topics: str = "happening", last: str = "", who: str = "") -> Follower:
    follower = events.follow(topics.split(","), last, who)
    assert follower is not None
    return follower


def test_an_event_has_the_start_and_its_number_and_one_line_of_data() -> None:
    assert wire("happening", b'{"a":1}', "7-1") == b'id: 7-1\nevent: happening\ndata: {"a":1}\n\n'
    assert wire("status", b"{}") == b"event: status\ndata: {}\n\n"


def test_a_follower_gets_only_its_topics_in_order() -> None:
    events = made()
    follower = follow(events)
    events.publish("happening", b"1")
    events.publish("report", b"2")
    events.publish("happening", b"3")
    assert [text.split("data: ")[1].strip() for text in taken(follower, 2)] == ["1", "3"]


def test_who_is_too_slow_is_told_dropped_and_forgotten_and_the_others_go_on() -> None:
    events = made(queue=3)
    slow, quick = follow(events), follow(events, "report")
    for number in range(5):
        events.publish("happening", str(number).encode())
    assert events.followers == 1 and events.dropped == 1
    assert "event: dropped" in taken(slow, 1)[0]
    events.publish("report", b"r")
    assert "data: r" in taken(quick, 1)[0]


def test_whoever_comes_back_gets_what_it_missed_or_is_told_of_a_gap() -> None:
    events = made(kept=3)
    for number in range(1, 6):
        events.publish("happening", str(number).encode())
    assert [text.split("data: ")[1].strip() for text in taken(follow(events, last="7-3"), 2)] == ["4", "5"]
    assert taken(follow(events, last="7-1"), 2)[0].startswith("event: gap"), "2 is kept no more"
    for unknown in ("6-3", "7-99", "x", "7-", "7-1e9", "7-" + "9" * 30):
        follower = events.follow(["happening"], unknown, unknown)
        assert follower is not None and taken(follower, 1)[0].startswith("event: gap"), unknown
        events.leave(follower)


def test_places_are_bounded_for_all_and_for_one() -> None:
    events = made(followers=4)
    assert events.follow(["happening"], "", "a") and events.follow(["happening"], "", "a")
    assert events.follow(["happening"], "", "a") is None
    first = follow(events, who="b")
    follow(events, who="c")
    assert events.follow(["happening"], "", "d") is None
    events.leave(first)
    assert events.follow(["happening"], "", "d") is not None
    assert events.refused == 2


def test_a_stop_ends_every_stream_and_takes_nobody_in() -> None:
    events = made()
    follower = follow(events)
    events.publish("happening", b"last")
    events.close()
    last, end = taken(follower, 2)
    assert "data: last" in last and "event: closing" in end
    assert events.follow(["happening"], "", "") is None


def test_nothing_is_drawn_that_nobody_follows() -> None:
    events = made()
    assert not events.wanted("spreads")
    follower = follow(events, "spreads")
    assert events.wanted("spreads")
    events.show("spreads", b"[]")
    assert taken(follower, 1) == ["event: spreads\ndata: []\n\n"]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 10))
def test_what_the_ring_has_and_a_gap_together_are_never_silently_less(before: int, seen: int, kept: int) -> None:
    events = made(kept=kept, queue=50)
    for number in range(1, before + 1):
        events.publish("happening", str(number).encode())
    follower = follow(events, last=f"7-{seen}")
    texts = [chunk.decode() for chunk in follower.backlog]
    numbers = [int(text.split("data: ")[1]) for text in texts if text.startswith("id:")]
    is_told = bool(texts) and texts[0].startswith("event: gap")
    assert is_told or numbers == list(range(seen + 1, before + 1))
    assert numbers == sorted(numbers) and len(numbers) <= kept
