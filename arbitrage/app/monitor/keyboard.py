"""Single keys from a terminal, without Enter; the terminal is as it was afterwards, however the program ends. Draws nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import termios
import tty
from collections.abc import Iterator
from typing import TextIO

KEYS_MAX = 64
"""Keys that were pressed and not looked at; what is beyond is forgotten."""


class Keyboard:
    """What was pressed and not read yet."""

    def __init__(self) -> None:
        self._pressed: list[str] = []
        self._bell = asyncio.Event()
        self.is_closed = False
        """The terminal went away."""

    def read(self, descriptor: int) -> None:
        """Take what the terminal has."""
        try:
            taken = os.read(descriptor, KEYS_MAX)
        except OSError:
            taken = b""
        self.is_closed = self.is_closed or not taken
        self._pressed = [*self._pressed, *taken.decode("utf-8", "ignore")][:KEYS_MAX]
        self._bell.set()

    async def pressed(self, seconds: float) -> str:
        """Return the next key, or nothing when none came in time."""
        if not self._pressed and not self.is_closed:
            self._bell.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._bell.wait()
        return self._pressed.pop(0) if self._pressed else ""


@contextlib.contextmanager
def keys_of(stream: TextIO) -> Iterator[Keyboard]:
    """Read single keys of a terminal within the block; of what is none, none ever comes."""
    keyboard = Keyboard()
    if not stream.isatty():
        yield keyboard
        return
    loop, descriptor = asyncio.get_running_loop(), stream.fileno()
    before = termios.tcgetattr(descriptor)
    tty.setcbreak(descriptor)
    loop.add_reader(descriptor, keyboard.read, descriptor)
    try:
        yield keyboard
    finally:
        loop.remove_reader(descriptor)
        with contextlib.suppress(termios.error):  # the terminal is gone, and its settings with it
            termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
