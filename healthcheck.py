#!/usr/bin/env python3
"""Says whether the daemon is well: one line a part, then PASSED (exit status 0) or FAILED (1). `--json`, `--help`."""

import os
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV_PYTHON = ROOT / ".venv" / "bin" / "python"
sys.path.insert(0, str(ROOT))

try:
    from arbitrage.ops.health_command import run
except (ImportError, SyntaxError) as error:
    if VENV_PYTHON.exists() and Path(sys.prefix) != VENV_PYTHON.parent.parent:
        os.execv(VENV_PYTHON, [str(VENV_PYTHON), *sys.argv])
    sys.exit(f"{error}: run `make run` once, or use the interpreter that arbitrage is installed in")

if __name__ == "__main__":
    try:
        code = run(sys.argv[1:], os.environ, wall_ns=time.time_ns, timer_ns=time.perf_counter_ns)
        sys.stdout.flush()
    except (KeyboardInterrupt, BrokenPipeError):
        code = 1
    os._exit(code)  # at once: a stuck name look-up in a thread must not hold the verdict's exit status back
