"""How much disk a running daemon's environment takes without the embedded databases. Leaves nothing."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

import msgspec

from bench.figures import Floor, at_most

ROOT = Path(__file__).resolve().parents[2]
SIZE_MB_MAX = 200.0


class Size(msgspec.Struct, frozen=True):
    """Megabytes (1e6 bytes) on disk."""

    environment_mb: float
    """All of the virtual environment, pip included."""
    packages: dict[str, float]
    """The largest folders of it."""


def run() -> Size:
    """Install the project's own dependencies, at their locked versions, into a fresh environment, and weigh it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    with tempfile.TemporaryDirectory() as folder:
        python = Path(folder) / "venv" / "bin" / "python"
        _call(sys.executable, "-m", "venv", str(python.parents[1]))
        install = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        _call(*install, "--constraint", str(ROOT / "requirements" / "run.txt"), *project["dependencies"])
        copy = Path(folder) / "project"  # building in the tree would leave a folder there
        copy.mkdir()
        for name in ("pyproject.toml", "README.md"):
            shutil.copy(ROOT / name, copy)
        shutil.copytree(ROOT / "arbitrage", copy / "arbitrage", ignore=shutil.ignore_patterns("__pycache__"))
        _call(*install, "--no-deps", str(copy))
        site = next(python.parents[1].glob("lib/python*/site-packages"))
        parts = {part.name: _weigh(part) for part in site.iterdir()}
        largest = sorted(parts.items(), key=lambda item: -item[1])[:8]
        return Size(_weigh(python.parents[1]), dict(largest))


def floors(found: Size) -> list[Floor]:
    """Hold the installed size against its limit."""
    return [at_most("installed size without embedded databases, in MB", found.environment_mb, SIZE_MB_MAX)]


def _call(*command: str) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _weigh(path: Path) -> float:
    """Return the space that a file or a folder takes, links not followed."""
    if not path.is_dir():
        return round(path.lstat().st_blocks * 512 / 1e6, 1)
    files = (Path(folder) / name for folder, _, names in os.walk(path) for name in names)
    return round(sum(file.lstat().st_blocks for file in files) * 512 / 1e6, 1)
