"""Lets the stories of the pains use the labs of the other rooms' tests."""

from __future__ import annotations

import sys
from pathlib import Path

for _room in ("engine", "execution", "integration", "ledger", "sim", "store"):
    _folder = str(Path(__file__).parents[1] / _room)
    if _folder not in sys.path:
        sys.path.append(_folder)
