"""Renaming.

1. A file that is still being written has its name here only: its seal publishes it under the new one.
2. A sealed name is a record: one is written under the new name, a tombstone under the old. A power cut right
   after it costs no name: where the disk has the tombstone it has the record (`blobfs.store.checks`).
3. What another node publishes cannot be moved from here. A newer record of ours may take its place.
4. A directory moves name by name; its tombstones stay behind, so that no other node's copy of an old
   record brings a name back.

The decision and the change happen under the lock of the names, the waiting for a seal outside it.
"""

from contextlib import suppress
from dataclasses import replace

from blobfs import errors, model
from blobfs.model import Name, join
from blobfs.record import BlobRecord, DirRecord, GoneRecord, LogRecord, SymlinkRecord, target_stays_inside
from blobfs.sync.jobs import SealJob
from blobfs.sync.naming.namespace import Namespace
from blobfs.vfs.files import wait_sealed, wait_sealed_anyway
from blobfs.vfs.naming import demand_own, end_writing, rmdir
from blobfs.vfs.nodes import Container, DirectoryNode, FileNode, Node, Settled, SymlinkNode, Writing
from blobfs.vfs.resolve import component_of, name_in, named_directory, resolve
from blobfs.vfs.state import MountState


async def rename(
    state: MountState,
    container: Container,
    raw: bytes,
    new_container: Container,
    new_raw: bytes,
    noreplace: bool,
    pid: int,
) -> None:
    """Atomic for whoever looks; a file whose last close was just seen is sealed when this returns.

    A signal can end the waits that come before the change; after it, only one that ends the caller.
    """
    state.demand_writable()
    directory, component = named_directory(container), component_of(raw)
    new_directory, new_component = named_directory(new_container), component_of(new_raw)
    new_name = name_in(new_directory, new_component)
    node = await resolve(state, directory, raw, pid)
    target = await _existing(state, new_directory, new_raw, pid)
    if target is not None and noreplace:
        raise errors.NameExists(f"{new_name} exists")
    if target is node:
        return  # one file under both names: POSIX has nothing done then
    if isinstance(node, DirectoryNode):
        await _rename_directory(state, node, directory, component, new_directory, new_component, target, pid)
        return
    if isinstance(target, DirectoryNode):
        raise errors.IsADirectory(f"{new_name} is a directory")
    if isinstance(target, FileNode):
        # Replaced while it is sealed, its redo mark would bring it back after a crash, over what replaced it.
        with suppress(errors.StoreError, errors.NameMissing):
            await wait_sealed(state, target, pid)
    dropped = None
    async with state.sync.namespace.lock:
        await state.sync.namespace.ensure_directory(new_directory.name)
        await _move(state, node, directory, component, new_name)
        if (
            isinstance(target, FileNode)
            and isinstance(replaced := target.settle(), Writing)
            and target is not node
        ):
            state.inodes.detach(target, new_directory, new_component)
            dropped = await end_writing(state, target, replaced)
        _place(state, node, directory, component, new_directory, new_component)
    if dropped is not None:
        await state.sync.sealer.wait_dropped(dropped)
    if isinstance(node, FileNode):
        with state.waits.killable(pid):
            await wait_sealed_anyway(state, node)


def _place(
    state: MountState,
    node: Node,
    directory: DirectoryNode,
    component: str,
    new_directory: DirectoryNode,
    new_component: str,
) -> None:
    node.opened += 1  # it must not be dropped between its two places
    state.inodes.detach(node, directory, component)
    state.inodes.add(node, new_directory, new_component)
    state.inodes.closed(node)


async def _existing(state: MountState, directory: DirectoryNode, raw: bytes, pid: int) -> Node | None:
    try:
        return await resolve(state, directory, raw, pid)
    except errors.NameMissing:
        return None


async def _move(
    state: MountState, node: Node, directory: DirectoryNode, component: str, new_name: Name
) -> None:
    """What a rename does to the records. The lock of the names is held."""
    name, namespace = join(directory.name, component), state.sync.namespace
    known = await namespace.entry(name)
    if isinstance(node, FileNode) and isinstance(writing := node.settle(), Writing):
        if writing.job is not None:
            writing.job.name = new_name
        else:
            await _renew_mark(state, writing, new_name)
    else:
        demand_own(name, known, node)
        assert known is not None
        record = known.record
        assert isinstance(record, BlobRecord | SymlinkRecord)
        _demand_inside(record, new_name)
        moved = replace(record, published_ns=await namespace.next_published_as(new_name))
        await namespace.put(new_name, moved)
        _renew(node, moved)
    if known is not None and not isinstance(known.record, GoneRecord):
        await namespace.put(name, GoneRecord(await namespace.next_published_as(name)))


