"""Waiting for the end of a mount, without touching it."""

import select

import trio

from blobfs.fuse.mountinfo import TABLE, read_mounts


async def wait_until_gone(device: str) -> None:
    """Returns when no mount of `device` is left here, though files on it may still be open.

    The kernel makes the table readable when it changes. An epoll of its own, edge-triggered, turns that
    into something that stays readable until it is drained: the table's own "changed" flag is gone after
    one look, and trio's epoll looks once when it is told of the descriptor.
    """
    with TABLE.open("rb") as table, select.epoll() as changes:
        changes.register(table, select.EPOLLIN | select.EPOLLET)
        while True:
            changes.poll(0)
            if all(mount.device != device for mount in read_mounts()):
                return
            await trio.lowlevel.wait_readable(changes)
