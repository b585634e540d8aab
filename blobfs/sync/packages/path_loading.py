"""What ``blobfs load`` does with one path: finds out what it means, and brings all of that here.

A blob that has a name is loaded, kept and shared in turn as `load_blob` does it; one by its id has no name;
a package becomes complete; of a directory everything below it is loaded. Symlinks below a directory are not
followed: what they lead to is below it as well, or not meant. But those that lead to packages are: that is
how packages have names.
"""

from dataclasses import dataclass, field, replace

import trio

from blobfs import errors
from blobfs.manifest import MAX_MANIFEST_BYTES
from blobfs.model import BlobId, Name, join
from blobfs.record import DirRecord, SymlinkRecord
from blobfs.sync.background import lone_failure
from blobfs.sync.naming.answers import failure_from
from blobfs.sync.packages.failing import naming
from blobfs.sync.packages.progress import Progress
from blobfs.sync.packages.targets import (
    ById,
    NamedBlob,
    NamedDirectory,
    WholePackage,
    find_target,
    named_blob,
    package_of,
)
from blobfs.sync.service import SyncService

NAMES_AT_A_TIME = 64
"""Of one directory: enough that keeping what was loaded takes few flushes of the disk."""


@dataclass(frozen=True, slots=True)
class LoadedPath:
    """What a path means, which is here now."""

    kind: str
    """blob, package, directory"""
    blob: BlobId | None
    """None: a directory."""
    files: int
    blobs: int
    bytes: int
    loaded_blobs: int
    loaded_bytes: int
    """What of them came from the shares."""


@dataclass(eq=False)
class _Below:
    """What is below a directory. Mutable: it is found first, then loaded."""

    blobs: list[NamedBlob] = field(default_factory=list)
    packages: dict[BlobId, Name] = field(default_factory=dict)
    """And a name of each."""
    files: int = 0
    failures: list[errors.BlobfsError] = field(default_factory=list)


class PathLoading:
    """Holds no state of its own."""

    def __init__(self, sync: SyncService) -> None:
        self._sync = sync

    async def load(self, path: str, progress: Progress) -> LoadedPath:
        """Raises `NameRefused`, `LoadFailed`, `StoreError`; `WrongContent` for what is no package.

        Of a directory everything is loaded that can be, before an error is raised.
        """
        try:
            return await self._load(path, progress)
        except errors.BlobfsError as error:
            self._sync.told.note("load", path, error)
            raise

    async def _load(self, path: str, progress: Progress) -> LoadedPath:
        match await find_target(path, self._sync.lookup):
            case NamedBlob() as named:
                return _loaded("blob", await self._load_named(named, progress), 1, progress)
            case NamedDirectory(name):
                return await self._load_directory(name, progress)
            case WholePackage(package):
                return await self._load_package(package, progress)
            case ById(blob):
                return await self._load_by_id(blob, progress)

    async def _load_package(self, package: BlobId, progress: Progress) -> LoadedPath:
        found = await self._sync.package_loading.load(package, progress)
        return LoadedPath(
            "package", package, found.files, found.blobs, found.bytes, found.loaded_blobs, found.loaded_bytes
        )

    async def _load_by_id(self, blob: BlobId, progress: Progress) -> LoadedPath:
        size = await self._sync.find_blob(blob)
        if size is None:
            raise errors.AbsentEverywhere("no share has it")
        part = Progress()
        progress.include(part)
        part.expect(1, size)
        load = await self._sync.whole_blobs.bring(blob, size, part)
        if size <= MAX_MANIFEST_BYTES and await self._is_package(blob):
            progress.exclude(part)
            found = await self._load_package(blob, progress)
            came = part.figures()
            return replace(
                found,
                loaded_blobs=found.loaded_blobs + came.loaded_blobs,
                loaded_bytes=found.loaded_bytes + came.loaded_bytes,
            )
        if load is not None:
            await self._sync.whole_blobs.wait_kept(load)
        return _loaded("blob", blob, 1, progress)

    async def _is_package(self, blob: BlobId) -> bool:
        """Of a blob that is here."""
        try:
            await self._sync.trees.tree(blob, ask_shares=True)
        except errors.WrongContent:
            return False
        return True

    # Names

    async def _load_named(self, named: NamedBlob, progress: Progress) -> BlobId:
        loads, key, size = self._sync.loads, named.key, named.size
        before = 0 if key is None or size is None else loads.present_bytes(key, size)

        def present() -> int:
            load = loads.load_of(key) if key is not None else None
            return before if load is None else load.partial.present_bytes

        progress.expect(1, size or 0)
        with progress.arriving(present):
            loaded = await self._sync.load_blob(named.name)
        if size is None:
            progress.expect(0, loaded.size)
        if size == before:
            progress.found(1, loaded.size)
        else:
            progress.loaded(1, loaded.size, max(loaded.size - before, 0))
        return loaded.blob

    async def _load_directory(self, directory: Name, progress: Progress) -> LoadedPath:
        below = _Below()
        await self._find_below(directory, below)
        turns = trio.Semaphore(NAMES_AT_A_TIME)
        with lone_failure():
            async with trio.open_nursery() as nursery:
                for named in sorted(below.blobs, key=lambda named: named.size or 0, reverse=True):
                    await turns.acquire()
                    nursery.start_soon(self._load_one_below, named, below, turns, progress)
                for package, name in below.packages.items():
                    await self._load_package_below(package, name, below, progress)
        if below.failures:
            raise _all_of(below)
        return _loaded("directory", None, below.files, progress)

    async def _find_below(self, directory: Name, below: _Below) -> None:
        """Fails if it is no directory; what else cannot be found out is noted."""
        found = await self._sync.listing(directory)
        unsure = (await self._sync.catalogue.listing(directory)).failures
        if unsure:
            below.failures.append(naming(f"what is in {directory or 'the mount'}", failure_from(unsure)))
        for component, entry in found.items():
            name = join(directory, component)
            if isinstance(entry.record, DirRecord):
                try:
                    await self._find_below(name, below)
                except errors.BlobfsError as failure:
                    below.failures.append(naming(name, failure))
            elif isinstance(entry.record, SymlinkRecord):
                package = package_of(directory, entry.record)
                if package is not None:
                    below.packages.setdefault(package, name)
            elif (blob := named_blob(name, entry)) is not None:
                below.blobs.append(blob)

    async def _load_one_below(
        self, named: NamedBlob, below: _Below, turns: trio.Semaphore, progress: Progress
    ) -> None:
        try:
            await self._load_named(named, progress)
            below.files += 1
        except errors.BlobfsError as failure:
            below.failures.append(naming(named.name, failure))
        finally:
            turns.release()

    async def _load_package_below(
        self, package: BlobId, name: Name, below: _Below, progress: Progress
    ) -> None:
        try:
            loaded = await self._sync.package_loading.load(package, progress)
            below.files += loaded.files
        except errors.BlobfsError as failure:
            below.failures.append(naming(name, failure))


def _loaded(kind: str, blob: BlobId | None, files: int, progress: Progress) -> LoadedPath:
    done = progress.figures()
    return LoadedPath(kind, blob, files, done.blobs, done.bytes, done.loaded_blobs, done.loaded_bytes)


def _all_of(below: _Below) -> errors.BlobfsError:
    first, *others = below.failures
    return naming(f"{len(others) + 1} things could not be loaded; the first", first) if others else first
