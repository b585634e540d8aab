"""``.blobfs/needed/``: packages in the making, as directories.

::

    mkdir needed/<package-id>            opens a transaction
    needed/<package-id>/meta             write the meta blob here
    needed/<package-id>/missing/<id>     then each of these; they go as they come
    needed/<package-id>/state            a line to read
    rmdir needed/<package-id>            aborts

Nothing of it may be cached: blobs come from elsewhere too. Only opening for writing changes anything, so
whoever just looks cannot harm a transaction.
"""

import os
from collections.abc import Sequence

from blobfs import errors
from blobfs.model import BlobId, Invalid, parse_blob_id
from blobfs.record import BlobRecord
from blobfs.sync.packages.open_transaction import OpenTransaction
from blobfs.sync.packages.transition import Event, State
from blobfs.vfs.attributes import Change, Opened
from blobfs.vfs.file_nodes import file_node
from blobfs.vfs.needed_nodes import BundleNode, MissingNode, NeededNode, StateNode, TransactionNode
from blobfs.vfs.nodes import Container, Node, Settled, ViewNode
from blobfs.vfs.state import MountState, NeededWriter, TextHandle, WriterHandle
from blobfs.vfs.waits import Opener

META, MISSING, STATE, BUNDLE = "meta", "missing", "state", "bundle"
"""What a transaction's directory holds; the last one opens by name and is not listed."""


def parse_package_id(raw: bytes) -> BlobId:
    try:
        return parse_blob_id(raw.decode("ascii", "replace"))
    except Invalid as wrong:
        raise errors.NameMissing(str(wrong)) from None


# Lookup


async def resolve_transaction(state: MountState, view: ViewNode, raw: bytes) -> TransactionNode:
    """``needed/<package-id>``. Raises `NameMissing` unless a transaction is open."""
    package = parse_package_id(raw)
    found = await state.sync.transactions.get(package)
    if found is None:
        raise errors.NameMissing(f"no transaction on {package} is open")
    return _transaction_node(state, view, found)


def _transaction_node(state: MountState, view: Container, found: OpenTransaction) -> TransactionNode:
    known = view.children.get(found.package)
    if isinstance(known, TransactionNode) and known.transaction is found:
        return known
    node = TransactionNode(state.inodes.next_inode(), transaction=found)
    state.inodes.add(node, view, found.package)
    return node


def resolve_entry(state: MountState, node: TransactionNode, raw: bytes) -> Node:
    """``meta``, ``missing``, ``state`` or ``bundle``."""
    transaction = node.transaction
    known = node.children.get(raw.decode("ascii", "replace"))
    match raw.decode("ascii", "replace"):
        case "missing":
            if isinstance(known, MissingNode):
                return known
            missing = MissingNode(state.inodes.next_inode(), transaction=transaction)
            state.inodes.add(missing, node, MISSING)
            return missing
        case "state":
            if isinstance(known, StateNode):
                return known
            text = StateNode(state.inodes.next_inode(), transaction=transaction)
            state.inodes.add(text, node, STATE)
            return text
        case "bundle" if transaction.members and transaction.state is State.NEED_BLOBS:
            if isinstance(known, BundleNode):
                return known
            bundle = BundleNode(state.inodes.next_inode(), transaction=transaction)
            state.inodes.add(bundle, node, BUNDLE)
            return bundle
        case "meta" if transaction.meta_size is not None:
            record = BlobRecord(transaction.package, transaction.meta_size, 0o444, 0, 0)
            return file_node(state, node, META, known, Settled(record, None, loaded=True))
    raise errors.NameMissing(f"no {raw!r} in a transaction")


def resolve_missing(state: MountState, node: MissingNode, raw: bytes) -> NeededNode:
    """``missing/<blob-id>``, as long as it is missing."""
    blob = parse_package_id(raw)
    known = node.transaction.known
    if blob == known.package or not known.is_missing(blob):
        raise errors.NameMissing(f"{blob} is not missing")
    return _needed_node(state, node, blob, blob)


def _needed_node(
    state: MountState, container: TransactionNode | MissingNode, component: str, blob: BlobId
) -> NeededNode:
    known = container.children.get(component)
    if isinstance(known, NeededNode):
        return known
    node = NeededNode(state.inodes.next_inode(), transaction=container.transaction, blob=blob)
    state.inodes.add(node, container, component)
    return node


# Listing


class TransactionSnapshot:
    """What stands in a transaction's directory."""

    def __init__(self, state: MountState, node: TransactionNode) -> None:
        self._state = state
        self._node = node
        self._names = [b"missing", b"state"]
        if node.transaction.meta_size is not None:
            self._names.insert(0, b"meta")

    def __len__(self) -> int:
        return len(self._names)

    def entry(self, position: int) -> tuple[bytes, Node] | None:
        name = self._names[position]
        return name, resolve_entry(self._state, self._node, name)


class MissingSnapshot:
    """The missing blobs, sorted; what has come meanwhile is left out."""

    def __init__(self, state: MountState, node: MissingNode) -> None:
        node.transaction.known.demand(Event.LIST)
        self._state = state
        self._node = node
        self._blobs = node.transaction.known.missing()

    def __len__(self) -> int:
        return len(self._blobs)

    def entry(self, position: int) -> tuple[bytes, Node] | None:
        blob = self._blobs[position]
        if not self._node.transaction.known.is_missing(blob):
            return None
        return blob.encode(), _needed_node(self._state, self._node, blob, blob)


