"""How long the hops of an order's way take, as histograms since the start. Reads no clock: every call brings its times."""

from __future__ import annotations

from bisect import bisect_left

HOPS = ("exchange_to_receive", "receive_to_decision", "decision_to_ack", "ack_to_fill")
HOP_BOUNDS_S = (
    0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip
ORDERS_FOLLOWED_MAX = 2_000
"""Orders whose times are remembered until they end; the oldest is forgotten first."""
VENUES_MAX = 16
"""Venues that have histograms of their own; more count in the sum of all alone."""


class Histogram:
    """Counts values in fixed buckets since the start, for Prometheus."""

    def __init__(self) -> None:
        self.counts = [0] * (len(HOP_BOUNDS_S) + 1)
        """By bucket, not cumulated; the last is everything above."""
        self.sum_s = 0.0
        self.worst_s = 0.0

    def add(self, value_s: float) -> None:
        """Add one value."""
        self.counts[bisect_left(HOP_BOUNDS_S, value_s)] += 1
        self.sum_s += value_s
        self.worst_s = max(self.worst_s, value_s)


class Hops:
    """How long each hop of an order's way takes, from an exchange's stamp to a fill."""

    def __init__(self) -> None:
        self.histograms = {name: Histogram() for name in HOPS}
        self.by_venue: dict[str, dict[str, Histogram]] = {}
        """By venue and hop, where a hop is one venue's; a decision is made out of the books of several."""
        self._decided: dict[str, tuple[int, str]] = {}
        self._acknowledged: dict[str, tuple[int, str]] = {}

    def add(self, hop: str, value_us: int, venue: str = "") -> None:
        """Add one value, to its venue's too where it is one venue's."""
        value_s = max(0, value_us) / 1e6
        self.histograms[hop].add(value_s)
        if not venue:
            return
        own = self.by_venue.get(venue)
        if own is None:
            if len(self.by_venue) >= VENUES_MAX:
                return
            own = self.by_venue[venue] = {}
        own.setdefault(hop, Histogram()).add(value_s)

    def decided(self, client_order_id: str, at_ns: int, venue: str = "") -> None:
        """Note that an order was decided on."""
        if len(self._decided) >= ORDERS_FOLLOWED_MAX:
            del self._decided[next(iter(self._decided))]
        self._decided[client_order_id] = (at_ns, venue)

    def acknowledged(self, client_order_id: str, at_ns: int) -> None:
        """Note the venue's first word about an order."""
        decided = self._decided.pop(client_order_id, None)
        if decided is None:
            return
        decided_ns, venue = decided
        self.add("decision_to_ack", (at_ns - decided_ns) // 1_000, venue)
        if len(self._acknowledged) >= ORDERS_FOLLOWED_MAX:
            del self._acknowledged[next(iter(self._acknowledged))]
        self._acknowledged[client_order_id] = (at_ns, venue)

    def filled(self, client_order_id: str, at_ns: int) -> None:
        """Note an order's first fill."""
        acknowledged = self._acknowledged.pop(client_order_id, None)
        if acknowledged is not None:
            self.add("ack_to_fill", (at_ns - acknowledged[0]) // 1_000, acknowledged[1])
