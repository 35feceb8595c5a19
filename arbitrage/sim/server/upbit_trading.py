"""Upbit's order calls: place, test, query, list, cancel, replace (reference sheet, sections 6 and 7). Matches nothing itself.

An identifier is spent by arriving, whatever becomes of its order. A cancel is answered before it is carried out.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable

import msgspec

from arbitrage.model.instruments import Side
from arbitrage.model.money import fee_up_e8, format_e8, notional_up_e8
from arbitrage.sim.exchange.exchange import Exchange
from arbitrage.sim.exchange.nouns import Happened, HeldOrder, OrderRequest, OrderType, Rejection, Rules, Status, Update, Why
from arbitrage.sim.server.upbit_errors import UpbitRefusal
from arbitrage.sim.server.upbit_keys import Parameters
from arbitrage.sim.server.upbit_orders import (
    SIDES,
    Row,
    Words,
    detailed_row,
    listed_row,
    order_row,
    parse_order,
    side_word,
    uuid_of,
)

OPEN_MAX, CLOSED_DEFAULT, CLOSED_MAX = 100, 100, 1_000
IDS_MAX, CANCEL_IDS_MAX = 100, 20
CANCEL_DEFAULT, CANCEL_MAX = 20, 300
PAIRS_MAX = 20
UUIDS_KNOWN_MAX = 200_000
"""Orders beyond this many are no longer found by uuid, oldest first."""
WINDOW_NS = 7 * 86_400 * 1_000_000_000
_NAMES = {
    Why.UNKNOWN_SYMBOL: "validation_error",
    Why.HALTED: "market_offline",
    Why.PRICE_FILTER: "invalid_price_{side}",
    Why.INSUFFICIENT: "insufficient_funds_{side}",
    Why.NOTIONAL_MAX: "volume_too_large",
    Why.ID_SPENT: "duplicated_identifier",
    Why.NOT_PERMITTED: "thirdparty_agreement_required",
    Why.NOT_FOUND: "order_not_found",
}


class Desk(msgspec.Struct, frozen=True):
    """What faults do to order calls."""

    is_hidden: Callable[[HeldOrder], bool]
    """Tell whether queries do not see this order yet."""
    before_cancel: Callable[[HeldOrder], None]
    """Let somebody fill the order between its cancel and the answer."""


class UpbitTrading:
    """One pocket's order calls. Each takes the parameters that arrived and returns the answer's body."""

    def __init__(self, exchange: Exchange, clock: Callable[[], int], desk: Desk) -> None:
        self._exchange = exchange
        self._clock = clock
        self._desk = desk
        self._numbers: dict[str, int] = {}
        """Order ids by uuid."""
        self._spent: set[str] = set()
        """Identifiers of requests that never became one of the exchange's: it knows the others itself."""
        self._taken: Row = {}
        """The order taken last, as it was then."""
        exchange.listen(self._on_update)

    def place(self, parameters: Parameters) -> Row:
        """Place an order. The answer is the order as it was before it met the book: it never tells a fill."""
        return self._placed(self._parse(_words(parameters)))[1]

    def test(self, parameters: Parameters) -> Row:
        """Check an order; the uuid in the answer leads to nothing."""
        words = _words(parameters)
        self._refuse_spent(words)
        request = parse_order(words)
        rejection = self._exchange.check(request)
        if rejection is not None:
            raise _refused(request, rejection)
        return order_row(_tested(request, self._exchange.rules(request.symbol), self._clock()))

    def query(self, parameters: Parameters) -> Row:
        """Return one order with its trades."""
        return detailed_row(self._find(_words(parameters), "uuid", "identifier"))

    def cancel(self, parameters: Parameters) -> Row:
        """Cancel one order. The answer shows it as it still was: a cancel is accepted, not done."""
        order = self._open(_words(parameters), "uuid", "identifier")
        row = order_row(order)
        self._cancel(order)
        return row

    def cancel_and_new(self, parameters: Parameters) -> Row:
        """Cancel an order and place another of its market and side; none is made when the old one filled meanwhile."""
        words = _words(parameters)
        order = self._open(words, "prev_order_uuid", "prev_order_identifier")
        new = _renewed(order, words)
        request = self._parse(new)
        row = order_row(order)
        self._cancel(order)
        made = uuid_of("unmade", order.order_id)
        if order.status is not Status.FILLED:
            made = uuid_of("order", self._placed(request)[0].order_id)
        return {**row, "new_order_uuid": made, "new_order_identifier": request.client_id or None}

    def list_open(self, parameters: Parameters) -> list[Row]:
        """Return open orders, newest first unless told otherwise."""
        words = _words(parameters)
        states = _states(parameters, ("wait", "watch"), ("wait",))
        page, limit = _count(words, "page", 1, 10_000), _count(words, "limit", OPEN_MAX, OPEN_MAX)
        rows = self._exchange.orders(words.get("market"), is_open=True) if "wait" in states else []
        return self._rows(rows, words)[(page - 1) * limit : page * limit]

    def list_closed(self, parameters: Parameters) -> list[Row]:
        """Return ended orders made within a window of at most seven days."""
        words = _words(parameters)
        states = _states(parameters, ("done", "cancel"), ("done", "cancel"))
        first_ns, last_ns = self._window(words)
        ended = self._exchange.orders(words.get("market"), is_open=False)
        rows = self._rows([order for order in ended if first_ns <= order.created_ns <= last_ns], words)
        chosen = [row for row in rows if row["state"] in states]
        return chosen[: _count(words, "limit", CLOSED_DEFAULT, CLOSED_MAX)]

    def list_ids(self, parameters: Parameters) -> list[Row]:
        """Return orders by their ids, without trades."""
        words = _words(parameters)
        found = [order for order in self._by_ids(parameters, IDS_MAX).values() if order is not None]
        market = words.get("market")
        chosen = [order for order in found if market in (None, order.request.symbol)]
        return self._rows(sorted(chosen, key=lambda order: order.order_id), words)

    def cancel_ids(self, parameters: Parameters) -> Row:
        """Cancel orders by their ids, each for itself."""
        return self._cancel_all(self._by_ids(parameters, CANCEL_IDS_MAX))

    def cancel_open(self, parameters: Parameters) -> Row:
        """Cancel open orders by side, pair and quote currency, newest first unless told otherwise."""
        words = _words(parameters)
        side = words.get("cancel_side", "all")
        if side not in ("all", *SIDES):
            raise UpbitRefusal("invalid_parameter")
        pairs, excluded, quotes = (_list(words, name) for name in ("pairs", "excluded_pairs", "quote_currencies"))
        if len(pairs) > PAIRS_MAX or len(excluded) > PAIRS_MAX or (pairs and excluded):
            raise UpbitRefusal("invalid_parameter")

        def is_chosen(request: OrderRequest) -> bool:
            is_in = (not pairs or request.symbol in pairs) and request.symbol not in excluded
            is_quote = not quotes or request.symbol.partition("-")[0] in quotes
            return is_in and is_quote and side in ("all", side_word(request.side))

        chosen = [order for order in self._exchange.orders(is_open=True) if is_chosen(order.request)]
        chosen = _ordered(chosen, words)[: _count(words, "count", CANCEL_DEFAULT, CANCEL_MAX)]
        return self._cancel_all({uuid_of("order", order.order_id): order for order in chosen})

    def _parse(self, words: Words) -> OrderRequest:
        """Read an order. Its identifier is spent from here on, even when the words make no sense."""
        self._refuse_spent(words)
        try:
            return parse_order(words)
        except UpbitRefusal:
            if words.get("identifier"):
                self._spent.add(words["identifier"])
            raise

    def _refuse_spent(self, words: Words) -> None:
        if words.get("identifier") in self._spent:
            raise UpbitRefusal("duplicated_identifier")

    def _placed(self, request: OrderRequest) -> tuple[HeldOrder, Row]:
        """Place an order. Returns it and its row as it was before it met the book."""
        placed = self._exchange.place(request)
        if isinstance(placed, Rejection):
            raise _refused(request, placed)
        assert self._taken["uuid"] == uuid_of("order", placed.order_id), "taking an order is told at once"
        return placed, self._taken

    def _cancel(self, order: HeldOrder) -> None:
        self._desk.before_cancel(order)
        self._exchange.cancel(order)

    def _cancel_all(self, orders: dict[str, HeldOrder | None] | dict[str, HeldOrder]) -> Row:
        done: list[Row] = []
        failed: list[Row] = []
        for name, order in orders.items():
            if order is None:
                failed.append({"uuid": name, "market": "", "identifier": None})
                continue
            request = order.request
            row: Row = {"uuid": uuid_of("order", order.order_id), "market": request.symbol}
            row["identifier"] = request.client_id or None
            (done if order.is_open else failed).append(row)
            self._cancel(order)
        return {"success": {"count": len(done), "orders": done}, "failed": {"count": len(failed), "orders": failed}}

    def _by_ids(self, parameters: Parameters, most: int) -> dict[str, HeldOrder | None]:
        uuids, identifiers = parameters.get("uuids[]", []), parameters.get("identifiers[]", [])
        if bool(uuids) == bool(identifiers) or len(uuids) + len(identifiers) > most:
            raise UpbitRefusal("invalid_parameter")
        return {name: self._look(name, "") for name in uuids} | {name: self._look("", name) for name in identifiers}

    def _open(self, words: Words, uuid_name: str, identifier_name: str) -> HeldOrder:
        order = self._find(words, uuid_name, identifier_name)
        if not order.is_open:
            raise UpbitRefusal("order_not_found")
        return order

    def _find(self, words: Words, uuid_name: str, identifier_name: str) -> HeldOrder:
        """Return the order that is meant; a uuid wins over an identifier."""
        uuid, identifier = words.get(uuid_name, ""), words.get(identifier_name, "")
        if not uuid and not identifier:
            raise UpbitRefusal("validation_error", f"{uuid_name} and {identifier_name} are missing")
        order = self._look(uuid, identifier)
        if order is None:
            raise UpbitRefusal("order_not_found")
        return order

    def _look(self, uuid: str, identifier: str) -> HeldOrder | None:
        if uuid:
            number = self._numbers.get(uuid)
            order = None if number is None else self._exchange.find(order_id=number)
        else:
            order = self._exchange.find(client_id=identifier)
        return None if order is None or self._desk.is_hidden(order) else order

    def _rows(self, orders: list[HeldOrder], words: Words) -> list[Row]:
        return [listed_row(order) for order in _ordered(orders, words) if not self._desk.is_hidden(order)]

    def _window(self, words: Words) -> tuple[int, int]:
        """Return the window of creation times: seven days before its end, after its start, or before now."""
        start, end = (_moment_ns(words[name]) if name in words else None for name in ("start_time", "end_time"))
        last_ns = end if end is not None else self._clock() if start is None else start + WINDOW_NS
        first_ns = start if start is not None else last_ns - WINDOW_NS
        if not 0 <= last_ns - first_ns <= WINDOW_NS:
            raise UpbitRefusal("invalid_parameter")
        return first_ns, last_ns

    def _on_update(self, update: Update) -> None:
        if update.happened is Happened.ACCEPTED:
            self._taken = order_row(update.order)
            self._numbers[uuid_of("order", update.order.order_id)] = update.order.order_id
            if len(self._numbers) > UUIDS_KNOWN_MAX:
                del self._numbers[next(iter(self._numbers))]


