"""The trees of packages: manifests, read once for everybody who looks, wherever they are.

1. A manifest that is here needs no network (P6). One that is not is found and loaded like any blob, within
   the bound of a lookup: looking at a package is waited for in calls that the kernel does not let go of.
2. What an id means never changes, so what was read stays right. What could not be had is asked for again.
3. Whether a package may be seen is not decided here.
"""

from collections import OrderedDict
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, field

import trio

from blobfs import errors
from blobfs.bundle import bundle_members
from blobfs.config.settings import LoadSettings
from blobfs.manifest import MAX_MANIFEST_BYTES, Directory, Entry, Manifest, parse_manifest
from blobfs.model import EMPTY_BLOB, BlobId, Invalid
from blobfs.store import sealed
from blobfs.store.opening import Store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.loading.loads import Loads
from blobfs.sync.loading.reader import Reader
from blobfs.sync.naming.catalogue import Catalogue

KEPT_ENTRIES = 200_000
"""Entries of all trees that are kept, about 555 bytes each; the tree that was used last is always kept."""
PARSED_AT_ONCE = 32 * 1024
"""Bytes of a manifest that is parsed without a hop to a thread: about 300 lines, 3 ms."""
FIRST_PIECE = 128 * 1024
"""Bytes after which it is known whether a blob may be a manifest, before the rest of it is loaded."""
PIECE = 1 << 20
"""Bytes read at a time after that."""

ROOT = Directory(b"", 0o755)


class PackageTree:
    """One package's entries by their paths, what is nested in it not included. Never changes."""

    def __init__(self, package: BlobId, manifest: Manifest) -> None:
        self.package = package
        self.manifest = manifest
        self.members = bundle_members(manifest)
        self._bundled = frozenset(member.blob for member in self.members)
        self._entries = {entry.path: entry for entry in manifest.entries}
        self._children: dict[bytes, list[bytes]] = {b"": []}
        for entry in manifest.entries:  # in the order of their paths, so siblings are in that of their names
            parent, _, component = entry.path.rpartition(b"/")
            self._children[parent].append(component)
            if isinstance(entry, Directory):
                self._children[entry.path] = []

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"<PackageTree {self.package[:12]} entries={len(self)} bundled={len(self.members)}>"

    def entry(self, path: bytes) -> Entry | None:
        """What stands at a path; `b""` is the root."""
        return self._entries.get(path) if path else ROOT

    def children(self, path: bytes) -> Sequence[bytes]:
        """The last components of what is in a `Directory` or the root, sorted."""
        return self._children[path]

    def is_bundled(self, blob: BlobId) -> bool:
        """Whether it is one of `members`."""
        return blob in self._bundled


@dataclass(eq=False)
class _Coming:
    """A tree that somebody gets for all who want it; neither is set if he was cancelled."""

    ended: trio.Event = field(default_factory=trio.Event)
    tree: PackageTree | None = None
    failure: errors.BlobfsError | None = None


