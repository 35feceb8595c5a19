"""The book of alerts: what began, lasts and is over, each told once. Pure: the time comes in, notes come out.

A condition is told after its rule's hold, told again while it lasts, and over once it was gone for `clear_ns`, so that one
that flaps is one alert. An event is told at its first occurrence; the others are counted and told as one when it has stopped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

import msgspec

from arbitrage.ops.alerts.catalog import EVENT_QUIET_MS
from arbitrage.ops.alerts.nouns import ActiveAlert, Board, EndedAlert, Episode, Finding, Note, Rule, State

MS_NS = 1_000_000
EPISODES_MAX = 500
"""Alerts at once, by key; what is beyond joins one episode a rule, under the subject `others`."""
ENDED_MAX = 50
"""Alerts that are over and still shown."""
OTHERS = "others"


class Pace(msgspec.Struct, frozen=True):
    """When something is over, and when it is told again."""

    clear_ns: int = 30_000 * MS_NS
    repeat_ns: int = 14_400_000 * MS_NS
    quiet_ns: int = EVENT_QUIET_MS * MS_NS


class Book:
    """Every alert that is on or held back."""

    def __init__(self, rules: Mapping[str, Rule], pace: Pace, episodes: Iterable[Episode] = (), now_ns: int = 0) -> None:
        """Begin with the episodes of an earlier run: they count as seen now, so that each is either found again or over."""
        self._rules = rules
        self.pace = pace
        self.holds_ns: dict[str, int] = {rule.name: rule.hold_ms * MS_NS for rule in rules.values()}
        self._episodes: dict[str, Episode] = {}
        self._ended: deque[EndedAlert] = deque(maxlen=ENDED_MAX)
        for old in episodes:
            if old.finding.rule in rules and old.told_ns is not None and len(self._episodes) < EPISODES_MAX:
                began, told = min(old.began_ns, now_ns), min(old.told_ns, now_ns)
                kept = msgspec.structs.replace(old, began_ns=began, told_ns=told, seen_ns=now_ns)
                self._episodes[old.finding.key] = kept

    @property
    def episodes(self) -> tuple[Episode, ...]:
        """Return what must outlive the process: everything that was told."""
        return tuple(msgspec.structs.replace(each) for each in self._episodes.values() if each.told_ns is not None)

    def active(self) -> tuple[ActiveAlert, ...]:
        """Return what is on now and was told, the worst and oldest first; that it started is no alert that is on."""
        told = [each for each in self._episodes.values() if each.told_ns is not None and not _is_mere_news(each)]
        rows = [self._row(each) for each in told]
        return tuple(sorted(rows, key=lambda row: (("critical", "warning", "info").index(row.severity), row.began_ns, row.key)))

    def board(self) -> Board:
        """Return what is on, what is held back, and what is over, for whoever looks."""
        held = [self._row(each) for each in self._episodes.values() if each.told_ns is None and each.is_present]
        return Board(self.active(), tuple(sorted(held, key=lambda row: (row.due_ns, row.key))), tuple(reversed(self._ended)))

    def look(self, found: Iterable[Finding], now_ns: int) -> list[Note]:
        """Take in everything that is true now, and return what is to be told."""
        present = set()
        for finding in found:
            episode = self._see(finding, now_ns, is_event=False)
            present.add(episode.finding.key)
        notes = [note for key in list(self._episodes) for note in self._follow(key, now_ns, is_found=key in present)]
        assert all(key in self._episodes for key in present), "what is found is on"
        return notes

    def hear(self, finding: Finding, now_ns: int, count: int = 1) -> list[Note]:
        """Take in an event that happened `count` times, and return what is to be told at once: its first occurrence."""
        assert count > 0, "what is heard happened"
        is_known = self._key(finding) in self._episodes
        episode = self._see(finding, now_ns, is_event=True)
        episode.count += count if is_known else count - 1
        if episode.told_ns is not None:
            return []
        episode.told_ns = now_ns
        return [self._note(episode, "firing", now_ns, count=1)]

    def _key(self, finding: Finding) -> str:
        is_new = finding.key not in self._episodes
        return f"{finding.rule}/{OTHERS}" if is_new and len(self._episodes) >= EPISODES_MAX else finding.key

    def _see(self, finding: Finding, now_ns: int, *, is_event: bool) -> Episode:
        rule, key = self._rules[finding.rule], self._key(finding)
        shown = finding if key == finding.key else Finding(finding.rule, finding.text, OTHERS)
        episode = self._episodes.get(key)
        if episode is None:
            episode = Episode(shown, rule.severity, now_ns, now_ns, is_event=is_event, is_present=True)
            self._episodes[key] = episode
            return episode
        if not is_event and not episode.is_event and not episode.is_present:
            episode.count += 1
        if not is_event and episode.is_event:
            # First heard, then seen: from now on it is over when it is gone.
            episode.is_event = False
        episode.seen_ns, episode.is_present = now_ns, True
        episode.finding = shown
        return episode

    def _follow(self, key: str, now_ns: int, *, is_found: bool) -> list[Note]:
        """Tell, tell again, or end one episode."""
        episode = self._episodes[key]
        if is_found:
            return self._lasting(episode, now_ns)
        gone_ns = now_ns - episode.seen_ns
        if episode.is_event:
            if gone_ns < self.pace.quiet_ns:
                return []
            self._end(key)
            return [self._note(episode, "again", now_ns)] if episode.count > 1 else []
        episode.is_present = False
        if episode.told_ns is None:
            del self._episodes[key]
            return []
        if gone_ns < self.pace.clear_ns:
            return []
        self._end(key)
        return [self._note(episode, "over", now_ns)]

    def _end(self, key: str) -> None:
        """Take what was told off, and remember that it was; it ended when it was last seen."""
        each = self._episodes.pop(key)
        if not _is_mere_news(each):
            row = self._row(each)
            self._ended.append(
                EndedAlert(row.key, row.rule, row.severity, row.title, row.text, row.began_ns, each.seen_ns, row.count)
            )

    def _row(self, episode: Episode) -> ActiveAlert:
        finding = episode.finding
        due_ns = episode.began_ns + self.holds_ns[finding.rule] if episode.told_ns is None else 0
        return ActiveAlert(
            finding.key, finding.rule, episode.severity, self._rules[finding.rule].title, finding.text, episode.began_ns,
            episode.count, episode.told_ns, due_ns, episode.is_event,
        )  # fmt: skip

    def _lasting(self, episode: Episode, now_ns: int) -> list[Note]:
        if episode.told_ns is None:
            if now_ns - episode.began_ns < self.holds_ns[episode.finding.rule]:
                return []
            episode.told_ns = now_ns
            return [self._note(episode, "firing", now_ns)]
        if now_ns - episode.told_ns < self.pace.repeat_ns:
            return []
        episode.told_ns = now_ns
        return [self._note(episode, "still", now_ns)]

    def _note(self, episode: Episode, state: State, now_ns: int, count: int | None = None) -> Note:
        finding = episode.finding
        return Note(
            key=finding.key, rule=finding.rule, severity=episode.severity, state=state, title=self._rules[finding.rule].title,
            text=finding.text, began_ns=episode.began_ns, at_ns=now_ns, count=episode.count if count is None else count,
        )  # fmt: skip


def _is_mere_news(episode: Episode) -> bool:
    """Say whether it is told and nothing more: that it started is no alert that is on."""
    return episode.is_event and episode.severity == "info"
