"""The house as text: which files there are, which room they stand in. Judges nothing."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "arbitrage"
TESTS = ROOT / "tests"
PURE_ROOMS = ("model", "market", "ledger", "strategy", "risk", "execution", "engine")
ADAPTERS = ("venues", "sim", "store", "learn")
DECIDERS = ("engine", "strategy", "risk", "execution")
LAYERS: tuple[tuple[str, ...], ...] = (
    ("model",),
    ("market", "ledger"),
    ("strategy", "risk", "execution"),
    ("engine",),
    ADAPTERS,
    ("ops",),
    ("web",),
    ("app",),
)
"""From the ground up."""


class Source(NamedTuple):
    """One Python file, named from the project's root."""

    name: str
    text: str

    @property
    def tree(self) -> ast.Module:
        return parsed(self.text)

    @property
    def room(self) -> str:
        """The room of a package file; empty for the package's own files."""
        parts = self.name.split("/")
        return parts[1] if parts[0] == "arbitrage" and len(parts) > 2 else ""

    @property
    def module(self) -> str:
        """The dotted name that imports it."""
        parts = self.name.removesuffix(".py").split("/")
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def lines(self) -> int:
        return self.text.count("\n")


@functools.cache
def parsed(text: str) -> ast.Module:
    """Parse once; trees are read and never changed."""
    return ast.parse(text)


def sources(folder: Path) -> list[Source]:
    """Read every Python file below a folder."""
    found = sorted(folder.rglob("*.py"))
    return [Source(path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")) for path in found]


@functools.cache
def package() -> tuple[Source, ...]:
    """Return the package's files."""
    return tuple(sources(PACKAGE))


@functools.cache
def suite() -> tuple[Source, ...]:
    """Return the tests' files."""
    return tuple(sources(TESTS))


@functools.cache
def tracked() -> tuple[str, ...]:
    """Name what belongs to the project: what git holds or would hold. Empty outside a checkout."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    names = listing.stdout.splitlines() if listing.returncode == 0 else []
    return tuple(name for name in names if (ROOT / name).is_file())


def rooms() -> list[str]:
    """Name the rooms that are built so far."""
    return sorted({source.room for source in package() if source.room})


def functions(tree: ast.AST) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Return every function, methods and nested ones included."""
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def dotted(node: ast.AST) -> str:
    """Spell a chain of names, such as `asyncio.sleep`; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        left = dotted(node.value)
        return f"{left}.{node.attr}" if left else ""
    return ""


def imports(source: Source) -> list[tuple[str, int]]:
    """Return every module a file imports, by its full name, with the line; names taken from a package are tried as modules."""
    found: list[tuple[str, int]] = []
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                own = source.module.split(".")
                own = own if source.name.endswith("__init__.py") else own[:-1]
                base = ".".join([*own[: len(own) - node.level + 1], *([base] if base else [])])
            found += [(f"{base}.{alias.name}", node.lineno) for alias in node.names]
    return found


def tell(faults: Iterable[str], remedy: str) -> str:
    """Word a failure: every fault on its line, and what to do about it."""
    return "\n".join(["", *(f"  {fault}" for fault in faults), f"Remedy: {remedy}"])
