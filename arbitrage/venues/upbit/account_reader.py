"""Reads the whole of an Upbit account, every balance and every open order, or nothing. Judges neither and changes nothing.

Source: reference upbit 6 (`accounts`: `balance` is the free part; `orders/open`: pages of at most 100).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TypeVar

from arbitrage.model.events import AccountBalance, AccountRead, FaultKind, FeedFault, OpenOrder
from arbitrage.venues.upbit.account_limits import READ
from arbitrage.venues.upbit.orders_wire import ORDERS_PER_PAGE, OrderPicture, OrdersCodec
from arbitrage.venues.upbit.signed_rest import Answered, Ask, SignedRest
from arbitrage.venues.upbit.signing import Pairs
from arbitrage.venues.wiring import VenueContext

PAGES_MAX = 50
READINGS_MAX = 3
ATTEMPTS_MAX = 3
PAUSE_S = 0.5
T = TypeVar("T")


class AccountReader:
    """Balances and open orders."""

    def __init__(self, context: VenueContext, rest: SignedRest, codec: OrdersCodec, counters: Counter[str]) -> None:
        self._context = context
        self._clock = context.wiring.clock
        self._rest = rest
        self._codec = codec
        self._counters = counters
        self._timeout_s = context.settings.request_timeout_ms / 1000

    async def read(self) -> None:
        """Emit one AccountRead; after the last attempt only faults have been."""
        for attempt in range(ATTEMPTS_MAX):
            if attempt:
                await asyncio.sleep(PAUSE_S)
            asked_ns = self._clock()
            balances = await self._balances()
            orders = None if balances is None else await self._open_orders()
            if balances is not None and orders is not None:
                self._context.wiring.sink((AccountRead(self._clock(), asked_ns, self._context.venue, balances, orders),))
                return
        self._counters["account_reads_failed"] += 1

    async def probe(self) -> str:
        """Return "" when the account answers, or why not. Keeps a connection warm besides."""
        outcome = await self._rest.ask(Ask("GET", "/v1/accounts", (), READ, self._timeout_s))
        return "" if isinstance(outcome, Answered) and outcome.is_good else outcome.words

    async def _balances(self) -> tuple[AccountBalance, ...] | None:
        answer = await self._get("/v1/accounts", ())
        return None if answer is None else self._or_fault(self._codec.balances(answer.body, answer.at_ns))

    async def _open_orders(self) -> tuple[OpenOrder, ...] | None:
        """Read all pages. An order that ends between two pages moves others over their edge: more than one is read again."""
        before: set[str] | None = None
        for _ in range(READINGS_MAX):
            pictures = await self._pages()
            if pictures is None:
                return None
            found = {picture.venue_order_id: self._codec.open_order(picture) for picture in pictures}
            if len(pictures) < ORDERS_PER_PAGE or before == set(found):
                return tuple(found.values())
            before = set(found)
        self._fault(f"open orders: no two of {READINGS_MAX} readings agree")
        return None

    async def _pages(self) -> list[OrderPicture] | None:
        pictures: list[OrderPicture] = []
        for page in range(1, PAGES_MAX + 1):
            pairs = [("states[]", "wait"), ("states[]", "watch"), ("page", str(page))]
            pairs += [("limit", str(ORDERS_PER_PAGE)), ("order_by", "asc")]
            answer = await self._get("/v1/orders/open", pairs)
            part = None if answer is None else self._or_fault(self._codec.orders(answer.body, answer.at_ns))
            if part is None:
                return None
            pictures += part
            if len(part) < ORDERS_PER_PAGE:
                return pictures
        self._fault(f"open orders: more than {PAGES_MAX} pages")
        return None

    async def _get(self, path: str, pairs: Pairs) -> Answered | None:
        outcome = await self._rest.ask(Ask("GET", path, pairs, READ, self._timeout_s))
        if isinstance(outcome, Answered) and outcome.is_good:
            return outcome
        self._fault(f"GET {path}: {outcome.words}")
        return None

    def _or_fault(self, read: T | FeedFault) -> T | None:
        if isinstance(read, FeedFault):
            self._context.wiring.sink((read,))
            return None
        return read

    def _fault(self, detail: str) -> None:
        self._context.fault(FaultKind.REQUEST_FAILED, detail)
