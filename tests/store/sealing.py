"""Short ways to get something into a store, for tests of what comes after."""

from pathlib import Path

from blobfs.merkle import StreamHasher
from blobfs.model import BlobId, Name, parse_name
from blobfs.record import BlobRecord
from blobfs.store import names, sealed
from blobfs.store.incoming import Incoming
from blobfs.store.opening import Store
from blobfs.store.sealed import Content


def content_of(raw: bytes) -> Content:
    """What hashing `raw` must give, from the reference hasher."""
    hasher = StreamHasher()
    hasher.append(raw)
    tree = hasher.finish()
    return Content(tree.root, tree.size, tree.tree)


def record_of(raw: bytes, published_ns: int = 1_000) -> BlobRecord:
    return BlobRecord(content_of(raw).blob, len(raw), 0o444, 500, published_ns)


def put_blob(store: Store, raw: bytes) -> BlobId:
    """A whole blob without a name."""
    incoming = Incoming.create(store)
    incoming.write(0, raw)
    content = incoming.finish()
    sealed.place_blob(store, incoming.path, content, 500)
    incoming.discard()
    return content.blob


def put_name(store: Store, text: str, raw: bytes, published_ns: int = 1_000) -> BlobRecord:
    """A named blob, as it is after its seal."""
    put_blob(store, raw)
    record = record_of(raw, published_ns)
    names.put_blob_name(store, parse_name(text), record, redone=True)
    return record


def mark_sealed(
    store: Store, name: Name | None, raw: bytes, record: BlobRecord, package: BlobId | None = None
) -> Path:
    """A file in incoming/ as a crash after the flush leaves it."""
    incoming = Incoming.create(store)
    incoming.write(0, raw)
    incoming.set_intent(name, record, package)
    incoming.close_fd()
    return incoming.path
