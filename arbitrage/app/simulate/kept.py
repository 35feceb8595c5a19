"""Lives that failed once, kept as lines of JSON and lived again ever after. Fixes none of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from arbitrage.app.simulate.parts import PARTS
from arbitrage.app.simulate.scene import Life, Scene
from arbitrage.app.simulate.story import Shape, tell_story
from arbitrage.sim.sites import make_keys
from arbitrage.sim.weather import AnyStrike


class Kept(msgspec.Struct, frozen=True, omit_defaults=True):
    """One life. What the seed means beside the weather is drawn anew, as the program draws it then."""

    seed: int
    checker: str
    """What it failed by."""
    found: str
    """What was wrong, in words."""
    strikes: tuple[AnyStrike, ...]
    shape: Shape = Shape()


def read_kept(path: Path) -> Iterator[Kept]:
    """Read every kept life. Raises msgspec.ValidationError for one that says nothing this program knows."""
    for line in path.read_bytes().splitlines():
        if line.strip():
            yield msgspec.json.decode(line, type=Kept)


def keep(path: Path, kept: Kept) -> None:
    """Add a life to the file."""
    with path.open("ab") as file:
        file.write(msgspec.json.encode(kept) + b"\n")


def live_again(kept: Kept) -> Life:
    """Live a kept life."""
    story = msgspec.structs.replace(tell_story(kept.seed, kept.shape), strikes=kept.strikes)
    return Scene(story, PARTS, make_keys(1)).live()
