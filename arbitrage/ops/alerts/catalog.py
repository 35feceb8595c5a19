"""Every alert there is: name, severity, title, how long it must last. Judges nothing; the runbook has a section for each."""

from __future__ import annotations

from arbitrage.ops.alerts.nouns import Rule, Topic

EVENT_QUIET_MS = 60_000
"""An event that did not come again for so long has stopped."""
_ROWS = (
    Rule("naked_leg", "critical", "a leg is left unhedged", Topic.MONEY, hold_ms=15_000),
    Rule("loss_limit", "critical", "a limit of loss is reached", Topic.MONEY),
    Rule("loss_near", "warning", "a limit of loss is near", Topic.MONEY),
    Rule("difference", "critical", "what the venues say differs from the ledger", Topic.MONEY),
    Rule("residual", "warning", "an arbitrage closed with a residual", Topic.MONEY, is_event=True),
    Rule("order_unknown", "critical", "what became of an order is not known", Topic.MONEY, is_event=True),
    Rule("pair_off", "warning", "a pair disarmed itself", Topic.MONEY),
    Rule("disarmed", "critical", "not armed", Topic.TRADING, hold_ms=60_000),
    Rule("kill_switch", "critical", "the kill switch is on", Topic.TRADING),
    Rule("paused", "info", "paused", Topic.TRADING),
    Rule("kill_unproven", "warning", "the kill switch is not proven", Topic.TRADING),
    Rule("lease_lost", "critical", "the lease is lost", Topic.TRADING),
    Rule("budget_fast", "critical", "the error budget burns fast", Topic.TRADING),
    Rule("budget_slow", "warning", "the error budget burns", Topic.TRADING),
    Rule("feed_down", "critical", "a venue's feed is down", Topic.FEEDS, hold_ms=10_000),
    Rule("no_book", "warning", "a venue has no usable book", Topic.FEEDS, hold_ms=60_000),
    Rule("account_down", "critical", "a venue's account is down", Topic.FEEDS, hold_ms=15_000),
    Rule("clock", "critical", "our clock and a venue's differ", Topic.FEEDS, hold_ms=30_000),
    Rule("book_mismatch", "warning", "a book disagreed with its venue", Topic.FEEDS, is_event=True),
    Rule("rules_changed", "warning", "a venue changed its rules", Topic.FEEDS, is_event=True),
    Rule("database_away", "critical", "PostgreSQL is away", Topic.STORES, hold_ms=5_000),
    Rule("redis_away", "warning", "Redis is away", Topic.STORES, hold_ms=60_000),
    Rule("journal_full", "critical", "the journal is full or cannot be written", Topic.STORES),
    Rule("journal_filling", "warning", "the journal fills", Topic.STORES, hold_ms=5_000),
    Rule("archive_behind", "warning", "the archive of the log stands still", Topic.STORES, hold_ms=30_000),
    Rule("backup_old", "warning", "the newest backup is old", Topic.STORES),
    Rule("snapshot_old", "warning", "the newest snapshot is old", Topic.STORES),
    Rule("error_rate", "warning", "many errors", Topic.PROCESS, hold_ms=10_000),
    Rule("loop_late", "warning", "the loop is late", Topic.PROCESS, hold_ms=60_000),
    Rule("loop_stalled", "warning", "the loop stood still", Topic.PROCESS, is_event=True),
    Rule("log_dropped", "warning", "log lines are lost", Topic.PROCESS, is_event=True),
    Rule("part_down", "warning", "a part beside trading does not run", Topic.PROCESS, hold_ms=5_000),
    Rule("channel_failing", "warning", "a channel of alerts fails", Topic.PROCESS, hold_ms=30_000),
    Rule("broken", "critical", "the daemon stopped itself", Topic.PROCESS, is_event=True),
    Rule("unclean_end", "warning", "the last run did not end tidily", Topic.PROCESS, is_event=True),
    Rule("started", "info", "started", Topic.PROCESS, is_event=True),
    Rule("stopped", "info", "stopped", Topic.PROCESS, is_event=True),
)  # fmt: skip
CATALOG: dict[str, Rule] = {rule.name: rule for rule in _ROWS}
HEARD: dict[str, str] = {
    "plan_residual": "residual",
    "residual_unvalued": "residual",
    "order_unknown_at_close": "order_unknown",
    "fill_without_order": "order_unknown",
    "fill_too_old": "order_unknown",
    "fill_unbookable": "order_unknown",
    "kill_order_unreachable": "order_unknown",
    "stray_order_unreachable": "order_unknown",
    "book_mismatch": "book_mismatch",
    "instrument_changed": "rules_changed",
    "instrument_missing": "rules_changed",
    "loop_stalled": "loop_stalled",
}
"""By the code of what the engine reports: the event that it is."""
LOOKED_AT = frozenset({*HEARD, "journal_full", "journal_unavailable", "difference", "pair_disarmed", "account_link_down"})
"""Codes after which the house is looked at at once."""
