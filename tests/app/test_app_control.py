"""The operator's door: who is heard, what is bounded, and that a broken question breaks nothing."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from collections.abc import Callable, Coroutine
from pathlib import Path

import msgspec
import pytest

from arbitrage.app.control_client import NoAnswer, ask
from arbitrage.app.control_socket import CONNECTIONS_MAX, ControlSocket, user_name
from arbitrage.app.control_words import LINE_BYTES_MAX, SOCKET_NAME, Answer, Ask, one_line, short_address

Heard = list[tuple[Ask, str]]
Scene = Callable[[ControlSocket, Heard], Coroutine[object, object, None]]


def with_door(folder: Path, scene: Scene) -> ControlSocket:
    """Open a door that answers everything with yes, play the scene, close it."""

    async def play() -> ControlSocket:
        heard: Heard = []

        def hear(question: Ask, actor: str) -> Answer:
            heard.append((question, actor))
            return Answer(done=True, text=f"heard {question.word}")

        door = ControlSocket(folder, hear, asyncio.get_running_loop())
        await door.open()
        try:
            await scene(door, heard)
        finally:
            await door.close()
        return door

    return asyncio.run(play())


def raw(folder: Path, content: bytes) -> bytes:
    """Send bytes as they are and return all that comes back."""
    with socket.socket(socket.AF_UNIX) as asking, short_address(folder) as address:
        asking.settimeout(5)
        asking.connect(address)
        asking.sendall(content)
        asking.shutdown(socket.SHUT_WR)
        received = b""
        while more := asking.recv(65_536):
            received += more
        return received


def test_a_question_is_answered_and_the_kernel_says_who_asked(tmp_path: Path) -> None:
    async def scene(door: ControlSocket, heard: Heard) -> None:
        answer = await asyncio.to_thread(ask, tmp_path, Ask(word="pause", reason="look", on_behalf_of="alice"))
        assert answer == Answer(done=True, text="heard pause")
        ((question, actor),) = heard
        assert question.reason == "look" and actor == f"{user_name(os.geteuid())} (process {os.getpid()}) for alice"

    assert with_door(tmp_path, scene).counters == {"heard": 1}


def test_the_socket_is_its_owner_s_alone_and_gone_afterwards(tmp_path: Path) -> None:
    async def scene(door: ControlSocket, heard: Heard) -> None:
        mode = (tmp_path / SOCKET_NAME).stat().st_mode
        assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600

    with_door(tmp_path, scene)
    assert not (tmp_path / SOCKET_NAME).exists()


def test_a_data_folder_may_lie_deeper_than_a_socket_s_address_can_say(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 120) / ("y" * 120)
    deep.mkdir(parents=True)

    async def scene(door: ControlSocket, heard: Heard) -> None:
        assert (await asyncio.to_thread(ask, deep, Ask(word="status"))).done

    with_door(deep, scene)


def test_what_a_crash_left_under_the_name_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left, short_address(tmp_path) as address:
        left.bind(address)
    with pytest.raises(NoAnswer, match="Connection refused"):
        ask(tmp_path, Ask(word="status"))

    async def scene(door: ControlSocket, heard: Heard) -> None:
        assert (await asyncio.to_thread(ask, tmp_path, Ask(word="status"))).done

    with_door(tmp_path, scene)


@pytest.mark.parametrize(
    "content",
    [b"kill\n", b"{}\n", b'{"word":"fly"}\n', b'{"word":"kill","extra":1}\n', b"\xff\xfe\n", b'{"word":"kill","reason":5}\n',
     b'{"word":"kill","reason":"' + b"x" * 201 + b'"}\n', b'{"word":"kill","on_behalf_of":"a b"}\n',
     b"x" * (LINE_BYTES_MAX + 10), b"\n"],
)  # fmt: skip
def test_what_is_no_question_is_refused_counted_and_carried_out_never(tmp_path: Path, content: bytes) -> None:
    async def scene(door: ControlSocket, heard: Heard) -> None:
        answer = msgspec.json.decode(await asyncio.to_thread(raw, tmp_path, content), type=Answer)
        assert not answer.done and heard == []
        assert (await asyncio.to_thread(ask, tmp_path, Ask(word="status"))).done, "the door stays open"

    assert with_door(tmp_path, scene).counters == {"refused": 1, "heard": 1}


def test_half_a_question_is_nothing_and_a_second_one_on_a_connection_is_not_heard(tmp_path: Path) -> None:
    async def scene(door: ControlSocket, heard: Heard) -> None:
        assert await asyncio.to_thread(raw, tmp_path, b'{"word":"kill"') == b""
        two = msgspec.json.encode(Ask(word="pause")) + b"\n" + msgspec.json.encode(Ask(word="kill")) + b"\n"
        assert (await asyncio.to_thread(raw, tmp_path, two)).count(b"\n") == 1
        assert [question.word for question, _ in heard] == ["pause"]

    with_door(tmp_path, scene)


def test_no_more_connections_than_the_limit_are_held_and_the_rest_are_told(tmp_path: Path) -> None:
    async def scene(door: ControlSocket, heard: Heard) -> None:
        def crowd() -> bytes:
            held = []
            try:
                with short_address(tmp_path) as address:
                    for _ in range(CONNECTIONS_MAX):
                        held.append(socket.socket(socket.AF_UNIX))
                        held[-1].connect(address)
                return raw(tmp_path, b"")
            finally:
                for each in held:
                    each.close()

        refused = msgspec.json.decode(await asyncio.to_thread(crowd), type=Answer)
        assert not refused.done and str(CONNECTIONS_MAX) in refused.text
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert not door._connections, "who left is forgotten"
        assert (await asyncio.to_thread(ask, tmp_path, Ask(word="status"))).done

    assert with_door(tmp_path, scene).counters["refused"] == 1


def test_another_user_is_not_heard(tmp_path: Path) -> None:
    door = ControlSocket(tmp_path, lambda question, actor: Answer(done=True, text=""), asyncio.new_event_loop())

    class Somebody:
        """A connection by name only."""

    assert door.admit(Somebody(), os.geteuid() + 4711) == f"user {os.geteuid() + 4711} may not command this daemon"
    assert door.admit(Somebody(), os.geteuid()) == door.admit(Somebody(), 0) == ""


def test_nobody_at_the_door_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(NoAnswer, match="no daemon listens there"):
        ask(tmp_path, Ask(word="status"))
    with pytest.raises(NoAnswer, match="no daemon listens there"):
        ask(tmp_path / "nowhere", Ask(word="status"))


def test_text_from_outside_fits_one_log_line() -> None:
    assert one_line("a\nb\x1b[31m\tc" + "x" * 500).startswith("a b [31m c")
    assert len(one_line("x" * 500)) == 200 and one_line(" \n\t ") == ""
