"""Holds what the daemon wrote down against what the exchanges say happened: orders, fills, balances, money. Changes neither.

It reads the journal itself and folds it with a ledger of its own, so that a daemon that lies to itself does not lie here.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from live_lab import TAG, LiveHouse

from arbitrage.app.crash_points import orders_of
from arbitrage.ledger.ledger import Ledger
from arbitrage.model.facts import Fact, FillBooked, OrderChanged, PlanClosed, PlanOpened, Reconciled
from arbitrage.model.instruments import Instrument, Node, Side, Venue
from arbitrage.model.money import Asset, parse_e8
from arbitrage.model.orders import ClientOrderId, Fill, Order, OrderState, PlanId
from arbitrage.store.archive import facts_between
from arbitrage.store.embedded import postgres_of, read_state
from arbitrage.store.records import decode_record, lines_of, read_header
from arbitrage.store.rows import Scope
from arbitrage.store.segments import JournalRefused

VENUES = ("binance", "upbit")
LEG_PERCENT_MAX = 110
"""A leg that is completed at a worse price may take a little more of the asset than was planned; twice is another thing."""
LATE = ("timestamp_late", "requests_over_limit default")
"""What a loaded machine, and a daemon that is started every other second, do to requests that were right."""
OPEN = ("new", "partially_filled")
UNBALANCED = "SELECT asset, sum(amount_e8) AS total FROM ledger_entries GROUP BY 1 HAVING sum(amount_e8) <> 0"
Truth = dict[str, Any]


class JournalGone(Exception):
    """A durable fact was lost: the journal's files end before what was seen, or lack one that PostgreSQL lacks, too."""


