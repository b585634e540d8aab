"""Check marks: what a small file of the store was when it was written, so that rot in it is seen.

A blob is vouched for by its id. Nothing vouches for a name record, a directory's log and the names that
wait for a blob but the mark beside them, the attribute `marks.CHECK`:

===========================  ==========================================================================
on                           value
===========================  ==========================================================================
names/<name>                 8 hex digits: CRC-32 of the file's bytes
names/<dir>/                 8 hex digits: CRC-32 of its `marks.RECORD`
names/<dir>/.blobfs-log      8 hex digits, a blank, a number in decimal: CRC-32 of so many bytes at the
                             beginning. A crash may leave lines behind them: no rot, but not vouched for.
partial/<key>.names          8 hex digits: CRC-32 of the file's bytes
===========================  ==========================================================================

A record may have a *copy* as well, all of it as the attribute `marks.RECORD`. File systems write attributes
to their journal, in one order with names, and a file's bytes elsewhere and later: after a power cut the name
may be there with zeros in it, also where it had replaced another file. The copy is then what was written.

What has no mark is older than marks are, and is taken as it is. Pure but for `get_mark` and `set_mark`.
"""

import re
import zlib

from blobfs.store.marks import CHECK, RECORD, File, get_mark, remove_mark, set_mark

LARGEST_COPY = 512
"""Bytes of a record that gets a copy: what any file system takes as an attribute. Only a symlink with a long
target has more."""
MOST_MENDED = 8192
"""Bytes of a file whose flipped bit is looked for: it takes a CRC of all of it for each bit."""

_LOG_CHECK = re.compile(rb"([0-9a-f]{8}) ([0-9]{1,18})\Z")


def check_of(content: bytes | bytearray) -> bytes:
    """The mark of a whole file."""
    return b"%08x" % zlib.crc32(content)


def is_as_written(file: File, content: bytes) -> bool:
    """Whether a whole file's content is what its mark says; True where it has none. Raises OSError."""
    mark = get_mark(file, CHECK)
    return mark is None or mark == check_of(content)


def as_written(file: File, content: bytes) -> bytes | None:
    """A record's content as its mark has it: these bytes or else its copy; None: neither. Raises OSError."""
    if is_as_written(file, content):
        return content
    copy = get_mark(file, RECORD)
    return copy if copy is not None and check_of(copy) == get_mark(file, CHECK) else None


def without_flipped_bit(file: File, content: bytes) -> bytes | None:
    """A whole file's content as it was, if one bit of it flipped since: its mark tells which. Raises OSError.

    Of a file of our sizes no two are as like each other as that (CRC-32 has distance 4 up to 11 KiB).
    """
    mark = get_mark(file, CHECK)
    if mark is None or len(content) > MOST_MENDED:
        return None
    changed = bytearray(content)
    for offset in range(len(changed)):
        for bit in range(8):
            changed[offset] ^= 1 << bit
            if check_of(changed) == mark:
                return bytes(changed)
            changed[offset] ^= 1 << bit
    return None


def log_check_of(content: bytes) -> bytes:
    """The mark of a whole log."""
    return b"%08x %d" % (zlib.crc32(content), len(content))


def vouched_length(file: File, content: bytes) -> int | None:
    """How much of a log its mark vouches for, all where it has none. None: it is not what was written."""
    mark = get_mark(file, CHECK)
    if mark is None:
        return len(content)
    match = _LOG_CHECK.match(mark)
    if match is None or int(match[2]) > len(content):
        return None
    length = int(match[2])
    with memoryview(content) as view:
        return length if zlib.crc32(view[:length]) == int(match[1], 16) else None


def note_appended(fd: int, size: int, added: bytes) -> None:
    """After `added` was appended to a log of `size` bytes. One with unvouched bytes in it stays as it is."""
    match = _LOG_CHECK.match(get_mark(fd, CHECK) or b"")
    if match is not None and int(match[2]) == size:
        set_mark(fd, CHECK, b"%08x %d" % (zlib.crc32(added, int(match[1], 16)), size + len(added)))


def set_directory_mark(path: File, line: bytes) -> None:
    """Gives a directory of names its record. It has no check in between: a crash leaves no wrong one."""
    remove_mark(path, CHECK)
    set_mark(path, RECORD, line)
    set_mark(path, CHECK, check_of(line))


def get_directory_mark(path: File) -> bytes | None:
    """Its record; None where it has none, or one that is not what was written."""
    line = get_mark(path, RECORD)
    return line if line is not None and is_as_written(path, line) else None