async def _renew_mark(state: MountState, writing: Writing, name: Name) -> None:
    """What was fsynced and closed keeps its redo mark, under its new name: a crash must not lose it now."""
    if writing.marked == writing.version:
        job = SealJob(writing.source, name, writing.mode, writing.mtime_ns)
        await state.sync.disk.run(state.sync.sealer.mark, job)


def _renew(node: Node, record: BlobRecord | SymlinkRecord) -> None:
    if isinstance(node, FileNode) and isinstance(record, BlobRecord):
        node.content = Settled(record, None, loaded=False)
    elif isinstance(node, SymlinkNode) and isinstance(record, SymlinkRecord):
        node.record = record


async def _rename_directory(
    state: MountState,
    node: DirectoryNode,
    directory: DirectoryNode,
    component: str,
    new_directory: DirectoryNode,
    new_component: str,
    target: Node | None,
    pid: int,
) -> None:
    """Every name below gets a record under its new name and leaves a tombstone under the old one."""
    if target is not None and not isinstance(target, DirectoryNode):
        raise errors.NotADirectory(f"{new_component} is not a directory")
    await _demand_own_below(state, node.name, pid)
    for file in list(node.writing_below()):
        await wait_sealed(state, file, pid)
    if target is not None:
        await rmdir(state, new_directory, new_component.encode("utf-8"), pid)
    old, new = node.name, name_in(new_directory, new_component)
    namespace = state.sync.namespace
    async with namespace.lock:
        await state.sync.names.bury_hidden(old)
        await _move_names(namespace, old, new)
        _place(state, node, directory, component, new_directory, new_component)
        node.parent, node.component = new_directory, new_component
        for file in list(node.writing_below()):
            writing = file.settle()
            assert isinstance(writing, Writing)  # under the lock nothing is sealed
            if writing.job is not None:
                writing.job.name = file.names()[0]
            else:
                await _renew_mark(state, writing, file.names()[0])


async def _move_names(namespace: Namespace, old: Name, new: Name) -> None:
    """First everything gets its new name, then the old ones go: a crash between leaves both, and all."""
    known = await namespace.entry(old)
    if known is None or known.loaded or not isinstance(known.record, DirRecord):
        raise errors.ForeignName(f"{old} is another node's directory")
    names = await namespace.entries_below(old)
    moves = [(_moved(name, entry.record, old, new), entry.record) for name, entry in names]
    for moved, record in [(new, known.record), *moves]:
        if isinstance(record, DirRecord):
            await namespace.ensure_directory(moved)
            published = await namespace.next_published_as(moved)
            await namespace.put_directory(moved, replace(record, published_ns=published))
        elif not isinstance(record, GoneRecord):
            await namespace.put(moved, replace(record, published_ns=await namespace.next_published_as(moved)))
    for name, entry in reversed(names):
        if isinstance(entry.record, DirRecord):
            await namespace.remove_directory(name)
        else:
            await namespace.put(name, GoneRecord(await namespace.next_published_as(name)))
    await namespace.remove_directory(old)


def _moved(name: Name, record: LogRecord, old: Name, new: Name) -> Name:
    """The new name of something below a directory that moves. Raises what forbids the move."""
    try:
        moved = join(new, name[len(old) + 1 :])
    except model.TooLong as wrong:
        raise errors.NameTooLong(str(wrong)) from None
    _demand_inside(record, moved)
    return moved


def _demand_inside(record: LogRecord, name: Name) -> None:
    if isinstance(record, SymlinkRecord) and not target_stays_inside(record.target, name.count("/")):
        raise errors.InvalidArgument(f"as {name} the symlink to {record.target!r} would leave the mount")


async def _demand_own_below(state: MountState, directory: Name, pid: int) -> None:
    """Raises `CrossesNodes` where another node's name is below: it cannot be moved from here."""
    with state.waits.interruptible(pid):
        listed = await state.sync.listing(directory)
    for component, found in listed.items():
        if isinstance(found.record, DirRecord):
            await _demand_own_below(state, join(directory, component), pid)
        elif found.loaded:
            raise errors.CrossesNodes(f"{join(directory, component)} is published by another node")
