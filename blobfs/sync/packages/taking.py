"""Taking what has arrived for a transaction: it is held, and read if it is a manifest.

A blob is expected before it is looked for, so none can arrive unseen; it is held before it counts, so
nothing can take it away after that.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence

from blobfs import errors
from blobfs.bundle import bundle_members
from blobfs.manifest import MAX_MANIFEST_BYTES, Manifest, parse_manifest
from blobfs.model import BlobId, Invalid
from blobfs.store import packages, sealed
from blobfs.store.opening import Store
from blobfs.sync.arrivals import Arrivals
from blobfs.sync.disk import DiskThreads
from blobfs.sync.packages.open_transaction import OpenTransaction
from blobfs.sync.packages.transaction import Need, Unusable


class Taking:
    """Has no state of its own; the caller has the transaction's lock."""

    def __init__(self, store: Store, disk: DiskThreads, arrivals: Arrivals) -> None:
        self._store = store
        self._disk = disk
        self._arrivals = arrivals

    async def take_arrived(self, found: OpenTransaction) -> None:
        """Until nothing that has arrived is left. Raises `StoreError`: then it is put back."""
        while found.has_arrived and not found.has_failed:
            blobs = found.take_arrived()
            try:
                absent = set(await self._hold(found, {blob: found.known.needs[blob] for blob in blobs}))
                for blob in blobs:
                    if blob not in absent and not found.has_failed:
                        await self._take(found, blob)
            except errors.StoreError:
                found.put_back(blobs)
                raise

    async def _take(self, found: OpenTransaction, blob: BlobId) -> None:
        if blob == found.package:
            found.meta_size = await self._disk.run(sealed.blob_size, self._store, blob)
        if not found.known.needs[blob].is_meta or await self._read_meta(found, blob):
            found.known.take(blob, written=blob in found.written)
            found.progress_ns = time.time_ns()

    async def _hold(self, found: OpenTransaction, needs: Mapping[BlobId, Need]) -> Sequence[BlobId]:
        """Holds those that are here; returns the others. Fails the transaction over a wrong size."""
        if not needs:
            return ()
        absent = await self._disk.run(packages.hold_present, self._store, found.package, list(needs))
        gone = set(absent)
        sizes = {
            blob: need.size for blob, need in needs.items() if blob not in gone and need.size is not None
        }
        wrong = await self._disk.run(_wrong_size, self._store, sizes)
        if wrong is not None:
            found.fail(wrong, "a manifest gives it another size than it has")
        return absent

    async def _read_meta(self, found: OpenTransaction, meta: BlobId) -> bool:
        """Reads a meta blob that is here, and what of nested ones is here; False when one cannot be used."""
        reading = deque([meta])
        while reading:
            blob = reading.popleft()
            try:
                manifest = await self._disk.run(_read_manifest, self._store, blob)
                grown = found.known.grown_by(blob, manifest)
            except (Invalid, Unusable) as reason:
                found.fail(blob, str(reason))
                return False
            found.bundled[blob] = bundle_members(manifest)
            self._arrivals.expect(grown, found.arrived)
            absent = await self._hold(found, grown)
            found.known.grow(grown, absent)
            if found.has_failed:
                return False
            gone = set(absent)
            reading += [each for each, need in grown.items() if need.is_meta and each not in gone]
        return True


def _read_manifest(store: Store, meta: BlobId) -> Manifest:
    """Of a meta blob that is here. Raises `Invalid`, `StoreError`."""
    size = sealed.blob_size(store, meta)
    if size is None:
        raise errors.StoreBroken(f"the meta blob {meta} has gone")
    if size > MAX_MANIFEST_BYTES:
        raise Invalid(f"{size} bytes, a manifest has at most {MAX_MANIFEST_BYTES}")
    return parse_manifest(sealed.read_blob(store, meta))


def _wrong_size(store: Store, sizes: Mapping[BlobId, int]) -> BlobId | None:
    """The first of these blobs that has another size."""
    for blob, size in sizes.items():
        found = sealed.blob_size(store, blob)
        if found is not None and found != size:
            return blob
    return None
