"""The life of a file: create, write, read, close, seal.

A file is held in memory as long as it is small and nobody wants it to last; else it is written into the
store's `incoming/`, and hashing follows the writing. The last close of a descriptor that may write
hands it to the sealer. FLUSH comes at every close of every duplicate,
also before the first write: it never seals a named file. It only puts a redo mark on content that
was fsynced, because from then on a crash must not lose it (P2).
"""

import logging
import math
import os
import stat
import time
from contextlib import suppress

import trio

from blobfs import errors
from blobfs.model import EMPTY_BLOB, BlobId, Name, parse_blob_id
from blobfs.record import MAX_BLOB_SIZE
from blobfs.store.files import Buffer
from blobfs.store.held import Held
from blobfs.store.incoming import Incoming
from blobfs.sync.background import guarded
from blobfs.sync.jobs import SealJob
from blobfs.sync.loading.reader import Reader
from blobfs.vfs.attributes import NO_INODE, Opened
from blobfs.vfs.growing import GrowingReader
from blobfs.vfs.nodes import Container, FileNode, PlainContent, Settled, ViewNode, Writing
from blobfs.vfs.package_nodes import PackageFile
from blobfs.vfs.packages import open_package_file
from blobfs.vfs.resolve import component_of, name_in, named_directory
from blobfs.vfs.state import FileHandle, MountState
from blobfs.vfs.waits import Opener

_log = logging.getLogger(__name__)

FOLLOW_FROM = 1 << 20
"""Bytes of a file after which hashing follows its writing; a shorter one is hashed when it is closed."""
SET_ID_BITS = stat.S_ISUID | stat.S_ISGID
RELEASE_WAIT = 2.0
"""Seconds for which a RELEASE that must be on its way is waited for. A descriptor that was duplicated
and flushed but stays open looks the same, so this is a bound and no promise."""


async def create(
    state: MountState, container: Container, raw: bytes, mode: int, flags: int, pid: int
) -> tuple[Opened, FileNode]:
    """A new file, open for writing. Raises `NameExists` where something was made meanwhile."""
    state.demand_writable()
    component, expected = _place_for(container, raw)
    if component in container.children and isinstance(container.children[component], FileNode):
        node = container.children[component]
        assert isinstance(node, FileNode)
        if flags & os.O_EXCL or not isinstance(node.settle(), Writing):
            raise errors.NameExists(f"{component} exists")
        return await open_file(state, node, flags, pid), node
    if expected is not None and await state.sync.is_here(expected):
        raise errors.NameExists(f"the blob {expected} is here")
    # What is written under its id is checked before its close returns: it has no time to gather.
    held = state.sync.hold_incoming() if expected is None else None
    writing = Writing(held or await state.sync.new_incoming(), stat.S_IMODE(mode), time.time_ns(), expected)
    node = FileNode(state.inodes.next_inode(), content=writing)
    state.inodes.add(node, container, component)
    return _open_writing(state, node, writing, flags, pid), node


def _place_for(container: Container, raw: bytes) -> tuple[str, BlobId | None]:
    if isinstance(container, ViewNode) and container.path == "incoming":
        try:
            blob = parse_blob_id(raw.decode("ascii", "replace"))
        except ValueError as wrong:
            raise errors.InvalidName(str(wrong)) from None
        return blob, blob
    directory = named_directory(container)
    component = component_of(raw)
    name_in(directory, component)
    return component, None


async def open_file(state: MountState, node: FileNode, flags: int, pid: int) -> Opened:
    """Opens for reading anything, for writing only what is not sealed. Asks no share."""
    content = node.settle()
    wants_write = flags & os.O_ACCMODE != os.O_RDONLY or flags & os.O_TRUNC
    if isinstance(content, Writing):
        content.demand_here()
        if wants_write:
            state.demand_writable()
            if content.job is not None:
                raise errors.Sealed("it was closed, and is being sealed")
            opened = _open_writing(state, node, content, flags, pid)
            if flags & os.O_TRUNC:
                await _truncate_opened(state, content, opened)
            return opened
        return _opened(state, FileHandle(node, Opener(pid), reader=GrowingReader(content, state.sync.disk)))
    if wants_write:
        raise errors.Sealed("a sealed file is immutable: remove it, or move another one over it")
    reader = await _open_settled(state, node, content)
    wait = state.sync.settings.nonblock_wait if flags & os.O_NONBLOCK else math.inf
    return _opened(state, FileHandle(node, Opener(pid), reader=reader, wait=wait))


async def _truncate_opened(state: MountState, writing: Writing, opened: Opened) -> None:
    """O_TRUNC is ours to do: the kernel sends no setattr. The open handle keeps the seal away meanwhile."""
    try:
        await truncate(state, writing, 0)
    except BaseException:
        with trio.move_on_after(RELEASE_WAIT, shield=True):
            await release(state, opened.handle)
        raise


async def _open_settled(state: MountState, node: FileNode, content: Settled | PlainContent) -> Reader:
    if isinstance(node, PackageFile):
        return await open_package_file(state, node)
    names = node.names()
    if isinstance(content, PlainContent):
        return await state.sync.loads.open_plain(names[0] if names else Name(""), content.file, content.peer)
    # Also of what was loaded before: its bytes may have been dropped here since.
    if names and not content.is_own:
        return await state.sync.named_files.open(names[0], content.record)
    return await state.sync.loads.open(content.record.blob, content.record.size, None, None)


