"""Runs the whole test suite, a few jobs at a time, each room measured by its own folder; refuses low coverage.

Pure rooms must reach 100 % branch coverage from `tests/<room>` alone; the rest of the package 85 % over all its tests.
Usage: python scripts/run_tests.py [JOB ...]    (job names are printed; no name runs all)
"""

from __future__ import annotations

import compileall
import concurrent.futures
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
PURE_ROOMS = ("model", "market", "ledger", "strategy", "risk", "execution", "engine")
APART = {
    "daemon": ("integration/test_daemon_*.py",),
    "commands": (
        "integration/test_demo.py", "integration/test_drills.py", "integration/test_drill_runs.py",
        "integration/test_ledger_load.py", "integration/test_replay.py",
    ),
    "kills": ("integration/test_killsweep.py",),
    "fencing": ("integration/test_fencing.py",),
    "faults": ("integration/test_faults.py",),
    "backup": ("integration/test_backup_house.py",),
    "surface": ("integration/test_surface_*.py",),
    "browser": ("integration/test_browser*.py",),
    "alerts": ("integration/test_alert_daemon.py", "integration/test_monitor_daemon.py"),
    "storms": ("integration/test_*_unknown_outcomes.py", "engine/test_unknown_outcomes.py"),
    "repetition": (
        "ops/test_ops_corruption.py", "sim/test_sim_capture.py", "sim/test_sim_scenarios.py", "venues/test_codec_fuzz.py",
        "venues/test_binance_codec_reference.py", "venues/test_binance_signing.py", "web/test_web_matrix.py",
    ),
}  # fmt: skip
"""Files that are jobs of their own, apart from their folder's rest: they start whole processes, or do the same many times."""
OUTER_JOBS = (
    "house", "venues", "sim", "store", "ops", "web", "app", "systemd", "bench", "pains", "simulate", "deploy", "integration",
    *APART,
)  # fmt: skip
UNMEASURED = (*APART, "pains", "simulate", "house", "systemd", "bench", "deploy")
"""Jobs whose coverage is not taken: they hold what they hold in real time or over many seeds, and tracing doubles that."""
LONGEST = (
    "daemon", "commands", "integration", "kills", "simulate", "surface", "browser", "alerts", "fencing", "faults", "backup",
    "storms", "repetition", "strategy", "pains", "sim", "venues",
)  # fmt: skip
"""Begun first, so that all workers end together."""
WORKERS = min(4, (os.cpu_count() or 1) + 1)
"""One more than cores: the tests of whole processes mostly wait, and with two more they starve each other."""
OUTER_PERCENT_MIN = 85
PURE_PERCENT_MIN = 100
JOB_TIMEOUT_S = 1_800
COUNTS = re.compile(r"(\d+) (passed|failed|skipped|errors?|deselected|xfailed)")


def paths(job: str) -> list[str]:
    """Return what a job gives to pytest: its files, or its folder without those that are jobs of their own."""
    tests = ROOT / "tests"
    apart = {name: {path for pattern in patterns for path in tests.glob(pattern)} for name, patterns in APART.items()}
    found = apart.get(job) or set((tests / job).rglob("test_*.py")).difference(*apart.values())
    return sorted(str(path.relative_to(ROOT)) for path in found)


def measured(folder: str, source: str, data_file: pathlib.Path) -> subprocess.CompletedProcess[str]:
    """Run one job, under branch coverage of `source` in its own process, where it is measured."""
    config = data_file.with_suffix(".ini")
    config.write_text(
        f"[run]\nbranch = true\nparallel = true\nsource = {source}\ndata_file = {data_file}\n"
        "[report]\nexclude_also =\n    if TYPE_CHECKING:\n    assert_never\n    \\.\\.\\.$\n"
    )
    tracing = [] if folder in UNMEASURED else ["-m", "coverage", "run", f"--rcfile={config}"]
    command = [sys.executable, *tracing, "-m", "pytest", *paths(folder)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=JOB_TIMEOUT_S, check=False, env=environment)
    if tracing:
        subprocess.run([sys.executable, "-m", "coverage", "combine", "-q", f"--rcfile={config}"], cwd=ROOT, check=False)
    return run


