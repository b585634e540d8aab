"""The life of a file: create, read, close, seal; `writing` is what happens to its content between.

The last close of a descriptor that may write hands it to the sealer. FLUSH comes at every close of every
duplicate, also before the first write: it never seals a named file. It only puts a redo mark on content that
was fsynced, because from then on a crash must not lose it (P2).
"""

import logging
import math
import os
import stat
import time

import trio

from blobfs import errors
from blobfs.model import EMPTY_BLOB, BlobId, Name, parse_blob_id
from blobfs.store.files import Buffer
from blobfs.store.held import Held
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
from blobfs.vfs.writing import to_disk, truncate

_log = logging.getLogger(__name__)

RELEASE_WAIT = 2.0
"""Seconds for which a RELEASE that must be on its way is waited for. A descriptor that was duplicated
and flushed but stays open looks the same, so this is a bound and no promise."""


async def create(
    state: MountState, container: Container, raw: bytes, mode: int, flags: int, pid: int
) -> tuple[Opened, FileNode]:
    """A new file, open for writing. Raises `NameExists` where something was made meanwhile."""
    if (made := create_nowait(state, container, raw, mode, flags, pid)) is not None:
        return made
    component, expected = _place_for(container, raw)
    if component in container.children and isinstance(container.children[component], FileNode):
        node = container.children[component]
        assert isinstance(node, FileNode)
        if flags & os.O_EXCL or not isinstance(node.settle(), Writing):
            raise errors.NameExists(f"{component} exists")
        return await open_file(state, node, flags, pid), node
    if expected is not None and await state.sync.is_here(expected):
        raise errors.NameExists(f"the blob {expected} is here")
    writing = Writing(await state.sync.new_incoming(), stat.S_IMODE(mode), time.time_ns(), expected)
    return _created(state, container, component, writing, flags, pid)


def create_nowait(
    state: MountState, container: Container, raw: bytes, mode: int, flags: int, pid: int
) -> tuple[Opened, FileNode] | None:
    """The same of a new file that can be held in memory; else None."""
    state.demand_writable()
    component, expected = _place_for(container, raw)
    # What is written under its id is checked before its close returns: it has no time to gather.
    if expected is not None or isinstance(container.children.get(component), FileNode):
        return None
    held = state.sync.hold_incoming()
    if held is None:
        return None
    writing = Writing(held, stat.S_IMODE(mode), time.time_ns())
    return _created(state, container, component, writing, flags, pid)


def _created(
    state: MountState, container: Container, component: str, writing: Writing, flags: int, pid: int
) -> tuple[Opened, FileNode]:
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


async def flush(state: MountState, number: int) -> int:
    """One close of one duplicate. Raises `WrongContent` for a blob that is not what its id says.

    Returns the inode of a file to which nothing was written: the kernel is to ask for what it looks like from
    now on, as the seal will change that. After a write it does so anyway.
    """
    if flush_nowait(state, number):
        return NO_INODE
    handle = state.file(number)
    writing = handle.writing
    assert writing is not None
    writing.open[number] = True
    was_new, writing.is_new = writing.is_new, False
    if writing.expected is not None:
        await _check_expected(state, handle, writing)
    elif _is_to_mark(handle, writing):
        await _mark_closed(state, handle.node, writing)
    return handle.node.inode if was_new else NO_INODE


def flush_nowait(state: MountState, number: int) -> bool:
    """Whether that was all there is to a close: nothing to check or to mark, nothing to tell the kernel."""
    handle = state.file(number)
    writing = handle.writing
    if writing is None or writing.job is not None:
        return True
    if writing.is_new or writing.expected is not None or _is_to_mark(handle, writing):
        return False
    writing.open[number] = True
    return True


def _is_to_mark(handle: FileHandle, writing: Writing) -> bool:
    return writing.synced == writing.version != writing.marked and bool(handle.node.names())


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
    if not isinstance(handle, FileHandle) or release_nowait(state, number):
        return
    writing = handle.writing
    assert writing is not None
    writing.open[number] = True  # until it is submitted: whoever asks meanwhile is to wait for the seal
    async with writing.moving:
        writing.open.pop(number, None)
    if not writing.open and writing.job is None:
        if handle.node.names():
            _submit(state, handle.node, writing)
        else:
            await discard(state, handle.node, writing)
    _drop(state, number, handle)


def release_nowait(state: MountState, number: int) -> bool:
    """Whether that is done: nothing is on its way to the disk, for somebody who cuts it, or to be removed."""
    handle = state.handles.get(number)
    if not isinstance(handle, FileHandle):
        return False
    writing = handle.writing
    if writing is not None:
        is_last = writing.job is None and not writing.open.keys() - {number}
        if writing.moving.locked() or (is_last and not handle.node.names()):
            return False
        writing.open.pop(number, None)
        if is_last:
            _submit(state, handle.node, writing)
    _drop(state, number, handle)
    return True


def _drop(state: MountState, number: int, handle: FileHandle) -> None:
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
