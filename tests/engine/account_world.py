"""Engine tests with accounts: venues whose balances and open orders a test says, and the questions that reach them."""

from __future__ import annotations

from collections.abc import Iterable

from engine_world import BINANCE, BTC, KRW, UPBIT, USDT, World

from arbitrage.engine.engine import Engine
from arbitrage.model.effects import CancelOrder, Effect, QueryOrder, ReadAccount
from arbitrage.model.events import (
    AccountBalance,
    AccountLinkDown,
    AccountLinkUp,
    AccountRead,
    Command,
    CommandKind,
    OpenOrder,
    Wake,
)
from arbitrage.model.facts import Reconciled
from arbitrage.model.instruments import Node, Side, Venue
from arbitrage.model.money import E8, Asset
from arbitrage.model.orders import ClientOrderId
from arbitrage.model.settings import TradingSettings

START = {
    Node(BINANCE, USDT): 100_000 * E8,
    Node(BINANCE, BTC): E8,
    Node(UPBIT, KRW): 100_000_000 * E8,
    Node(UPBIT, BTC): E8,
    Node(UPBIT, USDT): 50_000 * E8,
}


class AccountWorld(World):
    """A world whose venues have accounts; `balances` is what they truly hold, a quarter of it locked unless said otherwise."""

    def __init__(self, trading: TradingSettings | None = None, *, balances: dict[Node, int] | None = None) -> None:
        super().__init__(trading, accounts=(BINANCE, UPBIT))
        self.balances = dict(START if balances is None else balances)
        self.locked: dict[Node, int] = {}
        self.open_orders: dict[Venue, list[OpenOrder]] = {BINANCE: [], UPBIT: []}

    def up(self, *venues: Venue) -> list[Effect]:
        return self.feed(*(AccountLinkUp(self.now_ns, venue) for venue in venues or (BINANCE, UPBIT)))

    def down(self, venue: Venue, reason: str = "cut") -> list[Effect]:
        return self.feed(AccountLinkDown(self.now_ns, venue, reason))

    def read(self, *venues: Venue, asked_ms_ago: int = 0) -> list[Effect]:
        """Let venues answer with all they hold, a millisecond later."""
        done: list[Effect] = []
        asked_ns = self.now_ns - asked_ms_ago * 1_000_000 + 1
        self.wait(1)
        for venue in venues or (BINANCE, UPBIT):
            held = tuple(
                AccountBalance(node.asset, e8 - self.locked.get(node, e8 // 4), self.locked.get(node, e8 // 4))
                for node, e8 in self.balances.items()
                if node.venue == venue
            )
            done += self.feed(AccountRead(self.now_ns, asked_ns, venue, held, tuple(self.open_orders[venue])))
        return done

    def wake(self, milliseconds: int = 1_000) -> list[Effect]:
        self.wait(milliseconds)
        return self.feed(Wake(self.now_ns))

    def tell(self, kind: CommandKind, name: str = "") -> list[Effect]:
        return self.feed(Command(self.now_ns, kind, "kim", "looked at it", name))

    def accept(self, name: str = "") -> list[Effect]:
        return self.tell(CommandKind.ACCEPT_DIFFERENCES, name)

    def start(self) -> None:
        """Connect everything, take the accounts over and show a premium."""
        self.connect(is_funded=False)
        self.up()
        self.read()
        self.premium_books()

    def settle_differences(self) -> None:
        """Let every venue say the same twice, as a difference must."""
        for _ in range(2):
            self.read()
            self.wait(1_000)

    def reborn(self, prefix: str = "u") -> AccountWorld:
        """Return a world after a restart: the same venues, the facts folded, nothing connected."""
        world = AccountWorld(balances=self.balances)
        world.engine = Engine(self.engine.settings, self.engine.markets, id_prefix=prefix, account_venues=(BINANCE, UPBIT))
        world.engine.restore(None, self.facts())  # type: ignore[arg-type]  # facts are facts
        world.now_ns = self.now_ns + 1_000_000
        world.open_orders = self.open_orders
        world.report_store()
        return world

    def reports_of(self) -> list[Reconciled]:
        return [fact for fact in self.facts() if isinstance(fact, Reconciled)]

    def total_of(self, venue: Venue) -> dict[Asset, int]:
        ledger = self.engine.ledger
        return {node.asset: ledger.total_e8(node) for node in ledger.nodes() if node.venue == venue}


def asked(effects: Iterable[Effect]) -> list[Venue]:
    return [effect.venue for effect in effects if isinstance(effect, ReadAccount)]


def queried(effects: Iterable[Effect]) -> list[ClientOrderId]:
    return [effect.client_order_id for effect in effects if isinstance(effect, QueryOrder)]


def cancelled(effects: Iterable[Effect]) -> list[ClientOrderId]:
    return [effect.client_order_id for effect in effects if isinstance(effect, CancelOrder)]


def open_order(client_order_id: str, market: int | None = 0, venue_order_id: str = "") -> OpenOrder:
    name = ClientOrderId(client_order_id)
    return OpenOrder(name, venue_order_id or f"v-{client_order_id}", "BTCUSDT", market, Side.BUY, 50_000 * E8, E8, 0)