@dataclass
class Verdict:
    """What is wrong, each in words; empty lists are what is wanted."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    positions_off: list[str] = field(default_factory=list)
    money_off: dict[str, int] = field(default_factory=dict)
    """By asset, in units of 1e-8, over all venues."""
    postgres_off: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def words(self) -> list[str]:
        """Return everything that is wrong, a line each."""
        money = [f"{asset}: {amount} units more in the ledger" for asset, amount in self.money_off.items()]
        named = {**vars(self), "money_off": money}
        return [f"{name}: {text}" for name, texts in named.items() for text in texts]


class Chronicle:
    """Every fact of the session, read from the journal's files as they grow, and what follows from them."""

    def __init__(self, house: LiveHouse) -> None:
        self._house = house
        self.facts: list[Fact] = []
        self.ledger = Ledger()
        self.intents: dict[ClientOrderId, Order] = {}
        self.states: dict[ClientOrderId, OrderChanged] = {}
        self.ends: dict[ClientOrderId, OrderChanged] = {}
        """The first end that each order was believed to have."""
        self.unknown: set[ClientOrderId] = set()
        """Orders that were UNKNOWN at some time."""
        self.fills: list[Fill] = []
        self.plans: list[PlanOpened] = []
        self.closed: set[PlanId] = set()
        self.left_orders = 0
        """Orders whose end a start did not know."""
        self.found_fills = 0
        """Fills that a start learned of: the venue had made them, and the daemon died before it knew."""
        self.rules: dict[int, Instrument] = {}
        self._postgres_read = 0

    def read(self) -> None:
        """Read on. Raises JournalGone."""
        last = 0
        for path in sorted((self._house.session_dir / "journal").glob("facts-*.journal")):
            for _, line in lines_of(path.read_bytes()):
                header = read_header(line)
                if header is None:
                    continue
                last = header.first_sequence + header.count - 1
                if last <= len(self.facts):
                    continue
                if header.first_sequence > len(self.facts) + 1:
                    self._read_pruned(header.first_sequence)
                for fact in decode_record(header).facts[len(self.facts) + 1 - header.first_sequence :]:
                    self._take(fact)
        if last < len(self.facts):
            raise JournalGone(f"{len(self.facts)} facts were seen, and the files end at fact {last}")

    def _read_pruned(self, before: int) -> None:
        """Read from PostgreSQL what a file held that is gone: it goes once PostgreSQL and a snapshot have all of it."""
        try:
            found = self._stored(before)
        except JournalRefused as missing:
            raise JournalGone(f"fact {len(self.facts) + 1} is neither in a file nor in PostgreSQL ({missing})") from None
        for _, fact in found:
            self._take(fact)

    def _stored(self, before: int, after: int | None = None) -> list[tuple[int, Fact]]:
        """Return what PostgreSQL holds of the facts before one, after those that are read or after another."""
        scope = Scope("development", self._house.session_dir.name.partition(".")[2], ())
        endpoint = postgres_of(read_state(self._house.folder))
        return asyncio.run(facts_between(endpoint, scope, len(self.facts) if after is None else after, before))

    def compare(self, truth: Truth) -> Verdict:
        """Say what differs; nothing may be under way."""
        verdict = Verdict()
        sent = {venue: truth[venue]["orders"] for venue in VENUES}
        booked: Counter[str] = Counter()
        for fill in self.fills:
            booked[fill.client_order_id] += fill.quantity_e8
        for venue, orders in sent.items():
            self._compare_orders(verdict, venue, orders, booked)
        self._compare_intents(verdict, {order["client_id"] for orders in sent.values() for order in orders})
        self._compare_legs(verdict, {row["client_id"]: parse_e8(row["executed"]) for rows in sent.values() for row in rows})
        trades = Counter((fill.venue, fill.market, fill.trade_id) for fill in self.fills)
        verdict.doubled += [f"trade {trade} is booked {count} times" for trade, count in trades.items() if count > 1]
        self._compare_positions(verdict, truth)
        self._compare_money(verdict, truth)
        self._compare_postgres(verdict)
        for venue in VENUES:
            wrong = truth[venue]["violations"].items()
            verdict.violations += [f"{venue}: {name} {count}" for name, count in wrong if count and not name.startswith(LATE)]
        return verdict

    def _take(self, fact: Fact) -> None:
        self.facts.append(fact)
        self.ledger.apply(fact)
        self.intents.update({order.client_order_id: order for order in orders_of(fact)})
        match fact:
            case PlanOpened():
                self.plans.append(fact)
                self.rules.update({instrument.id: instrument for instrument in fact.instruments})
            case OrderChanged():
                self.states[fact.client_order_id] = fact
                if fact.state is OrderState.UNKNOWN:
                    self.unknown.add(fact.client_order_id)
                if fact.state.is_terminal:
                    self.ends.setdefault(fact.client_order_id, fact)
            case FillBooked():
                self.fills.append(fact.fill)
            case PlanClosed(outcome=outcome):
                self.closed.add(outcome.plan_id)
            case Reconciled(report=report) if report.occasion == "start":
                self.left_orders += len(report.left_orders)
                self.found_fills += sum(len(standing.booked) for standing in report.venues)

    def _compare_orders(self, verdict: Verdict, venue: str, orders: list[Truth], booked: Counter[str]) -> None:
        for name, count in Counter(order["client_id"] for order in orders).items():
            if count > 1:
                verdict.doubled.append(f"{venue} has {count} orders under {name}")
        for order in orders:
            name = ClientOrderId(order["client_id"])
            executed_e8, ours_e8 = parse_e8(order["executed"]), booked[name]
            if name not in self.intents:
                verdict.doubled.append(f"{venue} has order {name}, which nobody intended ({TAG} is ours)")
                continue
            if ours_e8 != executed_e8:
                found = verdict.lost if ours_e8 < executed_e8 else verdict.doubled
                found.append(f"{venue} filled {executed_e8} of {name}, and {ours_e8} is booked")
            end = self.ends.get(name)
            if end is not None and end.filled_quantity_e8 != executed_e8:
                words = f"{name} was taken for {end.state.value} with {end.filled_quantity_e8} filled ({end.reason})"
                verdict.lost.append(f"{words}, and {venue} filled {executed_e8}")
            if order["status"] in OPEN:
                verdict.lost.append(f"{venue} still works {name}, and nobody minds it")

    def _compare_intents(self, verdict: Verdict, sent: set[str]) -> None:
        for name, order in self.intents.items():
            changed = self.states.get(name)
            if changed is None or not changed.state.is_terminal:
                state = "intended" if changed is None else changed.state.value
                verdict.lost.append(f"{name} at {order.venue} is {state} for ever")
            elif changed.is_absence and name in sent:
                verdict.lost.append(f"{name} at {order.venue} is believed never to have been, and is there")

    def _compare_legs(self, verdict: Verdict, executed: dict[str, int]) -> None:
        """No leg is done twice: what a plan's orders did in its market, less what they took back."""
        signed: defaultdict[tuple[str, int], int] = defaultdict(int)
        for name, order in self.intents.items():
            signed[(order.plan_id, order.market)] += executed.get(name, 0) * (1 if order.side is Side.BUY else -1)
        for plan in self.plans:
            if plan.plan_id not in self.closed:
                verdict.lost.append(f"arbitrage {plan.plan_id} has no end")
            for leg in plan.orders:
                done_e8 = signed[(plan.plan_id, leg.market)] * (1 if leg.side is Side.BUY else -1)
                if done_e8 > leg.quantity_e8 * LEG_PERCENT_MAX // 100 + self.rules[leg.market].lot_e8:
                    verdict.doubled.append(f"{plan.plan_id} did {done_e8} of {leg.quantity_e8} in market {leg.market}")

    def _compare_positions(self, verdict: Verdict, truth: Truth) -> None:
        nodes = {(str(node.venue), str(node.asset)) for node in self.ledger.nodes()}
        nodes |= {(venue, asset) for venue in VENUES for asset in truth[venue]["balances"]}
        for venue, asset in sorted(nodes):
            node = Node(Venue(venue), Asset(asset))
            row = truth[venue]["balances"].get(asset, {"free": "0", "locked": "0"})
            real_e8, ours_e8 = parse_e8(row["free"]) + parse_e8(row["locked"]), self.ledger.total_e8(node)
            if real_e8 != ours_e8:
                verdict.positions_off.append(f"{venue} holds {real_e8} {asset}, the ledger says {ours_e8}")
            if self.ledger.reserved_e8(node):
                verdict.positions_off.append(f"{self.ledger.reserved_e8(node)} {asset} at {venue} are reserved for nothing")

    def _compare_money(self, verdict: Verdict, truth: Truth) -> None:
        """Add up what was given and every fill of the exchanges' own lists: over all venues the ledger must say the same."""
        total: Counter[str] = Counter()
        symbols = {(rule.venue, rule.symbol): rule for rule in self.rules.values()}
        for venue in VENUES:
            total.update({asset: parse_e8(text) for asset, text in truth[venue]["granted"].items()})
            for fill in truth[venue]["fills"]:
                rule = symbols[(Venue(venue), fill["symbol"])]
                sign = 1 if fill["side"] == "buy" else -1
                total[rule.base] += sign * parse_e8(fill["quantity"])
                total[rule.quote] -= sign * parse_e8(fill["quote"])
                total[fill["fee_asset"]] -= parse_e8(fill["fee"])
        for node in self.ledger.nodes():
            total[node.asset] -= self.ledger.total_e8(node)
        verdict.money_off.update({asset: -amount_e8 for asset, amount_e8 in sorted(total.items()) if amount_e8})

    def _compare_postgres(self, verdict: Verdict) -> None:
        """Ask PostgreSQL for everything since the last time: it holds what the journal holds, fact for fact."""
        for sequence, fact in self._stored(len(self.facts) + 1, self._postgres_read):
            if fact != self.facts[sequence - 1]:
                verdict.postgres_off.append(f"fact {sequence} is another one in PostgreSQL")
        self._postgres_read = len(self.facts)
        sums = self._house.query(UNBALANCED)
        verdict.postgres_off += [f"the entries of {row['asset']} sum to {row['total']} in PostgreSQL" for row in sums]
