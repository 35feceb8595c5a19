"""Log lines: one line each, in every place, with no secret, never making the caller wait; what is lost is counted and said."""

from __future__ import annotations

import io
import logging
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from arbitrage.model.effects import Report, Severity
from arbitrage.model.settings import LogSettings
from arbitrage.ops.log_lines import LogLine, journal_line, line_of, one_line, terminal_line, write_report
from arbitrage.ops.log_sources import FileFollower, entry_line, matching, parse_line, stream_entry
from arbitrage.ops.logs import Logs, clock_text, is_journal, log_path
from arbitrage.ops.rotating import RotatingFile
from arbitrage.ops.secrets import Redactor

LOGGER = logging.getLogger("arbitrage.test")


class Bench:
    """Installed logs that write to memory and to a folder, and the way to stop them."""

    def __init__(self, folder: Path, *, secrets: Sequence[str] = (), for_journal: bool = False, queue_max: int = 1000) -> None:
        self.stream = io.StringIO()
        self.settings = LogSettings(directory=str(folder), queue_max=queue_max, level="DEBUG")
        self.logs = Logs(self.settings, "development", redactor=Redactor(secrets), stream=self.stream, for_journal=for_journal)

    def lines(self) -> list[LogLine]:
        raw = log_path(self.settings, "development").read_bytes().splitlines()
        return [msgspec.json.decode(line, type=LogLine) for line in raw]


@pytest.fixture(autouse=True)
def _loggers_as_before() -> Iterator[None]:
    root, own = logging.getLogger(), logging.getLogger("arbitrage")
    before = (root.handlers[:], root.level, own.handlers[:], own.level, own.propagate)
    yield
    root.handlers[:], own.handlers[:] = before[0], before[2]
    root.setLevel(before[1])
    own.setLevel(before[3])
    own.propagate = before[4]


def record(message: object, *args: object, level: int = logging.INFO, **extra: object) -> logging.LogRecord:
    made = logging.LogRecord("arbitrage.test", level, "file.py", 1, message, args, None)
    made.__dict__.update(extra)
    return made


