"""Extended attributes of the store's files (the table is in `blobfs.store.layout`)."""

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import xattr

RECORD = "user.blobfs.record"
NAME = "user.blobfs.name"
PACKAGE = "user.blobfs.package"
LOADED = "user.blobfs.loaded"
NAMES = "user.blobfs.names"
KEEP = "user.blobfs.keep"
PINNED = "user.blobfs.pinned"
SINCE = "user.blobfs.since"
DEMOTED = "user.blobfs.demoted"
CHECK = "user.blobfs.check"
DIRECTORY = "user.blobfs.directory"

YES = b"1"

READINGS = 100
"""The library asks how long a value is and then for so much of it. If somebody set a longer one in between (a
log's check is set with every name) that is ERANGE, and it is read again."""

File = int | Path
"""An open descriptor or a path."""


def get_mark(file: File, key: str) -> bytes | None:
    """Raises OSError where the file itself is missing."""
    for _ in range(READINGS):
        try:
            value: bytes = xattr.getxattr(file, key)
        except OSError as failure:
            if failure.errno == errno.ENODATA:
                return None
            if failure.errno != errno.ERANGE:
                raise
        else:
            return value
    raise OSError(errno.ERANGE, f"{key} is longer at each look")


def set_mark(file: File, key: str, value: bytes) -> None:
    try:
        xattr.setxattr(file, key, value)
    except PermissionError:
        with _made_writable(file):
            xattr.setxattr(file, key, value)


def remove_mark(file: File, key: str) -> None:
    """Also when it is not there."""
    if get_mark(file, key) is None:
        return
    try:
        xattr.removexattr(file, key)
    except PermissionError:
        with _made_writable(file):
            xattr.removexattr(file, key)


@contextlib.contextmanager
def _made_writable(file: File) -> Iterator[None]:
    """A read-only file's owner may not set its attributes, unless he is root."""
    mode = stat.S_IMODE(os.stat(file).st_mode)
    os.chmod(file, mode | stat.S_IWUSR)
    try:
        yield
    finally:
        os.chmod(file, mode)
