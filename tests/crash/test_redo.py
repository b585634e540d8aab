"""What the next start may not bring back: found by tools/crash, kept here without chance."""

import time
from pathlib import Path

from blobfs.model import Name
from blobfs.record import BlobRecord, DirRecord, GoneRecord
from blobfs.store.incoming import Incoming
from blobfs.store.names import make_directory, read_record, remove_directory
from blobfs.store.opening import open_store
from blobfs.store.recovery import find_intents, redo

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