class PackageTrees:
    """All of them. `_kept` holds those that were used last, by `_entries` in all; `_shared` which of them a
    share was seen to have; `_coming` what is being read or loaded.
    """

    def __init__(
        self, store: Store, disk: DiskThreads, catalogue: Catalogue, loads: Loads, settings: LoadSettings
    ) -> None:
        self._store = store
        self._disk = disk
        self._catalogue = catalogue
        self._loads = loads
        self._settings = settings
        self._kept: OrderedDict[BlobId, PackageTree] = OrderedDict()
        self._entries = 0
        self._shared: set[BlobId] = set()
        self._coming: dict[tuple[BlobId, bool], _Coming] = {}
        self._read = 0
        self._loaded = 0

    def __repr__(self) -> str:
        return f"<PackageTrees {self.statistics()}>"

    def statistics(self) -> dict[str, int]:
        return {
            "trees": len(self._kept),
            "entries": self._entries,
            "coming": len(self._coming),
            "read": self._read,
            "loaded": self._loaded,
        }

    async def tree(self, package: BlobId, *, ask_shares: bool) -> PackageTree:
        """Raises `NameMissing` for what is not here if no share may be asked; `LoadFailed`; `WrongContent`
        for what is no manifest. Never waits for shares longer than a lookup may.
        """
        known = self._kept.get(package)
        if known is not None:
            self._kept.move_to_end(package)
            return known
        return await self._bounded(package, self._get(package, ask_shares))

    async def shared_tree(self, package: BlobId) -> PackageTree:
        """The same of what some share has, whatever is here of it; `AbsentEverywhere` when none has it."""
        return await self._bounded(package, self._get_shared(package))

    async def _bounded(self, package: BlobId, work: Awaitable[PackageTree]) -> PackageTree:
        with trio.move_on_after(self._settings.lookup_timeout):
            return await work
        raise errors.DeadlineExceeded(
            f"the manifest of {package} is not here after {self._settings.lookup_timeout:.3g} s",
            self._loads.last_attempts(package),
        )

    async def _get_shared(self, package: BlobId) -> PackageTree:
        tree = self._kept.get(package)
        if tree is None and not await self._disk.run(sealed.has, self._store, package):
            tree = await self._get(package, ask_shares=True)
        if package not in self._shared and await self._catalogue.blob_size(package) is None:
            raise errors.AbsentEverywhere(f"no share has the package {package}")
        tree = tree or await self._get(package, ask_shares=True)
        self._shared.add(package)
        return tree

    async def _get(self, package: BlobId, ask_shares: bool) -> PackageTree:
        """One read or load for all who want it. If its caller gives up, the next of them goes on."""
        key = (package, ask_shares)
        while (coming := self._coming.get(key)) is not None:
            await coming.ended.wait()
            if coming.tree is not None:
                return coming.tree
            if coming.failure is not None:
                raise coming.failure
        coming = self._coming[key] = _Coming()
        try:
            coming.tree = tree = await self._find(package, ask_shares)
        except errors.BlobfsError as failure:
            coming.failure = failure
            raise
        finally:
            del self._coming[key]
            coming.ended.set()
        return tree

    async def _find(self, package: BlobId, ask_shares: bool) -> PackageTree:
        try:
            raw = b"" if package == EMPTY_BLOB else await self._disk.run(_read_here, self._store, package)
            is_here = isinstance(raw, bytes)
            if raw is None:
                raw = await self._load(package, ask_shares)
            elif isinstance(raw, int):
                raw = await self._read_blob(package, await self._true_size(package, raw))
            if len(raw) <= PARSED_AT_ONCE:
                tree = _tree_of(package, raw)
            else:
                tree = await self._disk.run(_tree_of, package, raw)
        except Invalid as wrong:
            raise errors.WrongContent(f"the blob {package} is no package: {wrong}") from None
        self._keep(tree)
        if not is_here:
            self._shared.add(package)
        return tree

    async def _load(self, package: BlobId, ask_shares: bool) -> bytes:
        if not ask_shares:
            raise errors.NameMissing(f"the package {package} is not here")
        load = self._loads.load_of(package)
        size = load.size if load is not None else await self._catalogue.blob_size(package)
        if size is None:
            raise errors.AbsentEverywhere(f"no share has the package {package}")
        _demand_fitting(size)
        raw = await self._read_blob(package, size)
        self._loaded += 1
        return raw

    async def _true_size(self, package: BlobId, found: int) -> int:
        """Of a meta blob whose bytes here are wrong, and perhaps too few; it is mended when it is read."""
        try:
            return await self._catalogue.blob_size(package) or found
        except errors.LoadFailed:
            return found

    async def _read_blob(self, package: BlobId, size: int) -> bytes:
        reader = await self._loads.open(package, size, None, None)
        try:
            return await _read_manifest(reader)
        finally:
            reader.close()

    def _keep(self, tree: PackageTree) -> None:
        self._read += 1
        if tree.package in self._kept:
            return  # somebody else asked otherwise
        self._kept[tree.package] = tree
        self._entries += len(tree) + 1
        while self._entries > KEPT_ENTRIES and len(self._kept) > 1:
            package, dropped = self._kept.popitem(last=False)
            self._entries -= len(dropped) + 1
            self._shared.discard(package)


def _read_here(store: Store, package: BlobId) -> bytes | int | None:
    """A meta blob that is here; its size if the bytes are wrong. Raises `Invalid` for one too long."""
    size = sealed.blob_size(store, package)
    if size is None:
        return None
    _demand_fitting(size)
    try:
        return sealed.read_blob(store, package)
    except errors.StoreBroken:
        return size


def _demand_fitting(size: int) -> None:
    if size > MAX_MANIFEST_BYTES:
        raise Invalid(f"{size} bytes, a manifest has at most {MAX_MANIFEST_BYTES}")


async def _read_manifest(reader: Reader) -> bytes:
    """All of a blob that begins like a manifest. Raises `Invalid` for another, after its first piece."""
    pieces = [bytes(await reader.read(0, FIRST_PIECE))]
    head, line_feed, _ = pieces[0].partition(b"\n")
    parse_manifest(head + line_feed)
    for offset in range(len(pieces[0]), reader.size, PIECE):
        pieces.append(bytes(await reader.read(offset, PIECE)))
    return b"".join(pieces)


def _tree_of(package: BlobId, raw: bytes) -> PackageTree:
    return PackageTree(package, parse_manifest(raw))
