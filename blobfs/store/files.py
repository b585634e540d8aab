"""Plain reads and writes on descriptors, and how a file gets to its place: whole, by rename(2)."""

import errno
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from blobfs.store.failures import store_errors
from blobfs.store.layout import SHARED_FILE_MODE, Layout
from blobfs.store.marks import set_mark
from blobfs.store.temps import remove_temp

Buffer = bytes | bytearray | memoryview

_WOULD_BLOCK = (errno.EAGAIN, errno.EOPNOTSUPP)
"""Not in the page cache; a file system that cannot tell (tmpfs)."""


class _Scratch(threading.local):
    """Where `read_at_nowait` reads to, one a thread: a new buffer for each read would be zeroed first."""

    buffer = bytearray()


_scratch = _Scratch()


@store_errors()
def read_at(fd: int, offset: int, length: int) -> bytes:
    """Short only at the end of the file. May block."""
    content = os.pread(fd, length, offset)
    while 0 < len(content) < length:
        more = os.pread(fd, length - len(content), offset + len(content))
        if not more:
            break
        content += more
    return content


@store_errors()
def read_at_nowait(fd: int, offset: int, length: int) -> bytes | None:
    """What `read_at` returns if all of it is in the page cache, else None. Never blocks."""
    if len(_scratch.buffer) < length:
        _scratch.buffer = bytearray(length)
    view = memoryview(_scratch.buffer)[:length]
    try:
        count = os.preadv(fd, [view], offset, os.RWF_NOWAIT)
    except OSError as failure:
        if failure.errno in _WOULD_BLOCK:
            return None
        raise
    if count < length and offset + count < os.fstat(fd).st_size:
        return None  # only the front of it is cached
    return bytes(view[:count])


def write_all(fd: int, content: Buffer, offset: int) -> None:
    """Raises OSError; what was written before it stays."""
    rest = memoryview(content)
    while rest:
        count = os.pwrite(fd, rest, offset)
        rest = rest[count:]
        offset += count


def replace_file(
    layout: Layout,
    path: Path,
    content: Buffer,
    mode: int = SHARED_FILE_MODE,
    marks: Mapping[str, bytes] | None = None,
    flush: Callable[[int], object] | None = None,
) -> None:
    """Puts a whole file at `path`, which is seen complete or not at all. Raises OSError.

    `flush` gets its descriptor before that: a power cut then leaves what was there, or all of it.
    """
    temp = layout.new_temp()
    fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            write_all(fd, content, 0)
            for key, value in (marks or {}).items():
                set_mark(fd, key, value)
            os.fchmod(fd, mode)
            if flush is not None:
                flush(fd)
        finally:
            os.close(fd)
        os.rename(temp, path)
    except BaseException:
        remove_temp(temp)
        raise
