"""What systemd hears, over a real datagram socket."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from arbitrage.app.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A service manager's socket on a path."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(5)
        listener.bind(str(tmp_path / "notify"))
        yield str(tmp_path / "notify"), listener


def hear(listener: socket.socket) -> dict[str, str]:
    lines = listener.recv(4096).decode().splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_every_message_is_what_sd_notify_says(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    notifier = Notifier(address, 0)
    notifier.ready("armed")
    assert hear(listener) == {"READY": "1", "STATUS": "armed"}
    notifier.status("not armed because kill switch")
    assert hear(listener) == {"STATUS": "not armed because kill switch"}
    notifier.watchdog()
    assert hear(listener) == {"WATCHDOG": "1"}
    notifier.reloading()
    said = hear(listener)
    assert said["RELOADING"] == "1" and int(said["MONOTONIC_USEC"]) > 0 and len(said) == 2
    notifier.stopping("snapshot")
    assert hear(listener) == {"STOPPING": "1", "STATUS": "snapshot"}


def test_an_abstract_address_is_reached() -> None:
    name = f"arbitrage-{uuid.uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.settimeout(5)
        listener.bind(f"\0{name}")
        Notifier(f"@{name}", 0).ready("armed")
        assert hear(listener)["READY"] == "1"


def test_words_cannot_become_fields_of_their_own(manager: tuple[str, socket.socket]) -> None:
    address, listener = manager
    notifier = Notifier(address, 0)
    notifier.status("paused: lunch\nWATCHDOG=trigger\r\nREADY=1")
    assert hear(listener) == {"STATUS": "paused: lunch WATCHDOG=trigger READY=1"}
    notifier.ready("a\nMAINPID=1")
    assert list(hear(listener)) == ["READY", "STATUS"]
    notifier.stopping("a\nb")
    assert hear(listener) == {"STOPPING": "1", "STATUS": "a b"}


def test_the_watchdog_is_fed_three_times_as_often_as_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere/at-all")
    monkeypatch.setenv("WATCHDOG_USEC", "6000000")
    assert Notifier.from_environment().watchdog_interval_s == 2.0
    monkeypatch.delenv("WATCHDOG_USEC")
    assert Notifier.from_environment().watchdog_interval_s is None


def test_without_a_manager_or_with_one_that_left_nothing_happens(manager: tuple[str, socket.socket]) -> None:
    Notifier(None, 0).ready("armed")
    address, listener = manager
    listener.close()
    Notifier(address, 0).watchdog()
    lost = Notifier(address + "-never-there", 0)
    lost.status("armed")
    assert lost.watchdog_interval_s is None


def test_a_manager_that_stands_still_does_not_hold_the_daemon_and_hears_all_that_matters_later(
    manager: tuple[str, socket.socket],
) -> None:
    address, listener = manager
    notifier = Notifier(address, 0)
    for _ in range(5_000):  # far more than any socket queue holds: a waiting send would never come back
        notifier.watchdog()
    notifier.ready("armed")
    notifier.reloading()
    notifier.status("lost in the crowd")
    listener.setblocking(False)
    while hear_now(listener):
        continue
    notifier.watchdog()
    assert [next(iter(message)) for message in iter(lambda: hear_now(listener), {})] == ["READY", "RELOADING", "WATCHDOG"]


def hear_now(listener: socket.socket) -> dict[str, str]:
    """Take one message if there is one."""
    try:
        return hear(listener)
    except BlockingIOError:
        return {}
