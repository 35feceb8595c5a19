"""Logging that never blocks the caller: a bounded queue, one writer thread, counted drops. Decides nothing and keeps nothing.

The loop only puts a frozen record into a queue; the thread redacts secrets, prints to stdout, writes the rotating JSON file and
hands batches to the sinks (Redis stream, `system_logs`). A full queue drops the newest line, and the drop is announced.
"""

from __future__ import annotations

import contextlib
import datetime
import io
import logging
import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TextIO

import msgspec

from arbitrage.model.settings import LogSettings
from arbitrage.ops.log_lines import LogLine, journal_line, line_of, terminal_line
from arbitrage.ops.rotating import RotatingFile
from arbitrage.ops.secrets import Redactor

Sink = Callable[[Sequence[LogLine]], None]
"""Takes a batch, called in the log thread: it returns at once and counts its own losses.

It raises nothing but the RuntimeError of `loop.call_soon_threadsafe` on a closed loop, after which it is not called again.
"""
BATCH_MAX = 500
STOP_SECONDS_MAX = 2.0
ROOT = "arbitrage"
OWN = "arbitrage.ops.logs"
CONFIDED = "confided"
"""Code of a line that is printed and kept nowhere."""


def log_path(settings: LogSettings, env: str) -> Path:
    """Return the file that the daemon of this environment writes."""
    return Path(settings.directory) / f"arbitrage_{env}.log"


def is_journal(environ: Mapping[str, str], stream: TextIO) -> bool:
    """Tell whether this very stream goes to journald (JOURNAL_STREAM is its device and inode, systemd.exec(5))."""
    named = environ.get("JOURNAL_STREAM", "")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return named == f"{status.st_dev}:{status.st_ino}"


class Logs:
    """The way from a log call to the stream, the file and the sinks. Install once, `stop` at the end."""

    def __init__(
        self, settings: LogSettings, env: str, *, redactor: Redactor, stream: TextIO | None, for_journal: bool = False
    ) -> None:
        self.dropped = 0
        """Lines lost because the queue was full."""
        self._settings = settings
        self._redactor = redactor
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an ASCII terminal must not cost us a line
        self._for_journal = for_journal
        self._file = RotatingFile(log_path(settings, env), bytes_max=settings.file_bytes_max, files_kept=settings.files_kept)
        self._queue: queue.Queue[LogLine | None] = queue.Queue(settings.queue_max)
        self._sinks: tuple[tuple[Sink, int], ...] = ()
        self._announced = 0
        self._handler = _QueueHandler(self._put)
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="logs", daemon=True)

    @property
    def file_faults(self) -> int:
        """Lines that the disk did not take."""
        return self._file.faults

    def start(self) -> None:
        """Install as the only way out of the `arbitrage` loggers and start the thread; other libraries join from WARNING on."""
        logger = logging.getLogger(ROOT)
        logger.setLevel(self._settings.level)
        logger.propagate = False
        logger.handlers[:] = [self._handler]
        root = logging.getLogger()
        root.setLevel(logging.WARNING)
        root.handlers[:] = [self._handler]
        self._thread.start()

    def add_sink(self, sink: Sink, level: int = logging.DEBUG) -> None:
        """Hand every line of this level and above to `sink` too, in batches of at most 500."""
        self._sinks = (*self._sinks, (sink, level))

    def hide(self, values: Iterable[str]) -> None:
        """Redact these values too from now on, such as the embedded servers' passwords."""
        self._redactor = self._redactor.knowing(values)

    def redact(self, text: str) -> str:
        """Return a text as the log would show it, for what tells people by another way."""
        return self._redactor.redact(text)

    def confide(self, text: str) -> None:
        """Print a line on the stream alone, the terminal's or the journal's: into no file and to no sink."""
        record = logging.LogRecord(OWN, logging.WARNING, "", 0, text, None, None)
        self._put(msgspec.structs.replace(line_of(record), code=CONFIDED))

    def set_level(self, level: str) -> None:
        """Change the level of our own loggers (a reload)."""
        logging.getLogger(ROOT).setLevel(level)

    def stop(self) -> None:
        """Write what waits, within two seconds, and uninstall. Lines after this go nowhere."""
        for logger in (logging.getLogger(ROOT), logging.getLogger()):
            if self._handler in logger.handlers:
                logger.removeHandler(self._handler)
        self._is_stopping.set()
        with contextlib.suppress(queue.Full):  # a full queue means that the thread is awake anyway
            self._queue.put_nowait(None)
        if self._thread.is_alive():
            self._thread.join(STOP_SECONDS_MAX)

    def _put(self, line: LogLine) -> None:
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    def _write_all(self) -> None:
        while not (self._is_stopping.is_set() and self._queue.empty()):
            batch = self._take()
            self._write([self._redacted(line) for line in batch])
        self._file.close()

    def _take(self) -> list[LogLine]:
        """Wait for one line, then take what else is there."""
        batch = []
        line = self._queue.get()
        while True:
            if line is not None:
                batch.append(line)
            if len(batch) >= BATCH_MAX:
                break
            try:
                line = self._queue.get_nowait()
            except queue.Empty:
                break
        if self.dropped > self._announced and batch:
            lost, self._announced = self.dropped - self._announced, self.dropped
            text = f"log queue was full: {lost} lines dropped"
            batch.append(LogLine(batch[-1].at_ns, "WARNING", OWN, text, "log_dropped", {"lines": lost}))
        return batch

    def _redacted(self, line: LogLine) -> LogLine:
        redact = self._redactor.redact
        fields = {name: redact(value) if isinstance(value, str) else value for name, value in line.fields.items()}
        return msgspec.structs.replace(line, text=redact(line.text), fields=fields, trace=redact(line.trace))

    def _write(self, batch: Sequence[LogLine]) -> None:
        kept = [line for line in batch if line.code != CONFIDED]
        for line in kept:
            self._file.write(msgspec.json.encode(line))
        self._file.flush()
        self._print(batch)
        for sink, level in self._sinks:
            wanted = [line for line in kept if line.level_number >= level]
            if not wanted:
                continue
            try:
                sink(wanted)
            except RuntimeError:  # the loop that the sink belongs to is closed
                self._sinks = tuple(pair for pair in self._sinks if pair[0] is not sink)

    def _print(self, batch: Sequence[LogLine]) -> None:
        if self._stream is None or not batch:
            return
        lines = [journal_line(line) if self._for_journal else terminal_line(line, clock_text(line.at_ns)) for line in batch]
        try:
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            self._stream = None  # the reader is gone (a closed pipe): the file still has every line


def clock_text(at_ns: int) -> str:
    """Print a record's time in UTC with milliseconds."""
    moment = datetime.datetime.fromtimestamp(at_ns / 1e9, tz=datetime.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"


class _QueueHandler(logging.Handler):
    """Freezes each record and puts it into the queue; takes no lock of its own and never waits."""

    def __init__(self, put: Callable[[LogLine], None]) -> None:
        super().__init__()
        self._put = put

    def createLock(self) -> None:
        """Have no lock: the queue is safe, and a lock would let one thread make another wait."""
        self.lock = None

    def handle(self, record: logging.LogRecord) -> bool:
        self._put(line_of(record))
        return True
