"""After an unclean end: records, links and logs are brought in line, and nothing is thrown away."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from blobfs.model import ROOT, Name
from blobfs.record import BlobRecord, DirRecord, GoneRecord, SymlinkRecord
from blobfs.store import names, sealed
from blobfs.store.marks import LOADED, RECORD, YES, get_mark, set_mark
from blobfs.store.names import LocalName
from blobfs.store.opening import Store
from blobfs.store.repair import repair_directory
from tests.store.sealing import put_blob, put_name, record_of

RAW = b"content" * 3_000


@pytest.fixture
def filled(store: Store) -> Store:
    """Of everything one."""
    names.make_directory(store, Name("dir"), DirRecord(1, 2))
    put_name(store, "blob", RAW)
    put_name(store, "dir/inner", b"inner")
    names.put_symlink(store, Name("link"), SymlinkRecord("blob", 1, 2))
    put_name(store, "removed", b"removed")
    names.put_gone(store, Name("removed"), GoneRecord(5_000))
    return store


def quarantined(store: Store) -> list[bytes]:
    return [path.read_bytes() for path in store.layout.quarantine.iterdir()]


def repair(store: Store) -> list[bool]:
    return [repair_directory(store, directory) for directory in names.list_directories(store)]


def test_sound_directories_are_left_alone(filled: Store) -> None:
    """What is in line is not written to: the logs keep their generations."""
    before = filled.layout.log(ROOT).read_bytes()
    assert repair(filled) == [False, False]
    assert filled.layout.log(ROOT).read_bytes() == before
    assert not repair_directory(filled, Name("nowhere"))


def cut_log(store: Store) -> None:
    log = store.layout.log(ROOT)
    log.write_bytes(log.read_bytes()[:-10])


def lose_log(store: Store) -> None:
    store.layout.log(ROOT).unlink()


def empty_log(store: Store) -> None:
    store.layout.log(ROOT).write_bytes(b"")


def forget_line(store: Store) -> None:
    """The record was written, its line not."""
    log = store.layout.log(ROOT).read_bytes()
    put_name(store, "late", RAW)
    store.layout.log(ROOT).write_bytes(log)


def lose_link(store: Store) -> None:
    (store.layout.share / "blob").unlink()


def wrong_link(store: Store) -> None:
    """The link of a newer meaning whose record was not written."""
    put_blob(store, b"newer")
    names.link_name(store, Name("blob"), record_of(b"newer"))


def stray_link(store: Store) -> None:
    put_blob(store, b"stray")
    names.link_name(store, Name("stray"), record_of(b"stray"))


def link_of_tombstone(store: Store) -> None:
    put_blob(store, b"removed")
    names.link_name(store, Name("removed"), record_of(b"removed"))


def link_of_symlink(store: Store) -> None:
    names.link_name(store, Name("link"), record_of(RAW))


def lose_shared_directory(store: Store) -> None:
    (store.layout.share / "dir/inner").unlink()
    (store.layout.share / "dir").rmdir()


def stray_directory(store: Store) -> None:
    (store.layout.share / "half-made").mkdir()


def other_loaded_mark(store: Store) -> None:
    record = store.layout.names / "blob"
    set_mark(record, LOADED, YES)


@pytest.mark.parametrize(
    "damage",
    [
        cut_log,
        lose_log,
        empty_log,
        forget_line,
        lose_link,
        wrong_link,
        stray_link,
        link_of_tombstone,
        link_of_symlink,
        lose_shared_directory,
        stray_directory,
        other_loaded_mark,
    ],
)
def test_damage_is_repaired(filled: Store, damage: Callable[[Store], None]) -> None:
    """Whatever a crash left undone: afterwards log, records and links say the same, and a second repair
    finds nothing."""
    damage(filled)
    assert True in repair(filled)
    assert repair(filled) == [False, False]
    assert names.read_directory(filled, ROOT) == names.read_records(filled, ROOT)
    shared = {str(path.relative_to(filled.layout.share)) for path in filled.layout.share.iterdir()}
    late = {"late"} if damage is forget_line else set()
    assert shared == {".blobfs", "blob", "dir"} | late
    assert (filled.layout.share / "blob").read_bytes() == RAW
    assert (filled.layout.share / "dir/inner").read_bytes() == b"inner"
    assert (filled.layout.share / "blob").stat().st_ino == filled.layout.blob(
        record_of(RAW).blob
    ).stat().st_ino
    assert quarantined(filled) == []


@pytest.mark.parametrize("raw", [b"", b"{", b"\0" * 300])
def test_broken_record_is_restored_from_the_log(filled: Store, raw: bytes) -> None:
    """The log says what the name meant; what was broken is kept for the operator."""
    before = names.read_records(filled, ROOT)
    record = filled.layout.names / "blob"
    record.unlink()
    record.write_bytes(raw)
    assert repair_directory(filled, ROOT)
    assert names.read_records(filled, ROOT) == before
    assert quarantined(filled) == [raw]
    assert not repair_directory(filled, ROOT)


def test_broken_record_is_restored_from_the_file(filled: Store) -> None:
    """Where the log is broken too the blob under the name is what it means, as old as that is."""
    record = filled.layout.names / "blob"
    record.unlink()
    record.write_bytes(b"{")
    empty_log(filled)
    assert repair_directory(filled, ROOT)
    found = names.read_record(filled, Name("blob"))
    assert found == LocalName(BlobRecord(record_of(RAW).blob, len(RAW), 0o444, 500, 500), loaded=False)
    assert not repair_directory(filled, ROOT)


def test_broken_record_of_which_nothing_is_left(filled: Store) -> None:
    """No log, no file: the name is gone, and an operator can see what there was of it."""
    record = filled.layout.names / "link"
    record.unlink()
    record.write_bytes(b"{")
    empty_log(filled)
    assert repair_directory(filled, ROOT)
    assert "link" not in names.read_directory(filled, ROOT)
    assert quarantined(filled) == [b"{"]
    assert not repair_directory(filled, ROOT)


def test_lost_blob_comes_back_from_its_name(filled: Store) -> None:
    """A link in the share whose blob is gone may be all there is of it: it is verified and linked back."""
    blob = record_of(RAW).blob
    filled.layout.blob(blob).unlink()
    filled.layout.tree(blob).unlink()
    assert repair_directory(filled, ROOT)
    assert filled.layout.blob(blob).read_bytes() == RAW
    assert sealed.read_tree_file(filled, blob)
    assert not repair_directory(filled, ROOT)


def test_wrong_only_copy_goes_to_quarantine(filled: Store) -> None:
    """A file under a name that is not what the record says is kept out of the share, but kept."""
    for path in (filled.layout.share / "blob", filled.layout.share / "stray"):
        path.unlink(missing_ok=True)
        path.write_bytes(b"somebody's")
    assert repair_directory(filled, ROOT)
    assert (filled.layout.share / "blob").read_bytes() == RAW
    assert not (filled.layout.share / "stray").exists()
    assert quarantined(filled) == [b"somebody's"] * 2


def test_symlinks_on_the_disk_go_to_quarantine(filled: Store) -> None:
    """A web server might follow them out of the share."""
    for name in ("blob", "stray", "dir/inner"):
        (filled.layout.share / name).unlink(missing_ok=True)
        (filled.layout.share / name).symlink_to("/etc/passwd")
    assert repair(filled) == [True, True]
    assert not [path for path in filled.layout.share.rglob("*") if path.is_symlink()]
    assert len(list(filled.layout.quarantine.iterdir())) == 3
    assert (filled.layout.share / "blob").read_bytes() == RAW


def test_names_whose_blob_is_not_here(filled: Store) -> None:
    """A record without bytes is a name that must be loaded: nothing to repair."""
    blob = record_of(RAW).blob
    (filled.layout.share / "blob").unlink()
    assert sealed.drop_blob_if_unnamed(filled, blob)
    assert not repair_directory(filled, ROOT)
    assert names.read_record(filled, Name("blob")) is not None


def test_copies_count_as_links(filled: Store) -> None:
    """Where a blob has too many links its names are copies; they are in order."""
    path = filled.layout.share / "blob"
    path.unlink()
    path.write_bytes(RAW)
    assert not repair_directory(filled, ROOT)
    assert quarantined(filled) == []


def test_stray_directory_with_files_is_left(filled: Store) -> None:
    """What somebody put there by hand is not ours to remove."""
    stray = filled.layout.share / "mine"
    stray.mkdir()
    (stray / "file").touch()
    assert not repair_directory(filled, ROOT)
    assert (stray / "file").exists()


def test_directory_in_the_place_of_a_blob(filled: Store) -> None:
    """If it cannot be removed the name stays without its file, and the repair goes on with the rest."""
    path = filled.layout.share / "blob"
    path.unlink()
    path.mkdir()
    (path / "file").touch()
    os.unlink(filled.layout.share / "dir/inner")
    assert repair(filled) == [False, True]
    (path / "file").unlink()
    assert repair(filled) == [True, False]
    assert path.read_bytes() == RAW


def test_quarantined_names_are_readable(store: Store) -> None:
    """The operator sees what it was, whatever the name was made of."""
    for name in ("x" * 255, "é\n", "a b"):
        Path(store.layout.share / name).write_bytes(b"stray")
    assert repair_directory(store, ROOT)
    kept = sorted(path.name.partition("-")[2] for path in store.layout.quarantine.iterdir())
    assert [name for name in kept if name == "a b"] == ["a b"]
    assert max(map(len, kept)) == 80


def test_a_record_without_its_bytes_has_a_copy(filled: Store, caplog: pytest.LogCaptureFixture) -> None:
    """P2: a power cut may leave a record with zeros in it, or with nothing: its copy counts, at once. Repair
    writes the file anew, which is no news. One with a redo mark has no copy, nor has what was loaded."""
    record = record_of(RAW)
    names.put_blob_name(filled, Name("blob"), record)
    before = names.read_records(filled, ROOT)
    for name, raw in (("blob", bytes(200)), ("link", b"")):
        path = filled.layout.record(Name(name))
        written = path.read_bytes()
        path.chmod(0o644)
        path.write_bytes(raw)
        assert names.read_records(filled, ROOT) == before
        assert repair_directory(filled, ROOT)
        assert path.read_bytes() == written
        assert not repair_directory(filled, ROOT)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]
    names.put_blob_name(filled, Name("blob"), record, redone=True)
    assert get_mark(filled.layout.record(Name("blob")), RECORD) is None
    names.put_blob_name(filled, Name("blob"), record, loaded=True)
    assert get_mark(filled.layout.record(Name("blob")), RECORD) is None


def test_a_long_symlink_is_on_the_disk_before_it_is_seen(filled: Store) -> None:
    """What is too long for an attribute is flushed instead."""
    flushed = filled.flushes.file_flushes
    names.put_symlink(filled, Name("long"), SymlinkRecord("t" * 600, 1, 2))
    assert filled.flushes.file_flushes == flushed + 1
    names.put_symlink(filled, Name("short"), SymlinkRecord("t", 1, 2))
    assert filled.flushes.file_flushes == flushed + 1
