"""A bank's rate: taken exactly as it is written, or not at all and with the reason; a source that hangs holds nobody."""

from __future__ import annotations

import asyncio
import gzip
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.model.money import format_e8
from arbitrage.model.settings import BankRateSettings
from arbitrage.ops.bank_rates import RATE_E8_MAX, BankRate, BankRates, Unread, rate_in, read

TIMEOUT_MS, PATIENCE_MS = 200, 10_000
SECOND_NS = 10**9
GOOD = b'[{"code": "FRX.KRWUSD", "a/b": {"~": 1}, "basePrice": 1385.20}]'


class Bank(ThreadingHTTPServer):
    """A local bank that answers by the path that is asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.asked = 0
        super().__init__(("127.0.0.1", 0), Request)

    def source(self, path: str, **more: object) -> BankRateSettings:
        words = {"pointer": "/0/basePrice", "timeout_ms": TIMEOUT_MS, "bytes_max": 500, **more}
        return BankRateSettings(f"http://127.0.0.1:{self.server_address[1]}{path}", **words)  # type: ignore[arg-type]  # by name


class Request(BaseHTTPRequestHandler):
    """One request at the bank."""

    server: Bank

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        self.server.asked += 1
        match self.path:
            case "/good":
                self.answer(200, GOOD)
            case "/redirect":
                self.answer(302, b"", location="/good")
            case "/error":
                self.answer(500, GOOD)
            case "/page":
                self.answer(200, b"<html>1385.20</html>")
            case "/big":
                self.answer(200, b'"' + b"1" * 600 + b'"')
            case "/packed":
                self.answer(200, gzip.compress(GOOD), content_encoding="gzip")
            case "/silent":
                self.server.ended.wait(5)
            case "/heads":
                while not self.server.ended.wait(0.02):
                    self.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
                    self.wfile.flush()
            case "/drip":
                self.answer(200, b"", content_length="400")
                while not self.server.ended.wait(0.02):
                    self.wfile.write(b" ")
                    self.wfile.flush()

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in ({"content_length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture(scope="module")
def bank() -> Iterator[Bank]:
    made = Bank()
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.ended.set()
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/redirect", "status 302"), ("/error", "status 500"), ("/page", "no JSON"), ("/big", "more than 500 bytes"),
        ("/packed", "packed"), ("/silent", "in time"), ("/drip", "in time"),
    ],
)  # fmt: skip
def test_a_wrong_answer_gives_no_rate_but_its_reason(bank: Bank, path: str, why: str) -> None:
    began = time.monotonic()
    with pytest.raises(Unread, match=why) as told:
        read(bank.source(path), time.monotonic_ns)
    assert "127.0.0.1" not in str(told.value), "the address may hold a key"
    assert time.monotonic() - began < 3


def test_a_rate_is_read_exactly_and_an_address_where_nobody_is_gives_none(bank: Bank) -> None:
    assert read(bank.source("/good"), time.monotonic_ns) == 138_520_000_000
    with pytest.raises(Unread, match="not reached"):
        read(BankRateSettings("http://127.0.0.1:1/x", timeout_ms=TIMEOUT_MS), time.monotonic_ns)


@given(st.integers(1, RATE_E8_MAX))
def test_any_decimal_of_eight_places_is_taken_as_it_is_written(rate_e8: int) -> None:
    text = format_e8(rate_e8)
    assert rate_in(f'{{"a": {{"b": [0, {text}]}}}}'.encode(), "/a/b/1") == rate_e8
    assert rate_in(f'"{text}"'.encode(), "") == rate_e8, "some write numbers as text"


@pytest.mark.parametrize(
    ("document", "pointer"),
    [
        (GOOD, "/1/basePrice"), (GOOD, "/0/none"), (GOOD, "/x"), (GOOD, "/0/code"), (GOOD, "/0"), (GOOD, ""), (b"", ""),
        (b"NaN", ""), (b"Infinity", ""), (b"null", ""), (b"true", ""), (b"-1", ""), (b"0", ""), (b"1.123456789", ""),
        (b"1e999999999", ""), (b"1e10", ""), (b'"1,385.20"', ""), (b"[" * 100_000, ""), (b"\xff", ""), (b"[1]", "/-0"),
        (b"9" * 5_000, ""),
    ],
)  # fmt: skip
def test_what_is_no_rate_is_not_made_one(document: bytes, pointer: str) -> None:
    with pytest.raises(Unread):
        rate_in(document, pointer)


def test_a_pointer_reads_escaped_names() -> None:
    assert rate_in(GOOD, "/0/a~1b/~0") == 10**8


def test_a_rate_counts_until_it_is_too_old() -> None:
    rate = BankRate(5 * SECOND_NS, 7, 10 * SECOND_NS, "")
    assert (rate.at(15 * SECOND_NS), rate.at(15 * SECOND_NS + 1), BankRate(5).at(0)) == (7, None, None)


def test_sources_are_followed_apart_and_a_failure_leaves_the_older_rate_with_its_age(bank: Bank) -> None:
    sources = {
        "KRW": bank.source("/good", timeout_ms=PATIENCE_MS),
        "EUR": bank.source("/error", timeout_ms=PATIENCE_MS),
        "JPY": bank.source("/silent"),
    }
    rates = BankRates(sources, time.monotonic_ns)
    assert {rate.problem for rate in rates.known().values()} == {"not read yet"}

    async def look(*assets: str) -> None:
        await asyncio.gather(*(rates.look(asset) for asset in assets))

    asyncio.run(look(*sources))
    krw, eur, jpy = (rates.known()[name] for name in ("KRW", "EUR", "JPY"))
    assert (krw.rate_e8, krw.problem) == (138_520_000_000, "") and krw.read_at_ns is not None
    assert (eur.rate_e8, eur.read_at_ns, eur.problem) == (None, None, "answered with status 500")
    assert jpy.problem == "no answer in time"

    sources["KRW"] = bank.source("/page", timeout_ms=PATIENCE_MS)
    asyncio.run(look("KRW"))
    later = rates.known()["KRW"]
    assert (later.rate_e8, later.read_at_ns, later.problem) == (krw.rate_e8, krw.read_at_ns, "the answer is no JSON")


def test_a_source_is_read_again_and_again_and_one_that_hangs_holds_one_thread(bank: Bank) -> None:
    rates = BankRates({"KRW": bank.source("/good", every_s=1, timeout_ms=PATIENCE_MS)}, time.monotonic_ns)
    asked = bank.asked
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(rates.run(), 1.8))
    assert bank.asked - asked == 2 and rates.known()["KRW"].problem == ""

    hanging = BankRates({"KRW": bank.source("/heads")}, time.monotonic_ns)
    asked = bank.asked
    asyncio.run(hanging.look("KRW"))
    assert hanging.known()["KRW"].problem == "no answer in time" and bank.asked == asked + 1
    asyncio.run(hanging.look("KRW"))
    assert bank.asked == asked + 1, "the first one still waits"
