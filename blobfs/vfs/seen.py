"""What the mount takes a name or a blob for, without asking anybody: for ``blobfs why``."""

from blobfs.model import RESERVED_PREFIX, BlobId, Name
from blobfs.record import DirRecord
from blobfs.sync.explanation import BeingWritten, Seen
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


def seen_name(state: MountState, name: Name) -> Seen:
    """What the kernel was told of a name, if it has not forgotten it."""
    return _seen(_node_at(state.inodes.root, name.split("/")))


def seen_blob(state: MountState, blob: BlobId) -> Seen:
    """Of a blob by its id: what is being written in ``incoming`` goes before what was read in ``blobs``."""
    writing = _seen(_node_at(state.inodes.root, [RESERVED_PREFIX, "incoming", blob]))
    if writing.writing is not None:
        return writing
    return _seen(_node_at(state.inodes.root, [RESERVED_PREFIX, "blobs", blob]))


def _node_at(node: Node | None, components: list[str]) -> Node | None:
    for component in components:
        node = node.children.get(component) if isinstance(node, Container) else None
    return node


def _seen(node: Node | None) -> Seen:
    match node:
        case FileNode():
            return _seen_file(node)
        case SymlinkNode(record=record, own=own):
            return Seen(record, is_own=own)
        case DirectoryNode(mtime_ns=mtime_ns):
            return Seen(DirRecord(mtime_ns, 0))
    return Seen()


def _seen_file(node: FileNode) -> Seen:
    match node.settle():
        case Writing() as writing:
            failure = writing.job.failure if writing.job is not None else None
            being = BeingWritten(len(writing.open), None if failure is None else str(failure))
            return Seen(writing=being, size=writing.size)
        case Settled(record, peer) as settled:
            return Seen(record, peer=peer, is_own=settled.is_own)
        case PlainContent(file, peer):
            return Seen(plain=file, peer=peer)
