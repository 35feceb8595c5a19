"""Groups what the detector finds into episodes, one for every opening of a cycle, and follows up refused ones. Decides nothing.

An episode opens with the first decision in which its cycle passes the screen and ends with the first change of one of its
markets after which it does not. Nothing here runs in a decision while no cycle gains and no market of an open one changed.
The first opportunity of an episode, where it was refused, is priced again after FOLLOW_UP_DELAYS_MS: at a wake, or before that
where the clock's owner watches `due_ns`, and never in a decision. So an answer comes a little late, and says when.

Nothing of it is durable state: what is open when a process ends is noted as it stood last (`finish`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from arbitrage.model.effects import EpisodeNoted, Judged
from arbitrage.model.episodes import FOLLOW_UP_DELAYS_MS, Episode, EpisodeState, FollowUp
from arbitrage.model.money import PPM, Asset
from arbitrage.model.opportunities import Opportunity, Refusal, Refused
from arbitrage.model.settings import StrategySettings
from arbitrage.strategy.route import Route

MS_NS = 1_000_000
OPEN_MAX = 512
"""Episodes followed at once; a cycle that begins to gain past it is counted (`episodes_untracked`) and not followed."""
FOLLOW_UPS_MAX = 32
"""Refused opportunities under way to their follow-ups; past it none is begun, and that is counted (`follow_ups_left_out`).

