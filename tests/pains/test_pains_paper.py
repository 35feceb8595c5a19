"""Paper wins, live loses: row 25 of the pains. One order path, one adapter, no key on paper, and a band that was measured."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
from jumping_loop import run_jumping
from pain_house import STILL, Daemon, pass_s, town_of

from arbitrage.app.modes import LiveTransport, PaperTransport, keys_for
from arbitrage.model.effects import PlaceOrder
from arbitrage.model.facts import FillBooked, PlanClosed
from arbitrage.sim.exchange.faults import Kind
from arbitrage.venues.trading import Credentials

SECONDS, LATENCY_MS = 20, 40
"""The paper venue draws its latency around the same 40 ms."""
COUNT_BAND, PROFIT_BAND = (0.4, 1.0), (0.3, 1.0)
"""Live over paper. Measured over seeds 1 to 6 of the synthetic market, 20 s each: 0.5 to 0.7 of the arbitrages (one of three in
the one with three), 0.31 to 0.88 of the profit. Paper is too rosy by that much: it knows no request budgets, no private stream
and nobody who reacts to what we take."""
Result = tuple[int, int, int]


def day(mode: str, seed: int, folder: Path) -> Result:
    """Live the same synthetic seconds on paper, or live at the exchanges; return arbitrages, profit, partly filled orders."""

    async def scene() -> Result:
        async with town_of("synthetic", seed) as town:
            changes: dict[str, Any] = {"risk": {"orders_per_minute_max": 100_000}, "strategy": {"sizing_budget_us": 1_000_000}}
            house = Daemon(town, folder / mode, mode, **changes)
            for venue, endpoint in (("binance", "order.place"), ("upbit", "POST /v1/orders")):
                town.fault(Kind.SLOW, venue, endpoint, ms=LATENCY_MS, times=0)  # type: ignore[arg-type]  # both are venues
            await house.start()
            await house.ready()
            await pass_s(SECONDS)
            house.door.rest()
            await house.quiet()
            outcomes = [fact.outcome for fact in house.of(PlanClosed)]
            filled: dict[str, int] = {}
            for fact in house.of(FillBooked):
                filled[fact.fill.client_order_id] = filled.get(fact.fill.client_order_id, 0) + fact.fill.quantity_e8
            partly = sum(0 < filled.get(order.client_order_id, 0) < order.quantity_e8 for _, order in house.placed)
            if mode == "live":
                await pass_s(10)
                await house.quiet()
                house.check_truth()
            await house.kill()
            return len(outcomes), sum(outcome.realised_e8 for outcome in outcomes), partly

    return run_jumping(scene())


@pytest.mark.parametrize("seed", [1, 6])
def test_pain_25_the_same_minutes_on_paper_and_live_agree_within_the_stated_band(seed: int, tmp_path: Path) -> None:
    paper, live = day("paper", seed, tmp_path), day("live", seed, tmp_path)
    print(f"seed {seed}: arbitrages, profit in 1e-8 USDT, partial fills: paper {paper}, live {live}")
    assert paper[0] >= 10 and live[2] > 0, "there was something to compare, partial fills among it"
    assert COUNT_BAND[0] <= live[0] / paper[0] <= COUNT_BAND[1]
    assert paper[1] > 0
    assert PROFIT_BAND[0] <= live[1] / paper[1] <= PROFIT_BAND[1]


def test_pain_25_paper_and_live_differ_in_one_adapter_and_paper_holds_no_key(tmp_path: Path) -> None:
    async def parts(mode: str) -> tuple[dict[str, type], set[type], int]:
        known = set(map(id, gc.get_objects()))
        async with town_of(STILL) as town:
            house = Daemon(town, tmp_path / mode, mode)
            await house.start()
            await house.ready()
            assert isinstance(house.transport, PaperTransport if mode == "paper" else LiveTransport)
            assert house.connections.accounts.keys() == (set() if mode == "paper" else {"binance", "upbit"})
            assert mode != "paper" or keys_for(house.settings, {}) == {}, "a paper build reads no key"
            keys = sum(isinstance(each, Credentials) and id(each) not in known for each in gc.get_objects())
            path = {"engine": type(house.engine), "door": type(house.door), "desk": type(house.engine.desk)}
            path |= {f"feed {name}": type(feed) for name, feed in house.connections.feeds.items()}
            await house.enter()
            await house.quiet()
            assert len(house.of(PlanClosed)) == 1
            kinds = {type(effect) for _, effect in house.effects}
            await house.kill()
            return path, kinds, keys

    paper, live = run_jumping(parts("paper")), run_jumping(parts("live"))
    assert paper[0] == live[0], "everything but the transport is the same"
    assert PlaceOrder in paper[1] and paper[1] <= live[1]
    assert (paper[2], live[2]) == (0, 2), "paper holds no key"
