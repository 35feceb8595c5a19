"""One account's balances, free and locked, and where everything that left or came went. Knows no orders and no prices.

Kept as double entry: for each asset, free + locked + fees + outside == granted, always (`check`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping


class Account:
    """Balances by asset."""

    def __init__(self, balances: Mapping[str, int]) -> None:
        assert all(e8 >= 0 for e8 in balances.values()), "nobody starts with debts"
        self._free: Counter[str] = Counter(balances)
        self._locked: Counter[str] = Counter()
        self._fees: Counter[str] = Counter()
        self._outside: Counter[str] = Counter()
        self._granted: Counter[str] = Counter(balances)

    def free_e8(self, asset: str) -> int:
        return self._free[asset]

    def locked_e8(self, asset: str) -> int:
        return self._locked[asset]

    def fees_e8(self, asset: str) -> int:
        """Return what the exchange took in fees."""
        return self._fees[asset]

    def outside_e8(self, asset: str) -> int:
        """Return what other people got from this account, less what it got from them."""
        return self._outside[asset]

    def granted_e8(self, asset: str) -> int:
        """Return what came in by grants: the start and deposits, less withdrawals."""
        return self._granted[asset]

    def assets(self) -> list[str]:
        """Return every asset that was ever held here, in the order they came."""
        return list(self._granted | self._free | self._outside | self._locked)

    def grant(self, asset: str, delta_e8: int) -> None:
        """Deposit, or withdraw what is free."""
        assert self._free[asset] + delta_e8 >= 0, "only what is free can be withdrawn"
        self._free[asset] += delta_e8
        self._granted[asset] += delta_e8

    def lock(self, asset: str, amount_e8: int) -> None:
        assert 0 <= amount_e8 <= self._free[asset], "only what is free can be locked"
        self._free[asset] -= amount_e8
        self._locked[asset] += amount_e8

    def release(self, asset: str, amount_e8: int) -> None:
        assert 0 <= amount_e8 <= self._locked[asset], "only what is locked can be released"
        self._locked[asset] -= amount_e8
        self._free[asset] += amount_e8

    def pay_locked(self, asset: str, amount_e8: int) -> None:
        """Give locked money to the other side of a trade."""
        assert 0 <= amount_e8 <= self._locked[asset], "only what is locked can be paid"
        self._locked[asset] -= amount_e8
        self._outside[asset] += amount_e8

    def receive(self, asset: str, amount_e8: int) -> None:
        """Take what the other side of a trade gives."""
        assert amount_e8 >= 0, "nobody receives debts"
        self._free[asset] += amount_e8
        self._outside[asset] -= amount_e8

    def pay_fee(self, asset: str, amount_e8: int, *, from_locked: bool = False) -> None:
        """Pay a fee; a rebate is a negative one."""
        source = self._locked if from_locked else self._free
        assert amount_e8 <= source[asset], "a fee is paid from what is there"
        source[asset] -= amount_e8
        self._fees[asset] += amount_e8

    def check(self) -> None:
        """Assert that nothing was made or lost."""
        for asset in self.assets():
            assert self._free[asset] >= 0 and self._locked[asset] >= 0, f"{asset} is in debt"
            there_e8 = self._free[asset] + self._locked[asset] + self._fees[asset] + self._outside[asset]
            assert there_e8 == self._granted[asset], f"{asset} does not add up"
