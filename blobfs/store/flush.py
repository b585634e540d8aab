"""Durability: one file, or everything the store's file system holds back. Both are counted."""

import ctypes
import os
import threading
from pathlib import Path

from blobfs.store.failures import store_errors

_libc = ctypes.CDLL(None, use_errno=True)


class Flusher:
    """Flushes for one store. Thread-safe; the counters only grow."""

    def __init__(self, root_fd: int) -> None:
        self._root_fd = root_fd
        self._counting = threading.Lock()
        self.file_flushes = 0
        self.group_flushes = 0

    def __repr__(self) -> str:
        return f"Flusher(file_flushes={self.file_flushes}, group_flushes={self.group_flushes})"

    @store_errors()
    def file(self, fd: int) -> None:
        """When it returns, the file's bytes and attributes are on the disk."""
        os.fsync(fd)
        with self._counting:
            self.file_flushes += 1

    @store_errors()
    def directory(self, path: Path) -> None:
        """When it returns, what was made, renamed and removed in it is on the disk. Counts as a file."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.file(fd)
        finally:
            os.close(fd)

    @store_errors()
    def everything(self) -> None:
        """When it returns, every change made before the call is on the disk, directories included."""
        if _libc.syncfs(self._root_fd) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        with self._counting:
            self.group_flushes += 1
