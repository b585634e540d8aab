"""Under which name the mount has what an operation was about: for failures that somebody is told.

The kernel speaks of inodes and handles, people of paths. A path is looked for only once something has failed.
"""

from blobfs import errors
from blobfs.vfs.nodes import FileNode, Node, Settled
from blobfs.vfs.state import MountState

_BY_HANDLE = frozenset({"read", "write", "flush", "release", "fsync", "readdir", "fsyncdir"})
_BY_DIRECTORY = frozenset({"lookup", "mknod", "mkdir", "symlink", "create", "unlink", "rmdir", "rename"})
"""All others are about an inode."""


def tell(state: MountState, operation: str, subject: tuple[object, ...], error: errors.BlobfsError) -> None:
    """Notes what a caller is told of an operation; `subject` is what the kernel called it with."""
    state.sync.told.note(operation, _subject(state, operation, subject), error)


def _subject(state: MountState, operation: str, subject: tuple[object, ...]) -> str:
    match subject:
        case (int(handle), *_) if operation in _BY_HANDLE:
            found = state.handles.get(handle)
            return "" if found is None else path_of(found.node)
        case (int(parent), bytes(name), *_) if operation in _BY_DIRECTORY:
            return _below(_path_of_inode(state, parent), name.decode("utf-8", "backslashreplace"))
        case (int(inode), *_):
            return _path_of_inode(state, inode)
    return ""


def _path_of_inode(state: MountState, inode: int) -> str:
    try:
        return path_of(state.inodes.get(inode))
    except errors.StaleHandle:
        return ""


def path_of(node: Node) -> str:
    """Where it stands in the mount, first; of a file that has lost its name what its content is called."""
    components: list[str] = []
    here = node
    while here.places:
        container, component = here.places[0]
        components.append(component)
        here = container
    if not components and isinstance(node, FileNode) and isinstance(content := node.settle(), Settled):
        return f".blobfs/blobs/{content.record.blob}"
    shown = "/".join(reversed(components))
    return shown.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _below(directory: str, component: str) -> str:
    return f"{directory}/{component}" if directory else component
