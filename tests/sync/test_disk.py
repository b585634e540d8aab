"""The threads for the disk: bounded, counted, and never left before the call has ended."""

import threading

import pytest
import trio
import trio.testing

from blobfs.sync.disk import DISK_THREADS, DiskThreads


async def test_what_a_call_gives_and_raises() -> None:
    """Both come back to the caller; each call is a hop."""
    disk = DiskThreads()
    assert await disk.run(divmod, 7, 2) == (3, 1)
    with pytest.raises(FileNotFoundError):
        await disk.run(open, "/nowhere/at/all")
    assert disk.hops == 2


async def test_no_more_threads_than_there_may_be() -> None:
    """The next call begins when one has ended."""
    disk, gate = DiskThreads(), threading.Semaphore(0)
    begun: list[int] = []

    def call(number: int) -> None:
        begun.append(number)
        gate.acquire()

    async with trio.open_nursery() as nursery:
        for number in range(DISK_THREADS + 3):
            nursery.start_soon(disk.run, call, number)
        while len(begun) < DISK_THREADS:  # threads begin in their own time
            await trio.lowlevel.checkpoint()
        assert len(begun) == DISK_THREADS
        gate.release(DISK_THREADS + 3)
    assert sorted(begun) == list(range(DISK_THREADS + 3))


async def test_a_cancelled_caller_leaves_when_the_call_has_ended() -> None:
    """The disk's state stays known; a caller that is cancelled already does not begin."""
    disk, gate, ended = DiskThreads(), threading.Event(), []

    def call() -> None:
        gate.wait()
        ended.append(True)

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(disk.run, call)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
            gate.set()
    assert ended == [True]
    with trio.move_on_after(0):
        await disk.run(ended.append, False)
    assert ended == [True]
    assert disk.hops == 1
