"""What the loop that receives requests survives."""

import errno
import os

from blobfs.fuse.receiving import _begin_again


async def test_what_the_loop_survives():
    """A request that was taken back is waited over; a connection that was ended under it is the end."""
    failures = [
        BlockingIOError(errno.EAGAIN, ""),
        OSError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED)),
    ]
    calls = []

    async def loop(*args: object) -> None:
        calls.append(args)
        raise failures.pop(0)

    await _begin_again(loop)(1, 2)
    assert calls == [(1, 2), (1, 2)]
    assert failures == []
