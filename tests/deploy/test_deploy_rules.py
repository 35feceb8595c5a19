"""What `deploy/` ships is sound: rules and their tests by promtool, the dashboard, and a runbook section for every alert."""

from __future__ import annotations

import itertools
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from deploy_files import DASHBOARD, DEPLOY, Selector, alerts, expressions, rows_of, rules, selectors

from arbitrage.model.settings import Settings
from arbitrage.ops.alerts.catalog import CATALOG
from arbitrage.ops.alerts.wording import anchor
from arbitrage.ops.monitor_command import parser

ROOT = DEPLOY.parent
RUNBOOK = ROOT / "docs" / "RUNBOOK.md"
PARTS = ("means", "look", "do", "over")
"""What every section says: what it means, what to look at, what to do, how to prove that it is over."""


@pytest.fixture(scope="module")
def promtool() -> str:
    """Have Prometheus's own checker, or say in one line which package is missing."""
    words = ["sh", str(ROOT / "scripts" / "test_packages.sh"), "promtool"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return "promtool"


def said(*words: str, folder: Path = DEPLOY / "prometheus") -> str:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_promtool_takes_rules_and_configuration(promtool: str) -> None:
    assert f"{len(rules())} rules found" in said(promtool, "check", "rules", "rules.yml")
    assert "SUCCESS" in said(promtool, "check", "config", "prometheus.yml")
    assert "SUCCESS" in said(promtool, "check", "config", "--syntax-only", "prometheus-remote.yml")


def test_a_scrape_from_another_machine_shows_a_key_over_tls_and_nothing_in_the_file_is_one() -> None:
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "prometheus-remote.yml").read_text())["scrape_configs"][0]
    assert scrape["scheme"] == "https" and scrape["authorization"]["type"] == "Bearer"
    assert set(scrape["authorization"]) == {"type", "credentials_file"}


def test_every_rule_fires_when_it_should_and_not_before(promtool: str) -> None:
    assert "SUCCESS" in said(promtool, "test", "rules", "rules_test.yml")
    text = (DEPLOY / "prometheus" / "rules_test.yml").read_text()
    untested = [name for name in alerts() if not re.search(rf"alertname: {name}\n\s+exp_alerts:\n\s+- exp_labels", text)]
    assert not untested, "each rule is seen to fire"


def test_a_rule_that_is_changed_fails_its_test(promtool: str, tmp_path: Path) -> None:
    for name in ("rules.yml", "rules_test.yml"):
        (tmp_path / name).write_text((DEPLOY / "prometheus" / name).read_text())
    rules_file = tmp_path / "rules.yml"
    rules_file.write_text(rules_file.read_text().replace("arbitrage_killed == 1", "arbitrage_killed == 2"))
    words = [promtool, "test", "rules", "rules_test.yml"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0 and "ArbitrageKillSwitchOn" in done.stdout + done.stderr


def test_the_dashboard_is_one_that_grafana_takes() -> None:
    board = json.loads(DASHBOARD.read_text())
    panels = board["panels"]
    assert board["uid"] == "arbitrage" and len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["title"] and panel["targets"] and panel["datasource"]["uid"] == "${datasource}" for panel in panels)
    places = [(panel["gridPos"]["x"] + panel["gridPos"]["w"]) for panel in panels]
    assert max(places) <= 24, "the grid has 24 columns"
    spans = sorted((p["gridPos"]["y"], p["gridPos"]["x"], p["gridPos"]["w"]) for p in panels)
    assert all(a[0] != b[0] or a[1] + a[2] <= b[1] for a, b in itertools.pairwise(spans)), "no panel covers another"


def test_every_expression_of_the_dashboard_is_one_that_prometheus_takes(promtool: str, tmp_path: Path) -> None:
    recorded = [{"record": f"panel:number_{number}", "expr": each} for number, each in enumerate(expressions())]
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "panels", "rules": recorded}]}))
    assert f"{len(recorded)} rules found" in said(promtool, "check", "rules", "panels.yml", folder=tmp_path)


def test_selectors_are_read_with_their_labels() -> None:
    dropped = {each for each in selectors() if each.name == "arbitrage_queue_dropped_total" and each.labels}
    (kinds,) = (each for each in dropped if each.labels[0][1] == "!~")
    assert kinds == Selector("arbitrage_queue_dropped_total", (("queue", "!~", "opportunities|episodes"),))
    (row,) = rows_of('# HELP x y\narbitrage_queue_dropped_total{queue="logs"} 3.0\n')
    assert kinds.takes(*row) and not kinds.takes("other", {"queue": "logs"})
    assert not kinds.takes(row[0], {"queue": "opportunities"}) and not kinds.takes(row[0], {"queue": "episodes"})


def sections() -> dict[str, str]:
    """Return the runbook's sections on alerts, by anchor."""
    text = RUNBOOK.read_text(encoding="utf-8")
    found = re.split(r"^### (alert [a-z_]+)$", text, flags=re.M)
    pairs = zip(found[1::2], found[2::2], strict=True)
    return {name.replace(" ", "-"): re.split(r"^##", body, flags=re.M)[0] for name, body in pairs}


def section_of(rule: dict[str, Any]) -> str:
    """Return the anchor that a Prometheus rule names."""
    return str(rule["annotations"]["runbook"]).partition("#")[2]


def test_every_alert_has_its_section_in_the_runbook() -> None:
    written = sections()
    wanted = {anchor(name) for name in CATALOG} | {section_of(rule) for rule in alerts().values()}
    assert wanted == set(written), "a section for each alert, and none for what is no alert"


@pytest.mark.parametrize("name", sorted(sections()))
def test_every_section_says_what_it_means_what_to_look_at_what_to_do_and_when_it_is_over(name: str) -> None:
    text = sections()[name]
    missing = [part for part in PARTS if not re.search(rf"^- \*\*{part}\*\*: \S.{{10,}}", text, re.M)]
    assert not missing, f"{name} lacks {missing}"


def test_every_prometheus_rule_is_named_in_its_section() -> None:
    written = sections()
    lost = [name for name, rule in alerts().items() if f"`{name}`" not in written[section_of(rule)]]
    assert not lost, "the runbook is searched by the rule's name"


def test_every_key_that_a_section_names_exists() -> None:
    reference = (ROOT / "docs" / "REFERENCE.md").read_text(encoding="utf-8")
    named = {key for text in sections().values() for key in re.findall(r"`((?:[a-z_]+\.)+(?:VENUE\.)?[a-z_]+)`", text)}
    keys = {key for key in named if key.split(".")[0] in {field.name for field in msgspec.structs.fields(Settings)}}
    assert len(keys) > 10, "sections name keys"
    assert not {key for key in keys if f"| `{key}` |" not in reference}


def test_every_look_at_the_monitor_that_a_document_names_is_one_that_it_takes() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (ROOT / "docs").glob("*.md")]
    look = re.compile(r"(?:`| {4})arbitrage-monitor( [^`\n]+)(?:`|$)", re.M)
    shown = {words for text in texts for words in look.findall(text)}
    assert len(shown) > 5, "documents name looks"
    for words in shown:
        assert parser().parse_args(shlex.split(words)), words
