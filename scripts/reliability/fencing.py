"""Starts the fencing rounds from anywhere: makes its package and the tests' house importable, and hands over. Holds nothing."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    here = Path(__file__).resolve()
    sys.path[:0] = [str(here.parent), str(here.parents[2] / "tests" / "integration")]
    runpy.run_module("fences.command", run_name="__main__")
