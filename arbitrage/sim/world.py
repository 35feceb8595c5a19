"""A world without an event loop: one heap of (time, sequence, event), one seed. Same seed, same events, same digest.

Knows no venue, no daemon and no real clock. Whoever takes part is handed this world: it asks for the time, draws from dice made
here for its name (so that one part fewer changes nobody else's luck), and puts work onto the heap. Nothing else may wait.
"""

from __future__ import annotations

import hashlib
import heapq
import random
from collections import deque
from collections.abc import Callable

Work = Callable[[], None]
TRACE_MAX = 20_000
"""Lines of a life that are kept, the newest."""
DIGEST_BYTES = 16


class World:
    """Time, order and chance."""

    def __init__(self, seed: int, start_ns: int, *, is_traced: bool = False) -> None:
        self.seed = seed
        self.start_ns = start_ns
        self.now_ns = start_ns
        self.events = 0
        """How many events have happened."""
        self.is_traced = is_traced
        self.trace: deque[tuple[int, str, str]] = deque(maxlen=TRACE_MAX)
        """What happened, in words: when, who, what."""
        self._heap: list[tuple[int, int, Work]] = []
        self._sequence = 0
        self._digest = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def clock(self) -> int:
        """Return the true time in ns."""
        return self.now_ns

    def seconds(self) -> float:
        """Return the true time in seconds since the beginning."""
        return (self.now_ns - self.start_ns) / 1e9

    def dice(self, name: str) -> random.Random:
        """Make the generator of a part by its name."""
        return random.Random(f"{name} {self.seed}")

    def at(self, at_ns: int, work: Work) -> None:
        """Let something happen at a time, or now if that has passed; of one time, in the order of asking."""
        self._sequence += 1
        heapq.heappush(self._heap, (max(at_ns, self.now_ns), self._sequence, work))

    def run_until(self, at_ns: int) -> None:
        """Let everything happen that is due by a time, then stand there."""
        heap = self._heap
        while heap and heap[0][0] <= at_ns:
            self.now_ns, _, work = heapq.heappop(heap)
            self.events += 1
            work()
        self.now_ns = max(self.now_ns, at_ns)

    def note(self, raw: bytes) -> None:
        """Let the digest hold what was just said or written."""
        self._digest.update(b"%d " % self.now_ns)
        self._digest.update(raw)

    def tell(self, who: str, what: str) -> None:
        """Keep a line for people. Callers ask `is_traced` first, so that words cost nothing where nobody reads them."""
        self.trace.append((self.now_ns, who, what))

    def digest(self) -> str:
        """Return what tells this life from any other."""
        return self._digest.hexdigest()
