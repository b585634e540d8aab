"""Directory logs on the disk: append-only, one line an entry (the lines are `blobfs.record`'s).

A log is an index: it can be rebuilt from the records at any time, and whatever is odd in it is answered
by that. A crash may cut its last line short; the next line then begins with the LF that is missing.

A log that is made of records ends with its first line again. A reader who knows the log it replaced goes on
from an offset where, by chance, the line may be that he knows; further on he meets the other generation.
"""

import logging
import os
import secrets
from collections.abc import Iterable

from blobfs.model import Invalid, Name
from blobfs.record import (
    LogEntry,
    decode_log_entries,
    decode_log_header,
    encode_log_entry,
    encode_log_header,
)
from blobfs.store.checks import log_check_of, note_appended, vouched_length
from blobfs.store.files import replace_file
from blobfs.store.layout import LOG_MODE, Layout
from blobfs.store.marks import CHECK

_log = logging.getLogger(__name__)

GENERATION_BYTES = 16
"""Random bytes that tell a log from the one it replaced."""


def read_log(layout: Layout, directory: Name) -> dict[str, LogEntry] | None:
    """The last entry of each component. None: no log, or not the one that was written. Raises OSError."""
    try:
        raw = layout.log(directory).read_bytes()
        if vouched_length(layout.log(directory), raw) is None:
            _log.warning("%s is damaged: the records are read instead", layout.log(directory))
            return None
    except (FileNotFoundError, NotADirectoryError):
        return None
    header, newline, rest = raw.partition(b"\n")
    try:
        decode_log_header(header)
    except Invalid:
        return None
    return {entry.component: entry for entry in decode_log_entries(rest)} if newline else None


def write_log(layout: Layout, directory: Name, entries: Iterable[LogEntry]) -> None:
    """Replaces the log by one of a new generation. Raises OSError."""
    content = encode_log(entries)
    replace_file(layout, layout.log(directory), content, LOG_MODE, {CHECK: log_check_of(content)})


def encode_log(entries: Iterable[LogEntry]) -> bytes:
    """A whole log of a new generation."""
    header = encode_log_header(secrets.token_hex(GENERATION_BYTES))
    lines = b"".join(encode_log_entry(entry) for entry in entries)
    return header + lines + header if lines else header


def append_log(layout: Layout, directory: Name, entry: LogEntry) -> bool:
    """Whether there was a log to append to. Raises OSError; half a line may then have been written."""
    try:
        fd = os.open(layout.log(directory), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        size = os.fstat(fd).st_size
        if size == 0:
            return False
        line = encode_log_entry(entry)
        if os.pread(fd, 1, size - 1) != b"\n":
            line = b"\n" + line
        _append(fd, line)
        note_appended(fd, size, line)
    finally:
        os.close(fd)
    return True


def _append(fd: int, line: bytes) -> None:
    # One write, so that a reader never sees the lines of two mixed; a full disk takes a part of it, and
    # says so at the second call.
    written = os.write(fd, line)
    while written < len(line):
        written += os.write(fd, line[written:])
