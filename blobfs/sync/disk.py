"""The worker threads in which the store's blocking calls run.

Their number is bounded, so that readers of a slow disk cannot use up what others need, and every
hop is counted: a hop costs about as much as a FUSE round trip.
"""

from collections.abc import Callable
from typing import TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

DISK_THREADS = 16
"""More than a disk queue needs, few enough for two cores."""


class DiskThreads:
    """Runs blocking calls; `hops` counts them."""

    def __init__(self) -> None:
        self._limiter = trio.CapacityLimiter(DISK_THREADS)
        self.hops = 0

    async def run(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """Runs `call` to its end even when the caller is cancelled: the disk's state stays known."""
        self.hops += 1
        return await trio.to_thread.run_sync(call, *args, limiter=self._limiter)
