"""Three seconds of ten thousand opportunities a second: no taken one is lost, every dropped one is counted, the loop goes on.

The minute of it is `python scripts/reliability/ledger_load.py --seconds 60`.
"""

from __future__ import annotations

import asyncio

import ledger_load
import msgspec
import pytest

from arbitrage.model.settings import StoreSettings

pytestmark = pytest.mark.integration
SECONDS, RATE = 3.0, 10_000


def test_ten_thousand_opportunities_a_second_lose_no_taken_one_and_do_not_hold_the_loop(store_settings: StoreSettings) -> None:
    small = msgspec.structs.replace(store_settings, writer_queue_max=5_000)
    told = asyncio.run(ledger_load.run(small, RATE, SECONDS))
    print(told)
    assert told["faults"] == [], told
