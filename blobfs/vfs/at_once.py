"""What can be read without waiting for anything: small files that are sealed and here.

Each function does what its operation does, or nothing at all. None, or False, means that the operation itself
is to be asked: because there is something to wait for, a thread or a share, or because it would be refused.
"""

import os

from blobfs.store.files import Buffer
from blobfs.sync.loading.sealed_reading import SealedReader
from blobfs.vfs.attributes import Opened
from blobfs.vfs.nodes import FileNode, Settled
from blobfs.vfs.state import FileHandle, MountState
from blobfs.vfs.waits import Opener

_ASKS_FOR_MORE = os.O_ACCMODE | os.O_TRUNC | os.O_NONBLOCK
"""Flags of an open that is not just for reading."""


def open_nowait(state: MountState, inode: int, flags: int, pid: int) -> Opened | None:
    node = state.inodes.find(inode)
    if flags & _ASKS_FOR_MORE or not isinstance(node, FileNode):
        return None
    content = node.settle()
    if not isinstance(content, Settled):
        return None
    record = content.record
    names = [] if content.is_own else node.names()  # another node's is shared in turn
    reader = state.sync.loads.open_nowait(record.blob, record.size, names[0] if names else None, record)
    if reader is None:
        return None
    return Opened(state.register(FileHandle(node, Opener(pid), reader)), keep_cache=True, needs_flush=False)


def read_nowait(state: MountState, number: int, offset: int, size: int) -> Buffer | None:
    handle = state.handles.get(number)
    if isinstance(handle, FileHandle) and isinstance(handle.reader, SealedReader):
        return handle.reader.read_nowait(offset, size)
    return None
