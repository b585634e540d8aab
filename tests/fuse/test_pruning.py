"""What the kernel is told of names that have changed, without a kernel."""

import errno
import os
import socket
import struct
from collections import Counter

import pytest
import trio
import trio.testing

from blobfs.fuse import pruning
from tests.fuse.memory import MemoryFileSystem

HEADER = 32
"""Bytes in front of the inodes."""


async def pruned(*stale: list[int]) -> tuple[list[tuple[int, ...]], Counter[str]]:
    """The inodes of each notice, and what was counted."""
    fs, counts = MemoryFileSystem(), Counter[str]()
    ours, kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    notices = []
    with ours, kernel:
        async with trio.open_nursery() as nursery:
            for inodes in stale:
                fs.mark_stale.send_nowait(inodes)
            nursery.start_soon(pruning.prune_stale, fs.wait_stale, ours.fileno(), counts)
            await trio.testing.wait_all_tasks_blocked(0.01)
            nursery.cancel_scope.cancel()
        kernel.setblocking(False)
        while True:
            try:
                notices.append(_inodes(kernel.recv(65536)))
            except BlockingIOError:
                return notices, counts


def _inodes(message: bytes) -> tuple[int, ...]:
    length, code, unique, count, _, _ = struct.unpack_from("=IiQIIQ", message)
    assert (length, code, unique) == (len(message), 9, 0)
    return struct.unpack_from(f"={count}Q", message, HEADER)


async def test_what_is_stale_is_told() -> None:
    """One notice for what was found at once, and each inode is counted."""
    notices, counts = await pruned([5, 7], [9])
    assert notices == [(5, 7), (9,)]
    assert counts == {"prune": 3}


async def test_many_are_told_in_batches() -> None:
    """No notice is so long that the kernel would be busy with it for long."""
    notices, counts = await pruned(list(range(1, 1201)))
    assert [len(inodes) for inodes in notices] == [512, 512, 176]
    assert counts == {"prune": 1200}


@pytest.mark.parametrize(("number", "writes"), [(errno.EINVAL, 1), (errno.ENOTCONN, 3)])
async def test_a_kernel_that_does_not_know_it_is_not_asked_again(
    monkeypatch: pytest.MonkeyPatch, number: int, writes: int
) -> None:
    """An older kernel asks again by itself; any other failure is this notice's alone."""
    tried = []

    def fail(descriptor: int, content: bytes) -> int:
        tried.append(content)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr("blobfs.fuse.pruning.os.write", fail)
        await pruned([1], [2], [3])
    assert len(tried) == writes
