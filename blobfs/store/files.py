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


SMALL_READ = 64 * 1024
"""Bytes up to which a copy costs next to nothing."""
_KEPT_BUFFERS = 4


class _Buffers(threading.local):
    """Where `read_at_nowait` reads to, some for each thread: a new one for each read would be zeroed first,
    and one that was used just now is in the processor's cache."""

    def __init__(self) -> None:
        self._kept: list[bytearray] = []

    def take(self, length: int) -> bytearray:
        """One that nobody has a view of; of at least so many bytes."""
        for buffer in self._kept:
            if len(buffer) >= length and _is_free(buffer):
                return buffer
        made = bytearray(max(length, 1))
        self._kept = [made, *self._kept][:_KEPT_BUFFERS]
        return made


def _is_free(buffer: bytearray) -> bool:
    """What is viewed cannot be resized."""
    try:
        buffer.pop()
    except BufferError:
        return False
    buffer.append(0)
    return True


_buffers = _Buffers()


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
def read_at_nowait(fd: int, offset: int, length: int) -> Buffer | None:
    """What `read_at` returns if all of it is in the page cache, else None. Never blocks.

    Much of it is a view: a copy would cost as much as the reading. It is the caller's as long as he holds it.
    """
    view = memoryview(_buffers.take(length))[:length]
    try:
        count = os.preadv(fd, [view], offset, os.RWF_NOWAIT)
    except OSError as failure:
        if failure.errno in _WOULD_BLOCK:
            return None
        raise
    if count < length and offset + count < os.fstat(fd).st_size:
        return None  # only the front of it is cached
    return bytes(view[:count]) if count <= SMALL_READ else view[:count]


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
