"""Many small files at once: all of each is there, before and after a crash at any moment."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from blobfs.model import ROOT, Name
from blobfs.record import BlobRecord, DirRecord, GoneRecord
from blobfs.store import batches, names, recovery, sealed
from blobfs.store.batches import Batch, SmallFile
from blobfs.store.opening import Store
from tests.store.conftest import Reopen
from tests.store.killing import crashes
from tests.store.sealing import content_of

CONTENTS = {"a": b"first", "d/b": b"second" * 3_000, "d/c": b"first", "d/\N{SNOWMAN}": b""}
"""One that has a tree, two with one content, one empty; in two directories."""


def batch(store: Store) -> Batch:
    files = [
        SmallFile(Name(name), raw, 0o444, 7_000, 1_000 + number)
        for number, (name, raw) in enumerate(CONTENTS.items())
    ]
    return batches.write(store, files)


def make_directory(store: Store) -> None:
    names.make_directory(store, Name("d"), DirRecord(1, 1))


def is_whole(store: Store, name: str, published_ns: int) -> bool:
    """Whether everything is as one seal would have left it."""
    raw = CONTENTS[name]
    content = content_of(raw)
    entry = names.read_record(store, Name(name))
    path = store.layout.named(Name(name))
    return (
        entry is not None
        and entry.record == BlobRecord(content.blob, len(raw), 0o444, 7_000, published_ns)
        and path.read_bytes() == raw
        and path.samefile(store.layout.blob(content.blob))
        and stat.S_IMODE(path.stat().st_mode) == 0o444
        and path.stat().st_mtime_ns == 7_000
        and sealed.read_tree_file(store, content.blob) == content.tree
    )


def all_whole(store: Store) -> bool:
    for directory in (ROOT, Name("d")):
        if names.read_directory(store, directory) != names.read_records(store, directory):
            return False
    return all(is_whole(store, name, 1_000 + number) for number, name in enumerate(CONTENTS))


def test_they_are_shared(store: Store) -> None:
    """Bytes, tree, record, log line and link of each; nothing is left in incoming/."""
    make_directory(store)
    written = batch(store)
    assert sealed.list_blobs(store) == []
    batches.place(store, written.files)
    assert all_whole(store)
    assert len(sealed.list_blobs(store)) == 3
    batches.forget(store, written.files, [written.redo_list])
    assert list(store.layout.incoming.iterdir()) == []
    assert all_whole(store)


@pytest.fixture
def narrow_umask() -> Iterator[None]:
    found = os.umask(0o077)
    yield
    os.umask(found)


@pytest.mark.usefixtures("narrow_umask")
def test_everybody_may_read_them(store: Store) -> None:
    """Whatever the daemon's umask is: a web server of another user exports them."""
    make_directory(store)
    batches.place(store, batch(store).files)
    assert all_whole(store)
    assert stat.S_IMODE(store.layout.record(Name("a")).stat().st_mode) == 0o444


def test_a_kill_while_they_are_written_leaves_nothing(tmp_path: Path) -> None:
    """P10: none of them is shared before all are on the disk, and what was not finished goes."""
    count = 0
    for again in crashes(tmp_path, make_directory, batch):
        recovery.finish_seals(again)
        assert list(again.layout.incoming.iterdir()) == []
        found = set(names.read_directory(again, Name("d")))
        assert found in (set(), {"b", "c", "\N{SNOWMAN}"})
        count += 1
    assert count > 15


def test_a_kill_while_they_are_placed_loses_none(tmp_path: Path) -> None:
    """P2: from the flush on, at whatever system call it strikes, the next start has all of them."""
    prepared: list[Batch] = []

    def prepare(store: Store) -> None:
        make_directory(store)
        prepared.append(batch(store))

    def place(store: Store) -> None:
        batches.place(store, prepared[-1].files)
        batches.forget(store, prepared[-1].files, [prepared[-1].redo_list])

    count = 0
    for again in crashes(tmp_path, prepare, place):
        recovery.finish_seals(again)
        for directory in (ROOT, Name("d")):
            names.rewrite_log(again, directory)  # as the repair does where a change broke off
        assert all_whole(again)
        assert list(again.layout.incoming.iterdir()) == []
        count += 1
    assert count > 30


def test_what_was_removed_since_stays_removed(store: Store, reopen: Reopen) -> None:
    """A line of the list is not newer than the tombstone."""
    make_directory(store)
    written = batch(store)
    batches.place(store, written.files)
    names.put_gone(store, Name("a"), GoneRecord(5_000))
    again = reopen(store, False)
    recovery.finish_seals(again)
    assert not again.layout.named(Name("a")).exists()
    assert is_whole(again, "d/b", 1_001)


def test_one_that_is_sealed_by_itself_is_not_what_the_list_says(store: Store, reopen: Reopen) -> None:
    """It was renamed before it was shared: its own redo mark counts."""
    make_directory(store)
    written = batch(store)
    incoming = batches.as_incoming(store, written.files[0])
    incoming.set_intent(Name("new"), written.files[0].record)
    incoming.close_fd()
    again = reopen(store, False)
    recovery.finish_seals(again)
    assert not again.layout.named(Name("a")).exists()
    assert again.layout.named(Name("new")).read_bytes() == CONTENTS["a"]


def test_one_that_was_removed_leaves_nothing(store: Store, reopen: Reopen) -> None:
    """Neither now nor after a crash."""
    make_directory(store)
    written = batch(store)
    store.usage.add(len(CONTENTS["d/b"]))
    batches.as_incoming(store, written.files[1]).discard()
    assert store.usage.used == 0
    again = reopen(store, False)
    recovery.finish_seals(again)
    assert not again.layout.named(Name("d/b")).exists()
    assert again.layout.named(Name("a")).exists()


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_a_list_that_was_cut_off_promises_nothing(store: Store, reopen: Reopen, cut: int) -> None:
    """Its flush did not come to its end: all it lists is removed."""
    make_directory(store)
    path = batch(store).redo_list
    path.chmod(0o600)
    os.truncate(path, cut)
    again = reopen(store, False)
    assert recovery.finish_seals(again) == 0
    assert list(again.layout.incoming.iterdir()) == []
    assert names.read_directory(again, Name("d")) == {}


def test_a_file_whose_name_holds_a_link_already(store: Store) -> None:
    """What a change that broke off has left there gives way."""
    make_directory(store)
    store.layout.named(Name("a")).write_bytes(b"left")
    batches.place(store, batch(store).files)
    assert all_whole(store)
