"""One transaction on one package, as the mount shows it: plain calls on plain files, one method each.

::

    MOUNTPOINT/.blobfs/needed/<package-id>/
        meta                 the manifest is written here
        missing/<blob-id>    what is missing is listed and written here
        bundle               the small blobs in one stream, where the mount takes that
        state                one line about it
    MOUNTPOINT/.blobfs/packages/<package-id>/    when nothing is missing any more, instead

Everything raises `OSError` as the mount does, except where "it is not needed any more" is an answer.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum

from blobfs.merkle import Buffer
from blobfs.model import RESERVED_PREFIX, BlobId

MOST_OPENINGS = 5
"""Tries to open it, each of which found one that somebody aborted a moment later."""

_IS_OVER = frozenset({errno.ENOENT, errno.ESTALE, errno.ECANCELED})
"""The blob, or the whole transaction, is not needed any more: it has come another way, or it was aborted."""


class Opening(Enum):
    BEGUN = "begun"
    RESUMED = "resumed"
    COMPLETE = "complete"


class Transaction:
    """Keeps nothing between two calls: all there is to know is on the mount. Any thread may call it."""

    def __init__(self, mountpoint: str, package: BlobId) -> None:
        self.package = package
        reserved = os.path.join(mountpoint, RESERVED_PREFIX)
        self._needed = f"{reserved}/needed/{package}"
        self._complete = f"{reserved}/packages/{package}"

    def open(self) -> Opening:
        for _ in range(MOST_OPENINGS):
            try:
                os.mkdir(self._needed)
                return Opening.BEGUN
            except FileExistsError:
                if os.path.lexists(self._needed):
                    return Opening.RESUMED
                if self.is_complete():
                    return Opening.COMPLETE
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), self._needed)

    def is_complete(self) -> bool:
        return os.path.lexists(self._complete)

    def write_meta(self, manifest: bytes) -> None:
        """Does nothing if it is there already."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        with suppress(FileExistsError, PermissionError):
            _write(f"{self._needed}/meta", flags, [manifest], len(manifest))

    def missing(self) -> list[BlobId] | None:
        """What is missing now. None: the transaction is gone, complete or aborted."""
        try:
            return [BlobId(name) for name in os.listdir(f"{self._needed}/missing")]
        except FileNotFoundError:
            return None

    def write_blob(self, blob: BlobId, size: int, pieces: Iterable[Buffer]) -> bool:
        """False: it is not needed any more. The mount verifies it before this returns."""
        return _write(f"{self._needed}/missing/{blob}", os.O_WRONLY | os.O_TRUNC, pieces, size)

    def write_bundle(self, pieces: Iterable[Buffer]) -> bool:
        """False: the mount takes no bundle, or it is not needed any more."""
        return _write(f"{self._needed}/bundle", os.O_WRONLY, pieces, None)

    def state(self) -> str:
        """What the mount says of it; nothing if it says nothing."""
        with suppress(OSError), open(f"{self._needed}/state", encoding="utf-8", errors="replace") as file:
            return file.read(1024).strip()
        return ""

    def abort(self) -> None:
        """Returns when it is torn down."""
        with suppress(FileNotFoundError):
            os.rmdir(self._needed)


def _write(path: str, flags: int, pieces: Iterable[Buffer], size: int | None) -> bool:
    """Writes a file, of which the size is told first if it is known. False: it is not needed any more.

    What is wrong with the content is said by the write that completes the size, or by the close.
    """
    try:
        with _opened(path, flags) as fd:
            if size is not None:
                os.ftruncate(fd, size)
            for piece in pieces:
                _write_all(fd, piece)
    except OSError as error:
        if error.errno in _IS_OVER:
            return False
        raise
    return True


@contextmanager
def _opened(path: str, flags: int) -> Iterator[int]:
    """A descriptor whose close is heard when all went well, and only then."""
    fd = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        yield fd
    except BaseException:
        with suppress(OSError):
            os.close(fd)
        raise
    os.close(fd)


def _write_all(fd: int, piece: Buffer) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[os.write(fd, rest) :]
