"""Makes the benchmark's package importable; it lives beside the project's scripts and is not installed."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
