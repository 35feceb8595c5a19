"""The SQL that writes. Every statement is harmless when its row is already there; nothing here connects or decides."""

from __future__ import annotations


def _insert(table: str, columns: str, json_columns: str = "") -> str:
    names = [*columns.split(), *json_columns.split()]
    slots = ", ".join(f"${number}" for number in range(1, len(names) + 1))
    return f"INSERT INTO {table} ({', '.join(names)}) VALUES ({slots}) ON CONFLICT DO NOTHING"


OPEN_SESSION = """INSERT INTO sessions (env, session_id, first_start_ns, last_start_ns, starts) VALUES ($1, $2, $3, $3, 1)
ON CONFLICT (env, session_id) DO UPDATE SET last_start_ns = excluded.last_start_ns, starts = sessions.starts + 1
RETURNING session"""
FIND_SESSION = "SELECT session FROM sessions WHERE env = $1 AND session_id = $2"
LAST_SEQUENCE = "SELECT coalesce(max(sequence), 0) FROM journal_facts WHERE session = $1"
EPOCH_HELD = "SELECT epoch FROM leases WHERE env = $1 AND session_id = $2 FOR SHARE"
FACTS_AFTER = "SELECT sequence, body FROM journal_facts WHERE session = $1 AND sequence > $2 ORDER BY sequence LIMIT $3"
SNAPSHOTS = """SELECT journal_sequence, at_ns, version, sha256, body FROM session_snapshots
WHERE session = $1 ORDER BY journal_sequence DESC, at_ns DESC LIMIT $2"""

# No ON CONFLICT here: a second writer of the same numbers is a fault that must be seen.
INSERT_FACT = "INSERT INTO journal_facts (session, sequence, at_ns, kind, body) VALUES ($1, $2, $3, $4, $5)"

_OPPORTUNITY = (
    "session opportunity_id at_ns cycle name start_venue start_asset amount_in_e8 amount_out_e8 reporting_asset notional_e8 "
    "edge_ppm top_of_book_e8 depth_e8 fees_e8 transfers_e8 net_e8 age_ms_max legs transfers fx "
    "pair venues symbols fx_depth_e8 fx_fees_e8 refusal detail plan_id"
)
INSERT_OPPORTUNITY = _insert("opportunities", _OPPORTUNITY)
TAKE_OPPORTUNITY = (
    INSERT_OPPORTUNITY.removesuffix("DO NOTHING")
    + "(session, opportunity_id) DO UPDATE SET plan_id = excluded.plan_id, refusal = NULL, detail = ''"
)
INSERT_RATE = _insert("plan_rates", "session plan_id asset at_ns reporting_asset sold_e8 bought_e8 age_ms")
INSERT_PLAN = _insert(
    "plans", "session plan_id opportunity_id sequence opened_at_ns deadline_ns state reporting_asset expected_e8"
)
CLOSE_PLAN = """UPDATE plans SET state = $3, realised_e8 = $4, residuals = $5, closed_at_ns = $6, waterfall = $7
WHERE session = $1 AND plan_id = $2"""
INSERT_WATERFALL = """INSERT INTO plan_waterfalls
SELECT p.session, p.plan_id, p.opportunity_id, p.closed_at_ns, p.reporting_asset,
    o.top_of_book_e8, o.fx_depth_e8 - o.depth_e8, o.fx_fees_e8 - o.fees_e8, -o.fx_depth_e8 - o.fx_fees_e8, -o.transfers_e8,
    o.net_e8, $3, $4, $5, $6, $7, p.realised_e8
FROM plans p JOIN opportunities o USING (session, opportunity_id) WHERE p.session = $1 AND p.plan_id = $2
ON CONFLICT DO NOTHING"""
"""Joins what was expected with what became of it; the table's checks hold the sums."""
GOVERN_PLAN = "UPDATE plans SET state = 'governed' WHERE session = $1 AND plan_id = $2 AND closed_at_ns IS NULL"
INSERT_LEG_DECISION = _insert("leg_decisions", "session sequence plan_id at_ns choice alternatives")
INSERT_ORDER = _insert(
    "orders",
    "session client_order_id sequence plan_id leg_index venue market symbol side price_e8 quantity_e8 time_in_force "
    "intended_at_ns state changed_at_ns",
)
CHANGE_ORDER = """UPDATE orders SET state = $3, filled_quantity_e8 = $4, reason = $5, changed_at_ns = $6
WHERE session = $1 AND client_order_id = $2"""
INSERT_FILL = _insert(
    "fills",
    "session sequence at_ns venue market symbol client_order_id trade_id side price_e8 quantity_e8 quote_e8 fee_e8 fee_asset "
    "is_maker fee_value_e8",
)
INSERT_ENTRY = _insert("ledger_entries", "session sequence line at_ns account venue asset amount_e8")
INSERT_SNAPSHOT = _insert("session_snapshots", "session journal_sequence at_ns version sha256 body")
INSERT_POSITION = _insert("position_snapshots", "session at_ns journal_sequence venue asset free_e8 reserved_e8")
INSERT_METRICS = _insert("metrics_snapshots", "session at_ns metrics")
INSERT_GUARD = _insert("risk_guard_snapshots", "session at_ns journal_sequence state")
INSERT_LOG = _insert("system_logs", "session at_ns number level code text fields")
INSERT_CONFIGURATION = _insert("configuration_versions", "session version at_ns actor body")
INSERT_RESTART_REPORT = _insert("restart_reports", "session sequence at_ns occasion is_armed body")
INSERT_KILL_RECEIPT = _insert("kill_receipts", "session sequence killed_at_ns proven_at_ns actor reason body")

