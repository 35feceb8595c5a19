"""What a row of the fault table is, and what came of it. Runs nothing."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reliability.faults.lab import Lab

ROOT, NFT, COMPILER, TMPFS, CGROUP = "root", "nft", "cc", "a tmpfs mount", "a memory cgroup"
MEMORY_FOLDER = "/sys/fs/cgroup/memory"
INSTALL = {
    ROOT: "run it as root",
    NFT: "apt-get install nftables",
    COMPILER: "apt-get install gcc libc6-dev",
    TMPFS: "run it as root",
    CGROUP: "run it as root where the memory controller is mounted",
}


class NotHeld(AssertionError):
    """An invariant that does not hold; the text says which, and what was seen instead."""


@dataclasses.dataclass(frozen=True)
class Options:
    """What the command line asks of rows that can be long or short."""

    minutes: float = 10.0
    """Of the load row."""
    rounds: int = 50
    """Of the stop row."""
    program: tuple[str, ...] = ("-m", "arbitrage")
    """The daemon: another one is broken on purpose, to see that a row fails."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One fault."""

    name: str
    injected: str
    invariant: str
    work: Callable[[Lab], str]
    """Injects it and demands what must hold. Returns what was measured; raises NotHeld."""
    needs: tuple[str, ...] = ()
    is_quick: bool = True
    """Short enough for CI."""

    def missing(self) -> tuple[str, ...]:
        """Name what this machine lacks, each with how to get it."""
        return tuple(f"{need} ({INSTALL[need]})" for need in self.needs if not has(need))


@dataclasses.dataclass(frozen=True)
class Result:
    """What came of a row: `PASS`, `FAIL` or `MISSING`."""

    name: str
    verdict: str
    seconds: float
    text: str
    load: float
    """The machine's load average when it began."""

    def line(self) -> str:
        """Say it in one line."""
        return f"{self.verdict:<8}{self.name:<24}{self.seconds:6.1f} s   {self.text}"


def has(need: str) -> bool:
    """Tell whether this machine has something that a row needs."""
    is_root = os.geteuid() == 0
    match need:
        case "nft" | "cc":
            return shutil.which(need) is not None
        case "a memory cgroup":
            return is_root and os.path.exists(f"{MEMORY_FOLDER}/cgroup.procs")
        case _:
            return is_root
