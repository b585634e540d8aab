"""Directory logs on the disk: append-only, one line an entry (the lines are `blobfs.record`'s).

A log is an index: it can be rebuilt from the records at any time, and whatever is odd in it is answered
by that. A crash may cut its last line short; the next line then begins with the LF that is missing.

A log of which more than half is superseded is rewritten when a line is appended: a new file takes its place,
so a crash leaves the one or the other, and readers notice.

A log that is made of records ends with its first line again. A reader who knows the log it replaced goes on
from an offset where, by chance, the line may be that he knows; further on he meets the other generation.
"""

import logging
import math
import os
import re
import secrets
import time
from collections.abc import Iterable
from pathlib import Path

from blobfs.model import Invalid, Name
from blobfs.record import (
    LogEntry,
    decode_log_entries,
    decode_log_header,
    decode_log_made,
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
MAX_HEADER_BYTES = 1024
MIN_LINES = 1000
"""A shorter log is never compacted: it is read in a moment."""
FIRST_LOOK = 100_000
"""Bytes of a log from which on it is looked at for superseded lines: a thousand tombstones."""
GROWTH = 1.25
"""A log is looked at again when it has grown by so much: a byte is looked at five times in all."""
COUNTED_AT_ONCE = 1 << 20
"""Bytes; the interpreter is held for some 3 ms."""
_COMPONENT = re.compile(rb'"name":("(?:[^"\\]|\\.)*")(?:,"loaded":true)?\}\n')


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
    content = encode_log(entries, max(time.time_ns(), _made_ns(layout.log(directory)) + 1))
    replace_file(layout, layout.log(directory), content, LOG_MODE, {CHECK: log_check_of(content)})


def _made_ns(path: Path) -> int:
    """When a log was begun, by its own word; the one that replaces it is later, whatever the clock says."""
    try:
        with path.open("rb") as file:
            return decode_log_made(file.readline(MAX_HEADER_BYTES)) or 0
    except (FileNotFoundError, NotADirectoryError, Invalid):
        return 0


def encode_log(entries: Iterable[LogEntry], made_ns: int | None = None) -> bytes:
    """A whole log of a new generation; it was begun now if nothing else is said."""
    made_ns = time.time_ns() if made_ns is None else made_ns
    header = encode_log_header(secrets.token_hex(GENERATION_BYTES), made_ns)
    lines = b"".join(encode_log_entry(entry) for entry in entries)
    return header + lines + header if lines else header


def append_log(layout: Layout, directory: Name, *entries: LogEntry) -> bool:
    """Whether there was a log to append to. Raises OSError; a part may then have been written."""
    try:
        fd = os.open(layout.log(directory), os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        size = os.fstat(fd).st_size
        if size == 0:
            return False
        lines = b"".join(map(encode_log_entry, entries))
        if os.pread(fd, 1, size - 1) != b"\n":
            lines = b"\n" + lines
        _append(fd, lines)
        note_appended(fd, size, lines)
    finally:
        os.close(fd)
    if _stage(size) != _stage(size + len(lines)):
        compact_log(layout, directory)
    return True


def _stage(size: int) -> int:
    """Grows by one with each quarter that a log grows by."""
    return max(0, math.floor(math.log(max(size, 1) / FIRST_LOOK, GROWTH)) + 1)


def compact_log(layout: Layout, directory: Name) -> bool:
    """Rewrites a log of which more than half is superseded; whether it did. Raises OSError.

    What is left is its entries, tombstones among them: a name that is merely not listed any more would be
    no reason for others to take their copy away.
    """
    lines, live = _count(layout.log(directory))
    if lines <= MIN_LINES or lines <= 2 * live:
        return False
    entries = read_log(layout, directory)
    if entries is None:
        return False  # it is broken, and waits for repair
    write_log(layout, directory, entries.values())
    return True


def _count(path: Path) -> tuple[int, int]:
    """The lines of a log, and of how many components they are; without taking any apart."""
    lines, components, rest = 0, set[bytes](), b""
    with path.open("rb") as file:
        while piece := file.read(COUNTED_AT_ONCE):
            whole, newline, rest = (rest + piece).rpartition(b"\n")
            lines += whole.count(b"\n") + len(newline)
            components.update(_COMPONENT.findall(whole + newline))
    return lines, len(components)


def _append(fd: int, lines: bytes) -> None:
    # One write, so that a reader never sees the lines of two mixed; a full disk takes a part of it, and
    # says so at the second call.
    written = os.write(fd, lines)
    while written < len(lines):
        written += os.write(fd, lines[written:])
