"""Reading a directory's log in steps: where a reader stands, and what is new. Pure.

A reader remembers the log's generation, the offset behind the last whole line it has seen, and that line. It
asks for the bytes from the beginning of that line on: if they do not begin with the same line, the log was
rebuilt and is read anew. In a rebuilt log that line may stand at that offset by chance; so its first line
stands again behind what it was rebuilt from, and another generation there tells. A line without its LF is
still being written and is left for later.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from blobfs.model import Invalid
from blobfs.record import LogEntry, decode_log_entries, decode_log_header

MAX_LOG_BYTES = 64 * 1024 * 1024
"""Fetched at once at most, some 300,000 names; more is a mistake or an attack."""

HEADER_START = b'{"log":'
"""What tells a log's header from its entries without parsing every line twice."""


@dataclass(frozen=True, slots=True)
class LogPosition:
    """Where a reader of a log stands."""

    generation: str
    offset: int
    """Behind `last_line`."""
    last_line: bytes
    """With its LF; the header if there is nothing else yet."""

    @property
    def resume_offset(self) -> int:
        return self.offset - len(self.last_line)


@dataclass(frozen=True, slots=True)
class LogTail:
    """What was read of a log: all of it (`fresh`, forget what you knew) or what was added."""

    fresh: bool
    entries: tuple[LogEntry, ...]
    position: LogPosition


def read_fresh(raw: bytes) -> LogTail:
    """A log from its first byte. Raises `Invalid` if it does not begin like one."""
    header, newline, _ = raw.partition(b"\n")
    if not newline:
        raise Invalid("a directory log without a header")
    generation = decode_log_header(header)
    lines = raw[len(header) + 1 : raw.rindex(b"\n") + 1]
    last_line = _last_line(lines) or header + b"\n"
    position = LogPosition(generation, len(header) + 1 + len(lines), last_line)
    return LogTail(True, tuple(decode_log_entries(lines)), position)


def read_further(known: LogPosition, raw: bytes) -> LogTail | None:
    """What stands behind `known`, from bytes that begin at its `resume_offset`; None: another log."""
    if not raw.startswith(known.last_line):
        return None
    lines = raw[len(known.last_line) : raw.rindex(b"\n") + 1]
    if any(generation != known.generation for generation in _generations(lines)):
        return None
    last_line = _last_line(lines) or known.last_line
    position = LogPosition(known.generation, known.offset + len(lines), last_line)
    return LogTail(False, tuple(decode_log_entries(lines)), position)


def _generations(lines: bytes) -> Iterator[str]:
    """What the header lines among some whole lines say."""
    for line in lines.split(b"\n"):
        if line.startswith(HEADER_START):
            with contextlib.suppress(Invalid):  # a damaged line, which is skipped like any other
                yield decode_log_header(line)


def _last_line(lines: bytes) -> bytes:
    """The last of some whole lines, with its LF."""
    return lines[lines.rfind(b"\n", 0, -1) + 1 :]
