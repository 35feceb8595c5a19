"""What hurts in a picture of the house: one function a topic, each naming what it finds. Remembers nothing and tells nobody."""

from __future__ import annotations

from collections.abc import Iterator

from arbitrage.model.money import PPM, format_e8
from arbitrage.model.settings import AlertSettings
from arbitrage.ops.alerts.nouns import Finding
from arbitrage.ops.alerts.picture import FeedPicture, Picture

KILL_AGE_H_MAX, KILL_FIRST_S_MAX = 30, 120
"""As the health check asks: the switch proves itself once a day, and soon after a first start."""
JOURNAL_FILLING_SHARE = 2
"""A journal that is over one part in so many of its bound fills."""
EXPLAINED = ("kill switch: ", "paused: ", "the lease is lost")
"""Reasons for being disarmed that have an alert of their own."""


def findings(picture: Picture, settings: AlertSettings, clock_ms_max: int) -> list[Finding]:
    """Return everything that hurts in a picture."""
    found = [
        *_trading(picture), *_money(picture, settings.loss_near_ppm), *_accounts(picture),
        *(finding for feed in picture.feeds for finding in _feed(feed, clock_ms_max)),
        *_stores(picture), *_process(picture, settings.errors_per_minute_max),
    ]  # fmt: skip
    assert len({finding.key for finding in found}) == len(found), "each alert is found once"
    return found


def unexplained(picture: Picture) -> list[str]:
    """Return the reasons for being disarmed that no other alert tells."""
    told = {*picture.differences.values(), *(f"{venue}: {why}" for venue, why in picture.accounts.items())}
    return [
        reason
        for reason in picture.not_armed_because
        if not reason.startswith(EXPLAINED) and reason not in told and reason != picture.stores.lease_fault
    ]


def _trading(picture: Picture) -> Iterator[Finding]:
    if picture.kill_reason:
        yield Finding("kill_switch", f"on, {picture.kill_reason}; only a release ends it")
    if picture.pause_reason:
        yield Finding("paused", picture.pause_reason)
    if reasons := unexplained(picture):
        yield Finding("disarmed", f"not armed because {'; '.join(reasons)}")
    if picture.stores.lease_fault:
        yield Finding("lease_lost", picture.stores.lease_fault)
    age_h, up_s = picture.process.kill_proof_age_h, picture.process.up_s
    if age_h is None and up_s > KILL_FIRST_S_MAX:
        yield Finding("kill_unproven", f"never proven, {up_s:.0f} s after the start")
    elif age_h is not None and age_h > KILL_AGE_H_MAX:
        yield Finding("kill_unproven", f"last proven {age_h:.0f} h ago, the limit is {KILL_AGE_H_MAX} h")


def _money(picture: Picture, near_ppm: int) -> Iterator[Finding]:
    for asset, text in picture.naked.items():
        yield Finding("naked_leg", text, asset)
    for loss in picture.losses:
        text = f"{loss.name}: {format_e8(loss.used_e8)} of {format_e8(loss.limit_e8)} {loss.asset}"
        if loss.used_e8 >= loss.limit_e8:
            yield Finding("loss_limit", text, loss.name)
        elif loss.used_e8 * PPM >= loss.limit_e8 * near_ppm:
            yield Finding("loss_near", text, loss.name)
    for name, words in picture.differences.items():
        yield Finding("difference", f"{words}; nothing is entered until it is gone or accepted", name)
    for pair, why in picture.pairs_off.items():
        yield Finding("pair_off", f"{pair}: {why}", pair)


def _accounts(picture: Picture) -> Iterator[Finding]:
    for venue, why in picture.accounts.items():
        if why:
            yield Finding("account_down", f"{venue}: {why}", venue)


def _feed(feed: FeedPicture, clock_ms_max: int) -> Iterator[Finding]:
    if not feed.is_connected:
        yield Finding("feed_down", f"{feed.venue}: {feed.reason or 'not connected'}", feed.venue)
    elif feed.markets and not feed.usable:
        yield Finding("no_book", f"{feed.venue}: none of {feed.markets} books is usable", feed.venue)
    if feed.clock_offset_ms is not None and abs(feed.clock_offset_ms) > clock_ms_max:
        text = f"{feed.venue}: its clock minus ours is {feed.clock_offset_ms:+d} ms, the limit is {clock_ms_max} ms"
        yield Finding("clock", text, feed.venue)


def _stores(picture: Picture) -> Iterator[Finding]:
    stores = picture.stores
    if stores.postgres_error:
        yield Finding("database_away", f"PostgreSQL: {stores.postgres_error}")
    if stores.redis_error:
        yield Finding("redis_away", f"Redis: {stores.redis_error}")
    waiting, bound = stores.journal_bytes_waiting, stores.journal_bytes_max
    if stores.is_journal_full or stores.journal_trouble:
        why = stores.journal_trouble or "its bound is reached"
        yield Finding("journal_full", f"the journal: {why} ({waiting} bytes wait for PostgreSQL)")
    elif waiting * JOURNAL_FILLING_SHARE > bound:
        yield Finding("journal_filling", f"{waiting} bytes wait for PostgreSQL, nothing is entered at {bound}")
    if stores.archive_trouble:
        yield Finding("archive_behind", stores.archive_trouble)
    if stores.backup_age_h is not None and stores.backup_age_h > stores.backup_age_h_max:
        yield Finding("backup_old", f"{stores.backup_age_h:.0f} h old, the limit is {stores.backup_age_h_max} h")
    if stores.snapshot_age_s is not None and stores.snapshot_age_s > stores.snapshot_age_s_max:
        yield Finding("snapshot_old", f"{stores.snapshot_age_s:.0f} s old, the limit is {stores.snapshot_age_s_max} s")


def _process(picture: Picture, errors_max: int) -> Iterator[Finding]:
    process = picture.process
    if process.errors_per_minute > errors_max:
        yield Finding("error_rate", f"{process.errors_per_minute} in the last minute, {errors_max} are allowed")
    if process.loop_late_ms > process.loop_late_ms_max:
        yield Finding("loop_late", f"{process.loop_late_ms:.0f} ms late on average, the limit is {process.loop_late_ms_max} ms")
    for name, why in process.troubles.items():
        yield Finding("part_down", f"{name}: {why}", name)
