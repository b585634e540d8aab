"""A node as ``stat`` shows it.

How long the kernel may believe it: where there are no shares, what this node publishes changes only through
this mount; where there are, any name may be published anew elsewhere at any moment; what is being written
or loaded changes as we speak; of a transaction nothing may be believed for longer than a moment. Nothing is
believed for longer because the kernel is told of what is heard (`stale`): it cannot be told at every moment.
"""

import stat

from blobfs.model import CHUNK_SIZE
from blobfs.sync.loading.source import plain_key
from blobfs.vfs.attributes import NO_INODE, Attributes
from blobfs.vfs.canary import SIZE as CANARY_SIZE
from blobfs.vfs.canary import CanaryNode
from blobfs.vfs.needed_nodes import BundleNode, MissingNode, NeededNode, StateNode, TransactionNode
from blobfs.vfs.nodes import (
    DirectoryNode,
    FileNode,
    Node,
    PlainContent,
    Settled,
    SymlinkNode,
    ViewNode,
    Writing,
)
from blobfs.vfs.package_nodes import PackageDirectory, PackageFile, PackageLink
from blobfs.vfs.state import MountState

LASTING = 3600.0
"""Seconds for what changes only through this mount, as the kernel then knows before we do; or never."""
PASSING = 1.0
"""Seconds for what another node or a load may change."""
NEVER_THERE = Attributes(
    inode=NO_INODE,
    mode=0,
    size=0,
    blocks=0,
    mtime_ns=0,
    ctime_ns=0,
    nlink=0,
    uid=0,
    gid=0,
    entry_timeout=LASTING,
    attr_timeout=LASTING,
)
"""For a name that nothing can ever have. Of a name that somebody may make the kernel must not remember that
it is not there: another node may make it, and nobody tells the kernel. But what a package holds follows from
its id, and nothing is ever added. Programs look again and again for what is not there, Python's import for
ten files a module.
"""
BLOCK = 512
WRITTEN_PIECE = 1 << 20
"""Bytes: the most that the kernel writes at once. `cp` takes the size of its buffer from what it makes."""


