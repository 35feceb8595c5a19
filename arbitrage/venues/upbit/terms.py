"""Reads an Upbit account's terms: fees, minimums and activity by market, and the wallets' states. Judges and changes no rule.

Source: reference upbit 6 and 8 (`orders/chance`, `status/wallet`). Whoever keeps the rules holds a symbol whose terms changed.
"""

from __future__ import annotations

from arbitrage.model.events import FaultKind, FeedFault, FeesRead, WalletsRead
from arbitrage.model.instruments import FeeSchedule, Side
from arbitrage.model.money import Asset
from arbitrage.venues.trading import AccountContext
from arbitrage.venues.upbit.account_limits import READ
from arbitrage.venues.upbit.account_wire import Chance, read_chance, read_suspended
from arbitrage.venues.upbit.signed_rest import Answered, Ask, SignedRest


class Terms:
    """What trading costs here, as last read."""

    def __init__(self, account: AccountContext, rest: SignedRest) -> None:
        self._account = account
        self._context = account.context
        self._clock = account.context.wiring.clock
        self._rest = rest
        self._symbols = {market: symbol for symbol, market in account.markets.items()}
        self._timeout_s = account.context.settings.request_timeout_ms / 1000
        self._chances: dict[int, Chance] = {}

    def fees(self, market: int, side: Side) -> FeeSchedule | None:
        """Return what orders of one side pay in a market: the account's own fees once they were read, else the board's."""
        chance, instrument = self._chances.get(market), self._account.instrument(market)
        if chance is not None:
            return chance.fees_of(side)
        return None if instrument is None else instrument.fees

    async def learn(self, market: int) -> None:
        """Read one market's fees again: what an order paid is not explained by those that are known. Tells nobody."""
        chance = await self._read_chance(self._symbols[market], market)
        if chance is not None:
            self._chances[market] = chance

    async def read(self) -> bool:
        """Read all terms and emit them; tell whether all of them could be read. What could not was a fault."""
        fees_are_read = await self._read_fees()
        return await self._read_wallets() and fees_are_read

    async def _read_fees(self) -> bool:
        read: dict[int, Chance] = {}
        for symbol, market in self._account.markets.items():
            chance = await self._read_chance(symbol, market)
            if chance is not None:
                read[market] = self._chances[market] = chance
                if not chance.takes_limit_ioc:
                    self._context.fault(FaultKind.UNKNOWN_FIELD_VALUE, f"{symbol}: limit_ioc is not taken", market)
        if read:
            fees = tuple((market, chance.fees) for market, chance in read.items())
            least = tuple((market, chance.notional_e8_min) for market, chance in read.items())
            inactive = tuple(market for market, chance in read.items() if not chance.is_active)
            self._context.wiring.sink((FeesRead(self._clock(), self._context.venue, fees, least, inactive),))
        return len(read) == len(self._account.markets)

    async def _read_chance(self, symbol: str, market: int) -> Chance | None:
        answer = await self._get("/v1/orders/chance", [("market", symbol)], market)
        chance = None if answer is None else read_chance(answer.body, self._context.venue, answer.at_ns, market)
        if isinstance(chance, FeedFault):
            self._context.wiring.sink((chance,))
            return None
        return chance

    async def _read_wallets(self) -> bool:
        answer = await self._get("/v1/status/wallet", (), None)
        if answer is None:
            return False
        wanted = {Asset(asset) for symbol in self._account.markets for asset in symbol.split("-", 1)}
        suspended = read_suspended(answer.body, wanted, self._context.venue, answer.at_ns)
        if isinstance(suspended, FeedFault):
            self._context.wiring.sink((suspended,))
            return False
        self._context.wiring.sink((WalletsRead(self._clock(), self._context.venue, suspended),))
        return True

    async def _get(self, path: str, pairs: list[tuple[str, str]] | tuple[()], market: int | None) -> Answered | None:
        outcome = await self._rest.ask(Ask("GET", path, pairs, READ, self._timeout_s))
        if isinstance(outcome, Answered) and outcome.is_good:
            return outcome
        self._context.fault(FaultKind.REQUEST_FAILED, f"GET {path}: {outcome.words}", market)
        return None
