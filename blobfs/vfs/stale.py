"""Which inodes the kernel still takes for what their names have ceased to mean."""

from collections.abc import Iterator
from dataclasses import replace

import trio

from blobfs.model import Name, join
from blobfs.record import BlobRecord, DirRecord, SymlinkRecord
from blobfs.sync.naming.answers import Present
from blobfs.vfs.nodes import Container, DirectoryNode, FileNode, Node, Settled, SymlinkNode, Writing
from blobfs.vfs.state import MountState

SLICE = 256
"""Names that are looked through before others have their turn."""


async def wait_stale(state: MountState) -> list[int]:
    """Waits until names are heard to mean something else than the kernel was told; their inodes."""
    while True:
        changed = await state.sync.names.wait_changed()
        if changed is None:
            return [node.inode for node in state.inodes.known() if not _is_written(node)]
        found: list[int] = []
        for directory, components in changed.items():
            found += await _stale_in(state, directory, components)
        if found:
            return found


async def _stale_in(state: MountState, directory: Name, components: set[str]) -> list[int]:
    node = _directory_at(state.inodes.root, directory)
    if node is None:
        return []
    known = node.children.keys() & components if len(components) > 1 else components
    found = []
    for count, component in enumerate(known, 1):
        child = node.children.get(component)
        if child is not None and child.lookups > 0 and not _is_written(child):
            means = await state.sync.names.known(join(directory, component))
            if not _still_means(child, means):
                found += [*_known_below(child), child.inode]
        if count % SLICE == 0:
            await trio.lowlevel.checkpoint()
    return found


def _directory_at(root: DirectoryNode, directory: Name) -> DirectoryNode | None:
    """The one that the kernel was told of."""
    node: Node | None = root
    for component in directory.split("/") if directory else ():
        node = node.children.get(component) if isinstance(node, Container) else None
    return node if isinstance(node, DirectoryNode) else None


def _known_below(node: Node) -> Iterator[int]:
    """Innermost first: while the kernel has a name in a directory it does not drop that of the directory."""
    for child in node.children.values() if isinstance(node, DirectoryNode) else ():
        yield from _known_below(child)
        if child.lookups > 0 and not _is_written(child):
            yield child.inode


def _is_written(node: Node) -> bool:
    return isinstance(node, FileNode) and isinstance(node.settle(), Writing)


def _still_means(node: Node, means: Present | None) -> bool:
    """Whether all that the kernel may have noted down of a node is as it was."""
    match node, means.record if means is not None else None:
        case FileNode(), BlobRecord() as record:
            content = node.settle()
            if not isinstance(content, Settled):
                return False
            return replace(content.record, published_ns=record.published_ns) == record
        case SymlinkNode(record=told_link), SymlinkRecord() as link:
            return (told_link.target, told_link.mtime_ns) == (link.target, link.mtime_ns)
        case DirectoryNode(mtime_ns=mtime_ns), DirRecord() as directory:
            return directory.mtime_ns in (0, mtime_ns)
    return False
