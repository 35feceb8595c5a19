"""A ban outlives the process that met it."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from arbitrage.app.bans import FILE_NAME, BanFile


def test_a_ban_is_remembered_by_the_next_start(tmp_path: Path) -> None:
    bans = BanFile(tmp_path)
    assert bans.until_ns("binance") == 0
    bans.note({"binance": 500, "upbit": 0}, now_ns=100)
    again = BanFile(tmp_path)
    assert again.until_ns("binance") == 500 and again.until_ns("upbit") == 0


def test_only_a_longer_ban_still_in_force_is_written(tmp_path: Path) -> None:
    bans = BanFile(tmp_path)
    bans.note({"binance": 90}, now_ns=100)
    assert not (tmp_path / FILE_NAME).exists(), "a ban of the past is no news"
    bans.note({"binance": 500}, now_ns=100)
    (tmp_path / FILE_NAME).unlink()
    bans.note({"binance": 500}, now_ns=110)
    bans.note({"binance": 400}, now_ns=110)
    assert not (tmp_path / FILE_NAME).exists()
    bans.note({"binance": 600}, now_ns=110)
    assert BanFile(tmp_path).until_ns("binance") == 600


@pytest.mark.parametrize("content", [b"", b"{", b'{"binance": "soon"}', b"[1]", b"\xff\xfe"])
def test_a_damaged_file_is_told_and_forgotten(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / FILE_NAME).write_bytes(content)
    with caplog.at_level(logging.ERROR, "arbitrage.daemon"):
        bans = BanFile(tmp_path)
    assert bans.until_ns("binance") == 0
    assert "cannot be read" in caplog.text and FILE_NAME in caplog.text
    bans.note({"binance": 500}, now_ns=100)
    assert BanFile(tmp_path).until_ns("binance") == 500


def test_a_folder_that_takes_no_file_costs_the_memory_not_the_daemon(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    bans = BanFile(gone)
    gone.rmdir()
    with caplog.at_level(logging.ERROR, "arbitrage.daemon"):
        bans.note({"binance": 500}, now_ns=100)
    assert "not written" in caplog.text and bans.until_ns("binance") == 500
