"""The SQL that reads the opportunity ledger. Every statement is bounded; nothing here connects, decides or writes."""

from __future__ import annotations

from arbitrage.model.episodes import FOLLOW_UP_DELAYS_MS
from arbitrage.store.pair_names import canonical, trades
from arbitrage.store.statements import DAY_NS

SESSION = "SELECT session FROM sessions WHERE env = $1 AND session_id = $2"

SESSIONS = "SELECT session_id FROM sessions WHERE env = $1 ORDER BY last_start_ns DESC LIMIT 100"

_OPPORTUNITY = f"""SELECT o.*, {canonical("o.pair", "o.reporting_asset")} AS pair_name, p.state AS plan_state, p.realised_e8
FROM opportunities o LEFT JOIN plans p ON p.session = o.session AND p.plan_id = o.plan_id
WHERE o.session = $1"""
OPPORTUNITIES = f"""{_OPPORTUNITY}
AND ($2::boolean IS NULL OR (o.plan_id IS NOT NULL) = $2) AND {trades("o.pair", "$3")}
AND o.at_ns >= $4 AND ($5::bigint IS NULL OR o.at_ns < $5)
AND ($6::bigint IS NULL OR (o.at_ns, o.opportunity_id) < ($6, $7))
ORDER BY o.at_ns DESC, o.opportunity_id DESC LIMIT $8"""
OPPORTUNITY = f"{_OPPORTUNITY} AND o.opportunity_id = $2"
OPPORTUNITY_OF = "SELECT opportunity_id FROM plans WHERE session = $1 AND plan_id = $2"


def _in_short(name: str) -> str:
    """Return the columns that tell an episode's first or best opportunity in short: its whole body stays in the database."""
    return (
        f"{name}->>'id' AS {name}_id, ({name}->>'at_ns')::bigint AS {name}_at_ns, ({name}->>'edge_ppm')::bigint AS {name}_ppm, "
        f"({name}->'breakdown'->>'net_e8')::numeric AS {name}_net_e8, ({name}->>'notional_e8')::numeric AS {name}_notional_e8"
    )


_COLUMNS = (
    f"episode_id, cycle, name, {canonical('pair', 'reporting_asset')} AS pair_name, "
    "reporting_asset, state, first_seen_ns, last_seen_ns, looks, edge_ppm_peak, net_peak_e8, "
    f"taken_count, taken, refusals, follow_ups, {_in_short('first')}, {_in_short('peak')}"
)
_WHOLE = f"{_COLUMNS}, symbols, first, peak"
EPISODES = f"""SELECT {_COLUMNS} FROM episodes WHERE session = $1
AND ($2::boolean IS NULL OR (taken_count > 0) = $2) AND {trades("pair", "$3")}
AND first_seen_ns >= $4 AND ($5::bigint IS NULL OR first_seen_ns < $5)
AND ($6::bigint IS NULL OR (first_seen_ns, episode_id) < ($6, $7))
ORDER BY first_seen_ns DESC, episode_id DESC LIMIT $8"""
EPISODE_AT = f"""SELECT {_COLUMNS} FROM episodes WHERE session = $1 AND cycle = $2 AND first_seen_ns <= $3
AND last_seen_ns >= $3 ORDER BY first_seen_ns DESC LIMIT 1"""
EPISODE = f"SELECT {_WHOLE} FROM episodes WHERE session = $1 AND first_seen_ns = $2 AND episode_id = $3"
EPISODE_WITH = f"""SELECT {_WHOLE} FROM episodes WHERE session = $1 AND first_seen_ns <= $2 AND first_seen_ns > $2 - {DAY_NS}
AND last_seen_ns >= $2 AND ((first->>'id') = $3 OR (peak->>'id') = $3) ORDER BY first_seen_ns DESC LIMIT 1"""
"""An opening that had lasted for more than a day is found by its own name only: all of a month are not looked through."""

_SHORT = """FROM episodes WHERE session = $1 AND first_seen_ns >= $2 AND taken_count = 0
AND refusals->>'insufficient_balance' IS NOT NULL"""
MISSED_NAMES = f"SELECT DISTINCT name {_SHORT} LIMIT 10000"
MISSED_SINCE = "SELECT min(first_seen_ns) FROM episodes WHERE session = $1 AND first_seen_ns >= $2"
MISSED = f"""WITH short AS (
SELECT first_seen_ns, (
    SELECT CASE WHEN count(*) = {len(FOLLOW_UP_DELAYS_MS)} AND count(*) = count(each->>'net_e8')
        THEN min((each->>'net_e8')::numeric) END
    FROM json_array_elements(follow_ups) each) AS worst_e8
{_SHORT} AND name = ANY($3::text[]) AND reporting_asset = $4),
best AS (SELECT max(worst_e8) AS e8 FROM short WHERE worst_e8 > 0 GROUP BY first_seen_ns / 1000000000)
SELECT (SELECT count(*) FROM short) AS openings, (SELECT count(worst_e8) FROM short) AS priced,
    (SELECT count(*) FROM short WHERE worst_e8 > 0) AS paying, (SELECT coalesce(sum(e8), 0) FROM best) AS net_e8"""