_EPISODE = (
    "session first_seen_ns episode_id cycle name pair reporting_asset state last_seen_ns noted_at_ns looks edge_ppm_peak "
    "net_peak_e8 taken_count taken refusals follow_ups symbols first peak"
)
NOTE_EPISODE = (
    _insert("episodes", _EPISODE).removesuffix("DO NOTHING")
    + "(session, first_seen_ns, episode_id) DO UPDATE SET "
    + ", ".join(f"{name} = excluded.{name}" for name in _EPISODE.split()[7:])
    + " WHERE episodes.noted_at_ns <= excluded.noted_at_ns"
)
STOP_EPISODES = "UPDATE episodes SET state = 'stopped' WHERE session = $1 AND state = 'open'"
"""At a start: nobody looks any more at what an earlier process left open."""

FACT_ORDER = (
    INSERT_FACT,
    TAKE_OPPORTUNITY,
    INSERT_PLAN,
    INSERT_RATE,
    INSERT_ORDER,
    CHANGE_ORDER,
    INSERT_FILL,
    INSERT_LEG_DECISION,
    GOVERN_PLAN,
    CLOSE_PLAN,
    INSERT_WATERFALL,
    INSERT_ENTRY,
    INSERT_RESTART_REPORT,
    INSERT_KILL_RECEIPT,
)
"""Within one batch: what is created comes before what changes it."""

SNAPSHOTS_KEPT = 20
"""As many as files by default. Each is megabytes, and a dump before a migration carries them all while a start waits."""
DAY_NS = 86_400_000_000_000
RETENTION_DAYS = {
    "system_logs": 30,
    "opportunities": 30,
    "metrics_snapshots": 30,
    "position_snapshots": 90,
    "risk_guard_snapshots": 90,
}
"""Plans, orders, fills, ledger entries and journal facts are kept for ever."""
PRUNE_ROWS_MAX = 5_000
"""At most so many rows of a table go in one round, so that no round holds locks for long."""
PRUNE_SNAPSHOTS = """DELETE FROM session_snapshots WHERE session = $1 AND (journal_sequence, at_ns) NOT IN
(SELECT journal_sequence, at_ns FROM session_snapshots
WHERE session = $1 ORDER BY journal_sequence DESC, at_ns DESC LIMIT $2)"""


def prune_statement(table: str) -> str:
    """Return the deletion of rows older than `$2` of session `$1` in one table of RETENTION_DAYS."""
    assert table in RETENTION_DAYS, "only tables with a retention lose rows"
    kept = " AND plan_id IS NULL" if table == "opportunities" else ""
    return (
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} "
        f"WHERE session = $1 AND at_ns < $2{kept} LIMIT {PRUNE_ROWS_MAX}))"
    )
