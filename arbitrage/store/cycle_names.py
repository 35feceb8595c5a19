"""What a cycle's name tells: which venue's stock of which asset it spends. Reads names; makes none.

Every leg is sent at once, out of own stock (`USDT@upbit > KRW > BTC > BTC@binance > USDT > USDT@upbit` spends USDT and KRW at
Upbit and BTC at Binance), and a step from a venue to another moves nothing: it costs a transfer later.
"""

from __future__ import annotations

import itertools


def spent_nodes(name: str) -> frozenset[str]:
    """Return `ASSET@VENUE` of all that a cycle spends; nothing where the name is none of a cycle."""
    steps = name.split(" > ")
    found, venue = set(), steps[0].partition("@")[2]
    if not venue:
        return frozenset()
    for step, following in itertools.pairwise(steps):
        asset, _, named = step.partition("@")
        venue = named or venue
        if following.partition("@")[0] != asset:
            found.add(f"{asset}@{venue}")
    return frozenset(found)
