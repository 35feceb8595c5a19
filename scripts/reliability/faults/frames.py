"""Frames that come twice, late, with flipped bits, or cut short. Nothing of it becomes a book that is traded on."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence

from reliability.faults.lab import Lab
from reliability.faults.nouns import Row
from reliability.faults.proxy import CUT

LASTS_S = 5.0
LOSS_MAX = 200.0
"""The configuration's own limit for a day, in its reporting asset."""


def frames_duplicated(lab: Lab) -> str:
    return _meddled(lab, Doubled(0.3), says="")


def frames_reordered(lab: Lab) -> str:
    return _meddled(lab, Swapped(0.1), says="", gates=True)


def frames_corrupted(lab: Lab) -> str:
    return _meddled(lab, Flipped(0.05), says="malformed", is_public_only=True)


def frames_digits(lab: Lab) -> str:
    return _meddled(lab, Mistyped(0.05), says="", is_public_only=True)


def frames_truncated(lab: Lab) -> str:
    return _meddled(lab, Shortened(0.03), says="malformed")


def _meddled(lab: Lab, meddle: Meddling, *, says: str, is_public_only: bool = False, gates: bool = False) -> str:
    proxies = lab.proxied(is_public_only=is_public_only)
    run = lab.start()
    since_ns = time.time_ns()
    for proxy in proxies.values():
        proxy.faults.meddle = meddle
    with lab.watch() as watch:
        lab.until(lambda: time.time_ns() - since_ns > LASTS_S * 1e9, "some time of it")
    gated = sum(any(venue.usable < venue.markets for venue in each.venues) for each in watch.answers)
    for proxy in proxies.values():
        proxy.heal()
    lab.demand(meddle.count, "something was meddled with")
    lab.demand(gated or not gates, "a market is gated when its frames are out of order")
    if says:
        lab.demand(says in run.text(), f"the log says {says!r}")
    back_s = lab.recovers()
    now = lab.standing()
    lost = -float(now.realised) if now is not None else 0.0
    lab.demand(lost < LOSS_MAX, f"less than {LOSS_MAX:g} is lost: {lost:g}")
    entered = len(lab.entered(since_ns, since_ns + int(LASTS_S * 1e9)))
    orders = lab.settles()
    frames = sum(proxy.counts["messages"] for proxy in proxies.values())
    words = f"{meddle.count} of {frames} frames, a market gated in {gated} of {len(watch.answers)} looks"
    words += f", {entered} entries meanwhile"
    return f"{words}, realised {-lost:+.2f}, all usable {back_s:.1f} s after; {orders} orders, every balance equal"


class Meddling:
    """Does something to a share of the messages, drawn from a seed."""

    def __init__(self, share: float, seed: int = 1) -> None:
        self.count = 0
        self.random = random.Random(seed)
        self._share = share

    def __call__(self, message: bytes) -> Sequence[bytes]:
        if self.random.random() >= self._share:
            return (message,)
        self.count += 1
        return self.spoiled(message)

    def spoiled(self, message: bytes) -> Sequence[bytes]:
        raise NotImplementedError


class Doubled(Meddling):
    """Sends it twice."""

    def spoiled(self, message: bytes) -> Sequence[bytes]:
        return (message, message)


class Swapped(Meddling):
    """Sends it after the next one of its stream."""

    def __init__(self, share: float, seed: int = 1) -> None:
        super().__init__(share, seed)
        self._held: dict[bytes, bytes] = {}

    def __call__(self, message: bytes) -> Sequence[bytes]:
        kind = b",".join(message.split(b",", 2)[:2])
        if kind in self._held:
            return (message, self._held.pop(kind))
        if self.random.random() >= self._share:
            return (message,)
        self.count += 1
        self._held[kind] = message
        return ()


class Flipped(Meddling):
    """Flips one bit somewhere."""

    def spoiled(self, message: bytes) -> Sequence[bytes]:
        raw = bytearray(message)
        raw[self.random.randrange(len(raw))] ^= 1 << self.random.randrange(8)
        return (bytes(raw),)


class Mistyped(Meddling):
    """Changes one digit: it stays what a venue could have said."""

    def spoiled(self, message: bytes) -> Sequence[bytes]:
        places = [place for place, byte in enumerate(message) if 48 <= byte <= 57]
        if not places:
            return (message,)
        raw = bytearray(message)
        place = self.random.choice(places)
        raw[place] = 48 + (raw[place] - 48 + self.random.randrange(1, 10)) % 10
        return (bytes(raw),)


class Shortened(Meddling):
    """Ends it early; now and then the connection with it, in the middle of a frame."""

    def spoiled(self, message: bytes) -> Sequence[bytes]:
        if self.random.random() < 0.1:
            return (CUT,)
        return (message[: self.random.randrange(len(message))],)


HOLDS = "named faults, no crash, no fill lost or doubled, every book usable again by itself"
ROWS = (
    Row("frames_duplicated", "three frames in ten come twice, public and private", HOLDS, frames_duplicated, is_quick=False),
    Row("frames_reordered", "one frame in ten comes after the next, public and private",
        HOLDS, frames_reordered, is_quick=False),
    Row("frames_corrupted", "a bit flipped in one public frame of twenty", HOLDS, frames_corrupted, is_quick=False),
    Row("frames_digits", "a digit changed in one public frame of twenty: still valid JSON",
        HOLDS, frames_digits, is_quick=False),
    Row("frames_truncated", "three frames in a hundred cut short, public and private, or the connection with them",
        HOLDS, frames_truncated, is_quick=False),
)  # fmt: skip