So at most 64 of them in a second are followed, and pricing them again takes at most about 2.5 % of the loop.
"""
FOLLOW_UPS_PER_STEP_MAX = 16
"""Follow-ups priced in one step, about 0.1 ms each; the others are due in the next."""
TAKEN_NAMED_MAX = 20
"""Opportunities of one episode that are named as taken; all are counted."""
NEVER_NS = 2**63 - 1
NOTE_INTERVAL_NS = 60_000 * MS_NS
"""How often an episode that lasts is noted."""


class Finder(Protocol):
    """What the detector says beside its opportunities."""

    settings: StrategySettings
    gaining: Mapping[int, float]
    unsized: dict[int, Refusal]

    @property
    def era(self) -> object: ...

    def route(self, cycle: int) -> Route: ...

    def pair(self, cycle: int) -> str: ...


Again = Callable[[Opportunity, int], int | Refused]
"""Prices an opportunity again now: its net, or why nobody can say."""


class _Opening(msgspec.Struct):
    """An episode while it grows."""

    id: str
    cycle: int
    name: str
    pair: str
    reporting_asset: Asset
    markets: tuple[int, ...]
    first_seen_ns: int
    last_seen_ns: int
    noted_at_ns: int
    state: EpisodeState = EpisodeState.OPEN
    looks: int = 0
    product_peak: float = 0.0
    first: Opportunity | None = None
    peak: Opportunity | None = None
    taken: list[str] = []
    taken_count: int = 0
    refusals: dict[str, int] = {}
    follow_ups: list[FollowUp] = []
    is_followed: bool = False
    """Follow-ups are under way."""

    def refuse(self, reason: str) -> None:
        """Count one more refusal."""
        assert reason, "a refusal has a reason"
        self.refusals[reason] = self.refusals.get(reason, 0) + 1


class Episodes:
    """All openings of one engine. `counters` grow for ever; everything else is bounded."""

    def __init__(self, again: Again) -> None:
        self.counters = dict.fromkeys(
            ("episodes_opened", "episodes_closed", "episodes_untracked", "follow_ups_done", "follow_ups_left_out"), 0
        )
        self._again = again
        self._era: object = None
        self._open: dict[int, _Opening] = {}
        self._by_market: dict[int, set[int]] = {}
        self._due: tuple[deque[_Opening], ...] = tuple(deque() for _ in FOLLOW_UP_DELAYS_MS)
        """By delay: who is to be priced again, in the order in which that is due."""
        self.due_ns = NEVER_NS
        """When the next of them is."""
        self._next_note_ns = 0

    def concerns(self, touched: Collection[int]) -> bool:
        """Say whether a decision that finds nothing may end an episode. On the hot path."""
        return not self._by_market.keys().isdisjoint(touched)

    @property
    def open_count(self) -> int:
        return len(self._open)

    def decided(self, finder: Finder, touched: Collection[int], judged: Sequence[Judged], now_ns: int) -> list[EpisodeNoted]:
        """Take one decision in: what gains, what was judged, and what a change of the touched markets ended."""
        notes = self._renew(finder, now_ns)
        gaining = finder.gaining
        for cycle, product in gaining.items():
            opening = self._open.get(cycle) or self._begin(finder, cycle, now_ns)
            if opening is not None:
                opening.looks += 1
                opening.last_seen_ns = now_ns
                opening.product_peak = max(opening.product_peak, product)
        for cycle, reason in finder.unsized.items() if gaining else ():
            if cycle in self._open:
                self._open[cycle].refuse(reason.value)
        for each in judged:
            if each.opportunity.cycle in self._open:
                self._judged(self._open[each.opportunity.cycle], each)
        for cycle in self._ended(touched, gaining):
            notes += self._end(self._open[cycle], EpisodeState.GONE, now_ns)
        assert len(self._open) <= OPEN_MAX, "open episodes are bounded"
        return notes

    def woken(self, finder: Finder, now_ns: int) -> list[EpisodeNoted]:
        """Price again what is due, and note what lasts."""
        notes = self.follow(finder, now_ns)
        if self._open and now_ns >= self._next_note_ns:
            self._next_note_ns = now_ns + NOTE_INTERVAL_NS // 60
            for opening in self._open.values():
                if now_ns - opening.noted_at_ns >= NOTE_INTERVAL_NS:
                    notes.append(self._note(opening, now_ns))
        assert all(note.episode.noted_at_ns == now_ns for note in notes), "a note is of now"
        return notes

    def finish(self, now_ns: int) -> list[EpisodeNoted]:
        """End everything as it stands, for a process that ends: nobody looks any more."""
        return self._end_all(EpisodeState.STOPPED, "nobody looked any more", now_ns)

    def follow(self, finder: Finder, now_ns: int) -> list[EpisodeNoted]:
        """Price again what is due."""
        notes = self._renew(finder, now_ns)
        done = 0
        for position, delay_ms in enumerate(FOLLOW_UP_DELAYS_MS):
            queue = self._due[position]
            while queue and done < FOLLOW_UPS_PER_STEP_MAX:
                opening = queue[0]
                first = opening.first
                assert first is not None, "an opportunity is followed"
                if now_ns < first.at_ns + delay_ms * MS_NS:
                    break
                queue.popleft()
                self._answered(opening, _follow_up(delay_ms, now_ns, self._again(first, now_ns)))
                done += 1
                if position + 1 == len(FOLLOW_UP_DELAYS_MS):
                    notes += self._followed(opening, now_ns)
        self._reckon_due()
        return notes

    # -- what happens to one --------------------------------------------------------------------------------------

    def _begin(self, finder: Finder, cycle: int, now_ns: int) -> _Opening | None:
        if len(self._open) >= OPEN_MAX:
            self.counters["episodes_untracked"] += 1
            return None
        route = finder.route(cycle)
        markets = tuple(step.market for step in route.steps)
        assert markets, "a cycle has markets"
        words = (route.name, finder.pair(cycle), Asset(finder.settings.reporting_asset))
        opening = _Opening(f"e{now_ns:x}-{cycle:x}", cycle, *words, markets, now_ns, now_ns, now_ns)
        self._open[cycle] = opening
        for market in markets:
            self._by_market.setdefault(market, set()).add(cycle)
        self.counters["episodes_opened"] += 1
        return opening

    def _judged(self, opening: _Opening, judged: Judged) -> None:
        found, verdict = judged.opportunity, judged.verdict
        assert found.cycle == opening.cycle, "an opportunity belongs to the opening of its cycle"
        if isinstance(verdict, Refused):
            opening.refuse(verdict.reason.value)
        else:
            opening.taken_count += 1
            opening.taken.append(found.id)
            del opening.taken[:-TAKEN_NAMED_MAX]
        if opening.peak is None or found.net_e8 > opening.peak.net_e8:
            opening.peak = found
        if opening.first is None:
            opening.first = found
            if isinstance(verdict, Refused):
                self._begin_following(opening)

    def _begin_following(self, opening: _Opening) -> None:
        if len(self._due[-1]) >= FOLLOW_UPS_MAX:
            self.counters["follow_ups_left_out"] += 1
            return
        assert not opening.is_followed, "an episode is followed once"
        opening.is_followed = True
        for queue in self._due:
            queue.append(opening)
        self._reckon_due()

    def _reckon_due(self) -> None:
        """Find out when the next follow-up is due: the first of each queue is that queue's next."""
        firsts = [(queue[0].first, delay_ms) for delay_ms, queue in zip(FOLLOW_UP_DELAYS_MS, self._due, strict=True) if queue]
        self.due_ns = min((first.at_ns + delay_ms * MS_NS for first, delay_ms in firsts if first is not None), default=NEVER_NS)
        assert self.due_ns > 0, "a follow-up has its time"

    def _answered(self, opening: _Opening, answer: FollowUp) -> None:
        opening.follow_ups.append(answer)
        assert len(opening.follow_ups) <= len(FOLLOW_UP_DELAYS_MS), "each delay is answered once"
        self.counters["follow_ups_done"] += 1

    def _followed(self, opening: _Opening, now_ns: int) -> list[EpisodeNoted]:
        """Tell an episode that waited for its follow-ups alone."""
        assert opening.is_followed, "it was followed"
        opening.is_followed = False
        return [] if opening.state is EpisodeState.OPEN else [self._note(opening, now_ns)]

    def _ended(self, touched: Iterable[int], gaining: Mapping[int, float]) -> list[int]:
        ended = {cycle for market in touched for cycle in self._by_market.get(market, ()) if cycle not in gaining}
        assert ended <= self._open.keys(), "only what is open ends"
        return sorted(ended)

    def _end(self, opening: _Opening, state: EpisodeState, now_ns: int) -> list[EpisodeNoted]:
        """Close one; it is told at once, or with the last of its follow-ups."""
        assert state is not EpisodeState.OPEN, "an end is no opening"
        opening.state = state
        opening.last_seen_ns = now_ns
        del self._open[opening.cycle]
        for market in opening.markets:
            cycles = self._by_market[market]
            cycles.remove(opening.cycle)
            if not cycles:
                del self._by_market[market]
        self.counters["episodes_closed"] += 1
        return [] if opening.is_followed else [self._note(opening, now_ns)]

    def _renew(self, finder: Finder, now_ns: int) -> list[EpisodeNoted]:
        """End everything when cycles mean something else than before."""
        if finder.era is self._era:
            return []
        self._era = finder.era
        assert self._era is not None, "cycles have a meaning"
        return self._end_all(EpisodeState.INTERRUPTED, "markets or settings changed meanwhile", now_ns)

    def _end_all(self, state: EpisodeState, why: str, now_ns: int) -> list[EpisodeNoted]:
        """End every episode; what was to be priced again cannot be."""
        notes: list[EpisodeNoted] = []
        waiting = {each.id: each for queue in self._due for each in queue}
        for delay_ms, queue in zip(FOLLOW_UP_DELAYS_MS, self._due, strict=True):
            for opening in queue:
                self._answered(opening, FollowUp(delay_ms, now_ns, None, why))
            queue.clear()
        self._reckon_due()
        for opening in waiting.values():
            notes += self._followed(opening, now_ns)
        for opening in tuple(self._open.values()):
            notes += self._end(opening, state, now_ns)
        assert not self._open and not self._by_market, "nothing of before is open"
        return notes

    def _note(self, opening: _Opening, now_ns: int) -> EpisodeNoted:
        assert opening.looks >= 1, "an opening was seen"
        opening.noted_at_ns = now_ns
        return EpisodeNoted(
            Episode(
                id=opening.id,
                cycle=opening.cycle,
                name=opening.name,
                pair=opening.pair,
                reporting_asset=opening.reporting_asset,
                state=opening.state,
                first_seen_ns=opening.first_seen_ns,
                last_seen_ns=opening.last_seen_ns,
                noted_at_ns=now_ns,
                looks=opening.looks,
                edge_ppm_peak=int((opening.product_peak - 1.0) * PPM // 1),
                first=opening.first,
                peak=opening.peak,
                taken=tuple(opening.taken),
                taken_count=opening.taken_count,
                refusals=dict(opening.refusals),
                follow_ups=tuple(opening.follow_ups),
            )
        )


def _follow_up(delay_ms: int, now_ns: int, answer: int | Refused) -> FollowUp:
    assert delay_ms in FOLLOW_UP_DELAYS_MS, "asked for at its time"
    if isinstance(answer, Refused):
        return FollowUp(delay_ms, now_ns, None, f"market unusable: {answer.reason.value}: {answer.detail}")
    return FollowUp(delay_ms, now_ns, answer)
