"""A daemon whose fence is broken on purpose, to see that the rounds notice. Run as `planted.py NAME run ...`; never shipped."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable

from arbitrage.app import cli
from arbitrage.store import lease


async def _beats_for_itself(self: lease.Lease, changed: Callable[[], None]) -> None:
    """Believe to hold the lease for ever, and look at nothing."""
    self.trouble = ""
    await asyncio.get_running_loop().create_future()


def deaf() -> None:
    """Hold on to a lease whatever the database says, or does not say."""
    setattr(lease.Lease, "silence", lambda self: "")  # noqa: B010 - a method in the place of another, which mypy refuses
    setattr(lease.Lease, "left_ns", 10**10)  # noqa: B010 - as above
    setattr(lease.Lease, "run", _beats_for_itself)  # noqa: B010 - as above


PLANTS = {"deaf": deaf}

if __name__ == "__main__":
    PLANTS[sys.argv.pop(1)]()
    raise SystemExit(cli.main())
