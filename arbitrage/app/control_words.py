"""The words that pass through the operator's door: a JSON line asks, a JSON line answers. Opens and decides nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from arbitrage.ops.standing import Standing

SOCKET_NAME = "control.sock"
LINE_BYTES_MAX = 65_536
"""Of a question or an answer, end of line included."""
REASON_LENGTH_MAX = 200

Word = Literal["kill", "release", "pause", "resume", "accept", "accept_instruments", "status"]


class Ask(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an operator wants. Who asks is not in it: the kernel says that."""

    word: Word
    reason: Annotated[str, Meta(max_length=REASON_LENGTH_MAX)] = ""
    name: Annotated[str, Meta(max_length=REASON_LENGTH_MAX)] = ""
    """For `accept`: one difference by its name; empty means all."""
    on_behalf_of: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_.@-]{0,64}$")] = ""
    """Who became the asking user for this (`SUDO_USER`); only added to what the kernel says."""


class Answer(msgspec.Struct, frozen=True):
    """What was done about it."""

    done: bool
    text: str
    standing: Standing | None = None


def one_line(text: str) -> str:
    """Make text from outside fit a log line: printable, on one line, of bounded length."""
    words = " ".join("".join(character if character.isprintable() else " " for character in text).split())
    return words[:REASON_LENGTH_MAX]


@contextmanager
def short_address(folder: Path) -> Iterator[str]:
    """Give an address for the socket in this folder that fits the 108 bytes of `sun_path`, however deep the folder lies."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)
