"""What plans left that nobody meant to keep adds up in the ledger, late fills included, until it is traded or written off."""

from __future__ import annotations

import msgspec
from ledger_world import (
    BINANCE,
    BTC,
    KRW,
    UPBIT,
    USDT,
    booked,
    closed,
    ended,
    funded_ledger,
    make_leg,
    make_opportunity,
    opened,
)

from arbitrage.ledger import Ledger, LedgerState, Leftover, settlement_asset
from arbitrage.ledger.ledger import kept_assets
from arbitrage.model.facts import OrderChanged, PlanOpened, ResidueWrittenOff
from arbitrage.model.instruments import Node, Side
from arbitrage.model.money import E8
from arbitrage.model.orders import OrderState

BUY = make_leg(0, Side.BUY, 50_000, E8 // 100)
SELL = make_leg(1, Side.SELL, 72_000_000, E8 // 100)
BOUGHT_E8 = E8 // 100 - E8 // 100_000
"""The fee is taken from what was bought."""


def bought(ledger: Ledger, plan: str, *, at_ns: int = 9) -> PlanOpened:
    fact = opened(plan, BUY)
    ledger.apply(fact)
    ledger.apply(booked(fact.orders[0], plan, E8 // 100))
    ledger.apply(closed(ledger, plan, at_ns))
    return fact


def test_what_plans_left_adds_up_with_the_age_of_the_first() -> None:
    ledger = funded_ledger()
    bought(ledger, "p-1", at_ns=100)
    bought(ledger, "p-2", at_ns=200)
    assert ledger.residues() == (Leftover(BTC, 2 * BOUGHT_E8, 100),)


def test_profit_and_what_is_carried_on_purpose_is_no_residue() -> None:
    ledger = funded_ledger()
    carried = make_leg(1, Side.SELL, 72_000_000, E8 // 100, is_carried=True)
    fact = opened("p-1", BUY, carried)
    ledger.apply(fact)
    ledger.apply(booked(fact.orders[0], "t", E8 // 100))
    ledger.apply(closed(ledger, "p-1"))
    assert ledger.residues() == ()
    assert {left.asset for left in ledger.leftovers()} == {BTC}


def test_profit_is_in_the_reporting_asset_or_where_the_cycle_started() -> None:
    assert settlement_asset(make_opportunity(BUY, SELL)) == USDT
    korean = msgspec.structs.replace(make_opportunity(SELL), start=Node(UPBIT, KRW))
    assert settlement_asset(korean) == KRW and kept_assets(korean) == (KRW,)


def test_a_fill_after_its_plan_closed_joins_the_residue() -> None:
    ledger = funded_ledger()
    fact = opened("p-1", BUY)
    ledger.apply(fact)
    ledger.apply(ended(fact.orders[0], 0))
    ledger.apply(closed(ledger, "p-1"))
    assert ledger.residues() == ()
    ledger.apply(booked(fact.orders[0], "late", E8 // 100))
    assert ledger.residues() == (Leftover(BTC, BOUGHT_E8, 5),)
    ledger.check()


def test_what_evens_out_is_gone() -> None:
    ledger = funded_ledger()
    bought(ledger, "p-1")
    sale = opened("p-2", make_leg(0, Side.SELL, 50_000, BOUGHT_E8))
    ledger.apply(sale)
    ledger.apply(booked(sale.orders[0], "s", BOUGHT_E8))
    ledger.apply(closed(ledger, "p-2"))
    assert ledger.residues() == ()


def test_a_residue_is_written_off_without_moving_a_balance() -> None:
    ledger = funded_ledger()
    bought(ledger, "p-1")
    total_e8 = ledger.total_e8(Node(BINANCE, BTC))
    ledger.apply(ResidueWrittenOff(10, BTC, 1_000, "kim", "sold by hand"))
    assert ledger.residues() == (Leftover(BTC, BOUGHT_E8 - 1_000, 9),)
    ledger.apply(ResidueWrittenOff(11, BTC, BOUGHT_E8 - 1_000, "kim", "sold by hand"))
    assert ledger.residues() == () and ledger.total_e8(Node(BINANCE, BTC)) == total_e8
    ledger.check()


def test_residues_survive_a_snapshot_and_one_from_before_they_were_kept_has_none() -> None:
    ledger = funded_ledger()
    bought(ledger, "p-1")
    text = msgspec.json.encode(ledger.snapshot())
    assert Ledger.restore(msgspec.json.decode(text, type=LedgerState)) == ledger
    old = msgspec.json.decode(text)
    del old["residues"]
    for plan in old["plans"]:
        del plan["kept_assets"]
    restored = Ledger.restore(msgspec.convert(old, LedgerState))
    assert restored.residues() == () and restored.leftovers() == ledger.leftovers()


def test_an_end_that_was_wrong_is_undone_and_the_order_settles_again() -> None:
    ledger = funded_ledger()
    fact = opened("p-1", BUY)
    (order,) = fact.orders
    ledger.apply(fact)
    ledger.apply(OrderChanged(6, order.client_order_id, OrderState.REJECTED, 0, "absent", is_absence=True))
    assert ledger.reserved_e8(Node(BINANCE, USDT)) == 0
    ledger.apply(OrderChanged(7, order.client_order_id, OrderState.UNKNOWN, 0, "it exists"))
    assert ledger.snapshot().holds[0].ended_quantity_e8 is None
    ledger.apply(booked(order, "t", E8 // 100))
    ledger.apply(OrderChanged(8, order.client_order_id, OrderState.UNKNOWN, 0, "a late question"))
    assert ledger.snapshot().holds[0].is_settled, "what is filled whole stays ended"
    ledger.check()
