"""Packages written into a sync service, as the mount does it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from blobfs.model import BlobId
from blobfs.store import sealed
from blobfs.store.opening import Store
from blobfs.store.packages import is_complete
from blobfs.sync.packages.open_transaction import OpenTransaction
from blobfs.sync.packages.writer import BlobWriter
from blobfs.sync.service import SyncService
from tests.sync.packages.made import Made
from tests.sync.running import written


@asynccontextmanager
async def writing(sync: SyncService, found: OpenTransaction, blob: BlobId) -> AsyncIterator[BlobWriter]:
    """A descriptor, closed at the end whatever happens."""
    writer = sync.open_writer(found, blob)
    try:
        yield writer
    finally:
        await writer.close()


async def put(sync: SyncService, found: OpenTransaction, blob: BlobId, raw: bytes) -> None:
    """Opens, writes, closes; raises what any of that does."""
    async with writing(sync, found, blob) as writer:
        await writer.write(0, raw)
        await writer.flush()


async def begun(sync: SyncService, made: Made) -> OpenTransaction:
    """A transaction that has its meta blob."""
    found = await sync.transactions.open(made.package)
    await put(sync, found, made.package, made.meta)
    return found


async def put_all(sync: SyncService, found: OpenTransaction, made: Made) -> None:
    """What is missing, and what turns out to be."""
    while missing := found.known.missing():
        for blob in missing:
            await put(sync, found, blob, made.blobs[blob])


async def share(sync: SyncService, raw: bytes, name: str) -> None:
    """It comes into the store by another way: under a name."""
    job = written(sync.store, raw, name)
    sync.sealer.submit(job)
    await sync.sealer.wait(job)


def links_of(store: Store, made: Made) -> set[str]:
    """What a complete package holds."""
    return {link.name.removesuffix(".written") for link in store.layout.package(made.package).iterdir()}


def assert_complete(store: Store, made: Made) -> None:
    """All of it is held and right, and its transaction is gone."""
    assert is_complete(store, made.package)
    assert not store.layout.transaction(made.package).exists()
    assert links_of(store, made) == {made.package, *made.blobs}
    for blob, raw in {made.package: made.meta, **made.blobs}.items():
        assert sealed.read_blob(store, blob) == raw
