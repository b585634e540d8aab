"""The tree file of a blob being loaded, as far as it came. On a disk that is full it goes on in memory."""

import errno
import logging
import os
import threading

from blobfs.store.failures import store_errors
from blobfs.store.files import Buffer, read_at, write_all
from blobfs.store.layout import PRIVATE_FILE_MODE, Layout

_log = logging.getLogger(__name__)

REFUSALS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""What a disk says that can be read and not written to."""
_STEP = 1 << 20


class PartialTree:
    """Opened when it is needed first. Mutable: the descriptor; threads may read while another writes."""

    def __init__(self, layout: Layout, key: str, *, in_memory: bool = False) -> None:
        """`in_memory`: from the beginning, because there is no room for the blob at all."""
        self._path = layout.partial_tree(key)
        self._in_memory = in_memory
        self._lock = threading.Lock()
        self._fd = -1

    @property
    def fd(self) -> int:
        """For who reads it elsewhere; opens it if nobody has."""
        return self._opened()

    def read(self, offset: int, length: int) -> bytes:
        """What never came reads as zeros, which are no digests."""
        content = read_at(self._opened(), offset, length)
        return content + bytes(length - len(content))

    @store_errors()
    def write(self, offset: int, content: Buffer) -> None:
        fd = self._opened()
        try:
            write_all(fd, content, offset)
        except OSError as failure:
            if failure.errno not in REFUSALS:
                raise
            self._move_to_memory()
            write_all(fd, content, offset)

    @store_errors()
    def _opened(self) -> int:
        with self._lock:
            if self._fd < 0:
                self._fd = self._open()
            return self._fd

    def _open(self) -> int:
        if not self._in_memory:
            try:
                return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, PRIVATE_FILE_MODE)
            except OSError as failure:
                if failure.errno not in REFUSALS:
                    raise
                self._in_memory = True
        return os.memfd_create(self._path.name, os.MFD_CLOEXEC)

    def _move_to_memory(self) -> None:
        """Under the same descriptor: others may be reading from it."""
        with self._lock:
            if self._in_memory:
                return
            _log.debug("there is no room for %s: it goes on in memory", self._path)
            memory = os.memfd_create(self._path.name, os.MFD_CLOEXEC)
            try:
                offset = 0
                while content := os.pread(self._fd, _STEP, offset):
                    write_all(memory, content, offset)
                    offset += len(content)
                os.dup2(memory, self._fd, inheritable=False)
            finally:
                os.close(memory)
            self._in_memory = True

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
