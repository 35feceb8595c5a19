"""Holds the OpenAPI document against a really running daemon: schemathesis asks, every answer must be a documented one.

Left out: `/api/v1/events`, which does not end, and `POST /api/v1/backup`, which takes the processors (both have tests).
What ends the asking key itself comes last. Usage: python scripts/surface/contract.py [--examples N] [--seed N] [--quick]
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from typing import NamedTuple

from surface_house import SurfaceHouse, surface_house

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance"
)
LEFT_OUT = ("/api/v1/events", "/api/v1/backup")
DRILL = "/api/v1/drills/{name}"
"""Left out of a quick run: a drill takes a processor for a minute."""
LAST = (("DELETE", "/api/v1/keys/{key}"), ("PUT", "/api/v1/users/{name}"))
"""These may end the key or the user that asks."""
RUN_SECONDS_MAX = 1_200
CASES_MIN = 1_000
FAST = {"ARBITRAGE__WEB__CLIENT_REQUESTS_PER_S_MAX": "5000", "ARBITRAGE__WEB__REQUESTS_PER_S_MAX": "5000"}
"""Otherwise many answers would only be 429."""


class Verdict(NamedTuple):
    """What came of a run."""

    generated: int
    passed: int
    is_good: bool
    text: str


def ask_all(house: SurfaceHouse, *, examples: int, seed: int, is_quick: bool) -> Verdict:
    """Run both parts against one daemon."""
    phases = "fuzzing" if is_quick else "examples,coverage,fuzzing"
    common = ["--phases", phases, "-n", str(examples), "--seed", str(seed)]
    left_out = (*LEFT_OUT, DRILL) if is_quick else LEFT_OUT
    excluded = [word for path in left_out for word in ("--exclude-path", path)]
    excluded += [word for method, path in LAST for word in ("--exclude-operation-id", operation_id(method, path))]
    first = _run(house, [*common, *excluded])
    chosen = [word for method, path in LAST for word in ("--include-operation-id", operation_id(method, path))]
    last = _run(house, [*common, *chosen])
    is_good = first.is_good and last.is_good and not house.errors()
    text = "\n".join([first.text, last.text, *house.errors()[:5]])
    return Verdict(first.generated + last.generated, first.passed + last.passed, is_good, text)


def operation_id(method: str, path: str) -> str:
    """Name an operation as the document does."""
    return re.sub(r"\W+", "_", f"{method.lower()}_{path}").strip("_")


def _run(house: SurfaceHouse, words: list[str]) -> Verdict:
    command = [
        sys.executable, "-c", "import sys; from schemathesis.cli import schemathesis; sys.exit(schemathesis())", "run",
        f"{house.origin}/api/v1/openapi.json", "--url", house.origin, "-H", f"Authorization: Bearer {house.key}", "-w", "1",
        "--continue-on-failure", "--no-color", "--request-timeout", "15", "--generation-database", "none",
        "--generation-with-security-parameters", "false", "--checks", CHECKS, *words,
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=house.folder, capture_output=True, text=True, timeout=RUN_SECONDS_MAX, check=False
    )
    counts = re.search(r"(\d+) generated(?:, (\d+) passed)?", done.stdout)
    generated = int(counts[1]) if counts else 0
    passed = int(counts[2] or 0) if counts else 0
    is_good = done.returncode == 0 and generated > 0 and passed == generated
    return Verdict(generated, passed, is_good, "" if is_good else done.stdout[-6_000:] + done.stderr[-2_000:])


def main() -> int:
    """Start a daemon, ask, and say what came of it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--examples", type=int, default=8, help="cases of each operation in the last phase")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="only the last phase")
    arguments = parser.parse_args()
    with surface_house(FAST) as house:
        verdict = ask_all(house, examples=arguments.examples, seed=arguments.seed, is_quick=arguments.quick)
        seconds = house.stop()
    if verdict.text.strip():
        print(verdict.text)
    is_enough = arguments.quick or verdict.generated >= CASES_MIN
    print(f"{verdict.generated} cases, {verdict.generated - verdict.passed} not as documented; stopped in {seconds:.2f} s")
    return 0 if verdict.is_good and is_enough else 1


if __name__ == "__main__":
    sys.exit(main())
