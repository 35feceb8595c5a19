"""Bugs on purpose: each is the real daemon with one part replaced (`parts.py` says how). No product room knows of them.

`PLANTS` is by name; a plant's maker returns the parts, and its docstring says which mistake it is. Every one must be caught
by the checkers, in the median within 50 seeds (`arbitrage simulate --plants`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from arbitrage.app.simulate.parts import PARTS, Parts

PLANTS: Mapping[str, Callable[[], Parts]] = {}


def parts_of(name: str) -> Parts:
    """Return the parts with a plant in them; the real ones for no name. Raises KeyError for an unknown one."""
    return PLANTS[name]() if name else PARTS
