"""Opening what the kernel has in memory."""

import os
from pathlib import Path

import pytest

from blobfs.model import CHUNK_SIZE, BlobId
from blobfs.store import cached
from blobfs.store.cached import open_verifiable_cached
from blobfs.store.opening import Store
from blobfs.store.sealed import USE_RESOLUTION_NS
from tests.store.sealing import put_blob

LARGE = b"ab" * CHUNK_SIZE


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("raw", [b"small", LARGE])
def test_what_was_just_made_is_opened_at_once(store: Store, raw: bytes) -> None:
    """With its tree, if it needs one; both are closed with it."""
    blob, before = put_blob(store, raw), descriptors()
    opened = open_verifiable_cached(store, blob)
    assert opened is not None
    assert os.pread(opened.fd, len(raw), 0) == raw
    assert (opened.tree_fd >= 0) == (raw == LARGE)
    assert not os.get_inheritable(opened.fd)
    opened.close()
    assert descriptors() == before


def test_what_must_be_looked_at_is_left_to_a_thread(store: Store) -> None:
    """A blob that is not here, one without its tree, one whose use is to be noted: nothing stays open."""
    blob, before = put_blob(store, LARGE), descriptors()
    assert open_verifiable_cached(store, BlobId("0" * 64)) is None
    path, tree = store.layout.blob(blob), store.layout.tree(blob)
    os.utime(path, ns=(path.stat().st_atime_ns - 2 * USE_RESOLUTION_NS, path.stat().st_mtime_ns))
    assert open_verifiable_cached(store, blob) is None
    os.utime(path, ns=(path.stat().st_atime_ns + 2 * USE_RESOLUTION_NS, path.stat().st_mtime_ns))
    tree.unlink()
    assert open_verifiable_cached(store, blob) is None
    assert descriptors() == before


def test_a_kernel_that_cannot_tell(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is no such call everything is opened in a thread."""
    monkeypatch.setattr(cached, "_OPENAT2", 100_000)
    assert open_verifiable_cached(store, put_blob(store, LARGE)) is None


def test_no_link_is_followed(store: Store) -> None:
    """What stands in a blob's place must be the blob."""
    blob = put_blob(store, b"x")
    path = store.layout.blob(blob)
    path.rename(path.with_name("aside"))
    path.symlink_to("aside")
    assert open_verifiable_cached(store, blob) is None
