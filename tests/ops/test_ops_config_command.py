"""`arbitrage config`: what it prints and with which status, and never a secret."""

from __future__ import annotations

import argparse
import json
import socket
from pathlib import Path

import pytest
from ops_config_files import write_config

from arbitrage.ops.config_command import ConfigCommand

SECRET = "hunter2-hunter2"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("ENV", "MODE", "REDIS_HOST", "POSTGRES_HOST"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ARBITRAGE_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("POSTGRES_PASSWORD", SECRET)
    return write_config(tmp_path, secrets="store: {redis_password: KEY-VALUE-1}\n")


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    command = ConfigCommand(lambda settings, environ: f"MODE={settings.mode} is refused" if settings.mode == "live" else None)
    command.add_arguments(parser)
    return command.run(parser.parse_args(words))


def test_show_prints_every_key_with_its_origin(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show", "--origin") == 0
    text = capsys.readouterr().out
    lines = {line.split(" = ")[0]: line for line in text.splitlines() if " = " in line}
    assert lines["risk.open_plans_max"].endswith(f"# {folder}/base.yaml:18")
    assert "***" in lines["store.postgres_password"] and "POSTGRES_PASSWORD" in lines["store.postgres_password"]
    assert "POSTGRES_DB          store.postgres_database" in text
    assert SECRET not in text and "KEY-VALUE" not in text


def test_show_without_origin_and_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("show") == 0
    assert "risk.open_plans_max = 4\n" in capsys.readouterr().out
    assert run("show", "--json") == 0
    assert json.loads(capsys.readouterr().out)["store.postgres_password"] == "***"
    assert run("show", "--json", "--origin") == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["risk.open_plans_max"] == {"value": 4, "origin": f"{folder}/base.yaml:18"}


def test_validate_says_what_the_configuration_means(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("validate") == 0
    out = capsys.readouterr().out
    assert out.startswith("valid: env development, mode paper, 5 markets") and "costs 2299 ppm" in out


def test_a_wrong_configuration_is_status_2_with_one_line_a_problem(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_config(folder, development="risk: {open_plan_max: 1, profit_min: 2}\n")
    assert run("validate") == 2
    said = capsys.readouterr()
    assert said.out == "" and len(said.err.splitlines()) == 2


def test_live_is_status_3(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("MODE", "live")
    assert run("validate") == 3
    assert "MODE=live is refused" in capsys.readouterr().err


def test_a_database_that_does_not_answer_is_status_1_and_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # taken and not listening: a connection is refused
        port = str(probe.getsockname()[1])
        for server in ("REDIS", "POSTGRES"):
            monkeypatch.setenv(f"{server}_HOST", "127.0.0.1")
            monkeypatch.setenv(f"{server}_PORT", port)
        assert run("validate", "--databases") == 1
    out = capsys.readouterr().out
    assert f"PostgreSQL at 127.0.0.1:{port} does not answer" in out and f"Redis at 127.0.0.1:{port} does not answer" in out
    assert SECRET not in out


def test_diff_compares_environments_and_folders(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("diff", "development", "staging") == 0
    assert capsys.readouterr().out.splitlines() == [
        'env: "development" -> "staging" (restart)', 'log.level: "INFO" -> "WARNING"',
    ]
    secrets = (folder / "secrets.yaml").read_text()
    other = write_config(tmp_path / "other", development="risk: {open_plans_max: 9}\n", secrets=secrets)
    assert run("diff", str(folder), str(other), "--json") == 0
    changes = json.loads(capsys.readouterr().out)
    assert changes == [{"key": "risk.open_plans_max", "before": "4", "after": "9", "restart": False}]
    assert run("diff", str(folder), str(folder)) == 0
    assert capsys.readouterr().out == "no difference\n"
    assert run("diff", "development", "nowhere") == 2
