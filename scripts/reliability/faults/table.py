"""Runs rows one after another, each in a house of its own, and keeps going when one fails. Injects nothing itself."""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable, Sequence

import psutil
from reliability.faults.lab import Cluster, Lab, lab_in
from reliability.faults.nouns import Options, Result, Row


class Table:
    """One run of the table."""

    def __init__(self, options: Options, say: Callable[[str], None]) -> None:
        self._options = options
        self._say = say

    def run(self, rows: Sequence[Row]) -> list[Result]:
        """Run the rows; say a line each."""
        results = []
        with Cluster() as cluster:
            for row in rows:
                result = self._row(row, cluster)
                results.append(result)
                self._say(result.line())
        return results

    def _row(self, row: Row, cluster: Cluster) -> Result:
        began, load = time.monotonic(), os.getloadavg()[0]
        if missing := row.missing():
            return Result(row.name, "MISSING", 0.0, f"needs {', '.join(missing)}", load)
        verdict, text = "FAIL", ""
        try:
            with lab_in(cluster, self._options, self._say) as lab:
                verdict, text = attempt(row, lab)
        except (OSError, AssertionError) as failure:
            verdict, text = "FAIL", f"{text} (could not be set up or cleared away: {failure})"
        return Result(row.name, verdict, round(time.monotonic() - began, 1), text, load)


def attempt(row: Row, lab: Lab) -> tuple[str, str]:
    """Run one row in its lab; return the verdict and what was measured or what did not hold."""
    try:
        return "PASS", row.work(lab)
    except AssertionError as failure:
        where = traceback.extract_tb(failure.__traceback__)[-1].name
        return "FAIL", f"{str(failure) or where}; {lab.last_words()}"
    except (OSError, ValueError, psutil.Error) as failure:
        return "FAIL", f"{type(failure).__name__}: {failure}; {lab.last_words()}"
