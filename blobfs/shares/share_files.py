"""Opens the files of a share for serving, and reads them: plain system calls, to be run in threads.

Rules. Every component is opened below its parent's descriptor and no symlink is followed, so
nothing outside the share is reached, however the tree changes meanwhile. Only regular files are
opened. `Refused` with 404 means the share does not have it; where the share cannot say, it is 5xx (P4).
"""

import errno
import logging
import os
import stat
from http import HTTPStatus
from pathlib import Path

from blobfs.shares.share_paths import Kind, Refused, SharePath
from blobfs.shares.static_http import Version

_log = logging.getLogger(__name__)

PIECE_BYTES = 512 * 1024
"""Read and sent at once; what one download holds in memory. 128 KiB halve the speed, 2 MiB add nothing."""

# ELOOP: a symlink, which O_NOFOLLOW refuses. ENXIO: a socket, or a fifo that nobody holds.
_ABSENT = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENXIO, errno.ENODEV)
_SCARCE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)

_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK  # a fifo must not hold the thread


class IsDirectory(Exception):
    """The path is a directory's."""


def open_file(share: Path, path: SharePath) -> tuple[int, Version]:
    """A descriptor of the file and what it says about itself. Raises `Refused`, `IsDirectory`."""
    descriptor = _open_below(_open_share(share), path)
    try:
        return descriptor, _version(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise


def read_piece(descriptor: int, position: int, stop: int) -> bytes:
    """The next piece of what ends before `stop`; empty there, and where the file ends early."""
    return os.pread(descriptor, min(PIECE_BYTES, stop - position), position)


def _open_share(share: Path) -> int:
    try:
        return os.open(share, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        # The whole share is away (its disk is not mounted, say): that does not make a file absent.
        _log.warning("the share cannot be read: %s", error)
        raise Refused(HTTPStatus.SERVICE_UNAVAILABLE) from error


def _open_below(above: int, path: SharePath) -> int:
    """Consumes `above`, the share's descriptor."""
    *directories, last = path.components
    try:
        for directory in directories:
            below = os.open(directory, _STEP, dir_fd=above)
            os.close(above)
            above = below
        return os.open(last, _READ, dir_fd=above)
    except OSError as error:
        raise Refused(_status(error, path)) from error
    finally:
        os.close(above)


def _status(error: OSError, path: SharePath) -> HTTPStatus:
    if error.errno in _ABSENT:
        return HTTPStatus.NOT_FOUND
    if error.errno in (errno.EACCES, errno.EPERM):
        return HTTPStatus.FORBIDDEN
    _log.warning("%s cannot be served: %s", path, error)
    return HTTPStatus.SERVICE_UNAVAILABLE if error.errno in _SCARCE else HTTPStatus.INTERNAL_SERVER_ERROR


def _version(path: SharePath, found: os.stat_result) -> Version:
    if stat.S_ISDIR(found.st_mode):
        raise IsDirectory
    if not stat.S_ISREG(found.st_mode):
        raise Refused(HTTPStatus.NOT_FOUND)
    match path.kind:
        case Kind.BLOB:
            tag = path.last
        case Kind.TREE:
            tag = f"{path.last}-tree"
        case Kind.BUNDLE:
            tag = f"{path.last}-bundle"
        case _:
            tag = f"{found.st_mtime_ns:x}-{found.st_size:x}-{found.st_ino:x}"
    return Version(f'"{tag}"', found.st_mtime_ns // 1_000_000_000, found.st_size, path.kind.immutable)
