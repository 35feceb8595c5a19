"""Compares what venues say of our accounts with the ledger, and keeps trading away until every difference is explained.

Asks and compares; it never touches an order that is not ours, and books a difference only when an operator accepts it by name.
Its own state is of this process: a restart asks the venues again. A mode without accounts hands in no venues, and then nothing
here ever stands in the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from arbitrage.engine.account import Account, OpenOrders, sort_orders
from arbitrage.execution.desk import Desk
from arbitrage.ledger.ledger import Ledger
from arbitrage.model.accounts import Difference, LeftOrder, RestartReport
from arbitrage.model.effects import Append, CancelOrder, Effect, QueryOrder, ReadAccount, Report, Severity
from arbitrage.model.events import AccountBalance, AccountLinkDown, AccountLinkUp, AccountRead, Command, Funded
from arbitrage.model.facts import Fact, FillBooked, OrderChanged, OrderIntended, PlanOpened, Reconciled, ResidueWrittenOff
from arbitrage.model.instruments import Node, Venue
from arbitrage.model.money import Asset
from arbitrage.model.orders import ClientOrderId, PlanId
from arbitrage.model.settings import ExecutionSettings

MS_NS = 1_000_000
ANSWER_NS_MAX = 10_000 * MS_NS
"""A reading that was not answered for so long is asked for again; so is a cancellation that did not help."""
VAIN_MAX = 10
"""After so many readings that could not be compared, with nothing ending meanwhile, it is asked as seldom as that: a reading
costs a sixtieth of Binance's budget (reference binance-spot 4)."""
SUSPICIONS_MAX = 5
"""A difference counts when two readings in a row show the same; or after so many that show one, the same or not."""
ABSENT_ASKED_MAX = 20
"""Orders believed absent that are asked about once more when a balance differs: a fill may have been missed."""
FIRST_FUNDING = "taken over from the venue at the first start"


