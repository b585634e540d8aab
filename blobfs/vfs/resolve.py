"""From a directory and a component to a node: what a name means right now."""

import logging

from blobfs import errors, model
from blobfs.model import RESERVED_PREFIX, Name, join, parse_component
from blobfs.record import BlobRecord, DirRecord, SymlinkRecord
from blobfs.sync.naming.answers import Absent, Answer, Present, PresentPlain, Unknown, failure_from
from blobfs.vfs.file_nodes import file_node
from blobfs.vfs.nodes import (
    Container,
    DirectoryNode,
    FileNode,
    Node,
    PlainContent,
    Settled,
    SymlinkNode,
    Writing,
)
from blobfs.vfs.state import MountState
from blobfs.vfs.views import resolve_reserved, view_node

_log = logging.getLogger(__name__)


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
    if not isinstance(container, DirectoryNode):
        return await resolve_reserved(state, container, raw, pid)
    if (node := resolve_nowait(state, container, raw)) is not None:
        return node
    component = component_of(raw)
    name = name_in(container, component)
    with state.waits.interruptible(pid):
        answer = await state.sync.lookup(name)
    # It may have been created while the shares were asked.
    return _written(container, component) or _meant(state, container, component, name, answer)


def resolve_nowait(state: MountState, container: Container, raw: bytes) -> Node | None:
    """The same, raising the same. None: the disk or a share has to be asked."""
    if not isinstance(container, DirectoryNode):
        return None
    if container is state.inodes.root and raw == RESERVED_PREFIX.encode():
        return view_node(state, container, RESERVED_PREFIX, "")
    component = component_of(raw)
    writing = _written(container, component)
    if writing is not None:
        return writing
    name = name_in(container, component)
    answer = state.sync.lookup_nowait(name)
    return None if answer is None else _meant(state, container, component, name, answer)


def _meant(state: MountState, directory: DirectoryNode, component: str, name: Name, answer: Answer) -> Node:
    try:
        found = _demand(state, name, answer)
    except errors.NameMissing:
        _leave(state, directory, component)
        raise
    return node_for(state, directory, component, found)


def _leave(state: MountState, directory: DirectoryNode, component: str) -> None:
    """What stood there is gone: who has it open reads on, and something new may be made in its place."""
    known = directory.children.get(component)
    if isinstance(known, FileNode | SymlinkNode):
        state.inodes.detach(known, directory, component)


def _demand(state: MountState, name: Name, answer: Answer) -> Present | PresentPlain:
    match answer:
        case Present() | PresentPlain():
            return answer
        case Unknown(attempts) if state.read_only:
            raise failure_from(attempts)
        case Unknown() | Absent():
            # On a writable mount the kernel asks before it creates, and writing works offline.
            if isinstance(answer, Unknown):
                reason = failure_from(answer.attempts)
                state.sync.told.note("lookup", name, reason, answer=errors.NameMissing)
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
            return file_node(state, directory, component, known, PlainContent(file, peer))
        case Present(BlobRecord() as record, peer, loaded):
            return file_node(state, directory, component, known, Settled(record, peer, loaded))
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
