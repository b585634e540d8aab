"""Packages as directories: ``.blobfs/packages/<package-id>/...``, read-only.

1. A package may be seen that is complete here, or whose meta blob is here while no transaction on it is open:
   then the network is not asked. Any other only as far as a share has it: what is being written here appears
   when it is complete, and not before.
2. What an id means never changes. So everything below a package holds for ever, what is not there too.
3. Looking at a tree loads no content and asks no share, but for the manifests of nested packages.
"""

from collections.abc import Sequence

from blobfs import errors, model
from blobfs.manifest import MAX_NESTING, Directory, Entry, File, Link, Nested
from blobfs.model import BlobId, parse_blob_id
from blobfs.record import BlobRecord
from blobfs.store.packages import list_packages
from blobfs.sync.loading.reader import Reader
from blobfs.sync.packages.trees import PackageTree
from blobfs.vfs.nodes import Node, Settled, ViewNode
from blobfs.vfs.package_nodes import PackageDirectory, PackageFile, PackageLink
from blobfs.vfs.state import MountState


def component_key(raw: bytes) -> str:
    """A component as `Container.children` has it: names in packages are any bytes."""
    return raw.decode("utf-8", "surrogateescape")


# Packages


async def resolve_package(state: MountState, view: ViewNode, raw: bytes, pid: int) -> Node:
    """The root of a package. Raises `NameMissing`, `LoadFailed`, `WrongContent`."""
    try:
        package = parse_blob_id(raw.decode("ascii", "replace"))
    except model.Invalid as wrong:
        raise errors.NameMissing(str(wrong)) from None
    try:
        with state.waits.interruptible(pid):
            await _demand_visible(state, package)
    except errors.AbsentEverywhere as absent:
        raise errors.NameMissing(str(absent)) from None
    return _entrance(state, view, package)


async def _demand_visible(state: MountState, package: BlobId) -> None:
    transactions, trees = state.sync.transactions, state.sync.trees
    if await transactions.get(package) is None and await state.sync.is_here(package):
        await trees.tree(package, ask_shares=True)
        if not transactions.is_open(package):  # nor was one opened meanwhile
            return
    await trees.shared_tree(package)


def _entrance(state: MountState, view: ViewNode, package: BlobId) -> PackageDirectory:
    known = view.children.get(package)
    if isinstance(known, PackageDirectory):
        return known
    made = PackageDirectory(state.inodes.next_inode(), package=package)
    state.inodes.add(made, view, package)
    return made


class PackagesSnapshot:
    """`.blobfs/packages`: those that are complete here."""

    def __init__(self, state: MountState, view: ViewNode, packages: Sequence[BlobId]) -> None:
        self._state = state
        self._view = view
        self._packages = packages

    def __len__(self) -> int:
        return len(self._packages)

    def entry(self, position: int) -> tuple[bytes, Node] | None:
        package = self._packages[position]
        return package.encode(), _entrance(self._state, self._view, package)


async def packages_here(state: MountState, view: ViewNode) -> PackagesSnapshot:
    return PackagesSnapshot(state, view, sorted(await state.sync.disk.run(list_packages, state.sync.store)))


# What is in one


async def resolve_in_package(state: MountState, directory: PackageDirectory, raw: bytes, pid: int) -> Node:
    """Raises `NameMissing` for what is not in the package and never will be; `LoadFailed`, `WrongContent`."""
    with state.waits.interruptible(pid):
        tree = await _tree(state, directory)
    node = _node_at(state, directory, tree, raw)
    if node is None:
        raise errors.NameMissing(f"no {raw!r} in {directory.path!r} of the package {directory.package}")
    return node


class TreeSnapshot:
    """A directory of a package."""

    def __init__(self, state: MountState, directory: PackageDirectory, tree: PackageTree) -> None:
        self._state = state
        self._directory = directory
        self._tree = tree
        self._names = tree.children(directory.path)

    def __len__(self) -> int:
        return len(self._names)

    def entry(self, position: int) -> tuple[bytes, Node] | None:
        raw = self._names[position]
        node = _node_at(self._state, self._directory, self._tree, raw)
        return None if node is None else (raw, node)


async def tree_below(state: MountState, directory: PackageDirectory) -> TreeSnapshot:
    return TreeSnapshot(state, directory, await _tree(state, directory))


async def _tree(state: MountState, directory: PackageDirectory) -> PackageTree:
    """The package that a directory is in; that it may be seen was decided at the entrance."""
    if directory.depth > MAX_NESTING:
        raise errors.WrongContent(f"packages in packages, more than {MAX_NESTING} deep")
    return await state.sync.trees.tree(directory.package, ask_shares=True)


def _node_at(state: MountState, directory: PackageDirectory, tree: PackageTree, raw: bytes) -> Node | None:
    """The node of a component: the one the kernel knows, if it does."""
    path = directory.path + b"/" + raw if directory.path else raw
    entry = tree.entry(path)
    component = component_key(raw)
    known = directory.children.get(component)
    if entry is None or known is not None:
        return known
    made = _make(state, directory, entry)
    state.inodes.add(made, directory, component)
    return made


def _make(state: MountState, directory: PackageDirectory, entry: Entry) -> Node:
    inode, package, depth = state.inodes.next_inode(), directory.package, directory.depth
    match entry:
        case Directory(path, mode):
            return PackageDirectory(inode, package=package, path=path, mode=mode, depth=depth)
        case Nested(_, nested):
            return PackageDirectory(inode, package=nested, depth=depth + 1)
        case Link(_, target):
            return PackageLink(inode, target=target)
        case File(_, mode, size, mtime_ns, blob):
            record = BlobRecord(blob, size, mode, mtime_ns, 0)
            # Where it is to be had is the load's business.
            peer = state.sync.peers[0] if state.sync.peers else None
            content = Settled(record, peer, loaded=True)
            return PackageFile(inode, package=package, record=record, content=content)


async def open_package_file(state: MountState, node: PackageFile) -> Reader:
    """A reader of one. Asks no share."""
    return await state.sync.package_files.open(node.package, node.record.blob, node.record.size)
