"""Many small blobs at once: whole, durable before they are seen, with one flush; and what goes wrong."""

import errno
import logging
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from blobfs import errors
from blobfs.model import EMPTY_BLOB, BlobId
from blobfs.store import sealed
from blobfs.store.opening import Store, open_store
from blobfs.store.packages import abort_transaction, hold_written, open_transaction
from blobfs.store.small import SmallBlob, place_small
from tests.store.conftest import Mount
from tests.store.killing import crashes
from tests.store.sealing import content_of, put_blob, put_name

PACKAGE = BlobId("a" * 64)
ONE_LEAF, FOUR_LEAVES, FULL_LEAF = b"one leaf", b"25 KB" * 5_000, bytes(8192)
CONTENTS = (ONE_LEAF, FOUR_LEAVES, FULL_LEAF, b"", bytes(131_072))


def small_of(raw: bytes) -> SmallBlob:
    content = content_of(raw)
    return SmallBlob(content.blob, raw, content.tree)


def place(store: Store, *contents: bytes, hold: BlobId | None = None) -> None:
    place_small(store, [small_of(raw) for raw in contents], hold)


def is_whole(store: Store, raw: bytes) -> bool:
    content = content_of(raw)
    path = store.layout.blob(content.blob)
    if not path.exists():
        return False
    assert path.read_bytes() == raw
    assert sealed.read_tree_file(store, content.blob) == content.tree
    files = [path, store.layout.tree(content.blob)] if content.tree else [path]
    assert {each.stat().st_mode & 0o7777 for each in files} == {0o444}
    return True


def temps(store: Store) -> list[Path]:
    return list(store.layout.incoming.iterdir())


def collect(store: Store) -> int:
    """Drops what nothing holds; how many blobs are left."""
    for blob in sealed.list_blobs(store):
        sealed.drop_blob_if_unnamed(store, blob)
    return len(sealed.list_blobs(store))


def test_placed_with_one_flush(store: Store) -> None:
    """Blobs of every shape are whole, read-only and without other links; one flush is for all of them."""
    place(store, *CONTENTS)
    assert all(is_whole(store, raw) for raw in CONTENTS)
    assert sealed.has(store, EMPTY_BLOB)
    assert (store.flushes.group_flushes, store.flushes.file_flushes) == (1, 0)
    assert {store.layout.blob(small_of(raw).blob).stat().st_nlink for raw in CONTENTS} == {1}
    assert temps(store) == []


def test_views_are_taken(store: Store) -> None:
    """Bytes that stand in a larger buffer need not be copied for it."""
    buffer = memoryview(b"--" + FOUR_LEAVES + b"--")
    content = content_of(FOUR_LEAVES)
    place_small(store, [SmallBlob(content.blob, buffer[2:-2], content.tree)])
    assert is_whole(store, FOUR_LEAVES)


def test_nothing_to_do(store: Store) -> None:
    """No blobs, or none that is not here: nothing is written and nothing flushed."""
    place(store)
    put_blob(store, FOUR_LEAVES)
    before = store.layout.blob(small_of(FOUR_LEAVES).blob).stat()
    place(store, FOUR_LEAVES, FOUR_LEAVES)
    after = store.layout.blob(small_of(FOUR_LEAVES).blob).stat()
    assert (before.st_ino, before.st_ctime_ns) == (after.st_ino, after.st_ctime_ns)
    assert store.flushes.group_flushes == 0


def test_one_blob_twice(store: Store) -> None:
    """The same blob given twice is written once."""
    place(store, FOUR_LEAVES, ONE_LEAF, FOUR_LEAVES)
    assert len(sealed.list_blobs(store)) == 2
    assert temps(store) == []


def test_umask_does_not_matter(store: Store) -> None:
    """A strict umask must not hide blobs from the web server."""
    before = os.umask(0o777)
    try:
        place(store, *CONTENTS)
    finally:
        os.umask(before)
    assert all(is_whole(store, raw) for raw in CONTENTS)


def test_broken_ones_are_replaced(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """A blob or a tree that a crash left short gives way to the whole one, and the operator is told."""
    place(store, ONE_LEAF, FOUR_LEAVES)
    short = store.layout.blob(small_of(ONE_LEAF).blob)
    short.chmod(0o644)
    short.write_bytes(b"o")
    store.layout.tree(small_of(FOUR_LEAVES).blob).unlink()
    open_transaction(store, PACKAGE)
    os.link(short, store.layout.transaction(PACKAGE) / short.name)
    place(store, ONE_LEAF, FOUR_LEAVES, hold=PACKAGE)
    assert is_whole(store, ONE_LEAF)
    assert is_whole(store, FOUR_LEAVES)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert temps(store) == []
    assert collect(store) == 2


def meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch, change: Callable[[], object]) -> None:
    """Something happens while the blobs are flushed."""
    everything = store.flushes.everything

    def changing() -> None:
        everything()
        change()

    monkeypatch.setattr(store.flushes, "everything", changing)


