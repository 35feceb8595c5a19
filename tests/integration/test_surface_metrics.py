"""Every metric that a rule or a panel of `deploy/` names is on a real daemon's page, with the labels that are asked for."""

from __future__ import annotations

import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from daemon_lab import PROJECT, House, house_in, wait_until

sys.path.append(str(PROJECT / "tests" / "deploy"))  # what reads the shipped files lives beside their other tests

from deploy_files import Selector, rows_of, selectors

from arbitrage.ops.config import CONFIG_DIR_VARIABLE

pytestmark = pytest.mark.integration
@pytest.fixture
def house(data_folder: Path) -> Iterator[House]:
    with house_in(data_folder) as house:
        yield house


def test_every_metric_that_is_named_exists_with_its_labels(house: House) -> None:
    house.configure({"web": {"port": 0}})
    run = house.start()
    run.says("arbitrage.engine: arbitrage ")

    def url() -> str:
        status = house.status()
        return status.web_url if status is not None else ""

    wait_until(url, "the surface is served")

    def missing() -> set[Selector]:
        with urllib.request.urlopen(url() + "/metrics", timeout=10) as answer:
            page = answer.read().decode()
        rows = list(rows_of(page))
        families = set(re.findall(r"^# TYPE (\w+) ", page, re.M))
        # A counter of what has not happened yet has a family and no row.
        return {
            each
            for each in selectors()
            if not any(each.takes(*row) for row in rows) and (each.labels or not {each.name, f"{each.name}_total"} & families)
        }

    def backed_up() -> None:
        command = [sys.executable, "-m", "arbitrage", "backup"]
        environ = {**house.environ, CONFIG_DIR_VARIABLE: str(house.config)}
        done = subprocess.run(command, env=environ, cwd=PROJECT, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr

    assert len(selectors()) > 35, "rules and panels name metrics"
    assert missing(), "the archive of the log is on the page once there is one"
    backed_up()
    wait_until(lambda: not missing(), f"on the page: {missing()}", 60)
    assert run.end() == 0
