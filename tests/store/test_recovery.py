"""After a crash: what was sealed is put in its place, once, whatever happened to its name since."""

import logging
import time
from pathlib import Path

import pytest

from blobfs.model import ROOT, BlobId, Name
from blobfs.record import BlobRecord, DirRecord, GoneRecord, SymlinkRecord
from blobfs.store import names, packages, sealed
from blobfs.store.incoming import Incoming
from blobfs.store.marks import PACKAGE, RECORD, set_mark
from blobfs.store.names import LocalName
from blobfs.store.opening import Store
from blobfs.store.recovery import Intent, find_intents, finish_seals, forget_intents, redo
from tests.store.conftest import Reopen
from tests.store.killing import crashes
from tests.store.sealing import content_of, mark_sealed, put_name, record_of

RAW = b"sealed" * 5_000
NEEDED_BY = BlobId("a" * 64)


def recover(store: Store) -> list[bool]:
    """All of it, as a start does it."""
    intents = find_intents(store)
    redone = [redo(store, intent) for intent in intents]
    forget_intents(store, intents)
    return redone


def snapshot(store: Store) -> dict[str, bytes]:
    return {
        str(path.relative_to(store.layout.root)): path.read_bytes()
        for path in store.layout.share.rglob("*")
        if path.is_file()
    }


def test_redone_after_the_flush(store: Store, reopen: Reopen) -> None:
    """Sealed, flushed, crashed before anything was linked: the name is there after the start."""
    record = record_of(RAW, 2_000)
    mark_sealed(store, Name("a"), RAW, record)
    again = reopen(store, False)
    assert recover(again) == [True]
    assert (again.layout.share / "a").read_bytes() == RAW
    assert (again.layout.share / "a").stat().st_mtime_ns == record.mtime_ns
    assert sealed.read_tree_file(again, record.blob) == content_of(RAW).tree
    assert names.read_directory(again, ROOT) == {"a": LocalName(record, loaded=False)}
    assert list(again.layout.incoming.iterdir()) == []
    assert again.flushes.group_flushes == 2
    assert again.flushes.file_flushes == 0


def test_all_that_was_accepted_is_sealed_with_two_flushes(store: Store, reopen: Reopen) -> None:
    """However many files: one so that what is hashed is on the disk, one before they are forgotten."""
    for number in range(5):
        raw = b"content %d" % number
        mark_sealed(store, Name(f"name{number}"), raw, record_of(raw, 0))
    again = reopen(store, False)
    assert finish_seals(again) == 5
    assert (again.flushes.file_flushes, again.flushes.group_flushes) == (0, 2)
    assert again.layout.named(Name("name3")).read_bytes() == b"content 3"
    assert list(again.layout.incoming.iterdir()) == []
    assert finish_seals(again) == 0


@pytest.mark.parametrize("done", ["blob", "link", "record", "all"])
def test_redone_from_any_step(store: Store, reopen: Reopen, done: str) -> None:
    """A crash after any of the steps, and a redo that crashes too, end in the same state."""
    record = record_of(RAW, 2_000)
    path = mark_sealed(store, Name("a"), RAW, record)
    sealed.place_blob(store, path, content_of(RAW), record.mtime_ns)
    if done != "blob":
        names.link_name(store, Name("a"), record)
    if done == "record":
        log = store.layout.log(ROOT).read_bytes()
        names.put_blob_name(store, Name("a"), record)
        store.layout.log(ROOT).write_bytes(log)
    if done == "all":
        names.put_blob_name(store, Name("a"), record)
    again = reopen(store, False)
    (intent,) = find_intents(again)
    assert redo(again, intent)
    names.rewrite_log(again, ROOT)
    first = {path: raw for path, raw in snapshot(again).items() if not path.endswith("-log")}
    third = reopen(again, False)
    assert recover(third) == [True]
    assert {path: raw for path, raw in snapshot(third).items() if not path.endswith("-log")} == first
    assert names.read_directory(third, ROOT) == {"a": LocalName(record, loaded=False)}
    assert third.layout.blob(record.blob).stat().st_nlink == 2
    assert list(third.layout.incoming.iterdir()) == []


def test_files_without_a_mark_are_removed(store: Store, reopen: Reopen) -> None:
    """What was still being written is not shown half."""
    incoming = Incoming.create(store)
    incoming.write(0, RAW)
    incoming.close_fd()
    cleared = Incoming.create(store)
    cleared.set_intent(Name("a"), record_of(b""))
    cleared.clear_intent()
    cleared.close_fd()
    again = reopen(store, False)
    assert find_intents(again) == []
    assert list(again.layout.incoming.iterdir()) == []


