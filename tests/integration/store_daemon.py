"""A small daemon for the crash tests: appends numbered facts and prints each number once it is durable."""

from __future__ import annotations

import asyncio
import sys
import time

from arbitrage.model.effects import Append
from arbitrage.model.events import Funded
from arbitrage.model.instruments import Venue
from arbitrage.model.money import Asset
from arbitrage.model.settings import StoreSettings
from arbitrage.store.stores import Stores


async def main(data_dir: str) -> None:
    stores = await Stores.open(StoreSettings(data_dir=data_dir), "test", "main", time.time_ns)
    facts = await stores.facts_after(0)
    assert [number for number, _ in facts] == list(range(1, len(facts) + 1))
    print("open", stores.journal.last_sequence, *stores.embedded.pids.values(), flush=True)
    async with asyncio.TaskGroup() as group:
        group.create_task(stores.run())
        while True:
            number = stores.journal.last_sequence + 1
            text = f"fact {number} " + "x" * (number % 97)
            assert stores.append([Append(Funded(number, Venue("binance"), Asset("USDT"), number, text))]) == number
            print(number, flush=True)
            await asyncio.sleep(0.001)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