class Reconciler:
    """One account for each venue where this mode trades for real."""

    def __init__(self, venues: Iterable[Venue], desk: Desk, ledger: Ledger, not_armed: Callable[[], tuple[str, ...]]) -> None:
        self.desk, self.ledger = desk, ledger
        self.accounts = {venue: Account(venue) for venue in venues}
        self._not_armed = not_armed
        self._left_plans: tuple[PlanId, ...] = ()
        self._left_orders: tuple[LeftOrder, ...] = ()
        self._is_start_reported = not self.accounts

    # -- reading ------------------------------------------------------------------------------------------------

    def reasons(self) -> tuple[str, ...]:
        """Return what keeps trading disarmed: accounts never compared since the start, and differences nobody accepted."""
        found = []
        for account in self.accounts.values():
            found += [str(difference) for difference in account.differences.values()]
            if not account.was_compared:
                found.append(f"{account.venue}: {account.standing_text()}")
        assert self.accounts or not found, "without accounts nothing is in the way"
        return tuple(found)

    def links_down(self) -> dict[Venue, str]:
        """Return the venues that take no orders from us now, each with its reason."""
        return {account.venue: account.link_reason for account in self.accounts.values() if not account.is_up}

    def untradable(self) -> dict[Venue, str]:
        """Return the venues where nothing is entered: their link is down, or their account was not compared since it came."""
        return {each.venue: each.standing_text() for each in self.accounts.values() if not (each.is_up and each.is_compared)}

    def unproved(self) -> dict[Venue, str]:
        """Return the venues whose account was not compared since the start, or differs from the ledger, and why."""
        accounts = self.accounts.values()
        found = {each.venue: each.standing_text() for each in accounts if not each.was_compared}
        return found | {each.venue: "; ".join(map(str, each.differences.values())) for each in accounts if each.differences}

    def differences(self) -> tuple[str, ...]:
        """Name every difference that waits to be accepted."""
        return tuple(name for account in self.accounts.values() for name in account.differences)

    def locked_e8(self, node: Node) -> int:
        """Return what a venue last said is locked at a node while no order of ours was: a stranger's order, or a withdrawal."""
        account = self.accounts.get(node.venue)
        locked_e8 = account.locked_e8(node.asset) if account is not None else 0
        assert locked_e8 >= 0, "what is locked is there"
        return locked_e8

    def report(self, now_ns: int, occasion: str) -> RestartReport:
        """Return how everything stands, for a person."""
        assert occasion, "a report has its occasion"
        standings = tuple(account.standing() for account in self.accounts.values() if account.read is not None)
        return RestartReport(now_ns, occasion, self._left_plans, self._left_orders, standings, self._not_armed())

    # -- the venues' words --------------------------------------------------------------------------------------

    def on_link_up(self, event: AccountLinkUp) -> list[Effect]:
        """Ask about every order of ours, and for the whole account: words may have been missed."""
        account = self.accounts[event.venue]
        account.link_up(event.at_ns)
        asked = self.desk.ask_all(event.venue, event.at_ns, "the account's link is up")
        return [*asked, *self._ask(account, event.at_ns, "link up")]

    def on_link_down(self, event: AccountLinkDown) -> list[Effect]:
        """Enter nothing at this venue until its account was compared anew."""
        account = self.accounts[event.venue]
        assert event.reason, "a lost link has its reason"
        account.link_down(event.reason)
        return [Report(Severity.WARNING, "account_link_down", f"{event.venue}: {event.reason}", {"venue": event.venue})]

    def on_read(self, event: AccountRead) -> list[Effect]:
        """Settle stray orders, then compare balances once nothing of ours is on its way."""
        account = self.accounts.get(event.venue)
        if account is None:
            return []
        account.is_waiting = False
        if not account.is_up or event.asked_ns < account.up_ns:
            return []
        orders = sort_orders(event.open_orders, self.desk)
        effects = self._settle_strays(account, orders, event.at_ns)
        account.note_orders(event, orders)
        account.trouble = self._in_the_way(account, event, orders)
        if account.trouble:
            account.vain += 1
            return effects
        if not account.was_compared and not any(node.venue == event.venue for node in self.ledger.nodes()):
            return effects + self._take_over(account, event)
        return effects + self._compare(account, event)

    def on_wake(self, now_ns: int, settings: ExecutionSettings) -> list[Effect]:
        """Ask again where an answer is missing or was of no use, and from time to time where all is quiet."""
        effects: list[Effect] = []
        for account in self.accounts.values():
            is_slow = account.is_waiting or account.vain >= VAIN_MAX
            pace_ns = ANSWER_NS_MAX if is_slow else settings.query_interval_ms * MS_NS
            if now_ns - account.asked_ns < pace_ns or not account.is_up:
                continue
            is_due = now_ns - account.compared_ns >= settings.account_read_ms * MS_NS
            is_quiet = not self._is_busy(account.venue)
            if not account.is_compared or ((is_due or account.suspected) and is_quiet):
                effects += self._ask(account, now_ns, account.trouble or "compared from time to time")
        return effects

    # -- the operator's word ------------------------------------------------------------------------------------

    def accept(self, command: Command) -> list[Effect]:
        """Book the named difference (or all), so that the ledger says what the venue says. What changed since is read again."""
        chosen = [
            (account, difference)
            for account in self.accounts.values()
            for difference in account.differences.values()
            if command.name in ("", difference.name)
        ]
        effects: list[Effect] = []
        left = {residue.asset: residue.amount_e8 for residue in self.ledger.residues()}
        for account, difference in chosen:
            if not account.is_current:
                text = f"{difference.name} changed since it was read; it is read again before it can be accepted"
                effects.append(Report(Severity.WARNING, "difference_stale", text, {"difference": difference.name}))
                continue
            effects += self._book(difference, command, left)
            del account.differences[difference.name]
            account.compared_ns = 0
        if any(isinstance(effect, Append) for effect in effects):
            report = self.report(command.at_ns, f"accepted {command.name or 'all'} by {command.actor}")
            effects.append(Append(Reconciled(command.at_ns, report)))
        return effects

    # -- state --------------------------------------------------------------------------------------------------

    def apply(self, fact: Fact) -> None:
        """Note when a fact moved something at a venue: an account that was asked for before it cannot be compared."""
        match fact:
            case PlanOpened(orders=orders):
                touched = {order.venue for order in orders}
            case OrderIntended(order=order):
                touched = {order.venue}
            case FillBooked(fill=fill):
                touched = {fill.venue}
            case Funded(venue=venue):
                touched = {venue}
            case OrderChanged(client_order_id=client_order_id) if fact.state.is_terminal:
                self._note_end(client_order_id)
                return
            case _:
                return
        for venue in touched & self.accounts.keys():
            self.accounts[venue].touch(fact)
        assert touched, "every order stands at a venue"

    def note_left(self) -> None:
        """Remember, after a restore, what was left open; what it folded is no news."""
        for account in self.accounts.values():
            account.note_restored()
        self._left_plans = tuple(plan.plan_id for plan in self.desk.open_plans())
        left = [(order, self.desk.worked(order.client_order_id)) for order, _ in self.desk.unfinished()]
        self._left_orders = tuple(
            LeftOrder(
                order.client_order_id,
                order.venue,
                order.market,
                order.side,
                order.quantity_e8,
                worked.filled_quantity_e8,
                worked.state,
            )
            for order, worked in left
            if worked is not None
        )
        assert len(self._left_orders) == len(left), "what is unfinished is known"

    # -- leaves -------------------------------------------------------------------------------------------------

    def _ask(self, account: Account, now_ns: int, reason: str) -> list[Effect]:
        account.asked_ns, account.is_waiting = now_ns, True
        assert reason, "a question has its reason"
        return [ReadAccount(account.venue, reason)]

    def _is_busy(self, venue: Venue) -> bool:
        return any(order.venue == venue for order, _ in self.desk.unfinished())

    def _note_end(self, client_order_id: ClientOrderId) -> None:
        """An order ended: what could not be compared because of it may be comparable now."""
        worked = self.desk.worked(client_order_id)
        if worked is not None and worked.order.venue in self.accounts:
            assert worked.order.client_order_id == client_order_id, "an end is its own order's"
            self.accounts[worked.order.venue].vain = 0

    def _settle_strays(self, account: Account, orders: OpenOrders, now_ns: int) -> list[Effect]:
        """Cancel open orders that bear our ids and that nobody works, again only after a while; ask what they filled already.

        What one fills from now on is told by the stream; where a balance differs after that, all of them are asked about.
        """
        effects: list[Effect] = []
        for order in account.strays_due(orders, now_ns, ANSWER_NS_MAX):
            fields: dict[str, str | int | float | bool | None] = {"venue": account.venue, "order": order.client_order_id}
            if order.market is None:
                text = f"{account.venue}: our order {order.client_order_id} in {order.symbol}, which is not configured"
                effects.append(Report(Severity.ERROR, "stray_order_unreachable", text, fields))
                continue
            text = f"{account.venue}: our order {order.client_order_id} was open and nobody works it; it is cancelled"
            effects.append(Report(Severity.WARNING, "stray_order_cancelled", text, fields))
            effects.append(CancelOrder(account.venue, order.market, order.client_order_id))
            if order.filled_quantity_e8 or self.desk.worked(order.client_order_id) is not None:
                effects.append(QueryOrder(account.venue, order.market, order.client_order_id))
        return effects

    def _in_the_way(self, account: Account, event: AccountRead, orders: OpenOrders) -> str:
        """Say why this reading cannot be compared with the ledger, or nothing."""
        busy = sum(order.venue == account.venue for order, _ in self.desk.unfinished())
        if busy:
            return f"{busy} orders are not settled yet"
        if orders.stray:
            return f"{len(orders.stray)} stray orders are being cancelled"
        return "it changed while it was read" if account.touched_ns >= event.asked_ns else ""

    def _take_over(self, account: Account, event: AccountRead) -> list[Effect]:
        """The ledger knows nothing of this venue: all it says is ours to start with."""
        held = tuple(balance for balance in event.balances if balance.free_e8 + balance.locked_e8)
        account.funded = held
        funded = [
            Append(Funded(event.at_ns, event.venue, balance.asset, balance.free_e8 + balance.locked_e8, FIRST_FUNDING))
            for balance in held
        ]
        assert not account.differences, "what is taken over does not differ"
        return [*funded, *self._compared(account, event)]

    def _compare(self, account: Account, event: AccountRead) -> list[Effect]:
        found = tuple(differences(event.venue, event.balances, self.ledger))
        known = tuple(account.differences.values())
        if found in ((), known):
            account.suspected, account.suspicions = (), 0
        elif found != account.suspected and account.suspicions + 1 < SUSPICIONS_MAX:
            account.suspected, account.suspicions = found, account.suspicions + 1
            account.trouble = "a balance differs and is read again"
            return self._ask_doubtful(account)
        else:
            account.suspected, account.suspicions = (), 0
        account.differences = {difference.name: difference for difference in found}
        fields: dict[str, str | int | float | bool | None] = {"venue": event.venue}
        new = [difference for difference in found if difference not in known]
        gone = [difference for difference in known if difference.name not in account.differences]
        reports: list[Effect] = [Report(Severity.WARNING, "difference", str(each), fields) for each in new]
        reports += [Report(Severity.INFO, "difference_gone", f"{each.name} agrees again", fields) for each in gone]
        return reports + self._compared(account, event)

    def _ask_doubtful(self, account: Account) -> list[Effect]:
        """Ask about orders whose fills may have been missed: those believed absent, and strays that were cancelled."""
        absent = self.desk.believed_absent(account.venue)[-ABSENT_ASKED_MAX:]
        asked: list[Effect] = [QueryOrder(order.venue, order.market, order.client_order_id) for order in absent]
        strays = account.settled()[-ABSENT_ASKED_MAX:]
        return asked + [QueryOrder(account.venue, market, client_order_id) for client_order_id, market in strays]

    def _compared(self, account: Account, event: AccountRead) -> list[Effect]:
        """Write down the first comparison of all venues, and any later one that found something after a lost link."""
        was_open = account.is_compared
        account.compared(event)
        if not self._is_start_reported:
            if not all(each.was_compared for each in self.accounts.values()):
                return []
            self._is_start_reported = True
            return [Append(Reconciled(event.at_ns, self.report(event.at_ns, "start")))]
        if was_open or not account.found_something:
            return []
        return [Append(Reconciled(event.at_ns, self.report(event.at_ns, f"link {event.venue}")))]

    def _book(self, difference: Difference, command: Command, left: dict[Asset, int]) -> list[Effect]:
        """Book one difference; `left` is what plans left over, less what earlier ones of the same word wrote off."""
        reason = f"difference accepted by {command.actor}: {command.reason}"
        at_ns, venue, asset = command.at_ns, difference.venue, difference.asset
        effects: list[Effect] = [Append(Funded(at_ns, venue, asset, difference.amount_e8, reason))]
        left_e8 = left.get(asset, 0)
        if left_e8 * difference.amount_e8 < 0:
            # Somebody took out by hand what plans had left over: hedging it once more would undo that.
            part_e8 = min(abs(left_e8), abs(difference.amount_e8)) * (1 if left_e8 > 0 else -1)
            left[asset] = left_e8 - part_e8
            effects.append(Append(ResidueWrittenOff(at_ns, asset, part_e8, command.actor, reason)))
        text = f"{difference} accepted by {command.actor}: {command.reason}"
        effects.append(Report(Severity.WARNING, "difference_accepted", text, {"difference": difference.name}))
        return effects


def differences(venue: Venue, balances: Iterable[AccountBalance], ledger: Ledger) -> list[Difference]:
    """List every asset of which a venue holds something else than the ledger says, to the last unit."""
    said = {balance.asset: balance.free_e8 + balance.locked_e8 for balance in balances}
    known = {node.asset: ledger.total_e8(node) for node in ledger.nodes() if node.venue == venue}
    unequal = sorted(asset for asset in said.keys() | known.keys() if said.get(asset, 0) != known.get(asset, 0))
    found = [Difference(venue, asset, known.get(asset, 0), said.get(asset, 0)) for asset in unequal]
    assert all(each.ledger_e8 == ledger.total_e8(Node(venue, each.asset)) for each in found), "each is its node's total"
    return found