def _words(parameters: Parameters) -> dict[str, str]:
    """Return plain parameters; one that is repeated counts as its last."""
    return {name: values[-1] for name, values in parameters.items() if not name.endswith("[]")}


def _refused(request: OrderRequest, rejection: Rejection) -> UpbitRefusal:
    side = side_word(request.side)
    if rejection.why is Why.NOTIONAL:
        return UpbitRefusal(f"under_min_total_market_{side}" if request.type is OrderType.MARKET else f"under_min_total_{side}")
    if rejection.why is Why.UNKNOWN_SYMBOL:
        return UpbitRefusal("validation_error", "market does not have a valid value")
    return UpbitRefusal(_NAMES.get(rejection.why, "create_{side}_error").format(side=side))


def _tested(request: OrderRequest, rules: Rules, now_ns: int) -> HeldOrder:
    """Return what a request would be as an order, held by nobody."""
    is_buy = request.side is Side.BUY
    order = HeldOrder(
        0, request, rules.maker_ppm, rules.taker_ppm, now_ns, now_ns, locked_asset=rules.quote if is_buy else rules.base
    )
    order.locked_e8 = request.quantity_e8 or 0
    if is_buy:
        total_e8 = request.quote_e8 or notional_up_e8(request.price_e8 or 0, request.quantity_e8 or 0)
        order.reserved_fee_e8 = fee_up_e8(total_e8, max(rules.maker_ppm, rules.taker_ppm))
        order.locked_e8 = total_e8 + order.reserved_fee_e8
    return order