def test_other_bytes_than_marked(store: Store, reopen: Reopen, caplog: pytest.LogCaptureFixture) -> None:
    """A flush that did not come to its end leaves a mark on bytes that are not there: told, and removed."""
    mark_sealed(store, Name("a"), RAW[:-1] + b"\0", record_of(RAW))
    again = reopen(store, False)
    assert recover(again) == [False]
    assert snapshot(again).keys() == {"share/.blobfs/names/.blobfs-log"}
    assert names.read_directory(again, ROOT) == {}
    assert list(again.layout.incoming.iterdir()) == []
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.parametrize("raw", [b"", b"{", b'{"v":1,"kind":"gone","published":"2026-01-01T00:00:00Z"}'])
def test_broken_marks_are_removed(store: Store, reopen: Reopen, raw: bytes) -> None:
    """A mark that says nothing is none."""
    path = mark_sealed(store, Name("a"), RAW, record_of(RAW))
    set_mark(path, RECORD, raw)
    path = mark_sealed(store, None, RAW, record_of(RAW), NEEDED_BY)
    set_mark(path, PACKAGE, raw)
    again = reopen(store, False)
    assert recover(again) == []
    assert list(again.layout.incoming.iterdir()) == []


def test_content_without_a_name_is_kept(store: Store, reopen: Reopen) -> None:
    """What was written by its id stays by its id."""
    record = record_of(RAW)
    mark_sealed(store, None, RAW, record)
    again = reopen(store, False)
    assert recover(again) == [True]
    assert names.read_directory(again, ROOT) == {}
    assert not sealed.drop_blob_if_unnamed(again, record.blob)
    assert again.layout.blob(record.blob).read_bytes() == RAW


def test_content_for_a_package_is_held_by_it(store: Store, reopen: Reopen) -> None:
    """What was written through a transaction is its own again: it goes with it, and with nothing else."""
    record = record_of(RAW)
    packages.open_transaction(store, NEEDED_BY)
    mark_sealed(store, None, RAW, record, NEEDED_BY)
    again = reopen(store, False)
    assert recover(again) == [True]
    assert again.layout.blob(record.blob).read_bytes() == RAW
    assert not sealed.drop_blob_if_unnamed(again, record.blob)
    packages.abort_transaction(again, NEEDED_BY)
    assert sealed.list_blobs(again) == []


def test_content_for_a_package_that_is_complete(store: Store, reopen: Reopen) -> None:
    """It is held by the package, and nothing is added to it."""
    record = record_of(RAW)
    packages.open_transaction(store, NEEDED_BY)
    path = mark_sealed(store, None, RAW, record, NEEDED_BY)
    sealed.place_blob(store, path, content_of(RAW), record.mtime_ns)
    packages.hold_written(store, NEEDED_BY, record.blob)
    packages.complete_transaction(store, NEEDED_BY)
    again = reopen(store, False)
    assert recover(again) == [False]
    assert not sealed.drop_blob_if_unnamed(again, record.blob)
    assert again.layout.blob(record.blob).stat().st_nlink == 2


def test_content_for_a_package_that_was_aborted(store: Store, reopen: Reopen) -> None:
    """Nothing holds it, and so it is dropped when its file in incoming/ has gone."""
    record = record_of(RAW)
    packages.open_transaction(store, NEEDED_BY)
    mark_sealed(store, None, RAW, record, NEEDED_BY)
    packages.abort_transaction(store, NEEDED_BY)
    again = reopen(store, False)
    assert recover(again) == [False]
    assert sealed.drop_blob_if_unnamed(again, record.blob)
    assert sealed.list_blobs(again) == []


def test_content_with_a_name_and_a_package(store: Store, reopen: Reopen) -> None:
    """Both hold it."""
    record = record_of(RAW, 2_000)
    packages.open_transaction(store, NEEDED_BY)
    mark_sealed(store, Name("a"), RAW, record, NEEDED_BY)
    again = reopen(store, False)
    assert recover(again) == [True]
    assert names.read_directory(again, ROOT) == {"a": LocalName(record, loaded=False)}
    assert again.layout.blob(record.blob).stat().st_nlink == 3


def test_killed_while_it_is_redone_for_a_package(tmp_path: Path) -> None:
    """Whatever step of the redo a crash comes after, the next start holds the blob."""

    def prepare(store: Store) -> None:
        packages.open_transaction(store, NEEDED_BY)
        mark_sealed(store, None, RAW, record_of(RAW), NEEDED_BY)

    starts = 0
    for store in crashes(tmp_path, prepare, recover):
        starts += 1
        recover(store)
        assert not sealed.drop_blob_if_unnamed(store, record_of(RAW).blob)
        assert list(store.layout.incoming.iterdir()) == []
        packages.abort_transaction(store, NEEDED_BY)
        assert sealed.list_blobs(store) == []
    assert starts >= 10


