import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st

from arbitrage.sim.scenarios.changes import BookChanged, Change
from arbitrage.sim.server.book import BookSide, TruthBook
from arbitrage.sim.server.http import Malformed, Request, Response, encode_response, parse_head, read_request
from arbitrage.sim.server.timeline import WINDOW_NS, Timeline


class Diary:
    """A stage that writes down what it was told."""

    def __init__(self) -> None:
        self.told: list[int | str] = []

    def apply(self, change: Change) -> None:
        self.told.append(change.at_ns)

    def flush(self, index: int) -> None:
        self.told.append(f"window {index}")


def at(*moments: int) -> list[BookChanged]:
    return [BookChanged(moment, "binance", "BTCUSDT", (), ()) for moment in moments]


def test_a_window_closes_before_the_change_of_the_same_moment():
    diary = Diary()
    timeline = Timeline(iter(at(0, WINDOW_NS, WINDOW_NS + 1)), {"binance": diary})
    assert timeline.next_ns() == 0
    assert timeline.advance(WINDOW_NS)
    assert diary.told == [0, "window 1", WINDOW_NS]
    assert timeline.next_ns() == WINDOW_NS + 1


def test_windows_go_on_after_the_last_change():
    diary = Diary()
    assert Timeline(iter(at(5)), {"binance": diary}).advance(3 * WINDOW_NS)
    assert diary.told == [5, "window 1", "window 2", "window 3"]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 5 * WINDOW_NS), max_size=30),
    st.lists(st.integers(0, 6 * WINDOW_NS), max_size=10),
    st.integers(1, 5),
)
def test_late_and_cut_up_steps_tell_the_same_story(moments, stops, limit):
    diaries = Diary(), Diary()
    changes = at(*sorted(moments))
    Timeline(iter(changes), {"binance": diaries[0]}).advance(6 * WINDOW_NS)
    timeline = Timeline(iter(changes), {"binance": diaries[1]})
    for stop in [*sorted(stops), 6 * WINDOW_NS]:
        while not timeline.advance(stop, limit=limit):
            pass
    assert diaries[0].told == diaries[1].told


prices = st.integers(1, 12)


@settings(max_examples=100, deadline=None)
@given(st.booleans(), st.lists(st.tuples(prices, st.integers(0, 3)), max_size=40))
def test_a_book_side_is_a_sorted_map(is_bid, steps):
    side = BookSide(is_bid=is_bid)
    model: dict[int, int] = {}
    for price, quantity in steps:
        assert side.set(price, quantity) == (model.get(price, 0) != quantity)
        model[price] = quantity
        model = {price: quantity for price, quantity in model.items() if quantity}
        expected = sorted(model.items(), reverse=is_bid)
        assert side.levels() == expected and side.levels(2) == expected[:2] and len(side) == len(expected)
        assert side.best() == (expected[0] if expected else (0, 0))


def test_a_cleared_book_is_empty():
    book = TruthBook()
    book.bids.set(1, 1)
    book.asks.set(2, 1)
    book.clear()
    assert book.top() == ((0, 0), (0, 0)) and book.bids.levels() == []


def read(*chunks: bytes) -> tuple[Request, bytes] | Malformed | None:
    async def run() -> tuple[Request, bytes] | Malformed | None:
        reader = asyncio.StreamReader(limit=1000)
        for chunk in chunks:
            reader.feed_data(chunk)
        reader.feed_eof()
        return await read_request(reader)

    return asyncio.run(run())


def test_a_request_is_read_with_query_headers_and_body():
    received = read(b"POST /a%20b?x=1&y=%40 HTTP/1.1\r\nHost: h\r\nContent-", b"Length: 3\r\n\r\nabcrest")
    assert isinstance(received, tuple)
    request, head = received
    assert (request.method, request.path, request.query, request.body) == ("POST", "/a b", [("x", "1"), ("y", "@")], b"abc")
    assert request.headers["host"] == "h" and not request.is_upgrade and head.endswith(b"\r\n\r\n")


def test_what_is_no_request_is_named_by_a_status():
    assert read(b"nonsense\r\n\r\n") == Malformed(400)
    assert read(b"GET / HTTP/1.1\r\nbad header\r\n\r\n") == Malformed(400)
    assert read(b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n") == Malformed(411)
    assert read(b"GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n") == Malformed(413)
    assert read(b"GET / HTTP/1.1\r\nX: " + b"x" * 2000 + b"\r\n\r\n") == Malformed(431)


def test_a_peer_that_goes_away_is_no_request():
    assert read(b"") is None
    assert read(b"GET / HT") is None
    assert read(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab") is None


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_malformed(head):
    assert isinstance(parse_head(head), Request | Malformed)


def test_an_answer_carries_length_date_and_headers():
    written = encode_response(Response(418, b"x", (("A", "b"),)), "today").decode().split("\r\n")
    assert written[0] == "HTTP/1.1 418 I'm a teapot" and written[-1] == "x"
    assert {"Content-Length: 1", "Date: today", "A: b"} <= set(written)