@pytest.mark.parametrize("hold", [None, PACKAGE])
def test_blob_that_came_meanwhile(store: Store, monkeypatch: pytest.MonkeyPatch, hold: BlobId | None) -> None:
    """A file that names are linked to already is not replaced by another one of the same bytes."""
    open_transaction(store, PACKAGE)
    meanwhile(store, monkeypatch, lambda: put_name(store, "a", FOUR_LEAVES))
    place(store, ONE_LEAF, FOUR_LEAVES, hold=hold)
    named = store.layout.share / "a"
    assert named.samefile(store.layout.blob(small_of(FOUR_LEAVES).blob))
    assert named.stat().st_nlink == (3 if hold else 2)
    assert temps(store) == []


# Holding


def test_held_by_an_open_transaction(store: Store) -> None:
    """Each is held from the first moment, one that was here too; they were loaded: an abort drops none."""
    put_blob(store, ONE_LEAF)
    open_transaction(store, PACKAGE)
    place(store, *CONTENTS, hold=PACKAGE)
    held = {path.name for path in store.layout.transaction(PACKAGE).iterdir()}
    assert held == {small_of(raw).blob for raw in CONTENTS}
    assert collect(store) == len(CONTENTS)
    abort_transaction(store, PACKAGE)
    assert all(is_whole(store, raw) for raw in CONTENTS)
    assert collect(store) == 0
    assert temps(store) == []


def test_written_through_a_transaction(store: Store) -> None:
    """What came here by writing goes with the transaction when it is aborted; what was here before stays."""
    put_blob(store, ONE_LEAF)
    open_transaction(store, PACKAGE)
    place_small(store, [small_of(raw) for raw in CONTENTS], PACKAGE, written=True)
    assert collect(store) == len(CONTENTS)
    abort_transaction(store, PACKAGE)
    assert sealed.list_blobs(store) == [small_of(ONE_LEAF).blob]
    assert list(store.layout.trees.iterdir()) == []
    assert temps(store) == []


def test_held_as_what_it_was(store: Store) -> None:
    """A blob that was written through the transaction stays one that goes with it."""
    open_transaction(store, PACKAGE)
    hold_written(store, PACKAGE, put_blob(store, ONE_LEAF))
    place(store, ONE_LEAF, FOUR_LEAVES, hold=PACKAGE)
    abort_transaction(store, PACKAGE)
    assert not is_whole(store, ONE_LEAF)
    assert is_whole(store, FOUR_LEAVES)


