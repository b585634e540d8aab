"""chmod, chown, utimens and truncate.

Of a sealed file only the x bits and the mtime can change, of a symlink the mtime: that is a new record for
each of its names.
A directory is 0755 for everybody, because its names are: chmod on it changes nothing.
"""

import stat
from dataclasses import replace

from blobfs import errors
from blobfs.record import DirRecord
from blobfs.vfs.attributes import Change
from blobfs.vfs.nodes import DirectoryNode, FileNode, Node, PlainContent, Settled, SymlinkNode, Writing
from blobfs.vfs.package_nodes import PackageFile
from blobfs.vfs.state import MountState
from blobfs.vfs.writing import truncate


async def change(state: MountState, node: Node, wanted: Change) -> None:
    """chmod, chown, utimens, truncate. Of a sealed file only the x bits and the mtime can change."""
    if change_nowait(state, node, wanted):
        return
    match node:
        case PackageFile():
            raise errors.NotPermitted("what is in a package cannot be changed")
        case FileNode():
            await _set_file(state, node, wanted)
        case DirectoryNode():
            if wanted.mtime_ns is not None:
                await _set_directory_time(state, node, wanted.mtime_ns)
        case SymlinkNode():
            if wanted.mtime_ns is not None:
                await _set_symlink_time(state, node, wanted.mtime_ns)
        case _:
            raise errors.NotPermitted("what is reserved cannot be changed")


def change_nowait(state: MountState, node: Node, wanted: Change) -> bool:
    """Whether it is done: for a file that is being written. Raises what `change` would."""
    state.demand_writable()
    _demand_same_owner(state, wanted)
    if not isinstance(node, FileNode) or isinstance(node, PackageFile) or wanted.size is not None:
        return False
    content = node.settle()
    if not isinstance(content, Writing) or content.job is not None:
        return False
    _set_writing(content, wanted)  # nobody looks at it before its last close
    return True


def _demand_same_owner(state: MountState, wanted: Change) -> None:
    if wanted.uid not in (None, state.uid) or wanted.gid not in (None, state.gid):
        raise errors.NotPermitted("everything in the mount belongs to the daemon's user")


async def _set_symlink_time(state: MountState, node: SymlinkNode, mtime_ns: int) -> None:
    """A new record, as for a file. `places` is looked at under the lock: a rename may come first."""
    namespace = state.sync.namespace
    async with namespace.lock:
        names = node.names()
        if not node.own or not names:
            raise errors.ForeignName("it is published by another node")
        published = await namespace.next_published_as(names[0])
        record = replace(node.record, mtime_ns=mtime_ns, published_ns=published)
        await namespace.put(names[0], record)
        node.record = record


async def _set_directory_time(state: MountState, node: DirectoryNode, mtime_ns: int) -> None:
    """A new record for a directory of ours; the root and those of other nodes have none to change."""
    namespace = state.sync.namespace
    async with namespace.lock:
        known = await namespace.entry(node.name) if node.parent is not None else None
        if known is not None and isinstance(known.record, DirRecord) and not known.loaded:
            record = DirRecord(mtime_ns, await namespace.next_published_as(node.name))
            await namespace.put_directory(node.name, record)
        node.mtime_ns = mtime_ns


async def _set_file(state: MountState, node: FileNode, wanted: Change) -> None:
    content = node.settle()
    if isinstance(content, Writing) and wanted.size is not None:
        await truncate(state, content, wanted.size)
    elif wanted.size is not None:
        raise errors.Sealed("a sealed file is immutable")
    if wanted.mode is None and wanted.mtime_ns is None:
        return
    if change_nowait(state, node, replace(wanted, size=None)):
        return
    async with state.sync.namespace.lock:
        content = node.settle()
        match content:
            case Writing():
                _set_writing(content, wanted)
            case Settled():
                await _set_settled(state, node, content, wanted)
            case PlainContent():
                raise errors.ForeignName("it is published by a plain share")


def _set_writing(writing: Writing, wanted: Change) -> None:
    mode = writing.mode if wanted.mode is None else stat.S_IMODE(wanted.mode)
    mtime_ns = writing.mtime_ns if wanted.mtime_ns is None else wanted.mtime_ns
    writing.mode, writing.mtime_ns = mode, mtime_ns
    if writing.job is not None:
        writing.job.mode, writing.job.mtime_ns = mode, mtime_ns


async def _set_settled(state: MountState, node: FileNode, content: Settled, wanted: Change) -> None:
    """A new record for each of the file's names. The lock of the names is held."""
    mode = content.record.mode
    if wanted.mode is not None:
        mode = 0o555 if wanted.mode & 0o111 else 0o444
    mtime_ns = content.record.mtime_ns if wanted.mtime_ns is None else wanted.mtime_ns
    if (mode, mtime_ns) == (content.record.mode, content.record.mtime_ns):
        return
    if not content.is_own or not node.names():
        raise errors.ForeignName("it is published by another node")
    namespace = state.sync.namespace
    for name in node.names():
        record = replace(
            content.record,
            mode=mode,
            mtime_ns=mtime_ns,
            published_ns=await namespace.next_published_as(name),
        )
        await namespace.put(name, record)
        node.content = Settled(record, None, loaded=False)
