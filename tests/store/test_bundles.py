"""Bundles: made from blobs that are here, whole when they are seen."""

import os
from pathlib import Path

import pytest

from blobfs import errors
from blobfs.bundle import Member
from blobfs.model import BlobId
from blobfs.store.bundles import has_bundle, write_bundle
from blobfs.store.opening import Store, open_store
from tests.store.conftest import Mount
from tests.store.killing import crashes
from tests.store.sealing import content_of, put_blob

PACKAGE = BlobId("a" * 64)
CONTENTS = [bytes([number]) * (1 + 13_000 * number) for number in range(9)]
BUNDLE = b"".join(CONTENTS)


def members() -> list[Member]:
    offset, found = 0, []
    for raw in CONTENTS:
        found.append(Member(content_of(raw).blob, offset, len(raw)))
        offset += len(raw)
    return found


def put_blobs(store: Store) -> None:
    for raw in CONTENTS:
        put_blob(store, raw)


def test_bundle_is_the_blobs_one_after_the_other(store: Store) -> None:
    """Any web server may read it; it is flushed before it is seen."""
    put_blobs(store)
    assert not has_bundle(store, PACKAGE)
    write_bundle(store, PACKAGE, members())
    assert has_bundle(store, PACKAGE)
    path = store.layout.share / ".blobfs/bundles" / PACKAGE
    assert path.read_bytes() == BUNDLE
    assert path.stat().st_mode & 0o7777 == 0o444
    assert store.flushes.file_flushes == 1


def test_umask_does_not_matter(store: Store) -> None:
    """A strict umask must not hide a bundle from the web server."""
    put_blobs(store)
    before = os.umask(0o077)
    try:
        write_bundle(store, PACKAGE, members())
    finally:
        os.umask(before)
    assert store.layout.bundle(PACKAGE).stat().st_mode & 0o7777 == 0o444


def test_bundle_that_is_here_stays(store: Store) -> None:
    """The second time nothing is written; one of another size is replaced."""
    put_blobs(store)
    write_bundle(store, PACKAGE, members())
    path = store.layout.bundle(PACKAGE)
    before = path.stat()
    write_bundle(store, PACKAGE, members())
    assert path.stat() == before
    path.chmod(0o644)
    path.write_bytes(BUNDLE[:-1])
    write_bundle(store, PACKAGE, members())
    assert path.read_bytes() == BUNDLE


def test_nothing_to_bundle(store: Store) -> None:
    """A package without small blobs has no bundle."""
    write_bundle(store, PACKAGE, [])
    assert not has_bundle(store, PACKAGE)


@pytest.mark.parametrize("change", ["missing", "short", "long"])
def test_blob_that_is_not_as_it_should_be(store: Store, change: str) -> None:
    """A bundle with a hole or with bytes in the wrong place is not made; nothing is left of it."""
    put_blobs(store)
    path = store.layout.blob(members()[4].blob)
    path.chmod(0o644)
    if change == "missing":
        path.unlink()
    else:
        path.write_bytes(CONTENTS[4][:-1] if change == "short" else CONTENTS[4] + b"x")
    with pytest.raises(errors.StoreBroken, match=members()[4].blob):
        write_bundle(store, PACKAGE, members())
    assert not has_bundle(store, PACKAGE)
    assert list(store.layout.incoming.iterdir()) == []


def test_full_disk(tmp_path: Path, mount: Mount) -> None:
    """A bundle there is no room for leaves nothing, and the blobs are as they were."""
    store = open_store(mount("tmpfs", "size=700k", tmp_path / "small") / "store")
    put_blobs(store)
    with pytest.raises(errors.StoreFull):
        write_bundle(store, PACKAGE, members())
    assert not has_bundle(store, PACKAGE)
    assert list(store.layout.incoming.iterdir()) == []
    store.close()


def test_killed_while_it_is_written(tmp_path: Path) -> None:
    """There is a whole bundle, or none."""
    found = []
    for store in crashes(tmp_path, put_blobs, lambda store: write_bundle(store, PACKAGE, members())):
        found.append(has_bundle(store, PACKAGE))
        if found[-1]:
            assert store.layout.bundle(PACKAGE).read_bytes() == BUNDLE
        assert list(store.layout.incoming.iterdir()) == []
    assert found == [False] * (len(found) - 1) + [True]
    assert len(found) > len(CONTENTS)
