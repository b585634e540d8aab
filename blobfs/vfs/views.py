"""The reserved directories: ``.blobfs`` and what is in it. They open by name."""

from blobfs import errors, model
from blobfs.model import EMPTY_BLOB, BlobId, parse_blob_id
from blobfs.record import BlobRecord
from blobfs.vfs import canary, needed, packages
from blobfs.vfs.file_nodes import file_node
from blobfs.vfs.needed_nodes import MissingNode, TransactionNode
from blobfs.vfs.nodes import Container, FileNode, Node, Settled, ViewNode, Writing
from blobfs.vfs.package_nodes import PackageDirectory
from blobfs.vfs.state import MountState

VIEWS = ("blobs", "incoming", "needed", "packages")
"""The reserved directories below ``.blobfs``."""


async def resolve_reserved(state: MountState, container: Container, raw: bytes, pid: int) -> Node:
    """The node of a component of a reserved directory. Raises `NameMissing`, `LoadFailed`."""
    match container:
        case ViewNode(path="needed") as view:
            with state.waits.interruptible(pid):
                return await needed.resolve_transaction(state, view, raw)
        case ViewNode(path="packages") as view:
            return await packages.resolve_package(state, view, raw, pid)
        case PackageDirectory() as directory:
            return await packages.resolve_in_package(state, directory, raw, pid)
        case ViewNode() as view:
            return await _resolve_view(state, view, raw, pid)
        case TransactionNode() as transaction:
            return needed.resolve_entry(state, transaction, raw)
        case MissingNode() as missing:
            return needed.resolve_missing(state, missing, raw)
    raise AssertionError(container)


async def _resolve_view(state: MountState, view: ViewNode, raw: bytes, pid: int) -> Node:
    if view.path == "":
        component = raw.decode("ascii", "replace")
        if component == canary.NAME:
            return canary.canary_node(state, view)
        if component not in VIEWS:
            raise errors.NameMissing(f"no .blobfs/{component}")
        return view_node(state, view, component, component)
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
    return file_node(state, view, blob, view.children.get(blob), Settled(record, peer, loaded=True))


def view_node(state: MountState, parent: Container, component: str, path: str) -> ViewNode:
    known = parent.children.get(component)
    if isinstance(known, ViewNode):
        return known
    view = ViewNode(state.inodes.next_inode(), path=path)
    state.inodes.add(view, parent, component)
    return view
