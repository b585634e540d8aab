"""Making and removing names.

1. A file that is still being written has its name here only: unlinking it ends it.
2. A sealed name is a record; unlinking it leaves a tombstone.
3. What another node publishes is not ours to remove.

The decision and the change happen under the lock of the names, the waiting for a seal outside it.
"""

import contextlib
from dataclasses import replace

from blobfs import errors, model
from blobfs.model import Name, join
from blobfs.record import DirRecord, GoneRecord, SymlinkRecord, parse_target, target_stays_inside
from blobfs.store.names import LocalName
from blobfs.sync.jobs import SealJob
from blobfs.vfs.files import discard, wait_sealed
from blobfs.vfs.nodes import Container, DirectoryNode, FileNode, Node, Settled, SymlinkNode, Writing
from blobfs.vfs.resolve import component_of, name_in, named_directory, resolve
from blobfs.vfs.state import MountState
from blobfs.vfs.writing import clear_mark


async def _demand_free(state: MountState, directory: DirectoryNode, component: str) -> None:
    """Raises `NameExists` for what this node knows; the kernel has asked about the rest just now."""
    if component in directory.children and not isinstance(directory.children[component], SymlinkNode):
        child = directory.children[component]
        if isinstance(child, FileNode) and isinstance(child.settle(), Writing):
            raise errors.NameExists(f"{component} exists")
    if await state.sync.names.known(name_in(directory, component)) is not None:
        raise errors.NameExists(f"{component} exists")


async def mkdir(state: MountState, container: Container, raw: bytes) -> DirectoryNode:
    state.demand_writable()
    directory, component = named_directory(container), component_of(raw)
    name = name_in(directory, component)
    async with state.sync.namespace.lock:
        await _demand_free(state, directory, component)
        await state.sync.namespace.ensure_directory(directory.name)
        record = await state.sync.namespace.make_directory(name, component)
    made = DirectoryNode(
        state.inodes.next_inode(), parent=directory, component=component, mtime_ns=record.mtime_ns
    )
    state.inodes.add(made, directory, component)
    return made


async def symlink(state: MountState, container: Container, raw: bytes, target: bytes) -> SymlinkNode:
    state.demand_writable()
    directory, component = named_directory(container), component_of(raw)
    name = name_in(directory, component)
    try:
        text = parse_target(target.decode("utf-8", "surrogateescape"))
    except model.Invalid as wrong:
        raise errors.InvalidArgument(str(wrong)) from None
    if not target_stays_inside(text, directory.depth):
        raise errors.InvalidArgument(f"the symlink target {text!r} leaves the mount")
    namespace = state.sync.namespace
    async with namespace.lock:
        await _demand_free(state, directory, component)
        published = await namespace.next_published_as(name)
        record = SymlinkRecord(text, published, published)
        await namespace.put(name, record)
    link = SymlinkNode(state.inodes.next_inode(), record=record)
    state.inodes.add(link, directory, component)
    return link


async def adopt_symlink(state: MountState, node: SymlinkNode) -> None:
    """A link of another node that was read is shared in turn, like a blob; without it the load goes on."""
    name, node.adopt = node.adopt, None
    if name is not None:
        with contextlib.suppress(errors.StoreError):
            await state.sync.loads.adopt(name, node.record)


async def link(state: MountState, node: Node, container: Container, raw: bytes, pid: int) -> FileNode:
    """A second name for a sealed blob; of a named file of ours the same inode, else a new one."""
    state.demand_writable()
    directory, component = named_directory(container), component_of(raw)
    name = name_in(directory, component)
    if not isinstance(node, FileNode):
        raise errors.NotPermitted("only files have several names")
    if not await wait_sealed(state, node, pid):
        raise errors.NotPermitted("a file that is being written has one name")
    content = node.settle()
    if not isinstance(content, Settled) or not await state.sync.is_here(content.record.blob):
        raise errors.CrossesNodes("its bytes are not on this node yet: copy it")
    namespace = state.sync.namespace
    async with namespace.lock:
        await _demand_free(state, directory, component)
        published = await namespace.next_published_as(name)
        mode = 0o555 if content.record.mode & 0o111 else 0o444  # a file in a package may have any other
        record = replace(content.record, mode=mode, published_ns=published)
        await namespace.put(name, record)
    if not (content.is_own and node.names()):
        node = FileNode(state.inodes.next_inode(), content=Settled(record, None, loaded=False))
    state.inodes.add(node, directory, component)
    return node