class OpenTransactions:
    """The transactions that are open."""

    def __init__(self, state: MountState, view: ViewNode, found: Sequence[OpenTransaction]) -> None:
        self._state = state
        self._view = view
        self._open = found

    def __len__(self) -> int:
        return len(self._open)

    def entry(self, position: int) -> tuple[bytes, Node] | None:
        found = self._open[position]
        if found.has_ended:
            return None
        return found.package.encode(), _transaction_node(self._state, self._view, found)


async def transactions_here(state: MountState, view: ViewNode) -> OpenTransactions:
    return OpenTransactions(state, view, await state.sync.transactions.listed())


# Opening and aborting


async def open_transaction(state: MountState, view: ViewNode, raw: bytes, pid: int) -> TransactionNode:
    """mkdir. Raises `NameExists` when it is open, or the package complete."""
    state.demand_writable()
    try:
        package = parse_blob_id(raw.decode("ascii", "replace"))
    except Invalid as wrong:
        raise errors.InvalidName(str(wrong)) from None
    with state.waits.killable(pid):
        opened = await state.sync.transactions.open(package)
    return _transaction_node(state, view, opened)


async def abort_transaction(state: MountState, view: ViewNode, raw: bytes, pid: int) -> None:
    """rmdir: returns when nothing is left of it."""
    state.demand_writable()
    with state.waits.killable(pid):
        await state.sync.transactions.abort(parse_package_id(raw))
    node = view.children.get(raw.decode("ascii", "replace"))
    if node is not None:
        state.inodes.detach(node, view, raw.decode("ascii"))


# Writing


async def create(
    state: MountState, container: TransactionNode | MissingNode, raw: bytes, flags: int, pid: int
) -> tuple[Opened, NeededNode]:
    """What a lookup did not find: the meta blob, or a blob that is needed since."""
    state.demand_writable()
    known = container.transaction.known
    if isinstance(container, TransactionNode):
        if raw != META.encode():
            raise errors.NotPermitted("only the meta blob is made in a transaction")
        known.demand(Event.OPEN_META)
        # Not in its place: nobody finds it before it is complete, and two may write it.
        node = NeededNode(state.inodes.next_inode(), transaction=container.transaction, blob=known.package)
        state.inodes.register(node)
    else:
        blob = parse_package_id(raw)
        known.demand_open(blob)
        node = _needed_node(state, container, blob, blob)
    writer = state.sync.open_writer(node.transaction, node.blob)
    return _opened(state, node, writer, flags, pid), node


def open_needed(state: MountState, node: NeededNode, flags: int, pid: int) -> Opened:
    """A descriptor that writes. Raises `WriteOnly` for one that only reads."""
    if flags & os.O_ACCMODE == os.O_RDONLY:
        raise errors.WriteOnly(f"the blob {node.blob} is not here: write it")
    state.demand_writable()
    known = node.transaction.known
    if node.blob != known.package:
        known.demand_open(node.blob)
    return _opened(state, node, state.sync.open_writer(node.transaction, node.blob), flags, pid)


def open_bundle(state: MountState, node: BundleNode, flags: int, pid: int) -> Opened:
    """A descriptor that writes. Raises `WriteOnly` for one that only reads."""
    if flags & os.O_ACCMODE == os.O_RDONLY:
        raise errors.WriteOnly("a bundle is only written here")
    state.demand_writable()
    return _opened(state, node, state.sync.open_bundle_writer(node.transaction), flags, pid)


def _opened(
    state: MountState, node: NeededNode | BundleNode, writer: NeededWriter, flags: int, pid: int
) -> Opened:
    handle = WriterHandle(node, Opener(pid), writer, appends=bool(flags & os.O_APPEND))
    return Opened(state.register(handle), keep_cache=False, direct_io=True)


def open_state(state: MountState, node: StateNode, flags: int, pid: int) -> Opened:
    """The state as it is now."""
    if flags & os.O_ACCMODE != os.O_RDONLY:
        raise errors.NotPermitted("the state can only be read")
    handle = TextHandle(node, Opener(pid), node.text)
    return Opened(state.register(handle), keep_cache=False, direct_io=True)


async def write(state: MountState, handle: WriterHandle, offset: int, content: bytes) -> int:
    """At the end for a descriptor that appends: the kernel takes the expected size for the present one."""
    with state.waits.killable(handle.opener.pid):
        return await handle.writer.write(handle.writer.size if handle.appends else offset, content)


async def flush(state: MountState, handle: WriterHandle) -> None:
    with state.waits.killable(handle.opener.pid):
        await handle.writer.flush()


async def fsync(state: MountState, handle: WriterHandle) -> None:
    with state.waits.killable(handle.opener.pid):
        await handle.writer.fsync()


async def release(state: MountState, number: int, handle: WriterHandle) -> None:
    await handle.writer.close()
    state.drop(number)


async def change(state: MountState, number: int | None, wanted: Change) -> None:
    """A descriptor's size. Mode and times are the manifest's business, so what ``cp -p`` asks is granted."""
    state.demand_writable()
    if wanted.uid not in (None, state.uid) or wanted.gid not in (None, state.gid):
        raise errors.NotPermitted("everything in the mount belongs to the daemon's user")
    if wanted.size is None:
        return
    handle = None if number is None else state.handle(number)
    if not isinstance(handle, WriterHandle):
        raise errors.NotPermitted("only through a descriptor: open it")
    await handle.writer.truncate(wanted.size)