def test_no_transaction_to_hold(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where none is open, or none any more, the blobs are here all the same."""
    place(store, ONE_LEAF, hold=PACKAGE)
    open_transaction(store, PACKAGE)
    meanwhile(store, monkeypatch, lambda: abort_transaction(store, PACKAGE))
    place(store, ONE_LEAF, FOUR_LEAVES, hold=PACKAGE)
    assert is_whole(store, ONE_LEAF)
    assert is_whole(store, FOUR_LEAVES)
    assert temps(store) == []
    assert collect(store) == 0


def test_dropped_while_it_is_looked_for(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob that is seen here, and dropped before it is held, is written."""
    blob = put_blob(store, ONE_LEAF)
    open_transaction(store, PACKAGE)
    link = os.link

    def drop_first(source: str, target: str) -> None:
        monkeypatch.setattr(os, "link", link)
        store.layout.blob(blob).unlink()
        link(source, target)

    monkeypatch.setattr(os, "link", drop_first)
    place(store, ONE_LEAF, hold=PACKAGE)
    assert is_whole(store, ONE_LEAF)
    assert collect(store) == 1


# What goes wrong


def test_full_disk_leaves_no_temps(tmp_path: Path, mount: Mount) -> None:
    """When there is no room for all, none is there and the room is free again."""
    store = open_store(mount("tmpfs", "size=1m", tmp_path / "small") / "store")
    contents = [bytes([number]) * 100_000 for number in range(20)]
    with pytest.raises(errors.StoreFull):
        place(store, *contents)
    assert temps(store) == []
    assert sealed.list_blobs(store) == []
    place(store, *contents[:5])
    assert all(is_whole(store, raw) for raw in contents[:5])
    store.close()


@pytest.mark.parametrize("call", ["rename", "link"])
@pytest.mark.parametrize("hold", [None, PACKAGE])
def test_failure_on_the_way(
    store: Store, monkeypatch: pytest.MonkeyPatch, call: str, hold: BlobId | None
) -> None:
    """What was placed before it stays, the rest leaves nothing."""
    open_transaction(store, PACKAGE)
    real, count = getattr(os, call), 0

    def failing(source: str, target: str) -> None:
        nonlocal count
        count += 1
        if count > 3:
            raise OSError(errno.EIO, "Input/output error")
        real(source, target)

    contents = [bytes([number]) * 10_000 for number in range(8)]
    with monkeypatch.context() as patch:
        patch.setattr(os, call, failing)
        with pytest.raises(errors.StoreBroken):
            place(store, *contents, hold=hold)
    assert 0 < sum(is_whole(store, raw) for raw in contents) < len(contents)
    assert temps(store) == []


def test_failed_flush_places_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bytes that are not known to be durable are not seen."""

    def failing() -> None:
        raise errors.StoreBroken("the disk would not")

    monkeypatch.setattr(store.flushes, "everything", failing)
    with pytest.raises(errors.StoreBroken, match="would not"):
        place(store, *CONTENTS)
    assert sealed.list_blobs(store) == []
    assert list(store.layout.trees.iterdir()) == []
    assert temps(store) == []


@pytest.mark.parametrize(("hold", "written"), [(None, False), (PACKAGE, False), (PACKAGE, True)])
def test_killed_while_they_are_placed(tmp_path: Path, hold: BlobId | None, written: bool) -> None:
    """Whatever is seen after a crash is whole; what is held stays; nothing else is left of it."""

    def prepare(store: Store) -> None:
        open_transaction(store, PACKAGE)

    def place_all(store: Store) -> None:
        place_small(store, [small_of(raw) for raw in CONTENTS], hold, written)

    seen = []
    for store in crashes(tmp_path, prepare, place_all):
        seen.append(sum(is_whole(store, raw) for raw in CONTENTS))
        assert len(sealed.list_blobs(store)) == seen[-1]
        assert temps(store) == []
        held = len(list(store.layout.transaction(PACKAGE).iterdir()))
        assert held in ((seen[-1], seen[-1] - 1) if hold else (0,))
        assert collect(store) == held
        place_all(store)
        assert all(is_whole(store, raw) for raw in CONTENTS)
        abort_transaction(store, PACKAGE)
        assert bool(sealed.list_blobs(store)) == (not written)
    assert seen == sorted(seen)
    assert set(seen) == set(range(len(CONTENTS) + 1))


def test_what_was_written_is_held_for_good(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """[S81] A blob counts when the link that holds it is on the disk: one flush for a batch, after the last
    link, also where all of them were here already. What was loaded waits for none."""
    open_transaction(store, PACKAGE)
    directory, held = store.layout.transaction(PACKAGE), []
    flush = store.flushes.file

    def flushing(fd: int) -> None:
        assert os.path.samestat(os.fstat(fd), directory.stat())
        held.append(len(os.listdir(directory)))
        flush(fd)

    monkeypatch.setattr(store.flushes, "file", flushing)
    place(store, *CONTENTS[:2], hold=PACKAGE)
    assert held == []
    place_small(store, [small_of(raw) for raw in CONTENTS], PACKAGE, written=True)
    assert held == [len(CONTENTS)]
    place_small(store, [small_of(raw) for raw in CONTENTS], PACKAGE, written=True)
    assert held == [len(CONTENTS)] * 2
    abort_transaction(store, PACKAGE)
    place_small(store, [small_of(ONE_LEAF)], PACKAGE, written=True)
    assert len(held) == 2


def test_links_that_the_disk_does_not_keep(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """[S81] Then nobody is told that they count; written once more, they do."""
    open_transaction(store, PACKAGE)

    def failing(fd: int) -> None:
        raise errors.StoreBroken("the disk would not")

    with monkeypatch.context() as patch:
        patch.setattr(store.flushes, "file", failing)
        with pytest.raises(errors.StoreBroken, match="would not"):
            place_small(store, [small_of(ONE_LEAF)], PACKAGE, written=True)
    place_small(store, [small_of(ONE_LEAF)], PACKAGE, written=True)
    assert is_whole(store, ONE_LEAF)
