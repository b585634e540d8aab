"""The worker threads in which the store's blocking calls run.

Their number is bounded, so that readers of a slow disk cannot use up what others need, and every
hop is counted: a hop costs about as much as a FUSE round trip.

`trio.to_thread.run_sync` is not used: it gives the thread the call's name and takes it away again, two system
calls that were a third of what a small blob costs.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, TypeVarTuple

import trio
from trio.lowlevel import Abort, current_task, current_trio_token, reschedule, start_thread_soon

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

DISK_THREADS = 16
"""More than a disk queue needs, few enough for two cores."""


class DiskThreads:
    """Runs blocking calls; `hops` counts them."""

    def __init__(self) -> None:
        self._free = trio.Semaphore(DISK_THREADS)
        self.hops = 0

    async def run(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        """Runs `call` to its end even when the caller is cancelled: the disk's state stays known."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._free.acquire_nowait()
        except trio.WouldBlock:
            await self._free.acquire()
        self.hops += 1
        try:
            return await _in_thread(partial(call, *args))
        finally:
            self._free.release()


async def _in_thread(call: Callable[[], T]) -> T:
    task, token = current_task(), current_trio_token()

    def deliver(outcome: Any) -> None:
        token.run_sync_soon(reschedule, task, outcome)

    start_thread_soon(call, deliver)
    result: T = await trio.lowlevel.wait_task_rescheduled(lambda _: Abort.FAILED)
    return result
