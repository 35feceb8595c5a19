"""One name for a pair wherever it is read: what is traded besides fiat and the reporting asset, by the alphabet, joined by `+`.

Stored names stay as they were written; some hold a fiat whose rate was not kept with them. Which assets are fiat is told by
the rates that the session's plans stored. A filter may name assets in any order: `ETH+BTC` finds `BTC+ETH`.
"""

from __future__ import annotations

import re

_BETWEEN = re.compile(r"[+/,\s]+")

_FIAT = """ARRAY(WITH RECURSIVE named AS (
    (SELECT asset FROM plan_rates WHERE session = $1 ORDER BY asset LIMIT 1)
    UNION ALL
    SELECT (SELECT later.asset FROM plan_rates later WHERE later.session = $1 AND later.asset > named.asset
        ORDER BY later.asset LIMIT 1)
    FROM named WHERE named.asset IS NOT NULL)
SELECT asset FROM named WHERE asset IS NOT NULL)"""
"""Every fiat of session `$1`, by steps over the index: plans are many, and fiats few."""


def asked_assets(text: str) -> list[str]:
    """Return the assets of a name as somebody may write it; nothing for an empty one."""
    return sorted({asset for asset in _BETWEEN.split(text.upper()) if asset})


def canonical(pair: str, reporting_asset: str) -> str:
    """Return the SQL expression of the one name, out of two columns; what is nothing but fiat keeps its stored name."""
    return f"""coalesce((SELECT string_agg(part, '+' ORDER BY part COLLATE "C")
    FROM (SELECT DISTINCT unnest(string_to_array({pair}, '+')) AS part) parts
    WHERE part <> {reporting_asset} AND part <> ALL({_FIAT})), {pair})"""


def trades(pair: str, parameter: str) -> str:
    """Return the SQL condition that a stored name holds every asked asset."""
    return f"string_to_array({pair}, '+') @> {parameter}::text[]"