def test_a_line_reaches_stream_file_and_sinks(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    everything: list[LogLine] = []
    warnings: list[LogLine] = []
    bench.logs.add_sink(everything.extend)
    bench.logs.add_sink(warnings.extend, logging.WARNING)
    bench.logs.start()
    LOGGER.info("armed %s", "now")
    LOGGER.warning("gap")
    logging.getLogger("some.library").warning("theirs")
    logging.getLogger("some.library").info("too quiet")
    bench.logs.stop()
    assert [line.text for line in bench.lines()] == ["armed now", "gap", "theirs"] == [line.text for line in everything]
    assert [line.text for line in warnings] == ["gap", "theirs"]
    assert [text.split("Z ", 1)[1] for text in bench.stream.getvalue().splitlines()] == [
        "INFO    arbitrage.test: armed now", "WARNING arbitrage.test: gap", "WARNING some.library: theirs",
    ]


def test_under_journald_a_line_has_its_level_and_no_time(tmp_path: Path) -> None:
    bench = Bench(tmp_path, for_journal=True)
    bench.logs.start()
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        LOGGER.log(level, "x")
    bench.logs.stop()
    assert bench.stream.getvalue().splitlines() == [f"<{n}>arbitrage.test: x" for n in (7, 6, 4, 3, 2)]


def test_journald_is_recognised_by_device_and_inode_of_this_very_stream(tmp_path: Path) -> None:
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        assert is_journal({"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}, stream)
        assert not is_journal({"JOURNAL_STREAM": "1:2"}, stream)
        assert not is_journal({}, stream)
    assert not is_journal({"JOURNAL_STREAM": "1:2"}, io.StringIO())


def test_no_secret_reaches_any_place(tmp_path: Path) -> None:
    bench = Bench(tmp_path, secrets=["hunter2-hunter2"])
    seen: list[LogLine] = []
    bench.logs.add_sink(seen.extend)
    bench.logs.start()
    bench.logs.hide(["made-at-run-time"])
    LOGGER.info("password=%s", "hunter2-hunter2", extra={"fields": {"url": "redis://:made-at-run-time@h"}})
    try:
        raise ConnectionError("cannot log in with hunter2-hunter2")
    except ConnectionError:
        LOGGER.exception("failed")
    bench.logs.stop()
    everywhere = bench.stream.getvalue() + log_path(bench.settings, "development").read_text() + repr(seen)
    assert "hunter2" not in everywhere and "made-at" not in everywhere
    assert "password=***" in everywhere and "redis://:***@h" in everywhere and "log in with ***" in everywhere


def test_a_full_queue_drops_without_waiting_and_says_how_many(tmp_path: Path) -> None:
    bench = Bench(tmp_path, queue_max=10)
    gate, entered = threading.Event(), threading.Event()

    def stuck(lines: Sequence[LogLine]) -> None:
        entered.set()
        assert gate.wait(10)

    bench.logs.add_sink(stuck)
    bench.logs.start()
    LOGGER.info("first")
    assert entered.wait(10)
    for number in range(25):
        LOGGER.info("burst %d", number)
    assert bench.logs.dropped == 15
    gate.set()
    while len(log_path(bench.settings, "development").read_bytes().splitlines()) < 12:
        entered.wait(0.001)
    LOGGER.info("after")
    bench.logs.stop()
    texts = [line.text for line in bench.lines()]
    assert texts[:2] == ["first", "burst 0"] and "burst 9" in texts and "burst 10" not in texts
    announced = [line for line in bench.lines() if line.code == "log_dropped"]
    assert [(line.text, line.fields) for line in announced] == [("log queue was full: 15 lines dropped", {"lines": 15})]


def test_a_closed_loop_ends_a_sink_and_nothing_else(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    calls = []

    def closed(lines: Sequence[LogLine]) -> None:
        calls.append(len(lines))
        raise RuntimeError("Event loop is closed")

    kept: list[LogLine] = []
    bench.logs.add_sink(closed)
    bench.logs.add_sink(kept.extend)
    bench.logs.start()
    LOGGER.info("one")
    while not kept:
        threading.Event().wait(0.001)
    LOGGER.info("two")
    bench.logs.stop()
    assert len(calls) == 1 and [line.text for line in kept] == ["one", "two"]


def test_a_reader_that_left_does_not_stop_the_file(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.stream.close()
    bench.logs.start()
    LOGGER.info("kept")
    bench.logs.stop()
    assert [line.text for line in bench.lines()] == ["kept"]


def test_the_level_can_change_while_running(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.logs.start()
    bench.logs.set_level("ERROR")
    LOGGER.info("no")
    bench.logs.set_level("INFO")
    LOGGER.info("yes")
    bench.logs.stop()
    assert [line.text for line in bench.lines()] == ["yes"]


def test_an_engine_report_keeps_its_code_and_fields(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.logs.start()
    for severity in Severity:
        write_report(LOGGER, Report(severity, "gap", "100 % of it", {"market": 3}))
    bench.logs.stop()
    assert [(line.level, line.code, line.text, line.fields) for line in bench.lines()] == [
        (name, "gap", "100 % of it", {"market": 3}) for name in ("DEBUG", "INFO", "WARNING", "ERROR")
    ]


VALUES = st.integers() | st.floats() | st.text(max_size=9) | st.none()


@given(st.text(max_size=200), st.dictionaries(st.text(max_size=5), VALUES))
def test_any_text_becomes_one_printable_line_and_survives_json(text: str, fields: dict[str, object]) -> None:
    line = line_of(record("%s", text, fields=fields, code="c"))
    for shown in (one_line(line), journal_line(line), terminal_line(line, "t")):
        assert len(shown.splitlines()) == 1 and "\x1b" not in shown
        shown.encode()
    again = parse_line(msgspec.json.encode(line))
    assert again is not None and again.text == line.text
    stored = entry_line({name: str(value) for name, value in stream_entry(line).items()})
    assert stored is not None and (stored.text, stored.at_ns) == (line.text, line.at_ns)
    assert msgspec.json.encode(stored) == msgspec.json.encode(line)


def test_arguments_that_do_not_fit_and_odd_values_are_shown_and_not_raised() -> None:
    line = line_of(record("%d items", "many", fields={"set": {1}, "huge": 10**30, "half": "\ud800", 3: True}))
    assert "arguments that do not fit" in line.text
    assert line.fields == {"set": "{1}", "huge": str(10**30), "half": "\\ud800", "3": True}
    assert len(line_of(record("x" * 100_000)).text) == 8000


def test_a_full_file_is_rotated_and_only_so_many_are_kept(tmp_path: Path) -> None:
    file = RotatingFile(tmp_path / "a.log", bytes_max=100, files_kept=2)
    for number in range(30):
        file.write(b"line %02d ......................" % number)
    file.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.log", "a.log.1", "a.log.2"]
    assert all((tmp_path / name).stat().st_size <= 100 for name in names)
    assert (tmp_path / "a.log").read_bytes().startswith(b"line 27")
    assert (tmp_path / "a.log.1").read_bytes().startswith(b"line 24")
    assert (tmp_path / "a.log").stat().st_mode & 0o007 == 0


def test_a_disk_that_takes_nothing_is_counted_and_tried_again(tmp_path: Path) -> None:
    blocker = tmp_path / "logs"
    blocker.write_text("a file where the folder should be")
    file = RotatingFile(blocker / "a.log", bytes_max=100, files_kept=2)
    file.write(b"lost")
    assert file.faults == 1
    blocker.unlink()
    file.write(b"kept")
    file.close()
    assert (blocker / "a.log").read_bytes() == b"kept\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, the disk without room")
def test_a_full_disk_is_counted_and_does_not_raise(tmp_path: Path) -> None:
    (tmp_path / "a.log").symlink_to("/dev/full")
    file = RotatingFile(tmp_path / "a.log", bytes_max=100, files_kept=2)
    file.write(b"lost")
    file.flush()
    file.close()
    assert file.faults == 2


def test_a_follower_reads_only_what_is_new_over_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    follower = FileFollower(path)
    assert follower.read_new() == []

    def put(*texts: str) -> None:
        with path.open("ab") as file:
            file.writelines(msgspec.json.encode(LogLine(1, "INFO", "l", text)) + b"\n" for text in texts)

    put("a", "b")
    assert [line.text for line in follower.read_new()] == ["a", "b"]
    assert follower.read_new() == []
    with path.open("ab") as file:
        file.write(b'{"at_ns":1,"level":"INFO","logger":"l","te')
    assert follower.read_new() == []
    with path.open("ab") as file:
        file.write(b'xt":"c"}\ngarbage\n')
    assert [line.text for line in follower.read_new()] == ["c"]
    path.rename(tmp_path / "a.log.1")
    put("d")
    assert [line.text for line in follower.read_new()] == ["d"]


def test_search_looks_everywhere_and_ignores_case() -> None:
    lines = [
        LogLine(1, "INFO", "arbitrage.engine", "Not Armed because gap"),
        LogLine(2, "ERROR", "arbitrage.store", "away", "pg_down", {"host": "DB1"}),
    ]
    assert matching(lines, text="not armed") == lines[:1]
    assert matching(lines, text="db1") == matching(lines, text="PG_DOWN") == matching(lines, level_number=40) == lines[1:]
    assert matching(lines, text="nothing") == []


def test_times_are_utc_with_milliseconds() -> None:
    assert clock_text(1_763_716_210_123_999_999) == "2025-11-21T09:10:10.124Z"


def test_what_is_confided_is_printed_and_kept_nowhere(tmp_path: Path) -> None:
    stream, kept = io.StringIO(), []
    logs = Logs(LogSettings(directory=str(tmp_path)), "test", redactor=Redactor(()), stream=stream)
    logs.add_sink(kept.extend)
    logs.start()
    logs.confide("open it at http://127.0.0.1/setup?token=abc")
    logging.getLogger("arbitrage.test").info("something else")
    logs.stop()
    assert "token=abc" in stream.getvalue() and "something else" in stream.getvalue()
    assert [line.text for line in kept] == ["something else"]
    assert "token=abc" not in (tmp_path / "arbitrage_test.log").read_text()
