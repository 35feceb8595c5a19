"""Reads what `deploy/` ships: rules, panels, and every metric with the labels that an expression asks for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
DASHBOARD = DEPLOY / "grafana" / "arbitrage.json"
_SELECTOR = re.compile(r"(?P<name>\barbitrage_[a-z0-9_]+)(?:\{(?P<labels>[^}]*)\})?")
_LABEL = re.compile(r"(?P<label>\w+)(?P<how>=~|!=|!~|=)\"(?P<value>[^\"]*)\"")


class Selector(NamedTuple):
    """One metric as an expression names it."""

    name: str
    labels: tuple[tuple[str, str, str], ...]

    def takes(self, name: str, labels: dict[str, str]) -> bool:
        """Say whether a row of the page is among what it selects."""
        return name == self.name and all(_fits(labels.get(label, ""), how, value) for label, how, value in self.labels)


def _fits(have: str, how: str, want: str) -> bool:
    is_alike = bool(re.fullmatch(want, have)) if "~" in how else have == want
    return is_alike != how.startswith("!")


def rules() -> list[dict[str, Any]]:
    """Return every rule that is shipped."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def alerts() -> dict[str, dict[str, Any]]:
    """Return every alert rule by its name."""
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def expressions() -> Iterator[str]:
    """Yield every expression of rules and panels."""
    yield from (rule["expr"] for rule in rules())
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        yield from (target["expr"] for target in panel["targets"])


def selectors() -> set[Selector]:
    """Return every metric that an expression names, with what it asks of its labels."""
    return {
        Selector(match["name"], tuple(_LABEL.findall(match["labels"] or "")))
        for expression in expressions()
        for match in _SELECTOR.finditer(expression)
    }


def rows_of(page: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield name and labels of every row of a metrics page."""
    for line in page.splitlines():
        if match := re.match(r"(?P<name>[a-z_0-9]+)(?:\{(?P<labels>.*)\})? ", line):
            yield match["name"], dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', match["labels"] or ""))