@pytest.mark.parametrize("newer", [GoneRecord(3_000), SymlinkRecord("x", 1, 3_000)])
def test_newer_meaning_wins(store: Store, reopen: Reopen, newer: GoneRecord | SymlinkRecord) -> None:
    """A name that was removed or replaced after the seal does not come back, its bytes neither."""
    mark_sealed(store, Name("a"), RAW, record_of(RAW, 2_000))
    if isinstance(newer, GoneRecord):
        names.put_gone(store, Name("a"), newer)
    else:
        names.put_symlink(store, Name("a"), newer)
    again = reopen(store, False)
    intents = find_intents(again)
    assert [redo(again, intent) for intent in intents] == [False]
    forget_intents(again, intents)
    assert names.read_record(again, Name("a")) == LocalName(newer, loaded=False)
    assert not (again.layout.share / "a").exists()


def test_newer_blob_wins_and_older_gives_way(store: Store, reopen: Reopen) -> None:
    """Of two contents of one name the one published later counts."""
    newer = put_name(store, "a", b"newer", 3_000)
    put_name(store, "b", b"older", 1_000)
    mark_sealed(store, Name("a"), RAW, record_of(RAW, 2_000))
    mark_sealed(store, Name("b"), RAW, record_of(RAW, 2_000))
    again = reopen(store, False)
    assert sorted(recover(again)) == [False, True]
    assert names.read_directory(again, ROOT) == {
        "a": LocalName(newer, loaded=False),
        "b": LocalName(record_of(RAW, 2_000), loaded=False),
    }
    assert not sealed.has(again, content_of(b"older").blob)


def test_several_seals_of_one_name(store: Store, reopen: Reopen) -> None:
    """They are redone in the order of their publication, one without a time last."""
    for published, raw in ((0, b"last"), (2_000, b"second"), (1_000, b"first")):
        mark_sealed(store, Name("a"), raw, record_of(raw, published))
    again = reopen(store, False)
    assert recover(again) == [True, True, True]
    assert (again.layout.share / "a").read_bytes() == b"last"


def test_seal_without_its_time(store: Store, reopen: Reopen) -> None:
    """A crash before publication: it is published now, after what it replaces, and at one time only."""
    future = time.time_ns() + 10**15
    names.put_gone(store, Name("a"), GoneRecord(future))
    mark_sealed(store, Name("a"), RAW, record_of(RAW, 0))
    mark_sealed(store, Name("b"), RAW, record_of(RAW, 0))
    again = reopen(store, False)
    before = time.time_ns()
    intents = find_intents(again)
    assert [redo(again, intent) for intent in intents] == [True, True]
    first = names.read_directory(again, ROOT)
    assert first["a"].record == record_of(RAW, future + 1)
    assert first["b"].record.published_ns >= before
    third = reopen(again, False)
    assert recover(third) == [True, True]
    assert names.read_directory(third, ROOT) == first


def test_directory_became_of_the_name(store: Store, reopen: Reopen) -> None:
    """A directory is never replaced by a file."""
    mark_sealed(store, Name("a"), RAW, record_of(RAW, 9_000))
    names.make_directory(store, Name("a"), DirRecord(1, 2_000))
    again = reopen(store, False)
    assert recover(again) == [False]
    assert names.directory_exists(again, Name("a"))


def test_parents_come_back(store: Store, reopen: Reopen) -> None:
    """A directory the crash lost is made again for the file that was promised in it."""
    mark_sealed(store, Name("d/e/a"), RAW, record_of(RAW, 2_000))
    again = reopen(store, False)
    assert recover(again) == [True]
    assert (again.layout.share / "d/e/a").read_bytes() == RAW
    assert names.read_record(again, Name("d")) == LocalName(DirRecord(500, 2_000), loaded=False)


def test_parent_removed_later(store: Store, reopen: Reopen) -> None:
    """A directory that was removed after the seal stays removed."""
    names.make_directory(store, Name("d"), DirRecord(1, 1_000))
    mark_sealed(store, Name("d/a"), RAW, record_of(RAW, 2_000))
    names.remove_directory(store, Name("d"), GoneRecord(3_000))
    again = reopen(store, False)
    assert recover(again) == [False]
    assert names.list_directories(again) == [""]


def test_half_a_tree_is_written_again(store: Store, reopen: Reopen) -> None:
    """The tree of a blob that was linked just before a power cut may have no bytes."""
    record = record_of(RAW, 2_000)
    path = mark_sealed(store, Name("a"), RAW, record)
    sealed.place_blob(store, path, content_of(RAW), record.mtime_ns)
    tree = store.layout.tree(record.blob)
    tree.chmod(0o644)
    tree.write_bytes(bytes(len(content_of(RAW).tree)))
    again = reopen(store, False)
    assert recover(again) == [True]
    assert sealed.read_tree_file(again, record.blob) == content_of(RAW).tree


def test_intents_are_values(store: Store) -> None:
    """What is found says all there is to know about it."""
    record = BlobRecord(content_of(b"x").blob, 1, 0o555, 1, 2)
    path = mark_sealed(store, Name("a b"), b"x", record)
    assert find_intents(store) == [Intent(path, Name("a b"), record)]
    path.unlink()
    path = mark_sealed(store, None, b"x", record, NEEDED_BY)
    assert find_intents(store) == [Intent(path, None, record, NEEDED_BY)]
