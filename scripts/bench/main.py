"""Starts the benchmark from anywhere: makes the package beside it importable, then hands over. Holds nothing else."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    runpy.run_module("bench.command", run_name="__main__")
