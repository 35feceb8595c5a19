"""A log record as plain data and as text: one line each, whatever it holds. Refuses to let a message fake a second line."""

from __future__ import annotations

import logging
import traceback

import msgspec

from arbitrage.model.effects import Report, Severity

TEXT_LENGTH_MAX = 8_000
INTEGER_MAX = 2**63
_CONTROL = {code: f"\\x{code:02x}" for code in (*range(0x20), 0x7F, *range(0x80, 0xA0))}
_CONTROL |= {0x0A: "\\n", 0x0D: "\\r", 0x09: "\\t", 0x2028: "\\u2028", 0x2029: "\\u2029"}
_JOURNAL_LEVELS = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_SEVERITIES = {
    Severity.DEBUG: logging.DEBUG,
    Severity.INFO: logging.INFO,
    Severity.WARNING: logging.WARNING,
    Severity.ERROR: logging.ERROR,
}

Field = str | int | float | bool | None


class LogLine(msgspec.Struct, frozen=True, omit_defaults=True):
    """One record: what the file holds as JSON, the Redis stream as `line`, and the table `system_logs` as a row."""

    at_ns: int
    level: str
    logger: str
    text: str
    code: str = ""
    fields: dict[str, Field] = {}
    trace: str = ""

    @property
    def level_number(self) -> int:
        return logging.getLevelNamesMapping().get(self.level, logging.INFO)


def write_report(logger: logging.Logger, report: Report) -> None:
    """Log what the engine reports, with its code and fields."""
    level = _SEVERITIES[report.severity]
    if logger.isEnabledFor(level):
        logger.log(level, "%s", report.text, extra={"code": report.code, "fields": report.fields})


def line_of(record: logging.LogRecord) -> LogLine:
    """Freeze a record on the calling thread: its arguments may change right after. A message that cannot be put says so."""
    try:
        text = record.getMessage()
    except (TypeError, ValueError, KeyError) as error:
        text = f"{record.msg!r} with arguments that do not fit ({error})"
    trace = ""
    if record.exc_info and record.exc_info[0] is not None:
        trace = "".join(traceback.format_exception(*record.exc_info))[-TEXT_LENGTH_MAX:]
    fields = getattr(record, "fields", None) or {}
    return LogLine(
        at_ns=int(record.created * 1e6) * 1_000,
        level=record.levelname,
        logger=record.name,
        text=_clean(text),
        code=str(getattr(record, "code", "")),
        fields={str(name): _field(value) for name, value in fields.items()},
        trace=_clean(trace),
    )


def _clean(text: str) -> str:
    """Cut what is too long and show half characters, which no file could hold."""
    text = text[:TEXT_LENGTH_MAX]
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _field(value: object) -> Field:
    """Keep what JSON can hold as a number or word, and print the rest."""
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int) and abs(value) < INTEGER_MAX:
        return value
    return _clean(str(value))


def one_line(line: LogLine) -> str:
    """Print a record's words on one line: control characters are shown, not obeyed."""
    parts = [f"{line.logger}:", line.text]
    parts += [f"{name}={value}" for name, value in line.fields.items()]
    if line.trace:
        parts.append(f"| {line.trace.strip()}")
    return " ".join(parts).translate(_CONTROL)


def journal_line(line: LogLine) -> str:
    """Print a record for journald, which adds the time itself: its level as `<N>` before the words (sd-daemon(3))."""
    level = next((code for number, code in _JOURNAL_LEVELS if line.level_number >= number), 7)
    return f"<{level}>{one_line(line)}"


def terminal_line(line: LogLine, time_text: str) -> str:
    """Print a record for people."""
    return f"{time_text} {line.level:<7} {one_line(line)}"
