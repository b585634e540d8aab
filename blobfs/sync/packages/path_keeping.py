"""What stays on this node and what goes, by name: pin, unpin, evict.

A name means what it means to `path_loading`: a blob, everything below a directory, a blob or a package by its
id. What is not here cannot be pinned or evicted; of a directory that is no error, nor is what has to stay.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from blobfs import errors
from blobfs.model import BlobId, Name
from blobfs.record import BlobRecord
from blobfs.store import packages, sealed
from blobfs.store.eviction import Kept
from blobfs.sync.packages.targets import ById, NamedBlob, NamedDirectory, Target, WholePackage, find_target
from blobfs.sync.service import SyncService


@dataclass(eq=False)
class Touched:
    """What was done. Mutable while it is being done."""

    kind: str
    """blob, package, directory"""
    blobs: int = 0
    """Pinned, unpinned or evicted."""
    bytes: int = 0
    """Freed on the disk."""
    kept: dict[str, int] = field(default_factory=dict)
    """Why something below a directory was left as it is, and how often."""


class PathKeeping:
    """Holds no state of its own."""

    def __init__(self, sync: SyncService) -> None:
        self._sync = sync

    async def evict(self, path: str) -> Touched:
        """Drops the bytes of what was loaded. Raises `NotPermitted` for what has to stay, `NameMissing` for
        what is not here; `NameRefused`, `LoadFailed`, `StoreError`.
        """
        target = await find_target(path, self._sync.lookup)
        if isinstance(target, NamedDirectory):
            return await self._evict_below(target.name)
        key = _key(target)
        if await self._is_package(target):
            return _demand("package", await self._sync.evicting.evict_package(key))
        return _demand("blob", await self._sync.evicting.evict_blob(key))

    async def _is_package(self, target: Target) -> bool:
        """Also what is named by the id of its meta blob, if all of the package is here."""
        match target:
            case WholePackage():
                return True
            case ById(blob):
                return await self._sync.disk.run(packages.is_complete, self._sync.store, blob)
        return False

    async def _evict_below(self, directory: Name) -> Touched:
        done = Touched("directory")
        async for blob in self._below(directory):
            outcome = await self._sync.evicting.evict_blob(blob)
            if not isinstance(outcome, Kept):
                done.blobs += 1
                done.bytes += outcome
            elif outcome is not Kept.MISSING:
                done.kept[outcome.value] = done.kept.get(outcome.value, 0) + 1
        return done

    async def _below(self, directory: Name) -> AsyncIterator[BlobId]:
        """The blobs whose names this node has."""
        for _, entry in await self._sync.namespace.entries_below(directory):
            if isinstance(entry.record, BlobRecord):
                yield entry.record.blob

    async def pin(self, path: str) -> Touched:
        """What is here of it is never evicted. Raises as `evict` does."""
        return await self._set_pinned(path, pinned=True)

    async def unpin(self, path: str) -> Touched:
        """It may be evicted again. Raises as `evict` does."""
        return await self._set_pinned(path, pinned=False)

    async def _set_pinned(self, path: str, *, pinned: bool) -> Touched:
        target = await find_target(path, self._sync.lookup)
        if isinstance(target, NamedDirectory):
            done = Touched("directory")
            async for blob in self._below(target.name):
                done.blobs += await self._mark(blob, pinned)
            return done
        if not await self._mark(
            _key(target), pinned
        ):  # a package stays with its meta blob, and holds the others
            raise errors.NameMissing(str(Kept.MISSING))
        return Touched("package" if await self._is_package(target) else "blob", blobs=1)

    async def _mark(self, key: str, pinned: bool) -> bool:
        return await self._sync.disk.run(sealed.set_pinned, self._sync.store, key, pinned)


def _key(target: NamedBlob | ById | WholePackage) -> BlobId:
    """What it is called in the store: a blob id, or the key of a partial plain file."""
    match target:
        case ById(blob):
            return blob
        case WholePackage(package):
            return package
        case NamedBlob(key=key):
            if key is None:
                raise errors.NameMissing(str(Kept.MISSING))
            return BlobId(key)


def _demand(kind: str, outcome: int | Kept) -> Touched:
    if outcome is Kept.MISSING:
        raise errors.NameMissing(str(outcome))
    if isinstance(outcome, Kept):
        raise errors.NotPermitted(str(outcome))
    return Touched(kind, blobs=1, bytes=outcome)
