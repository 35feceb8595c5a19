#!/usr/bin/env python3
"""Watches the daemon from outside: the first screen, or --metrics, --tail, --errors, --search TEXT; plain when piped."""

import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV_PYTHON = ROOT / ".venv" / "bin" / "python"
sys.path.insert(0, str(ROOT))

try:
    from arbitrage.app.monitor.command import run
except (ImportError, SyntaxError) as error:
    if VENV_PYTHON.exists() and Path(sys.prefix) != VENV_PYTHON.parent.parent:
        os.execv(VENV_PYTHON, [str(VENV_PYTHON), *sys.argv])
    sys.exit(f"{error}: run `make run` once, or use the interpreter that arbitrage is installed in")

if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], os.environ, wall_ns=time.time_ns))
