"""What the next start may not bring back: found by tools/crash, kept here without chance."""

import time
from pathlib import Path

import pytest

from blobfs.model import Name
from blobfs.record import BlobRecord, DirRecord, GoneRecord
from blobfs.store import names
from blobfs.store.incoming import Incoming
from blobfs.store.names import make_directory, put_gone, read_record, remove_directory
from blobfs.store.opening import Store, open_store
from blobfs.store.recovery import find_intents, finish_seals, redo
from tests.store.killing import crashes
from tests.store.sealing import mark_sealed, put_name, record_of

DIRECTORY, NAME = Name("d"), Name("d/f")


def test_a_directory_made_again_gets_nothing_of_the_earlier_one(tmp_path: Path):
    """P2: a file that went with its directory does not come back through its redo mark when a directory of
    the same name has been made since; a file that was sealed in the new one does."""
    store = open_store(tmp_path / "store")
    began = time.time_ns()

    def make(at: int) -> None:
        make_directory(store, DIRECTORY, DirRecord(at, at))

    def seal(content: bytes, at: int) -> None:
        incoming = Incoming.create(store)
        incoming.write(0, content)
        made = incoming.finish()
        incoming.set_intent(NAME, BlobRecord(made.blob, made.size, 0o444, at, at))
        incoming.close_fd()

    make(began + 1)
    seal(b"old", began + 2)
    remove_directory(store, DIRECTORY, GoneRecord(began + 3))
    make(began + 4)
    (intent,) = find_intents(store)
    assert not redo(store, intent)
    assert read_record(store, NAME) is None
    intent.path.unlink()
    seal(b"new", began + 5)
    (intent,) = find_intents(store)
    assert redo(store, intent)
    assert (store.layout.share / NAME).read_bytes() == b"new"
    store.close(clean=False)


@pytest.mark.parametrize("can_exchange", [True, False])
def test_a_kill_while_a_directory_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_exchange: bool
):
    """P2: the directory is there, without the file that was removed from it, or its tombstone is; so a redo
    mark brings nothing back. A file system that cannot exchange two names removes it in two steps."""
    if not can_exchange:
        monkeypatch.setattr(names, "exchange", lambda one, other: False)

    def prepare(store: Store) -> None:
        make_directory(store, DIRECTORY, DirRecord(1, 1))
        raw = b"removed"
        record = record_of(raw, 2)
        mark_sealed(store, NAME, raw, record)
        put_name(store, NAME, raw, 2)
        put_gone(store, NAME, GoneRecord(3))

    def remove(store: Store) -> None:
        remove_directory(store, DIRECTORY, GoneRecord(4))

    found = []
    for store in crashes(tmp_path, prepare, remove):
        before = read_record(store, DIRECTORY)
        found.append(None if before is None else type(before.record))
        finish_seals(store)
        if can_exchange:
            assert not isinstance(getattr(read_record(store, NAME), "record", None), BlobRecord)
        assert list(store.layout.incoming.iterdir()) == []
    assert (found[0], found[-1]) == (DirRecord, GoneRecord)
    assert (None in found) != can_exchange
