"""Has the kernel drop the names of inodes that they do not mean any more, before it would ask by itself.

What is usual, FUSE_NOTIFY_INVAL_ENTRY, waits for the directory's lock: for every lookup that is under way
there, with all that come after it behind it. A lookup may wait for a dead share; and while the notice waits,
nothing can end the thread that gives it, SIGKILL neither, so the connection outlives its daemon, and
everybody who waits for it hangs. FUSE_NOTIFY_PRUNE (Linux 6.18) takes no such lock: it drops the names that
an inode has and that nobody is using at this moment, and returns. What somebody uses, and everything with an
older kernel, is asked for again when its time is over (`vfs.stat`). A directory is used by each name in it
that the kernel has: those go before it.

The layout is that of <linux/fuse.h>: fuse_out_header (u32 length, s32 code, u64 unique), then
fuse_notify_prune_out (u32 count, u32 and u64 spare), then the inodes.
"""

import errno
import logging
import os
import struct
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import trio

_log = logging.getLogger(__name__)

FUSE_NOTIFY_PRUNE = 9

BATCH = 512
"""Inodes in one notice; the kernel goes through as many without a pause."""

_HEADER = struct.Struct("=IiQ")
_PRUNE = struct.Struct("=IIQ")


async def prune_stale(
    wait_stale: Callable[[], Awaitable[Sequence[int]]], descriptor: int, counts: Counter[str]
) -> None:
    """Passes on what `wait_stale` returns, for ever; `prune` counts the inodes.

    The descriptor is the connection's: it must stay open until this has ended.
    """
    is_known = True
    while True:
        inodes = await wait_stale()
        for start in range(0, len(inodes), BATCH):
            if is_known:
                batch = inodes[start : start + BATCH]
                # In a thread: an inode may go with its last name, and what it has in the page cache.
                is_known = await trio.to_thread.run_sync(_prune, descriptor, batch)
                counts["prune"] += len(batch) if is_known else 0


def _prune(descriptor: int, inodes: Sequence[int]) -> bool:
    """Whether the kernel knows such notices."""
    try:
        os.write(descriptor, notice(inodes))
    except OSError as error:
        if error.errno == errno.EINVAL:
            _log.info("this kernel takes no notice of names that have changed: it asks again after a second")
            return False
        _log.debug("the kernel was not told of %d names that have changed: %s", len(inodes), error)
    return True


def notice(inodes: Sequence[int]) -> bytes:
    """One message to the kernel."""
    content = _PRUNE.pack(len(inodes), 0, 0) + struct.pack(f"={len(inodes)}Q", *inodes)
    return _HEADER.pack(_HEADER.size + len(content), FUSE_NOTIFY_PRUNE, 0) + content
