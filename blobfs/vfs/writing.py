"""Content that is being written: write, truncate, fsync.

A file is held in memory as long as it is small and nobody wants it to last; else it is written into the
store's `incoming/`, and hashing follows the writing.
"""

import logging
import stat
import time
from contextlib import suppress

from blobfs import errors
from blobfs.record import MAX_BLOB_SIZE
from blobfs.store.files import Buffer
from blobfs.store.held import Held
from blobfs.store.incoming import Incoming
from blobfs.sync.background import guarded
from blobfs.vfs.nodes import Writing
from blobfs.vfs.state import MountState

_log = logging.getLogger(__name__)

FOLLOW_FROM = 1 << 20
"""Bytes of a file after which hashing follows its writing; a shorter one is hashed when it is closed."""
SET_ID_BITS = stat.S_ISUID | stat.S_ISGID


async def write(state: MountState, number: int, offset: int, content: bytes) -> int:
    if write_nowait(state, number, offset, content):
        return len(content)
    writing = _written_by(state, number)
    await _before_change(state, writing, offset + len(content))
    if not (isinstance(writing.source, Held) and writing.source.write(offset, content)):
        incoming = await to_disk(state, writing)
        await state.sync.space.writing(state.sync.disk.run, incoming.write, offset, content)
    _changed(writing)
    writing.open[number] = False
    _follow(state, writing)
    return len(content)


def write_nowait(state: MountState, number: int, offset: int, content: Buffer) -> bool:
    """Whether it is in memory. What a write takes off the disk, a mark or all of it, waits."""
    writing = _written_by(state, number)
    if writing.marked == writing.version or not isinstance(writing.source, Held):
        return False
    if not writing.source.write(offset, content):
        return False
    _changed(writing)
    writing.open[number] = False
    return True


def _written_by(state: MountState, number: int) -> Writing:
    writing = state.file(number).writing
    if writing is None or writing.job is not None:
        raise errors.Sealed("a sealed file is immutable")
    return writing


async def truncate(state: MountState, writing: Writing, size: int) -> None:
    if writing.job is not None:
        raise errors.Sealed("it was closed, and is being sealed")
    await _before_change(state, writing, size)
    if not (isinstance(writing.source, Held) and writing.source.truncate(size)):
        incoming = await to_disk(state, writing)
        await state.sync.disk.run(incoming.truncate, size)
    _changed(writing)


async def to_disk(state: MountState, writing: Writing) -> Incoming:
    """The file that has the content; it is made now if it was held in memory until now."""
    async with writing.moving:
        held = writing.source
        if isinstance(held, Incoming):
            return held
        held.frozen = True
        try:
            incoming = await state.sync.space.writing(state.sync.disk.run, held.to_disk)
        except BaseException:
            held.frozen = False
            raise
        writing.source = incoming
        held.let_go()
        for reader in writing.readers:
            reader.follow(incoming)
        writing.readers.clear()
        return incoming


async def _before_change(state: MountState, writing: Writing, end: int) -> None:
    """A redo mark on content that changes again would be redone as what it no longer is."""
    writing.demand_here()
    if end > MAX_BLOB_SIZE:
        raise errors.ContentTooLong(f"{end} bytes, a blob has at most {MAX_BLOB_SIZE}")
    if writing.marked == writing.version:
        await clear_mark(state, writing)


async def clear_mark(state: MountState, writing: Writing) -> None:
    """Of content that was fsynced and closed: it has a file."""
    assert isinstance(writing.source, Incoming)
    await state.sync.disk.run(writing.source.clear_intent)
    writing.marked = -1


def _changed(writing: Writing) -> None:
    writing.mode &= ~SET_ID_BITS  # the kernel leaves it to us (FUSE_HANDLE_KILLPRIV_V2)
    writing.version += 1
    writing.is_new = False
    writing.mtime_ns = time.time_ns()


def _follow(state: MountState, writing: Writing) -> None:
    """Has the hashing follow the writing, so that the close of a big file is not the beginning of it."""
    if not writing.following and writing.size >= FOLLOW_FROM and state.nursery is not None:
        writing.following = True
        state.nursery.start_soon(guarded, _hash_along, state, writing)


async def _hash_along(state: MountState, writing: Writing) -> None:
    try:
        incoming = await to_disk(state, writing)
        while writing.job is None and await state.sync.disk.run(incoming.hash_some):
            pass
    except errors.StoreError as failure:
        # It may have been removed under us; otherwise the seal hashes it, and says what is wrong.
        _log.debug("hashing did not follow the writing of %s: %s", writing.source, failure)
    finally:
        writing.following = False


async def fsync(state: MountState, number: int) -> None:
    """The content is durable when this returns; that it is shared needs the close as well."""
    handle = state.file(number)
    writing = handle.writing or handle.node.settle()
    if not isinstance(writing, Writing):
        return  # it was durable before it was shared
    if writing.job is not None:
        with state.waits.interruptible_by(handle.opener), suppress(errors.NameMissing):
            await state.sync.sealer.wait(writing.job)
        return
    version = writing.version
    incoming = await to_disk(state, writing)
    await state.sync.disk.run(state.sync.store.flushes.file, incoming.fd)
    writing.synced = version