def blocks_of(size: int) -> int:
    return -(-size // BLOCK)


def attributes_of(state: MountState, node: Node) -> Attributes:
    match node:
        case FileNode():
            return _file(state, node)
        case SymlinkNode():
            size = len(node.record.target.encode("utf-8"))
            lasting = LASTING if node.own and not state.sync.peers else PASSING
            return _make(
                state, node, stat.S_IFLNK | 0o777, size, 0, node.record.mtime_ns, 1, lasting, lasting
            )
        case DirectoryNode():
            # Every path leads through it, and what is in it is asked for by name: it may be believed longer.
            lasting = state.sync.settings.directory_ttl if state.sync.peers else LASTING
            return _make(state, node, stat.S_IFDIR | 0o755, 0, 0, node.mtime_ns, 2, lasting, lasting)
        case ViewNode(path="incoming" | "needed"):
            return _make(state, node, stat.S_IFDIR | 0o755, 0, 0, 0, 2, LASTING, LASTING)
        case PackageDirectory():
            entry = PASSING if node.is_entrance else LASTING
            return _make(state, node, stat.S_IFDIR | node.mode, 0, 0, 0, 2, entry, LASTING)
        case PackageLink():
            return _make(state, node, stat.S_IFLNK | 0o777, len(node.target), 0, 0, 1, LASTING, LASTING)
        case TransactionNode() | MissingNode():
            progress_ns = node.transaction.progress_ns
            # Below its transaction's directory `missing` means this inode as long as that is there.
            entry = LASTING if isinstance(node, MissingNode) else 0.0
            return _make(state, node, stat.S_IFDIR | 0o755, 0, 0, progress_ns, 2, entry, 0)
        case NeededNode():
            size = node.transaction.known.needs[node.blob].size or 0
            progress_ns = node.transaction.progress_ns
            return _make(state, node, stat.S_IFREG | 0o200, size, 0, progress_ns, 1, 0, 0)
        case BundleNode():
            progress_ns = node.transaction.progress_ns
            return _make(state, node, stat.S_IFREG | 0o200, node.size, 0, progress_ns, 1, 0, 0)
        case StateNode():
            progress_ns = node.transaction.progress_ns
            return _make(state, node, stat.S_IFREG | 0o444, len(node.text), 0, progress_ns, 1, 0, 0)
        case CanaryNode():
            return _make(state, node, stat.S_IFREG | 0o444, CANARY_SIZE, 0, 0, 1, 0, 0)
        case _:
            return _make(state, node, stat.S_IFDIR | 0o555, 0, 0, 0, 2, LASTING, LASTING)


def _file(state: MountState, node: FileNode) -> Attributes:
    links = max(len(node.places), 1) if node.places or node.opened == 0 else 0
    match node.settle():
        case Writing() as writing:
            mode = stat.S_IFREG | (writing.mode & 0o7777)
            size = writing.size
            # It is sealed before long, and then another node may publish something newer under its name.
            entry = 0.0 if _is_by_id(node) else PASSING if state.sync.peers else LASTING
            # Programs look at what they have just made.
            steady = PASSING if writing.is_new else 0.0
            blocks, mtime_ns = blocks_of(size), writing.mtime_ns
            return _make(state, node, mode, size, blocks, mtime_ns, links, entry, steady, piece=WRITTEN_PIECE)
        case Settled(record) as settled:
            present = present_bytes(state, node)
            # Where there are shares, another node may publish something newer under a name of ours.
            is_alone = settled.is_own and not state.sync.peers
            entry = LASTING if is_alone or _is_by_id(node) else PASSING
            # What was loaded may be evicted.
            may_go = present < record.size or not (settled.is_own or isinstance(node, PackageFile))
            steady = PASSING if may_go else LASTING
            mode = stat.S_IFREG | record.mode
            blocks = blocks_of(present)
            return _make(state, node, mode, record.size, blocks, record.mtime_ns, links, entry, steady)
        case PlainContent(file) as plain:
            blocks = blocks_of(present_bytes(state, node))
            mtime_ns = file.last_modified_ns or 0
            return _make(
                state, node, stat.S_IFREG | 0o444, plain.file.size, blocks, mtime_ns, links, PASSING, PASSING
            )


def is_wrong(state: MountState, content: Settled) -> bool:
    """Whether the blob of a file was found wrong here, and is not whole again."""
    return state.sync.loads.demoting.is_to_restore(content.record.blob)


def present_bytes(state: MountState, node: FileNode) -> int:
    """How much of a file's content is on this node."""
    if isinstance(node, PackageFile):
        return state.sync.package_files.present_bytes(node.record.blob, node.record.size)
    match node.settle():
        case Writing() as writing:
            return writing.size
        case Settled(record) as settled:
            if settled.is_own and not is_wrong(state, settled):
                return record.size
            return state.sync.package_files.present_bytes(record.blob, record.size)
        case PlainContent(file, peer):
            names = node.names()
            return state.sync.loads.present_bytes(plain_key(peer, names[0], file), file.size) if names else 0


def _is_by_id(node: FileNode) -> bool:
    return any(isinstance(container, ViewNode | PackageDirectory) for container, _ in node.places)


def _make(
    state: MountState,
    node: Node,
    mode: int,
    size: int,
    blocks: int,
    mtime_ns: int,
    nlink: int,
    entry_timeout: float,
    attr_timeout: float,
    *,
    piece: int = CHUNK_SIZE,
) -> Attributes:
    return Attributes(
        inode=node.inode,
        mode=mode,
        size=size,
        blocks=blocks,
        mtime_ns=mtime_ns,
        ctime_ns=mtime_ns,
        nlink=nlink,
        uid=state.uid,
        gid=state.gid,
        entry_timeout=entry_timeout,
        attr_timeout=attr_timeout,
        piece=piece,
    )
