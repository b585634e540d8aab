"""From a directory and a component to a node: what a name means right now."""

import logging

from blobfs import errors, model
from blobfs.model import EMPTY_BLOB, RESERVED_PREFIX, BlobId, Name, join, parse_blob_id, parse_component
from blobfs.record import BlobRecord, DirRecord, SymlinkRecord
from blobfs.sync.answers import Absent, Answer, Present, PresentPlain, Unknown, failure_from
from blobfs.vfs.nodes import (
    Container,
    Content,
    DirectoryNode,
    FileNode,
    Node,
    PlainContent,
    Settled,
    SymlinkNode,
    ViewNode,
    Writing,
)
from blobfs.vfs.state import MountState

_log = logging.getLogger(__name__)

VIEWS = ("blobs", "incoming")
"""The reserved directories below ``.blobfs``; they open by name and are never listed."""


def component_of(raw: bytes) -> str:
    """Raises `InvalidName` or `NameTooLong`."""
    try:
        return parse_component(raw)
    except model.TooLong as wrong:
        raise errors.NameTooLong(str(wrong)) from None
    except model.Invalid as wrong:
        raise errors.InvalidName(str(wrong)) from None


def name_in(directory: DirectoryNode, component: str) -> Name:
    """Raises `NameTooLong`."""
    try:
        return join(directory.name, component)
    except model.TooLong as wrong:
        raise errors.NameTooLong(str(wrong)) from None


def named_directory(container: Container) -> DirectoryNode:
    """The directory in which names can be made. Raises `NotPermitted` for a reserved one."""
    if not isinstance(container, DirectoryNode):
        raise errors.NotPermitted("nothing can be made or removed in a reserved directory")
    return container


async def resolve(state: MountState, container: Container, raw: bytes, pid: int) -> Node:
    """The node a component means; `pid` asks. Raises `NameMissing`, `NameRefused`, `LoadFailed`."""
    if isinstance(container, ViewNode):
        return await _resolve_view(state, container, raw, pid)
    directory = named_directory(container)
    if directory is state.inodes.root and raw == RESERVED_PREFIX.encode():
        return _view(state, directory, RESERVED_PREFIX, "")
    component = component_of(raw)
    writing = _written(directory, component)
    if writing is not None:
        return writing
    name = name_in(directory, component)
    with state.waits.interruptible(pid):
        answer = await state.sync.lookup(name)
    # It may have been created while the shares were asked.
    writing = _written(directory, component)
    if writing is not None:
        return writing
    return node_for(state, directory, component, _demand(state, name, answer))


def _demand(state: MountState, name: Name, answer: Answer) -> Present | PresentPlain:
    match answer:
        case Present() | PresentPlain():
            return answer
        case Unknown(attempts) if state.read_only:
            raise failure_from(attempts)
        case Unknown() | Absent():
            # On a writable mount the kernel asks before it creates, and writing works offline.
            raise errors.NameMissing(f"{name} is not here")


def _written(directory: Container, component: str) -> FileNode | None:
    child = directory.children.get(component)
    return child if isinstance(child, FileNode) and isinstance(child.settle(), Writing) else None


def node_for(
    state: MountState, directory: DirectoryNode, component: str, answer: Present | PresentPlain
) -> Node:
    """The node that stands for an answer: the one the kernel knows if it still means the same."""
    known = directory.children.get(component)
    match answer:
        case PresentPlain(file, peer):
            return _file_node(state, directory, component, known, PlainContent(file, peer))
        case Present(BlobRecord() as record, peer, loaded):
            return _file_node(state, directory, component, known, Settled(record, peer, loaded))
        case Present(SymlinkRecord() as record, peer, loaded):
            if isinstance(known, SymlinkNode) and known.record.target == record.target:
                known.record, known.own = record, not loaded
                return known
            link = SymlinkNode(state.inodes.next_inode(), record=record, own=not loaded)
            link.adopt = None if peer is None else join(directory.name, component)
            state.inodes.add(link, directory, component)
            return link
        case Present(DirRecord() as record):
            if isinstance(known, DirectoryNode):
                known.mtime_ns = record.mtime_ns or known.mtime_ns
                return known
            made = DirectoryNode(state.inodes.next_inode(), parent=directory, component=component)
            made.mtime_ns = record.mtime_ns or made.mtime_ns
            state.inodes.add(made, directory, component)
            return made
    raise AssertionError(answer)


def _file_node(
    state: MountState, directory: Container, component: str, known: Node | None, content: Content
) -> FileNode:
    if isinstance(known, FileNode) and _is_same_version(known.settle(), content):
        known.content = content
        return known
    node = FileNode(state.inodes.next_inode(), content=content)
    state.inodes.add(node, directory, component)
    return node


def _is_same_version(known: Content, found: Content) -> bool:
    match known, found:
        case Settled(before), Settled(after):
            return before.blob == after.blob and before.size == after.size
        case PlainContent(before_file, before_peer), PlainContent(after_file, after_peer):
            return before_file == after_file and before_peer is after_peer
    return False


async def _resolve_view(state: MountState, view: ViewNode, raw: bytes, pid: int) -> Node:
    if view.path == "":
        component = raw.decode("ascii", "replace")
        if component not in VIEWS:
            raise errors.NameMissing(f"no .blobfs/{component}")
        return _view(state, view, component, component)
    try:
        blob = parse_blob_id(raw.decode("ascii", "replace"))
    except model.Invalid as wrong:
        raise errors.NameMissing(str(wrong)) from None
    known = view.children.get(blob)
    if view.path == "incoming":
        if isinstance(known, FileNode) and isinstance(known.settle(), Writing):
            return known
        raise errors.NameMissing("not being written")
    if known is not None:
        return known
    with state.waits.interruptible(pid):
        return await _resolve_blob(state, view, blob)


async def _resolve_blob(state: MountState, view: ViewNode, blob: BlobId) -> Node:
    """A blob by its id; the shares are asked for its size when it is not here."""
    size = 0 if blob == EMPTY_BLOB else await state.sync.find_blob(blob)
    if size is None:
        raise errors.NameMissing(f"no share has the blob {blob}")
    here = await state.sync.is_here(blob)
    record = BlobRecord(blob, size, 0o444, 0, 0)
    # `peer` only says that it is not here yet; which share serves it is the load's choice.
    peer = None if here or not state.sync.peers else state.sync.peers[0]
    return _file_node(state, view, blob, view.children.get(blob), Settled(record, peer, loaded=True))


def _view(state: MountState, parent: Container, component: str, path: str) -> ViewNode:
    known = parent.children.get(component)
    if isinstance(known, ViewNode):
        return known
    view = ViewNode(state.inodes.next_inode(), path=path)
    state.inodes.add(view, parent, component)
    return view
