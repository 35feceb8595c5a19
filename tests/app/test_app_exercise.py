"""The daily exercise passes with the real engine, and is red for each way in which a kill switch can be broken."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from arbitrage.app.exercise import ExerciseFailed, exercise
from arbitrage.engine.engine import Engine
from arbitrage.model.effects import CancelOrder, Effect, QueryOrder, ReadAccount
from arbitrage.model.events import Command, CommandKind, Decide, Event
from arbitrage.model.facts import KillSwitched
from arbitrage.model.settings import ExecutionSettings
from arbitrage.model.snapshots import Snapshot

START_NS = 1_800_000_000_000_000_000


def test_the_real_kill_switch_proves_itself_under_any_execution_settings() -> None:
    for settings in (ExecutionSettings(), ExecutionSettings(governor_attempts_max=1, plan_deadline_ms=3_001, cooldown_ms=0)):
        text = exercise(settings, START_NS)
        assert "2 orders under way" in text and "2 venues showed none open" in text and "a release ended it" in text


class Deaf(Engine):
    """Does not hear the kill."""

    def step(self, event: Event) -> Sequence[Effect]:
        return [] if isinstance(event, Command) and event.kind is CommandKind.KILL else super().step(event)


class Eager(Engine):
    """Sets the switch, and enters all the same."""

    def step(self, event: Event) -> Sequence[Effect]:
        if isinstance(event, Decide) and self.guard.memory.kill_reason:
            self._lift()
        return super().step(event)

    def _lift(self) -> None:
        """Forget the switch where entries are judged, and nowhere else."""
        self.guard.apply(KillSwitched(1, is_on=False, actor="nobody", reason="planted"))
        self.desk.apply(KillSwitched(1, is_on=False, actor="nobody", reason="planted"))


class Trusting(Engine):
    """Never asks the venues."""

    def step(self, event: Event) -> Sequence[Effect]:
        return [effect for effect in super().step(event) if not isinstance(effect, ReadAccount)]


class Forgetful(Engine):
    """Loses the switch with a restart."""

    def snapshot(self, session_id: str, at_ns: int, journal_sequence: int) -> Snapshot:
        self.step(Command(at_ns, CommandKind.RELEASE, "nobody", "forgotten"))
        return super().snapshot(session_id, at_ns, journal_sequence)


class Stuck(Engine):
    """Cannot be released."""

    def step(self, event: Event) -> Sequence[Effect]:
        return [] if isinstance(event, Command) and event.kind is CommandKind.RELEASE else super().step(event)


class Silent(Engine):
    """Neither cancels nor asks what became of an order, so that what travelled stays open."""

    def step(self, event: Event) -> Sequence[Effect]:
        hidden = (CancelOrder, QueryOrder)
        answers = () if type(event).__name__.startswith("Order") else (event,)
        return [each for one in answers for each in super(Silent, self).step(one) if not isinstance(each, hidden)]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Deaf, "the switch was not set"),
        (Eager, "orders left after the switch was set"),
        (Trusting, "the venues were not asked"),
        (Forgetful, "did not outlive a restart"),
        (Stuck, "trading did not go on after the release"),
        (Silent, "the venues were not asked, or did not show"),
    ],
)
def test_a_broken_kill_switch_fails_its_exercise(kind: type[Engine], words: str) -> None:
    with pytest.raises(ExerciseFailed, match=words):
        exercise(ExecutionSettings(), START_NS, kind)