PLAN = "SELECT * FROM plans WHERE session = $1 AND plan_id = $2"
WATERFALL = "SELECT * FROM plan_waterfalls WHERE session = $1 AND plan_id = $2"
ORDERS = "SELECT * FROM orders WHERE session = $1 AND plan_id = $2 ORDER BY sequence, leg_index, client_order_id LIMIT 1000"
FILLS = """SELECT f.* FROM fills f JOIN orders r USING (session, client_order_id)
WHERE f.session = $1 AND r.plan_id = $2 ORDER BY f.sequence LIMIT 10000"""
DECISIONS = "SELECT * FROM leg_decisions WHERE session = $1 AND plan_id = $2 ORDER BY sequence LIMIT 1000"

CURRENCY = """SELECT reporting_asset FROM plans WHERE session = $1 AND closed_at_ns IS NOT NULL
ORDER BY closed_at_ns DESC LIMIT 1"""

RATE_AGE_NS_MAX = DAY_NS
"""A plan without a rate of its own is converted by the newest one that another plan stored, no older than this."""
STEP_COLUMNS = (
    "top_of_book", "depth", "fees", "fx", "transfers",
    "transfers_unpaid", "latency_drift", "fx_drift", "fee_changes", "partial_fills",
)  # fmt: skip
KEYS = {
    "day": "to_char(to_timestamp(p.closed_at_ns / 1000000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD')",
    "pair": f"coalesce(nullif({canonical('o.pair', 'p.reporting_asset')}, ''), 'earlier')",
    "venue": "coalesce(nullif(o.venues, ''), 'earlier')",
    "component": "''",
}
"""What profit is grouped by; `earlier` is what was kept before pair and venues were told."""
_CLOSED = f"""WITH closed AS (
SELECT p.reporting_asset, p.expected_e8, p.realised_e8,
    CASE WHEN p.reporting_asset = $4 THEN 'same' WHEN own.sold_e8 IS NOT NULL THEN 'own'
        WHEN near.sold_e8 IS NOT NULL THEN 'near' ELSE 'none' END AS rate,
    CASE WHEN p.reporting_asset = $4 THEN 100000000 WHEN p.realised_e8 >= 0 THEN coalesce(own.sold_e8, near.sold_e8)
        ELSE coalesce(own.bought_e8, near.bought_e8) END AS rate_e8,
    (SELECT CASE WHEN count(*) = count(f.fee_value_e8) THEN coalesce(sum(f.fee_value_e8), 0) END
        FROM fills f JOIN orders r USING (session, client_order_id)
        WHERE r.session = p.session AND r.plan_id = p.plan_id) AS paid_e8,
    coalesce(w.top_of_book_e8, o.top_of_book_e8, p.expected_e8) AS top_of_book_e8,
    coalesce(w.depth_e8, o.fx_depth_e8 - o.depth_e8, 0) AS depth_e8,
    coalesce(w.fees_e8, o.fx_fees_e8 - o.fees_e8, 0) AS fees_e8,
    coalesce(w.fx_e8, -o.fx_depth_e8 - o.fx_fees_e8, 0) AS fx_e8, coalesce(w.transfers_e8, -o.transfers_e8, 0) AS transfers_e8,
    coalesce(w.transfers_unpaid_e8, 0) AS transfers_unpaid_e8, coalesce(w.latency_drift_e8, 0) AS latency_drift_e8,
    coalesce(w.fx_drift_e8, 0) AS fx_drift_e8, coalesce(w.fee_changes_e8, 0) AS fee_changes_e8,
    coalesce(w.partial_fills_e8, p.realised_e8 - p.expected_e8) AS partial_fills_e8,
    %s AS key
FROM plans p
LEFT JOIN opportunities o ON o.session = p.session AND o.opportunity_id = p.opportunity_id
LEFT JOIN plan_waterfalls w ON w.session = p.session AND w.plan_id = p.plan_id
LEFT JOIN plan_rates own ON own.session = p.session AND own.plan_id = p.plan_id AND own.asset = $4
LEFT JOIN LATERAL (
    SELECT r.sold_e8, r.bought_e8 FROM plan_rates r
    WHERE own.plan_id IS NULL AND r.session = p.session AND r.asset = $4 AND r.reporting_asset = p.reporting_asset
        AND r.at_ns <= p.closed_at_ns AND r.at_ns > p.closed_at_ns - {RATE_AGE_NS_MAX}
    ORDER BY r.at_ns DESC LIMIT 1) near ON true
WHERE p.session = $1 AND p.closed_at_ns >= $2 AND ($3::bigint IS NULL OR p.closed_at_ns < $3))"""


def _converted(column: str) -> str:
    """Return an amount in the asked currency, rounded down (against us); NULL without a rate."""
    product = f"{column} * rate_e8"
    return f"div({product} - CASE WHEN {column} < 0 THEN 99999999 ELSE 0 END, 100000000)"


def profit(by: str) -> str:
    """Return the statement for profit grouped by one of KEYS: one row for each key, reporting asset and kind of rate."""
    steps = ", ".join(f"sum({_converted(f'{step}_e8')}) AS {step}_e8" for step in STEP_COLUMNS)
    return f"""{_CLOSED % KEYS[by]}
SELECT key, reporting_asset, rate, count(*) AS plans, sum(expected_e8) AS expected_raw_e8, sum(realised_e8) AS realised_raw_e8,
    sum({_converted("expected_e8")}) AS expected_e8, sum({_converted("realised_e8")}) AS realised_e8,
    CASE WHEN count(*) = count(paid_e8) THEN -sum({_converted("(-paid_e8)")}) END AS paid_e8, {steps}
FROM closed GROUP BY key, reporting_asset, rate ORDER BY key, reporting_asset, rate"""