def _open_writing(state: MountState, node: FileNode, writing: Writing, flags: int, pid: int) -> Opened:
    readable = flags & os.O_ACCMODE == os.O_RDWR
    reader = GrowingReader(writing, state.sync.disk) if readable else None
    opened = _opened(state, FileHandle(node, Opener(pid), reader=reader, writing=writing))
    writing.open[opened.handle] = False
    return opened


def _opened(state: MountState, handle: FileHandle) -> Opened:
    # An inode stands for one version of a file, and what is written goes through the page cache:
    # what the kernel has cached is never wrong.
    return Opened(state.register(handle), keep_cache=True, needs_flush=handle.writing is not None)


async def read(state: MountState, number: int, offset: int, size: int) -> Buffer:
    handle = state.file(number)
    if handle.reader is None:
        raise errors.InvalidArgument("not open for reading")
    with state.waits.interruptible_by(handle.opener):
        return await handle.reader.read(offset, size, wait=handle.wait)


async def write(state: MountState, number: int, offset: int, content: bytes) -> int:
    writing = state.file(number).writing
    if writing is None or writing.job is not None:
        raise errors.Sealed("a sealed file is immutable")
    await _before_change(state, writing, offset + len(content))
    if not (isinstance(writing.source, Held) and writing.source.write(offset, content)):
        incoming = await to_disk(state, writing)
        await state.sync.space.writing(state.sync.disk.run, incoming.write, offset, content)
    _changed(writing)
    writing.open[number] = False
    _follow(state, writing)
    return len(content)


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


async def flush(state: MountState, number: int) -> int:
    """One close of one duplicate. Raises `WrongContent` for a blob that is not what its id says.

    Returns the inode of a file to which nothing was written: the kernel is to ask for what it looks like from
    now on, as the seal will change that. After a write it does so anyway.
    """
    handle = state.file(number)
    writing = handle.writing
    if writing is None or writing.job is not None:
        return NO_INODE
    writing.open[number] = True
    was_new, writing.is_new = writing.is_new, False
    if writing.expected is not None:
        await _check_expected(state, handle, writing)
    elif writing.synced == writing.version != writing.marked and handle.node.names():
        await _mark_closed(state, handle.node, writing)
    return handle.node.inode if was_new else NO_INODE


async def _mark_closed(state: MountState, node: FileNode, writing: Writing) -> None:
    """Fsynced and closed: the redo mark makes it survive a crash that comes before the seal."""
    version = writing.version
    job = SealJob(writing.source, node.names()[0], writing.mode, writing.mtime_ns)
    await state.sync.disk.run(state.sync.sealer.mark_durably, job)
    if writing.version == version:
        writing.marked, writing.marked_content = version, job.content


async def _check_expected(state: MountState, handle: FileHandle, writing: Writing) -> None:
    """A blob written under its id: sealed at the first close at which it is right."""
    if writing.version == 0 and writing.expected != EMPTY_BLOB:
        return  # a duplicate closed before anything was written
    incoming = await to_disk(state, writing)
    content = await state.sync.disk.run(incoming.finish)
    if content.blob != writing.expected:
        raise errors.WrongContent(f"{content.size} bytes that are not the blob {writing.expected}")
    if writing.job is None:
        _submit(state, handle.node, writing)
    assert writing.job is not None
    with state.waits.killable(handle.opener.pid):
        await state.sync.sealer.wait(writing.job)


async def release(state: MountState, number: int) -> None:
    """The end of a handle; of the last one that may write, the beginning of the seal."""
    handle = state.handles.get(number)
    if not isinstance(handle, FileHandle):
        return
    writing = handle.writing
    if writing is not None:
        writing.open.pop(number, None)
        if writing.moving.locked():  # to the disk, for somebody who cuts it
            async with writing.moving:
                pass
        if not writing.open and writing.job is None:
            if handle.node.names():
                _submit(state, handle.node, writing)
            else:
                await discard(state, handle.node, writing)
    if handle.reader is not None:
        handle.reader.close()
    state.drop(number)


def _submit(state: MountState, node: FileNode, writing: Writing) -> None:
    names = node.names()
    writing.job = SealJob(writing.source, names[0] if names else None, writing.mode, writing.mtime_ns)
    if writing.marked == writing.version and writing.marked_content is not None:
        writing.job.content, writing.job.already_durable = writing.marked_content, True
    # A file that the kernel has forgotten keeps its inode until it is sealed, and no longer.
    writing.job.when_done = lambda: state.inodes.forget(node.inode, 0)
    state.sync.sealer.submit(writing.job)
    writing.submitted.set()


async def discard(state: MountState, node: FileNode, writing: Writing) -> None:
    """Content that nobody will ever name: unlinked before it was closed, or wrong for its id."""
    for container, component in list(node.places):
        state.inodes.detach(node, container, component)
    if isinstance(writing.source, Held):
        writing.source.discard()
    else:
        await state.sync.disk.run(writing.source.discard)


async def wait_sealed(state: MountState, node: FileNode, pid: int) -> bool:
    """Waits for the seal of a file whose last close was just seen; whether it is sealed now.

    Raises what kept it from being sealed, and `Interrupted`.
    """
    with state.waits.interruptible(pid):
        return await wait_sealed_anyway(state, node)


async def wait_sealed_anyway(state: MountState, node: FileNode) -> bool:
    """The same, whatever signals come."""
    content = node.settle()
    if not isinstance(content, Writing):
        return True
    if content.job is None and content.is_closing:
        with trio.move_on_after(RELEASE_WAIT):
            await content.submitted.wait()
    if content.job is None:
        return False
    await state.sync.sealer.wait(content.job)
    node.settle()
    return True
