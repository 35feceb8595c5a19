"""Asks the running daemon one question through its door, within a time limit. Knows no command and starts no daemon."""

from __future__ import annotations

import socket
from pathlib import Path

import msgspec

from arbitrage.app.control_words import LINE_BYTES_MAX, Answer, Ask, short_address

ANSWER_SECONDS_MAX = 5.0


class NoAnswer(Exception):
    """Nobody answers at the door; the text says how it failed."""


def ask(data_dir: Path, question: Ask) -> Answer:
    """Ask and return the answer. Raises NoAnswer."""
    line = msgspec.json.encode(question) + b"\n"
    received = b""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking, short_address(data_dir) as address:
            asking.settimeout(ANSWER_SECONDS_MAX)
            asking.connect(address)
            asking.sendall(line)
            while not received.endswith(b"\n") and len(received) < LINE_BYTES_MAX:
                more = asking.recv(LINE_BYTES_MAX)
                if not more:
                    break
                received += more
        return msgspec.json.decode(received, type=Answer)
    except TimeoutError:
        raise NoAnswer(f"no answer within {ANSWER_SECONDS_MAX:g} s") from None
    except FileNotFoundError:
        raise NoAnswer("no daemon listens there") from None
    except OSError as error:
        raise NoAnswer(error.strerror or str(error)) from None
    except msgspec.MsgspecError as error:
        raise NoAnswer(f"an answer that is none ({error})") from None
