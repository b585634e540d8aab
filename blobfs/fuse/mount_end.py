"""Waiting for the end of a mount, without touching it."""

import select

import trio

from blobfs.fuse.mountinfo import TABLE, Mount, read_mounts


async def wait_until_gone(mount: Mount) -> None:
    """Returns when nothing shows the file system of `mount` here, though files on it may still be open.

    The kernel makes the table readable when it changes. An epoll of its own, edge-triggered, turns that
    into something that stays readable until it is drained: the table's own "changed" flag is gone after
    one look, and trio's epoll looks once when it is told of the descriptor.
    """
    with TABLE.open("rb") as table, select.epoll() as changes:
        changes.register(table, select.EPOLLIN | select.EPOLLET)
        while True:
            changes.poll(0)
            if not any(mount.shows(other) for other in read_mounts()):
                return
            await trio.lowlevel.wait_readable(changes)
