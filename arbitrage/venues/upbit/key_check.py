"""Finds every reason why an Upbit key must not trade, by asking the venue harmless questions. Moves nothing and places nothing.

Source: reference upbit 3, 6, 9. A key without a right is answered `out_of_scope`. Whether it can withdraw is asked by
cancelling a withdrawal that does not exist: a key that may gets "not found". Any answer but `out_of_scope` counts as able to.
A key ends after a year, and its end is told before it comes.
"""

from __future__ import annotations

from collections.abc import Iterable

from arbitrage.venues.budget import NS_PER_S
from arbitrage.venues.holds import BANNED, RATE_LIMITED
from arbitrage.venues.trading import AccountContext, Unasked
from arbitrage.venues.upbit.account_limits import QUERY, READ, TEST
from arbitrage.venues.upbit.account_wire import read_keys
from arbitrage.venues.upbit.orders_wire import SELF_MATCH
from arbitrage.venues.upbit.signed_rest import KEY_NAMES, Answered, Ask, Method, Outcome, SignedRest
from arbitrage.venues.upbit.signing import Pairs

NO_WITHDRAWAL = "00000000-0000-4000-8000-000000000000"
OUT_OF_SCOPE = "out_of_scope"
CONSENT_MISSING = "thirdparty_agreement_required"
PROBES = {"KRW": ("1000", "10"), "BTC": ("0.000001", "100"), "USDT": ("1", "1")}
"""Price and volume of a small order by quote asset, on every tick and above the minimum."""
DAY_NS = 86_400 * NS_PER_S
LIFE_NS_MIN = DAY_NS
"""A key that ends sooner is not started with: orders of ours would be left behind at a venue that does not know us."""
LIFE_NS_TOLD = 14 * DAY_NS
"""A key lives for a year; so long before its end it is said every hour."""


class KeyCheck:
    """One key's rights."""

    def __init__(self, rest: SignedRest, account: AccountContext) -> None:
        self._rest = rest
        self._account = account
        self._clock = account.context.wiring.clock
        self._timeout_s = account.context.settings.request_timeout_ms / 1000

    async def reasons(self) -> list[str]:
        """Return every reason against trading the account's markets with this key; none is permission."""
        accounts = await self._ask("GET", "/v1/accounts", (), READ)
        if not _is_good(accounts):
            return [_reason(accounts, f"balances cannot be read: {accounts.words}")]
        orders = await self._ask("GET", "/v1/orders/open", (), QUERY)
        found = [] if _is_good(orders) else [_reason(orders, f"open orders cannot be read: {orders.words}")]
        found += await self._listing()
        for symbol in _one_for_each_quote(self._account.markets):
            found += await self._ordering(symbol)
        return found + await self._withdrawing()

    async def warning(self) -> str:
        """Return what somebody must do about the key before long, or nothing."""
        ends_ns = await self._ends_ns()
        if isinstance(ends_ns, str):
            return ends_ns
        left_ns = ends_ns - self._clock()
        return _expiry(left_ns) if left_ns < LIFE_NS_TOLD else ""

    async def _listing(self) -> list[str]:
        ends_ns = await self._ends_ns()
        if isinstance(ends_ns, str):
            return [ends_ns]
        left_ns = ends_ns - self._clock()
        return [_expiry(left_ns)] if left_ns < LIFE_NS_MIN else []

    async def _ends_ns(self) -> int | str:
        """Return when the key ends, or why that is not known."""
        answer = await self._ask("GET", "/v1/api_keys", (), READ)
        ends = read_keys(answer.body) if isinstance(answer, Answered) and answer.is_good else None
        if ends is None:
            return _reason(answer, f"the account's keys cannot be read: {answer.words}")
        return ends.get(self._account.credentials.access_key(), "the account does not list this key")

    async def _ordering(self, symbol: str) -> list[str]:
        """Ask for a small order at the test endpoint: a refusal of the amounts shows that the right is there."""
        price, volume = PROBES[symbol.partition("-")[0]]
        pairs = [("market", symbol), ("side", "bid"), ("ord_type", "limit"), ("price", price), ("volume", volume)]
        pairs += [("time_in_force", "ioc"), ("smp_type", SELF_MATCH)]
        tested = await self._ask("POST", "/v1/orders/test", pairs, TEST)
        is_judged = isinstance(tested, Answered) and tested.name and tested.is_refused
        if _is_good(tested) or (is_judged and not _is_about_the_key(tested)):
            return []
        return [_reason(tested, f"{symbol} cannot be ordered: {tested.words}")]

    async def _withdrawing(self) -> list[str]:
        answer = await self._ask("DELETE", "/v1/withdraws/coin", [("uuid", NO_WITHDRAWAL)], QUERY)
        if isinstance(answer, Answered) and answer.name == OUT_OF_SCOPE:
            return []
        words = f"the key may be able to withdraw: asked to, the venue did not say out_of_scope but {answer.words}"
        return [_reason(answer, words)]

    async def _ask(self, method: Method, path: str, pairs: Pairs, group: str) -> Outcome:
        return await self._rest.ask(Ask(method, path, pairs, group, self._timeout_s, is_probe=True))


def _one_for_each_quote(symbols: Iterable[str]) -> list[str]:
    """Return one symbol for each quote asset: markets in BTC and USDT need a consent of their own."""
    return list({symbol.partition("-")[0]: symbol for symbol in symbols if symbol.partition("-")[0] in PROBES}.values())


def _expiry(left_ns: int) -> str:
    return f"the key expires in {max(0, left_ns) / DAY_NS:.1f} days: make a new one"


def _reason(outcome: Outcome, text: str) -> str:
    """Return a reason: one that may be gone the next time where the venue did not answer for itself."""
    is_answer = isinstance(outcome, Answered) and (outcome.is_good or outcome.is_refused)
    is_limited = isinstance(outcome, Answered) and outcome.status in (RATE_LIMITED, BANNED)
    return text if is_answer and not is_limited else Unasked(text)


def _is_good(outcome: Outcome) -> bool:
    return isinstance(outcome, Answered) and outcome.is_good


def _is_about_the_key(outcome: Outcome) -> bool:
    return isinstance(outcome, Answered) and outcome.name in KEY_NAMES | {CONSENT_MISSING}
