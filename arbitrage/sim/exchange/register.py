"""Every order of one exchange, by number and by client id, and the venue's rule for using an id again. Matches nothing."""

from __future__ import annotations

from arbitrage.sim.exchange.nouns import HeldOrder, IdRule, OrderRequest, Policy, Rejection, Why

ORDERS_REMEMBERED_MAX = 200_000
"""Ended orders beyond this many are forgotten, oldest first; spent ids are not."""


class Register:
    """Orders in the order they came."""

    def __init__(self, policy: Policy, remembered_max: int = ORDERS_REMEMBERED_MAX) -> None:
        self._remembered_max = remembered_max
        self._rule = policy.id_rule
        self._orders: dict[int, HeldOrder] = {}
        self._open: dict[int, HeldOrder] = {}
        self._newest: dict[str, HeldOrder] = {}
        self._spent: set[str] = set()
        self._next_id = policy.first_order_id

    def refusal(self, request: OrderRequest) -> Rejection | None:
        """Return why a client id may not be used now."""
        if not request.client_id:
            return None
        if self._rule is IdRule.FOREVER:
            return Rejection(Why.ID_SPENT) if request.client_id in self._spent else None
        known = self._newest.get(request.client_id)
        return Rejection(Why.DUPLICATE_ID) if known is not None and known.is_open else None

    def spend(self, request: OrderRequest) -> None:
        """Note that an id was sent: where ids are spent for ever, a refused request spends one too."""
        if request.client_id and self._rule is IdRule.FOREVER:
            self._spent.add(request.client_id)

    def add(self, order: HeldOrder) -> None:
        """Give an order its number and keep it."""
        assert order.order_id == 0, "an order is added once"
        order.order_id = self._next_id
        self._next_id += 1
        self._orders[order.order_id] = self._open[order.order_id] = order
        if order.request.client_id:
            self._newest[order.request.client_id] = order
        if len(self._orders) > self._remembered_max:
            self._forget_one()

    def ended(self, order: HeldOrder) -> None:
        """Note that an order is open no longer."""
        assert not order.is_open, "it ended"
        self._open.pop(order.order_id, None)

    def find(self, symbol: str | None, *, order_id: int | None, client_id: str | None) -> HeldOrder | None:
        """Return the newest order that all given words fit."""
        order = self._orders.get(order_id) if order_id is not None else self._newest.get(client_id or "")
        if order is None or (symbol is not None and order.request.symbol != symbol):
            return None
        return order if client_id is None or order.request.client_id == client_id else None

    def orders(self, symbol: str | None, is_open: bool | None) -> list[HeldOrder]:
        """Return orders, oldest first."""
        source = self._open if is_open else self._orders
        return [
            order
            for order in source.values()
            if (symbol is None or order.request.symbol == symbol) and (is_open is None or order.is_open == is_open)
        ]

    def _forget_one(self) -> None:
        oldest = next((order for order in self._orders.values() if not order.is_open), None)
        if oldest is not None:
            del self._orders[oldest.order_id]
            if self._newest.get(oldest.request.client_id) is oldest:
                del self._newest[oldest.request.client_id]