def _renewed(order: HeldOrder, words: Words) -> dict[str, str]:
    """Return the new order's words: market and side are the old one's, `remain_only` is what it still has."""
    new = {name.removeprefix("new_"): value for name, value in words.items() if name.startswith("new_")}
    if new.get("identifier") and new["identifier"] == order.request.client_id:
        raise UpbitRefusal("invalid_parameter", "new_identifier must differ from the previous order's.")
    if new.get("volume") == "remain_only":
        new["volume"] = format_e8(order.remaining_e8)
    return {**new, "market": order.request.symbol, "side": side_word(order.request.side)}


def _ordered(orders: list[HeldOrder], words: Words) -> list[HeldOrder]:
    """Sort by creation, newest first unless asked otherwise."""
    direction = words.get("order_by", "desc")
    if direction not in ("asc", "desc"):
        raise UpbitRefusal("invalid_parameter")
    return sorted(orders, key=lambda order: order.order_id, reverse=direction == "desc")


def _states(parameters: Parameters, known: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
    asked = (*parameters.get("states[]", ()), *parameters.get("state", ()))
    if not set(asked) <= set(known):
        raise UpbitRefusal("invalid_parameter")
    return asked or default


def _count(words: Words, name: str, default: int, most: int) -> int:
    text = words.get(name, str(default))
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:9]) <= most):
        raise UpbitRefusal("invalid_parameter")
    return int(text[:9])


def _list(words: Words, name: str) -> list[str]:
    return words[name].split(",") if words.get(name) else []


def _moment_ns(text: str) -> int:
    """Read milliseconds, or ISO 8601 with a zone."""
    if text.isascii() and text.isdecimal():
        return int(text[:15]) * 1_000_000
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise UpbitRefusal("invalid_parameter") from None
    if moment.tzinfo is None:
        raise UpbitRefusal("invalid_parameter")
    return int(moment.timestamp() * 1000) * 1_000_000