async def unlink(state: MountState, container: Container, raw: bytes, pid: int) -> None:
    state.demand_writable()
    if not isinstance(container, DirectoryNode):
        await _unlink_incoming(state, container, raw, pid)
        return
    component = component_of(raw)
    node = await resolve(state, container, raw, pid)
    if isinstance(node, DirectoryNode):
        raise errors.IsADirectory(f"{component} is a directory")
    async with state.sync.namespace.lock:
        dropped = await _remove(state, container, component, node)
    if dropped is not None:
        await state.sync.sealer.wait_dropped(dropped)


async def _unlink_incoming(state: MountState, container: Container, raw: bytes, pid: int) -> None:
    node = await resolve(state, container, raw, pid)
    if not isinstance(node, FileNode) or not isinstance(writing := node.settle(), Writing):
        raise errors.NotPermitted("nothing can be removed from a reserved directory")
    if writing.open:
        for place, component in list(node.places):
            state.inodes.detach(node, place, component)
    else:
        await discard(state, node, writing)


async def _remove(state: MountState, directory: DirectoryNode, component: str, node: Node) -> SealJob | None:
    """Takes one name away, whatever it means. The lock of the names is held. As `end_writing`."""
    name = join(directory.name, component)
    namespace = state.sync.namespace
    known = await namespace.entry(name)
    if isinstance(node, FileNode) and isinstance(writing := node.settle(), Writing):
        # What it was about to replace goes with it: the name was this file's already.
        if known is not None and not isinstance(known.record, GoneRecord):
            await namespace.put(name, GoneRecord(await namespace.next_published_as(name)))
        state.inodes.detach(node, directory, component)
        return await end_writing(state, node, writing)
    demand_own(name, known, node)
    await namespace.put(name, GoneRecord(await namespace.next_published_as(name)))
    state.inodes.detach(node, directory, component)
    return None


def demand_own(name: Name, known: LocalName | None, node: Node) -> None:
    """Raises `ForeignName` for a name that this node has not published, or that another one has since."""
    own = known is not None and not known.loaded and not isinstance(known.record, GoneRecord)
    match node:
        case FileNode():
            content = node.settle()
            own = own and isinstance(content, Settled) and content.is_own
        case SymlinkNode():
            own = own and node.own
    if not own:
        raise errors.ForeignName(f"{name} is published by another node")


async def end_writing(state: MountState, node: FileNode, writing: Writing) -> SealJob | None:
    """Content that has lost its name; a job that is returned must be waited for, without the lock."""
    if writing.job is not None:
        writing.job.dropped = True
        return writing.job
    if not writing.open:
        await discard(state, node, writing)
    elif writing.marked == writing.version:
        await clear_mark(state, writing)
    return None


async def _is_empty(state: MountState, node: DirectoryNode, pid: int) -> bool:
    if any(True for _ in node.writing_below()):
        return False
    with state.waits.interruptible(pid):
        return not await state.sync.listing(node.name)


async def rmdir(state: MountState, container: Container, raw: bytes, pid: int) -> None:
    state.demand_writable()
    directory, component = named_directory(container), component_of(raw)
    node = await resolve(state, directory, raw, pid)
    if not isinstance(node, DirectoryNode):
        raise errors.NotADirectory(f"{component} is not a directory")
    if not await _is_empty(state, node, pid):
        raise errors.DirectoryNotEmpty(f"{node.name} is not empty")
    async with state.sync.namespace.lock:
        known = await state.sync.namespace.entry(node.name)
        if known is None or known.loaded or not isinstance(known.record, DirRecord):
            raise errors.ForeignName(f"{node.name} is another node's directory")
        await state.sync.names.bury_hidden(node.name)
        await state.sync.namespace.remove_directory(node.name)
        state.inodes.detach(node, directory, component)
