"""What a bank asks for a dollar, read now and then from where the configuration says, for people to look at. Decides nothing.

Each read has a thread of its own that trading never waits for, and is bounded in time and bytes. A rate is taken exactly as
it is written or not at all: what cannot be read stays unknown, with the reason and the age of what was known before.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

import httpx
import msgspec

from arbitrage.model.money import E8, format_e8, parse_e8
from arbitrage.model.settings import BankRateSettings

RATE_E8_MAX = 10**9 * E8
LATE_S = 1.0
"""Beyond its own time limit a read is waited for no longer than this."""
SECOND_NS, MS_NS, MS_S = 10**9, 10**6, 1_000


class Unread(Exception):
    """A read that gave no rate. One line: why. Holds neither the address, which may hold a key, nor what was answered."""


class BankRate(msgspec.Struct, frozen=True):
    """What is known of one asset's rate: its units for one dollar."""

    age_ns_max: int
    rate_e8: int | None = None
    """As last read, however old."""
    read_at_ns: int | None = None
    problem: str = "not read yet"
    """Why the newest try gave none; empty where it did."""

    def at(self, now_ns: int) -> int | None:
        """Return the rate while it is not too old."""
        is_known = self.read_at_ns is not None and now_ns - self.read_at_ns <= self.age_ns_max
        return self.rate_e8 if is_known else None


class BankRates:
    """Every configured source. `run` is a task of the surface."""

    def __init__(self, sources: Mapping[str, BankRateSettings], clock: Callable[[], int]) -> None:
        self._sources = sources
        self._clock = clock
        self._reading: dict[str, threading.Thread] = {}
        self._known = {asset: BankRate(source.age_s_max * SECOND_NS) for asset, source in sources.items()}

    def known(self) -> Mapping[str, BankRate]:
        """Return what is known, by asset."""
        return self._known

    async def run(self) -> None:
        """Read every source as often as it is to be, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for asset, source in self._sources.items():
                group.create_task(self._follow(asset, source.every_s), name=f"bank rate {asset}")

    async def look(self, asset: str) -> None:
        """Read one source now; while an earlier read of it hangs, not: each has one thread at most."""
        source, reading = self._sources[asset], self._reading.get(asset)
        if reading is not None and reading.is_alive():
            return
        self._reading[asset], answer = self._read_apart(source)
        try:
            async with asyncio.timeout(source.timeout_ms / MS_S + LATE_S):
                found = await answer
        except TimeoutError:
            found = "no answer in time"
        self._note(asset, found)

    async def _follow(self, asset: str, every_s: int) -> None:
        while True:
            await self.look(asset)
            await asyncio.sleep(every_s)

    def _note(self, asset: str, found: int | str) -> None:
        before = self._known[asset]
        if isinstance(found, str):
            self._known[asset] = msgspec.structs.replace(before, problem=found)
        else:
            self._known[asset] = BankRate(before.age_ns_max, found, self._clock(), "")

    def _read_apart(self, source: BankRateSettings) -> tuple[threading.Thread, asyncio.Future[int | str]]:
        """Read in a thread that ends with the process; what comes of it is a rate or the reason why there is none."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[int | str] = loop.create_future()

        def give(found: int | str) -> None:
            if not answer.done():
                answer.set_result(found)

        def work() -> None:
            found: int | str
            try:
                found = read(source, self._clock)
            except Unread as reason:
                found = str(reason)
            with contextlib.suppress(RuntimeError):  # the loop ended meanwhile
                loop.call_soon_threadsafe(give, found)

        thread = threading.Thread(target=work, name="bank rate", daemon=True)
        thread.start()
        return thread, answer


def read(source: BankRateSettings, clock: Callable[[], int]) -> int:
    """Ask a source and return its rate. Raises Unread."""
    try:
        with httpx.Client(trust_env=False, timeout=source.timeout_ms / MS_S, follow_redirects=False) as client:
            return rate_in(_answer(client, source, clock), source.pointer)
    except httpx.TimeoutException:
        raise Unread("no answer in time") from None
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError) as error:
        raise Unread(f"not reached ({type(error).__name__})") from None


def _answer(client: httpx.Client, source: BankRateSettings, clock: Callable[[], int]) -> bytes:
    """Return the whole answer within its bounds; one that comes in drips has the same time as any other."""
    late_ns = clock() + source.timeout_ms * MS_NS
    with client.stream("GET", source.url, headers={"accept": "application/json", "accept-encoding": "identity"}) as response:
        if response.status_code != 200:
            raise Unread(f"answered with status {response.status_code}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Unread("answered packed, which was not asked for")
        answer = b""
        for piece in response.iter_raw():
            answer += piece
            if len(answer) > source.bytes_max:
                raise Unread(f"the answer has more than {source.bytes_max} bytes")
            if clock() > late_ns:
                raise Unread("no answer in time")
    return answer


class _Number(str):
    """A number of a JSON document, as it was written."""


def rate_in(document: bytes, pointer: str) -> int:
    """Return the number at a JSON pointer (RFC 6901), exactly as it is written there. Raises Unread."""
    try:
        found: Any = json.loads(document, parse_float=_Number, parse_int=_Number, parse_constant=lambda word: None)
    except (ValueError, RecursionError):
        raise Unread("the answer is no JSON") from None
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isascii() and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            raise Unread("the answer has nothing at the pointer")
    if not isinstance(found, str):
        raise Unread("what the pointer leads to is no number")
    try:
        rate_e8 = parse_e8(found)
    except ValueError:
        raise Unread("what the pointer leads to is no number of at most 8 decimals") from None
    if not 0 < rate_e8 <= RATE_E8_MAX:
        raise Unread(f"the rate is not between 0 and {format_e8(RATE_E8_MAX)}")
    return rate_e8
