"""Where the log goes, and in which form.

1. Run by systemd (``JOURNAL_STREAM``): into the journal, with fields. `journalctl BLOBFS_REQUEST=4f2a-1b`
   shows all that was done for one reader's request.
2. On a terminal: a short line.
3. Into a file or a pipe: a line with the date.

ERROR is a defect in blobfs. WARNING is for an operator: something needs him, or is better now. INFO is for
who looks for a reason: what readers were told, for one. DEBUG is every attempt at every share.
"""

import logging
import os
import sys
import time
from typing import Any, ClassVar

from blobfs.config.settings import LogLevel
from blobfs.requests import current_request

NOISY = ("httpx", "pyfuse3", "hypercorn")
"""Libraries whose INFO is not ours."""

_PRIORITIES = {logging.CRITICAL: 2, logging.ERROR: 3, logging.WARNING: 4, logging.INFO: 6, logging.DEBUG: 7}
"""Those of syslog(3); what lies between two levels is the lower one."""


def set_up_logging(level: LogLevel, mountpoint: str | None = None, *, on_terminal: bool = False) -> None:
    """For the whole process, once. `mountpoint` becomes a field of every line in the journal."""
    output: logging.Handler
    if _is_journal():
        output = JournalOutput({} if mountpoint is None else {"BLOBFS_MOUNT": mountpoint})
    else:
        output = logging.StreamHandler(sys.stderr)
        output.setFormatter(TerminalFormat() if on_terminal else FileFormat())
    output.addFilter(note_request)
    logging.basicConfig(handlers=[output], force=True)
    set_level(level)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


def set_level(level: LogLevel) -> None:
    """May be changed at any time."""
    logging.getLogger().setLevel(level.upper())


def note_request(record: logging.LogRecord) -> bool:
    """As a filter: a record says for which request it was made."""
    record.request = current_request()
    return True


def _is_journal() -> bool:
    """Whether stderr is the journal's (systemd.exec(5)); it may have been redirected since."""
    stream = os.environ.get("JOURNAL_STREAM")
    if stream is None:
        return False
    try:
        found = os.fstat(sys.stderr.fileno())
    except OSError:
        return False
    return stream == f"{found.st_dev}:{found.st_ino}"


def one_line(text: str) -> str:
    """What comes from elsewhere, names and what shares say, begins no line and moves no cursor."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


class FileFormat(logging.Formatter):
    """``2026-01-02 03:04:05,678 INFO blobfs.sync: text [4f2a-1b]``"""

    def __init__(self, form: str = "%(asctime)s %(levelname)s %(name)s: %(message)s") -> None:
        super().__init__(form)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's name
        request = getattr(record, "request", None)
        record.message = one_line(record.message)
        return super().formatMessage(record) + (f" [{request}]" if request else "")

    def formatException(self, ei: Any) -> str:  # noqa: N802
        return _lines(super().formatException(ei))


class TerminalFormat(FileFormat):
    """``03:04:05 warning: text (shares.exchange) [4f2a-1b]``; what is not usual is coloured."""

    default_time_format = "%H:%M:%S"
    default_msec_format = None
    converter = staticmethod(time.localtime)
    COLOURS: ClassVar = {logging.WARNING: "33", logging.ERROR: "31", logging.CRITICAL: "31"}

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(shown_level)s%(message)s (%(short_name)s)")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        colour = self.COLOURS.get(record.levelno)
        level = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        record.shown_level = f"\x1b[{colour}m{level}\x1b[0m" if colour else level
        record.short_name = record.name.removeprefix("blobfs.")
        return super().formatMessage(record)


class JournalOutput(logging.Handler):
    """One entry a record, with fields (systemd.journal-fields(7)); `always` are the same in all."""

    def __init__(self, always: dict[str, str]) -> None:
        super().__init__()
        self._always = always

    def emit(self, record: logging.LogRecord) -> None:
        from cysystemd.journal import send

        try:
            send(**self._always, **journal_fields(record))
        except Exception:
            self.handleError(record)


def journal_fields(record: logging.LogRecord) -> dict[str, Any]:
    """What the journal is told of a record."""
    message = one_line(record.getMessage())
    fields: dict[str, Any] = {
        "MESSAGE": message,
        "PRIORITY": next(number for level, number in _PRIORITIES.items() if record.levelno >= level),
        "SYSLOG_IDENTIFIER": "blobfs",
        "LOGGER": record.name,
        "CODE_FILE": record.pathname,
        "CODE_LINE": record.lineno,
        "CODE_FUNC": record.funcName,
    }
    if record.exc_info:
        fields["TRACEBACK"] = FileFormat().formatException(record.exc_info)
        fields["MESSAGE"] = f"{message}\n{fields['TRACEBACK']}"
    if (request := getattr(record, "request", None)) is not None:
        fields["BLOBFS_REQUEST"] = request
    return fields


def _lines(text: str) -> str:
    return "\n".join(map(one_line, text.split("\n")))
