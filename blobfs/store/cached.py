"""Opening a blob that the kernel finds without asking the disk.

openat2(2) with RESOLVE_CACHED opens what the kernel has in memory of directories and inodes, and says EAGAIN
otherwise: so it may be called where nothing may wait. It is Linux 5.12's; where there is none, or a sandbox
forbids it, nothing is ever found here, and whoever calls opens the file in a thread as before.
"""

import ctypes
import os
import struct
import time

from blobfs.model import CHUNK_SIZE, BlobId
from blobfs.store.failures import store_errors
from blobfs.store.opening import Store
from blobfs.store.sealed import USE_RESOLUTION_NS
from blobfs.store.verified import OpenBlob, read_only_what_is_asked_for

_OPENAT2 = 437
"""On every architecture."""
_RESOLVE_CACHED = 0x20
_AT_FDCWD = -100
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW

_HOW = struct.pack("=QQQ", _FLAGS, 0, _RESOLVE_CACHED)
"""struct open_how: flags, mode, resolve."""

# PyDLL keeps the GIL: the call waits for nothing, and giving the GIL away costs more than the call.
_syscall = ctypes.PyDLL(None).syscall
_syscall.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_size_t)
_syscall.restype = ctypes.c_long


@store_errors()
def open_verifiable_cached(store: Store, blob: BlobId) -> OpenBlob | None:
    """As `verified.open_verifiable`, where nothing may wait. None: a thread has to look, it may be here."""
    fd = _open(f"{store.layout.blobs}/{blob}")
    if fd < 0:
        return None
    found = os.fstat(fd)
    tree_fd = _open(f"{store.layout.trees}/{blob}") if found.st_size > CHUNK_SIZE else -1
    is_use_noted = abs(time.time_ns() - found.st_atime_ns) <= USE_RESOLUTION_NS
    opened = OpenBlob(blob, fd, tree_fd)
    if tree_fd >= 0:
        read_only_what_is_asked_for(fd)
    if is_use_noted and (tree_fd >= 0) == (found.st_size > CHUNK_SIZE):
        return opened
    opened.close()
    return None


def _open(path: str) -> int:
    """A descriptor to read from; -1: not here, or not cached."""
    fd: int = _syscall(_OPENAT2, _AT_FDCWD, os.fsencode(path), _HOW, len(_HOW))
    return fd
