"""Slows guessing down: token buckets for requests, growing delays for sign-ins. Memory is bounded, and a flood forgets nothing.

Failed sign-ins are counted in a fixed number of slots, each found by a keyed hash of the account's or the network's name. So
made-up names push nothing out and tell nothing about which accounts exist; two names that share a slot share a delay.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
import os
from collections import OrderedDict
from collections.abc import Callable

import msgspec

SLOTS = 4_096
FREE_TRIES = 5
"""Failures in a row that cost no delay: people mistype."""
DELAY_S_FIRST, DELAY_S_MAX = 1, 300
"""The first delay; each further failure doubles it, up to the most. It never locks for good, so nobody locks an admin out."""
FORGET_S = 3_600
"""A slot in which nothing failed for so long starts anew."""
ADDRESS_SHARE = 4
"""An address has so many times the tries of an account: several people may sit behind one."""
CLIENTS_MAX = 4_096
IPV6_NETWORK = 64
"""One customer has a whole /64, so that is what is counted."""
_SECOND_NS = 1_000_000_000


def network_of(address: str) -> str:
    """Return what is counted as one client: an IPv4 address, or the /64 of an IPv6 one."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, IPV6_NETWORK), strict=False).network_address)
    return str(found)


class _Slot(msgspec.Struct):
    failures: int = 0
    held_until_ns: int = 0
    failed_at_ns: int = 0


class SignInThrottle:
    """Counts failed sign-ins by account and by network."""

    def __init__(self, clock: Callable[[], int], key: bytes = b"") -> None:
        self._clock = clock
        self._key = key or os.urandom(16)
        self._accounts: dict[int, _Slot] = {}
        self._networks: dict[int, _Slot] = {}
        self.refused = 0

    @property
    def slots_used(self) -> int:
        return len(self._accounts) + len(self._networks)

    def begin(self, account: str, address: str) -> int:
        """Count a try as failed, before it is checked, and return 0; or the seconds to wait, and count nothing.

        Counted first, so that many tries at once do not all pass before the first has failed.
        """
        now_ns = self._clock()
        slots = self._both(account, address)
        wait_ns = max(slot.held_until_ns for slot, _ in slots) - now_ns
        if wait_ns > 0:
            self.refused += 1
            return -(-wait_ns // _SECOND_NS)
        for slot, share in slots:
            if now_ns - slot.failed_at_ns > FORGET_S * _SECOND_NS:
                slot.failures = 0
            slot.failures += 1
            slot.failed_at_ns = now_ns
            slot.held_until_ns = now_ns + _delay_s(slot.failures, FREE_TRIES * share) * _SECOND_NS
        return 0

    def succeed(self, account: str, address: str) -> None:
        """Take the try back: the account starts anew, the network gets its one try back and keeps its other failures."""
        own = self._slot(self._accounts, account)
        own.failures = 1
        self.take_back(account, address)

    def take_back(self, account: str, address: str) -> None:
        """Give a try back that was no guess."""
        for slot, share in self._both(account, address):
            slot.failures = max(0, slot.failures - 1)
            slot.held_until_ns = slot.failed_at_ns + _delay_s(slot.failures, FREE_TRIES * share) * _SECOND_NS

    def _both(self, account: str, address: str) -> tuple[tuple[_Slot, int], ...]:
        network = self._slot(self._networks, network_of(address))
        return (self._slot(self._accounts, account), 1), (network, ADDRESS_SHARE)

    def _slot(self, slots: dict[int, _Slot], name: str) -> _Slot:
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8, key=self._key).digest()
        return slots.setdefault(int.from_bytes(digest) % SLOTS, _Slot())


def _delay_s(failures: int, free: int) -> int:
    """Return how long to wait after so many failures in a row."""
    over = failures - free
    return 0 if over < 0 else min(DELAY_S_MAX, DELAY_S_FIRST << min(over, 16))


class Bucket:
    """A token bucket: `per_s` on average, `burst` at once."""

    __slots__ = ("_at_ns", "_burst", "_per_s", "_tokens")

    def __init__(self, per_s: float, burst: int, now_ns: int) -> None:
        self._per_s, self._burst = per_s, burst
        self._tokens = float(burst)
        self._at_ns = now_ns

    def take(self, now_ns: int) -> int:
        """Take one and return 0, or return the whole seconds until there is one."""
        self._tokens = min(float(self._burst), self._tokens + max(0, now_ns - self._at_ns) * self._per_s / _SECOND_NS)
        self._at_ns = max(self._at_ns, now_ns)
        if self._tokens >= 1:
            self._tokens -= 1
            return 0
        return max(1, math.ceil((1 - self._tokens) / self._per_s))


class Rates:
    """The limits on requests: one bucket for all and one for each client, of which the longest silent is forgotten first."""

    def __init__(self, clock: Callable[[], int], *, per_client: tuple[float, int], everybody: tuple[float, int]) -> None:
        """Each limit is requests a second, and how many at once."""
        self._clock = clock
        self._per_client = per_client
        self._everybody = Bucket(*everybody, clock())
        self._clients: OrderedDict[str, Bucket] = OrderedDict()
        self.refused = 0

    @property
    def clients(self) -> int:
        return len(self._clients)

    def take(self, client: str, *, is_urgent: bool = False) -> int:
        """Let a client's request pass and return 0, or return the seconds after which to ask again.

        What is urgent does not wait for everybody's limit, only for the client's own.
        """
        now_ns = self._clock()
        bucket = self._clients.get(client)
        if bucket is None:
            if len(self._clients) >= CLIENTS_MAX:
                self._clients.popitem(last=False)
            bucket = self._clients[client] = Bucket(*self._per_client, now_ns)
        self._clients.move_to_end(client)
        wait_s = bucket.take(now_ns) or (0 if is_urgent else self._everybody.take(now_ns))
        self.refused += wait_s > 0
        return wait_s
