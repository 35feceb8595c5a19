"""Writes docs/API_REFERENCE.md out of the table of endpoints. Usage: python scripts/surface/reference.py"""

from __future__ import annotations

import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(PROJECT))

from arbitrage.web.reference import text  # noqa: E402 - the package beside this script is found only now
from arbitrage.web.table import table  # noqa: E402 - the same


def main() -> int:
    """Write it."""
    target = PROJECT / "docs" / "API_REFERENCE.md"
    target.write_text(text(table(bytes)), encoding="utf-8")
    print(target.relative_to(PROJECT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
