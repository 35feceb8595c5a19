"""One venue's account as it stands: its link, its last reading, what was found in it. Asks nothing and books nothing."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from arbitrage.execution.desk import Desk
from arbitrage.model.accounts import BookedFill, Difference, VenueStanding
from arbitrage.model.events import AccountBalance, AccountRead, OpenOrder
from arbitrage.model.facts import Fact, FillBooked
from arbitrage.model.instruments import Venue
from arbitrage.model.money import Asset
from arbitrage.model.orders import ClientOrderId

LISTED_MAX = 1_000
"""Orders and fills of one kind that a standing lists; a venue allows fewer open orders."""


class OpenOrders(msgspec.Struct, frozen=True):
    """A venue's open orders by whose they are."""

    working: tuple[OpenOrder, ...]
    stray: tuple[OpenOrder, ...]
    """Ours by their ids, and worked by nobody: unknown here, or ended as far as we know."""
    foreign: tuple[OpenOrder, ...]


class Account:
    """What is known of one venue's account in this process."""

    def __init__(self, venue: Venue) -> None:
        assert venue, "an account is somewhere"
        self.venue = venue
        self.is_up = False
        self.up_ns = 0
        self.link_reason = "its account is not connected yet"
        self.is_waiting = False
        """A reading was asked for and not answered."""
        self.asked_ns = 0
        self.touched_ns = 0
        """When a fact last moved something here."""
        self.trouble = ""
        """Why the newest reading could not be compared."""
        self.is_compared = False
        """Compared since the link came up."""
        self.was_compared = False
        """Compared at least once since this process started."""
        self.compared_ns = 0
        self.read: AccountRead | None = None
        """The newest reading that the ledger was compared with."""
        self.vain = 0
        """Readings in a row that could not be compared, nothing having ended or moved meanwhile."""
        self.suspected: tuple[Difference, ...] = ()
        self.suspicions = 0
        self.differences: dict[str, Difference] = {}
        self.funded: tuple[AccountBalance, ...] = ()
        self._adopted: tuple[ClientOrderId, ...] = ()
        self._cancelled: tuple[ClientOrderId, ...] = ()
        self._foreign: tuple[OpenOrder, ...] = ()
        self._booked: list[BookedFill] = []
        self._stray_ns: dict[str, int] = {}
        """When each stray order's cancellation was last asked for, by the venue's own id."""
        self._settled: dict[ClientOrderId, int] = {}
        """The stray orders that were cancelled since the link came up, with their markets."""

    @property
    def is_current(self) -> bool:
        """Say whether nothing moved here since the reading that the differences are from."""
        return self.read is not None and self.is_up and self.touched_ns < self.read.asked_ns

    @property
    def found_something(self) -> bool:
        """Say whether the newest comparison has more to tell than that all agrees."""
        return bool(self._cancelled or self._booked or self.differences)

    def standing_text(self) -> str:
        """Say in words how it stands."""
        if not self.is_up:
            return self.link_reason
        return "its account agrees" if self.is_compared else self.trouble or "its account is being compared"

    def locked_e8(self, asset: Asset) -> int:
        """Return what was locked of an asset when it was last compared: then no order of ours was under way."""
        held = self.read.balances if self.read is not None else ()
        return next((balance.locked_e8 for balance in held if balance.asset == asset), 0)

    def strays_due(self, orders: OpenOrders, now_ns: int, pace_ns: int) -> list[OpenOrder]:
        """Return the stray orders whose cancellation was not asked for lately, and note that it is now."""
        due = [each for each in orders.stray if now_ns - self._stray_ns.get(each.venue_order_id, -pace_ns) >= pace_ns]
        shown = {each.venue_order_id for each in orders.stray}
        self._stray_ns = {name: at_ns for name, at_ns in self._stray_ns.items() if name in shown}
        self._stray_ns.update(dict.fromkeys((each.venue_order_id for each in due), now_ns))
        self._settled.update({each.client_order_id: each.market for each in due if each.market is not None})
        assert len(self._stray_ns) == len(shown), "each stray order that is open was cancelled once"
        return due

    def link_up(self, at_ns: int) -> None:
        """Start anew: what was found before is told already."""
        self.is_up, self.up_ns, self.link_reason = True, at_ns, ""
        self._forget()

    def link_down(self, reason: str) -> None:
        """Doubt everything until the link is back and the account was compared."""
        assert reason, "a lost link has its reason"
        self.is_up, self.link_reason = False, reason
        self._forget()

    def note_orders(self, event: AccountRead, orders: OpenOrders) -> None:
        """Remember whose orders a reading showed."""
        assert event.venue == self.venue, "a reading is of its own account"
        working = tuple(order.client_order_id for order in orders.working)
        cancelled = tuple(order.client_order_id for order in orders.stray if order.market is not None)
        self._adopted = tuple(dict.fromkeys(self._adopted + working))[:LISTED_MAX]
        self._cancelled = tuple(dict.fromkeys(self._cancelled + cancelled))[:LISTED_MAX]
        self._foreign = orders.foreign[:LISTED_MAX]

    def settled(self) -> list[tuple[ClientOrderId, int]]:
        """Return the strays that were cancelled since the link came up, with their markets."""
        return list(self._settled.items())

    def compared(self, event: AccountRead) -> None:
        """The ledger and this reading were compared, whatever came of it."""
        assert self.is_up, "an account behind a lost link is not compared"
        self.read, self.trouble, self.compared_ns, self.vain = event, "", event.at_ns, 0
        self.is_compared = self.was_compared = True

    def touch(self, fact: Fact) -> None:
        """Note that something moved; fills found before the first comparison are part of its story."""
        self.touched_ns, self.vain = max(self.touched_ns, fact.at_ns), 0
        if isinstance(fact, FillBooked) and not self.is_compared and len(self._booked) < LISTED_MAX:
            fill = fact.fill
            assert fill.venue == self.venue, "a fill moves its own account"
            self._booked.append(
                BookedFill(fill.client_order_id, fill.trade_id, fill.market, fill.side, fill.quantity_e8, fill.quote_e8)
            )

    def note_restored(self) -> None:
        """What was folded back was known before this start."""
        assert not self.was_compared, "a restore comes before every comparison"
        self._booked.clear()

    def standing(self) -> VenueStanding:
        """Return what the last comparison found, for the record."""
        assert self.read is not None, "a standing is of something read"
        return VenueStanding(
            venue=self.venue,
            asked_ns=self.read.asked_ns,
            at_ns=self.read.at_ns,
            balances=self.read.balances,
            funded=self.funded,
            adopted=self._adopted,
            cancelled=self._cancelled,
            booked=tuple(self._booked),
            foreign=self._foreign,
            differences=tuple(self.differences.values()),
        )

    def _forget(self) -> None:
        self.is_compared = self.is_waiting = False
        self.vain = 0
        self._stray_ns.clear()
        self.trouble = ""
        self.suspected, self.suspicions = (), 0
        self._adopted, self._cancelled, self._foreign = (), (), ()
        self._settled.clear()
        if self.was_compared:  # what is found before the first comparison belongs to the start's report, whenever the link came
            self._booked.clear()
        assert not self._cancelled, "what was cancelled is told of one link"


def sort_orders(open_orders: Iterable[OpenOrder], desk: Desk) -> OpenOrders:
    """Tell whose each open order is: worked by us, ours but worked by nobody, or a stranger's."""
    working, stray, foreign = [], [], []
    for order in open_orders:
        worked = desk.worked(order.client_order_id)
        if worked is not None and not worked.is_settled:
            working.append(order)
        elif worked is not None or desk.made(order.client_order_id):
            stray.append(order)
        else:
            foreign.append(order)
    found = OpenOrders(tuple(working), tuple(stray), tuple(foreign))
    assert not {order.venue_order_id for order in found.stray} & {order.venue_order_id for order in found.foreign}, "one owner"
    return found
