"""How long something is to run, as a word of the command line. Refuses what is no time from now on."""

from __future__ import annotations

import argparse
import math


def duration(text: str) -> float:
    """Read `--for`: seconds, not negative. Raises argparse.ArgumentTypeError."""
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds") from None
    if not (math.isfinite(seconds) and seconds >= 0):
        raise argparse.ArgumentTypeError(f"{text!r} is not a time from now on")
    return seconds
