"""The bars on imports: the contracts hold, and each of them fails on a tree with one violation planted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from house_source import ADAPTERS, DECIDERS, LAYERS, PURE_ROOMS, ROOT, Source, imports, package, tell

FLOOR = {name: floor for floor, names in enumerate(LAYERS) for name in names}
LINT = "import sys; from importlinter.cli import lint_imports_command; sys.path.insert(0, '.'); lint_imports_command()"


def modules(sources: tuple[Source, ...]) -> dict[str, set[str]]:
    """Return which of our files import which others."""
    names = {source.module for source in sources}

    def resolved(name: str) -> str:
        return name if name in names else name.rpartition(".")[0]

    return {source.module: {resolved(name) for name, _ in imports(source)} & names - {source.module} for source in sources}


def cycles(graph: dict[str, set[str]]) -> list[str]:
    """Return every file that imports itself by way of others, with the imports that lead back to it."""
    reached = {name: _reachable(graph, name) for name in graph}
    knotted = [name for name in sorted(graph) if name in reached[name]]
    return [f"{name} -> {', '.join(sorted(other for other in graph[name] if name in reached[other]))}" for name in knotted]


def _reachable(graph: dict[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    pending = set(graph[start])
    while pending:
        name = pending.pop()
        seen.add(name)
        pending |= graph[name] - seen
    return seen


def climbs(sources: tuple[Source, ...]) -> list[str]:
    """Return imports that go up or sideways, and adapters that import what decides."""
    faults = []
    for source in sources:
        for name, line in imports(source):
            own, other = source.room, name.split(".")[1] if name.startswith("arbitrage.") else ""
            if own not in FLOOR or other not in FLOOR or own == other:
                continue
            if FLOOR[other] >= FLOOR[own] or (own in ADAPTERS and other in DECIDERS):
                faults.append(f"{source.name}:{line} imports {name}")
    return faults


def test_imports_go_down_only() -> None:
    up = (Source("arbitrage/model/a.py", "from arbitrage.engine import x\n"),)
    sideways = (Source("arbitrage/risk/a.py", "from arbitrage import strategy\nimport arbitrage.execution.desk\n"),)
    adapter = (Source("arbitrage/learn/a.py", "from arbitrage.risk.guard import Guard\n"),)
    down = (
        Source("arbitrage/risk/a.py", "from arbitrage.model import x\nfrom .rules import y\nimport arbitrage.market.board\n"),
    )
    assert [len(climbs(tree)) for tree in (up, sideways, adapter, down)] == [1, 2, 1, 0]
    faults = climbs(package())
    assert not faults, tell(faults, "move the noun down, or hand the value in: docs/ARCHITECTURE.md has the rooms")


def test_no_file_imports_itself_in_a_circle() -> None:
    knot = (
        Source("arbitrage/risk/a.py", "from arbitrage.risk.b import x\n"),
        Source("arbitrage/risk/b.py", "def f():\n    from .c import y\n"),
        Source("arbitrage/risk/c.py", "import arbitrage.risk.a\n"),
        Source("arbitrage/risk/d.py", "from arbitrage.risk.a import x\n"),
    )
    assert [row.split(" ")[0] for row in cycles(modules(knot))] == ["arbitrage.risk.a", "arbitrage.risk.b", "arbitrage.risk.c"]
    assert cycles(modules(knot[:2])) == []
    faults = cycles(modules(package()))
    assert not faults, tell(faults, "the noun both files need goes into a third one below them")


def test_every_room_is_in_the_plan() -> None:
    found = {source.room for source in package() if source.room}
    assert found <= set(FLOOR), tell(
        sorted(found - set(FLOOR)), "a new room is a decision: docs/adr, the layers in pyproject, and this list"
    )


def lint(folder: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    chosen = [argument for contract in contracts for argument in ("--contract", contract)]
    command = [sys.executable, "-c", LINT, "--no-cache", "--no-logo", "--config", "pyproject.toml", *chosen]
    environment = os.environ | {"PYTHONPATH": str(folder)}
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120, env=environment)


def test_every_contract_holds() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, tell(result.stdout.splitlines(), "docs/ARCHITECTURE.md has the rooms")
    assert "5 kept, 0 broken" in result.stdout


@pytest.fixture
def empty_house(tmp_path: Path) -> Path:
    """Every room that must exist, with nothing in it, under the real contracts."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    required = {name for names in LAYERS for name in names} - {"learn"} | {"web/screen", "web/api", "web/access"}
    for name in ("", *sorted(required)):
        folder = tmp_path / "arbitrage" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "__init__.py").write_text("", encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("contract", "planted"),
    [
        ("layers", {"model/a.py": "import arbitrage.ops\n"}),
        ("layers", {"risk/a.py": "import arbitrage.strategy\n"}),
        ("layers", {"cellar/__init__.py": ""}),
        ("web", {"web/access/a.py": "import arbitrage.web.screen\n"}),
        ("web", {"web/api/a.py": "def f():\n    import arbitrage.web.screen.live\n", "web/screen/live.py": ""}),
        ("acyclic", {"risk/a.py": "import arbitrage.risk.b\n", "risk/b.py": "def f():\n    import arbitrage.risk.a\n"}),
        ("purity", {"ledger/a.py": "import asyncio\n"}),
        ("purity", {"engine/a.py": "from datetime import datetime\n"}),
        ("purity", {"market/a.py": "def f():\n    import websockets\n"}),
        ("adapters", {"sim/a.py": "import arbitrage.engine\n"}),
        ("adapters", {"store/a.py": "import arbitrage.risk\n"}),
    ],
)
def test_each_contract_sees_its_violation(empty_house: Path, contract: str, planted: dict[str, str]) -> None:
    assert lint(empty_house, contract).returncode == 0, "an empty house keeps its contracts"
    for name, text in planted.items():
        path = empty_house / "arbitrage" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    result = lint(empty_house, contract)
    assert result.returncode == 1, result.stdout + result.stderr
    assert "BROKEN" in result.stdout


def test_the_adapters_contract_names_every_adapter_that_is_built() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    built = [name for name in ADAPTERS if any(source.room == name for source in package())]
    missing = [name for name in built if f'"arbitrage.{name}"' not in text]
    assert not missing, tell(missing, "add it to the adapters contract in pyproject.toml")
    assert set(PURE_ROOMS) <= set(FLOOR)
