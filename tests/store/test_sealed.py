"""Whole blobs: how they get into the share, what holds them there, how they go."""

import os
from pathlib import Path

import pytest

from blobfs import errors
from blobfs.model import EMPTY_BLOB, ROOT, BlobId, Name
from blobfs.record import GoneRecord
from blobfs.store import names, sealed
from blobfs.store.incoming import Incoming
from blobfs.store.marks import PINNED, YES, set_mark
from blobfs.store.opening import Store, open_store
from blobfs.store.partial import open_partial
from tests.store.conftest import Mount
from tests.store.sealing import content_of, put_blob, put_name

TWO_LEAVES = b"ab" * 6_000
ABSENT = BlobId("0" * 64)


@pytest.mark.parametrize("raw", [b"", b"x", bytes(8192), bytes(8193), TWO_LEAVES, bytes(3 << 20)])
def test_placed_blob_is_whole_and_read_only(store: Store, raw: bytes) -> None:
    """The share has the bytes and the tree, 0444, with the given time; one leaf has no tree."""
    blob = put_blob(store, raw)
    content = content_of(raw)
    assert blob == content.blob
    path = store.layout.blob(blob)
    assert path.read_bytes() == raw
    assert path.stat().st_mode & 0o777 == 0o444
    assert path.stat().st_mtime_ns == 500
    assert path.stat().st_nlink == 1
    assert sealed.read_tree_file(store, blob) == content.tree
    assert store.layout.tree(blob).exists() == bool(content.tree)
    assert sealed.has(store, blob)
    assert sealed.blob_size(store, blob) == len(raw)
    assert sealed.list_blobs(store) == [blob]


def test_absent_blob(store: Store) -> None:
    """What is not here is None, not an error."""
    assert not sealed.has(store, ABSENT)
    assert sealed.blob_size(store, ABSENT) is None
    assert sealed.open_blob(store, ABSENT) is None
    assert not sealed.drop_blob_if_unnamed(store, ABSENT)
    assert not sealed.set_pinned(store, ABSENT, pinned=True)
    assert not sealed.is_pinned(store, ABSENT)


def test_opened_blob_outlives_its_removal(store: Store) -> None:
    """Who reads a blob reads it to the end."""
    blob = put_blob(store, TWO_LEAVES)
    fd = sealed.open_blob(store, blob)
    assert fd is not None
    assert sealed.drop_blob_if_unnamed(store, blob)
    assert os.pread(fd, 20_000, 0) == TWO_LEAVES
    os.close(fd)


def test_same_content_twice_is_one_blob(store: Store) -> None:
    """The second writer of the same bytes changes nothing."""
    blob = put_blob(store, TWO_LEAVES)
    before = store.layout.blob(blob).stat()
    assert put_blob(store, TWO_LEAVES) == blob
    after = store.layout.blob(blob).stat()
    assert (before.st_ino, before.st_ctime_ns) == (after.st_ino, after.st_ctime_ns)


def test_broken_blob_is_replaced(store: Store) -> None:
    """A blob or tree that a crash left short gives way to the whole one."""
    blob = put_blob(store, TWO_LEAVES)
    store.layout.blob(blob).chmod(0o644)
    store.layout.blob(blob).write_bytes(b"")
    store.layout.tree(blob).unlink()
    put_blob(store, TWO_LEAVES)
    assert store.layout.blob(blob).read_bytes() == TWO_LEAVES
    assert sealed.read_tree_file(store, blob) == content_of(TWO_LEAVES).tree


@pytest.mark.parametrize("raw", [b"", b"x" * 8192, TWO_LEAVES, bytes(2 << 20), os.urandom((2 << 20) + 1)])
def test_hashing_a_file(store: Store, tmp_path: Path, raw: bytes) -> None:
    """A file's content is the same however it came here; a file that ends early has its real size."""
    path = tmp_path / "file"
    path.write_bytes(raw)
    fd = os.open(path, os.O_RDONLY)
    assert sealed.hash_file(store, fd, len(raw)) == content_of(raw)
    assert sealed.hash_file(store, fd, len(raw) + 100) == content_of(raw)
    assert sealed.hash_file(store, fd, 0).blob == EMPTY_BLOB
    os.close(fd)


def test_blob_goes_with_its_last_name(store: Store) -> None:
    """As long as one name means it, it stays; its tree goes with it."""
    blob = put_name(store, "a", TWO_LEAVES).blob
    put_name(store, "b", TWO_LEAVES)
    names.put_gone(store, Name("a"), GoneRecord(2_000))
    assert not sealed.drop_blob_if_unnamed(store, blob)
    names.put_gone(store, Name("b"), GoneRecord(3_000))
    assert sealed.drop_blob_if_unnamed(store, blob)
    assert sealed.list_blobs(store) == []
    assert list(store.layout.trees.iterdir()) == []
    assert set(names.read_directory(store, ROOT)) == {"a", "b"}


def test_kept_and_pinned_blobs_stay(store: Store) -> None:
    """What was written by its id has no name; what was pinned stays until it is unpinned."""
    kept, pinned = put_blob(store, b"kept"), put_blob(store, b"pinned")
    sealed.set_keep(store, kept)
    assert sealed.set_pinned(store, pinned, pinned=True)
    assert sealed.is_pinned(store, pinned)
    assert not sealed.drop_blob_if_unnamed(store, kept)
    assert not sealed.drop_blob_if_unnamed(store, pinned)
    assert sealed.set_pinned(store, pinned, pinned=False)
    assert sealed.set_pinned(store, pinned, pinned=False)
    assert not sealed.is_pinned(store, pinned)
    assert sealed.drop_blob_if_unnamed(store, pinned)
    assert not sealed.drop_blob_if_unnamed(store, kept)


def test_partial_blob_can_be_pinned(store: Store) -> None:
    """A pin set while the blob is loaded is there when it is whole: it is the same file."""
    partial = open_partial(store, ABSENT, 10)
    assert sealed.set_pinned(store, ABSENT, pinned=True)
    assert sealed.is_pinned(store, ABSENT)
    partial.drop()
    assert not sealed.is_pinned(store, ABSENT)


def test_full_disk_leaves_nothing_half_placed(tmp_path: Path, mount: Mount) -> None:
    """When there is no room for the tree, the blob is not listed either."""
    store = open_store(mount("tmpfs", "size=1m", tmp_path / "small") / "store")
    incoming = Incoming.create(store)
    incoming.write(0, bytes(200 * 4096))
    content = incoming.finish()
    with pytest.raises(errors.StoreFull):
        Incoming.create(store).write(0, bytes(1 << 20))
    with pytest.raises(errors.StoreFull):
        sealed.place_blob(store, incoming.path, content, 0)
    assert sealed.list_blobs(store) == []
    assert list(store.layout.trees.iterdir()) == []
    store.close()


def test_foreign_files_among_the_blobs(store: Store) -> None:
    """What is no blob id is not listed, and neither followed."""
    (store.layout.blobs / "README").touch()
    (store.layout.blobs / ABSENT).symlink_to("/etc/passwd")
    with pytest.raises(errors.StoreBroken):
        sealed.open_blob(store, ABSENT)
    assert sealed.list_blobs(store) == [ABSENT]


def test_pin_value_is_one(store: Store) -> None:
    """Any other value than 1 is no pin."""
    blob = put_blob(store, b"x")
    set_mark(store.layout.blob(blob), PINNED, b"0")
    assert not sealed.is_pinned(store, blob)
    set_mark(store.layout.blob(blob), PINNED, YES)
    assert sealed.is_pinned(store, blob)
