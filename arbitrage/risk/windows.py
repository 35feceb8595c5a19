"""What the guard remembers: orders of the last minute, profit by day and from its peak, the kill switch, the pause.

Changed by facts and in no other way, so a snapshot and the journal's tail give it back. Reads no clock and knows no limit.
"""

from __future__ import annotations

import msgspec

from arbitrage.model.facts import Fact, KillSwitched, OrderIntended, Paused, PlanClosed, PlanOpened
from arbitrage.model.money import Asset

MINUTE_NS = 60_000_000_000
DAY_NS = 24 * 60 * MINUTE_NS


class RiskState(msgspec.Struct, frozen=True):
    """The durable part of the guard, as a snapshot section. Money in 1e-8 of `reporting_asset`."""

    reporting_asset: Asset
    kill_reason: str = ""
    pause_reason: str = ""
    order_times_ns: tuple[int, ...] = ()
    day: int = 0
    """Days since 1970, UTC, that `realised_today_e8` belongs to."""
    realised_today_e8: int = 0
    realised_e8: int = 0
    realised_peak_e8: int = 0


class Windows:
    """The memory behind rate, loss and drawdown limits."""

    def __init__(self, state: RiskState) -> None:
        assert state.realised_peak_e8 >= state.realised_e8, "a peak is never under the present"
        assert state.realised_peak_e8 >= 0, "profit starts at nothing, so its peak is at least that"
        self._state = state

    @property
    def state(self) -> RiskState:
        """Return the whole memory, frozen."""
        return self._state

    def apply(self, fact: Fact) -> None:
        """Take in one fact; facts of no concern are ignored."""
        match fact:
            case PlanOpened():
                self._count_orders(fact.at_ns, len(fact.orders))
            case OrderIntended():
                self._count_orders(fact.at_ns, 1)
            case PlanClosed():
                self._book_profit(fact)
            case KillSwitched():
                self._change(kill_reason=_reason(fact))
            case Paused():
                self._change(pause_reason=_reason(fact))
            case _:
                pass

    def orders_last_minute(self, now_ns: int) -> int:
        """Count orders younger than a minute; one exactly a minute old has left the window."""
        return sum(1 for at_ns in self._state.order_times_ns if at_ns > now_ns - MINUTE_NS)

    def loss_today_e8(self, now_ns: int) -> int:
        """Return the net loss realised since UTC midnight, never negative. A clock set back does not forget a loss."""
        loss_e8 = -self._state.realised_today_e8
        return max(0, loss_e8) if now_ns // DAY_NS <= self._state.day else 0

    def drawdown_e8(self) -> int:
        """Return how far realised profit stands below its peak. Only profit or a higher limit ends a drawdown."""
        drawdown_e8 = self._state.realised_peak_e8 - self._state.realised_e8
        assert drawdown_e8 >= 0, "a peak is never under the present"
        return drawdown_e8

    def _count_orders(self, at_ns: int, count: int) -> None:
        assert count > 0, "a plan opens with orders"
        kept = tuple(time_ns for time_ns in self._state.order_times_ns if time_ns > at_ns - MINUTE_NS)
        self._change(order_times_ns=kept + (at_ns,) * count)

    def _book_profit(self, fact: PlanClosed) -> None:
        state, outcome = self._state, fact.outcome
        assert outcome.reporting_asset == state.reporting_asset, "profit is counted in one reporting asset"
        day = max(state.day, fact.at_ns // DAY_NS)
        realised_e8 = state.realised_e8 + outcome.realised_e8
        self._change(
            day=day,
            realised_today_e8=outcome.realised_e8 + (state.realised_today_e8 if day == state.day else 0),
            realised_e8=realised_e8,
            realised_peak_e8=max(state.realised_peak_e8, realised_e8),
        )

    def _change(self, **fields: object) -> None:
        assert fields, "a change changes something"
        self._state = msgspec.structs.replace(self._state, **fields)


def _reason(fact: KillSwitched | Paused) -> str:
    text = f"by {fact.actor}: {fact.reason}" if fact.is_on else ""
    assert bool(text) == fact.is_on, "a switch that is on says why"
    return text
