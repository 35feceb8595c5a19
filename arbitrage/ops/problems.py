"""What is wrong with a configuration: where, what, and how to mend it, one line each. Refuses to show a secret's value."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """One thing to mend."""

    where: str
    """File, line and key, or the environment variable."""
    what: str
    mend: str

    def __str__(self) -> str:
        return " ".join(f"{self.where}: {self.what}; {self.mend}".split())


class ConfigError(Exception):
    """The configuration is refused whole, with every problem found."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        assert self.problems, "a refusal names at least one problem"
        super().__init__("\n".join(str(problem) for problem in self.problems))