def report(data_file: pathlib.Path, percent_min: int) -> tuple[bool, str]:
    """Return whether the measured percentage is enough, and the lines that are missing when it is not."""
    config = data_file.with_suffix(".ini")
    command = [
        sys.executable,
        "-m",
        "coverage",
        "report",
        f"--rcfile={config}",
        "-m",
        "--skip-covered",
        f"--fail-under={percent_min}",
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode == 0, done.stdout + done.stderr


def run_job(folder: str, work: pathlib.Path) -> tuple[str, bool, dict[str, int], str]:
    """Run one folder; return its name, whether it is good, its counts, and what to print."""
    started = time.monotonic()
    is_pure = folder in PURE_ROOMS
    data_file = work / f"{folder}.cov"
    try:
        run = measured(folder, f"arbitrage/{folder}" if is_pure else "arbitrage", data_file)
    except subprocess.TimeoutExpired as late:
        shown = late.stdout.decode(errors="replace") if isinstance(late.stdout, bytes) else str(late.stdout)
        return folder, False, {"failed": 1}, f"{folder}: no end within {late.timeout:.0f} s\n{ends_of(shown, 12_000)}"
    lines = run.stdout.strip().splitlines()
    counts = {
        word.rstrip("s") if word.startswith("error") else word: int(n) for n, word in COUNTS.findall(lines[-1] if lines else "")
    }
    is_good = run.returncode == 0
    text = f"{folder:<12} {lines[-1] if lines else 'printed nothing'}   ({time.monotonic() - started:.0f} s)"
    if not is_good:
        text += f"\n{ends_of(run.stdout, 12_000)}{ends_of(run.stderr, 4_000)}"
    if is_good and is_pure:
        is_good, detail = report(data_file, PURE_PERCENT_MIN)
        if not is_good:
            text += f"\n{folder}: branch coverage by its own folder is under {PURE_PERCENT_MIN} %: test these lines\n{detail}"
            counts["failed"] = counts.get("failed", 0) + 1
    return folder, is_good, counts, text


def ends_of(text: str, characters: int) -> str:
    """Return a long text without its middle: how it began (a failing seed stands there) and how it ended."""
    if len(text) <= characters:
        return text
    return f"{text[: characters // 4]}\n[...]\n{text[-characters * 3 // 4 :]}"


def outer_coverage(work: pathlib.Path, folders: list[str]) -> tuple[bool, str]:
    """Combine every job's data and judge the package as a whole."""
    whole = work / "whole.cov"
    whole.with_suffix(".ini").write_text(
        f"[run]\nbranch = true\ndata_file = {whole}\n[report]\nexclude_also =\n    if TYPE_CHECKING:\n    assert_never\n"
    )
    files = [str(work / f"{folder}.cov") for folder in folders if (work / f"{folder}.cov").exists()]
    config = f"--rcfile={whole.with_suffix('.ini')}"
    subprocess.run([sys.executable, "-m", "coverage", "combine", "-q", "--keep", config, *files], cwd=ROOT, check=False)
    return report(whole, OUTER_PERCENT_MIN)


def main(names: list[str]) -> int:
    """Run the named jobs (or all) and return an exit status."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it, and so would what is tested
    compileall.compile_dir(ROOT / "arbitrage", quiet=1)  # jobs write no bytecode: hundreds of daemons would each compile it
    folders = names or [*PURE_ROOMS, *OUTER_JOBS]
    folders = sorted(folders, key=lambda name: LONGEST.index(name) if name in LONGEST else len(LONGEST))
    totals = {"passed": 0, "failed": 0, "skipped": 0, "error": 0}
    all_good = True
    with tempfile.TemporaryDirectory() as scratch, concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        work = pathlib.Path(scratch)
        for done in concurrent.futures.as_completed([pool.submit(run_job, folder, work) for folder in folders]):
            _, is_good, counts, text = done.result()
            all_good &= is_good
            for word, n in counts.items():
                totals[word] = totals.get(word, 0) + n
            print(text, flush=True)
        if not names:
            is_enough, detail = outer_coverage(work, folders)
            print(detail.strip().splitlines()[-1] if is_enough else f"coverage is under {OUTER_PERCENT_MIN} %:\n{detail}")
            all_good &= is_enough
    failed = totals["failed"] + totals["error"] + (0 if all_good or totals["failed"] + totals["error"] else 1)
    print(f"{totals['passed']} passed, {failed} failed, {totals['skipped']} skipped")
    return 0 if all_good and not failed else 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
