"""The tree that is packed, read twice: once to know what it is, once to write what is missing.

Nothing may change in between. What a file looked like when it was found is its stamp, and whoever reads it
compares: before the first byte and after the last one, each time. Every path is opened from the directory's
own descriptor, so a tree that is deeper than a path may be long can be packed as well.
"""

import errno
import os
from collections.abc import Generator
from typing import NamedTuple

from blobfs.cli.pack_problems import Problem

CHANGED = "it changed while it was being packed"
_IS_OTHER = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP})
"""What stands there now is not what was found: nothing, or a symlink."""


class Stamp(NamedTuple):
    """What changes when a file does, or when another one takes its place."""

    device: int
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int

    @classmethod
    def of(cls, stat: os.stat_result) -> "Stamp":
        return cls(stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


class SourceFile(NamedTuple):
    path: bytes
    mode: int
    stamp: Stamp


class SourceFailed(Exception):
    """A file cannot be read, or is not what it was."""

    def __init__(self, path: bytes, reason: str) -> None:
        super().__init__(path, reason)
        self.problem = Problem(path, reason)


class Source:
    """The directory that is packed, held open. Any thread may read from it."""

    def __init__(self, directory: bytes) -> None:
        """Raises `OSError`. A symlink to a directory is fine."""
        self.fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def __enter__(self) -> "Source":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)

    def read(self, file: SourceFile, buffer: memoryview) -> Generator[memoryview, None, None]:
        """The content in pieces, each a part of `buffer` that is filled anew for the next one.

        Raises `SourceFailed`; what was given until then is worth nothing.
        """
        try:
            fd = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.fd)
            try:
                _demand_same(fd, file)
                left = file.stamp.size
                while left:
                    count = os.readv(fd, [buffer[:left]])
                    if not count:
                        raise SourceFailed(file.path, CHANGED)
                    left -= count
                    yield buffer[:count]
                _demand_same(fd, file)
            finally:
                os.close(fd)
        except OSError as error:
            is_other = error.errno in _IS_OTHER
            raise SourceFailed(file.path, CHANGED if is_other else error.strerror or str(error)) from error


def _demand_same(fd: int, file: SourceFile) -> None:
    if Stamp.of(os.fstat(fd)) != file.stamp:
        raise SourceFailed(file.path, CHANGED)
