"""Names on the disk: the link, the record, the log, and how they change together."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from blobfs import errors
from blobfs.model import ROOT, Name, parse_name
from blobfs.record import BlobRecord, DirRecord, GoneRecord, SymlinkRecord, decode_log_entries
from blobfs.store import names, sealed
from blobfs.store.logs import read_log
from blobfs.store.marks import CHECK, RECORD, get_mark, remove_mark, set_mark
from blobfs.store.names import LocalName
from blobfs.store.opening import Store
from tests.store.sealing import put_blob, put_name, record_of

DIRECTORY = DirRecord(10, 20)


def log_lines(store: Store, directory: str = "") -> list[bytes]:
    return store.layout.log(Name(directory)).read_bytes().splitlines()


@pytest.mark.parametrize(
    "text",
    ["a", "a b", "a\nb", "a\\b", "%2e%2e", "é", "e\u0301", "日本", "x" * 255, "\x01", "-rf", "*", '"', "a:b"],
)
def test_any_name(store: Store, text: str) -> None:
    """Every name that is valid is a file of that name in the share and comes back from record and log."""
    record = put_name(store, text, b"content of " + text.encode())
    expected = LocalName(record, loaded=False)
    assert os.fsencode(text) in os.listdir(os.fsencode(store.layout.share))
    assert store.layout.named(Name(text)).read_bytes() == b"content of " + text.encode()
    assert names.read_record(store, Name(text)) == expected
    assert names.read_directory(store, ROOT) == {text: expected}


def test_two_spellings_are_two_names(store: Store) -> None:
    """Names are bytes: composed and decomposed letters do not meet."""
    put_name(store, "é", b"1")
    put_name(store, "e\u0301", b"2")
    assert len(names.read_directory(store, ROOT)) == 2
    assert store.layout.named(Name("é")).read_bytes() == b"1"


def test_name_is_a_link_to_the_blob(store: Store) -> None:
    """Two names of one content cost its bytes once."""
    blob = put_name(store, "a", b"same").blob
    put_name(store, "b", b"same")
    inodes = {path.stat().st_ino for path in (store.layout.blob(blob), store.layout.share / "a")}
    assert len(inodes) == 1
    assert store.layout.blob(blob).stat().st_nlink == 3
    assert list(store.layout.incoming.iterdir()) == []


def test_replacing_a_name(store: Store) -> None:
    """The newest meaning counts; readers of the old content keep it."""
    put_name(store, "a", b"old")
    with open(store.layout.share / "a", "rb") as reader:
        record = put_name(store, "a", b"new", 2_000)
        assert reader.read() == b"old"
    assert (store.layout.share / "a").read_bytes() == b"new"
    assert names.read_directory(store, ROOT) == {"a": LocalName(record, loaded=False)}
    assert len(log_lines(store)) == 3


def test_putting_the_same_name_twice(store: Store) -> None:
    """A step that is redone leaves what it left the first time, and no temporary link."""
    put_name(store, "a", b"same")
    put_name(store, "a", b"same")
    assert store.layout.named(Name("a")).stat().st_nlink == 2
    assert list(store.layout.incoming.iterdir()) == []


def test_loaded_names(store: Store) -> None:
    """That a name is another node's is known from its record and from the log, also after a rewrite."""
    put_blob(store, b"x")
    names.put_blob_name(store, Name("a"), record_of(b"x"), loaded=True)
    names.put_symlink(store, Name("s"), SymlinkRecord("a", 1, 2), loaded=True)
    names.make_directory(store, Name("d"), DIRECTORY, loaded=True)
    for name in ("a", "s", "d"):
        entry = names.read_record(store, Name(name))
        assert entry is not None
        assert entry.loaded
        assert names.read_directory(store, ROOT)[name].loaded
    names.rewrite_log(store, ROOT)
    assert all(entry.loaded for entry in names.read_directory(store, ROOT).values())
    names.put_blob_name(store, Name("a"), record_of(b"x", 9_000))
    assert not names.read_directory(store, ROOT)["a"].loaded


def test_name_of_a_missing_blob(store: Store) -> None:
    """A name cannot mean what is not here, and nothing is left of the attempt."""
    with pytest.raises(errors.StoreBroken):
        names.put_blob_name(store, Name("a"), record_of(b"never written"))
    assert names.read_record(store, Name("a")) is None
    assert names.read_directory(store, ROOT) == {}


def test_symlinks_are_records_only(store: Store) -> None:
    """A web server that follows links finds none; a file that had the name is gone."""
    put_name(store, "a", b"x")
    record = SymlinkRecord("b/c", 1, 2_000)
    names.put_symlink(store, Name("a"), record)
    assert [path.name for path in store.layout.share.iterdir()] == [".blobfs"]
    assert names.read_record(store, Name("a")) == LocalName(record, loaded=False)


def test_tombstones(store: Store) -> None:
    """A removed name leaves the time of its removal, in its record and in the log."""
    put_name(store, "a", b"x")
    gone = GoneRecord(2_000)
    names.put_gone(store, Name("a"), gone)
    names.put_gone(store, Name("a"), gone)
    assert not store.layout.named(Name("a")).exists()
    assert names.read_record(store, Name("a")) == LocalName(gone, loaded=False)
    assert names.read_directory(store, ROOT) == {"a": LocalName(gone, loaded=False)}


def test_unknown_names(store: Store) -> None:
    """Nothing is known of what was never there, below a file neither."""
    put_name(store, "a", b"x")
    assert names.read_record(store, Name("b")) is None
    assert names.read_record(store, Name("a/b")) is None
    assert names.read_record(store, Name("b/c")) is None
    assert not names.directory_exists(store, Name("a"))
    with pytest.raises(errors.NameMissing):
        names.read_directory(store, Name("a"))
    with pytest.raises(errors.NameMissing):
        names.read_directory(store, Name("b"))


def test_directories(store: Store) -> None:
    """A directory is one in the share, has a log of its own, and stands in its parent's."""
    assert names.make_directory(store, Name("d"), DIRECTORY)
    assert names.make_directory(store, Name("d/e"), DirRecord(30, 40))
    assert not names.make_directory(store, Name("d"), DirRecord(50, 60))
    record = put_name(store, "d/e/f", b"x")
    assert names.read_directory(store, ROOT) == {"d": LocalName(DIRECTORY, loaded=False)}
    assert names.read_directory(store, Name("d/e")) == {"f": LocalName(record, loaded=False)}
    assert names.read_record(store, Name("d")) == LocalName(DIRECTORY, loaded=False)
    assert names.list_directories(store) == ["", "d", "d/e"]
    assert (store.layout.share / "d/e/f").read_bytes() == b"x"
    for path in (store.layout.share / "d", store.layout.names / "d"):
        assert path.stat().st_mode & 0o777 == 0o755
    assert store.layout.log(Name("d")).stat().st_mode & 0o777 == 0o644


def test_directory_of_an_older_store(store: Store) -> None:
    """A directory without its record (a backup without attributes) has the times of the disk."""
    (store.layout.names / "d").mkdir()
    entry = names.read_record(store, Name("d"))
    assert entry is not None
    changed = (store.layout.names / "d").stat().st_mtime_ns
    assert entry == LocalName(DirRecord(changed, changed), loaded=False)


def test_removing_a_directory(store: Store) -> None:
    """Only tombstones may be in it; it leaves one itself, which gives way when it is made again."""
    names.make_directory(store, Name("d"), DIRECTORY)
    put_name(store, "d/f", b"x")
    with pytest.raises(errors.DirectoryNotEmpty, match="'d' holds 'f'"):
        names.remove_directory(store, Name("d"), GoneRecord(3_000))
    names.put_gone(store, Name("d/f"), GoneRecord(2_000))
    names.remove_directory(store, Name("d"), GoneRecord(3_000))
    assert not (store.layout.share / "d").exists()
    assert names.read_record(store, Name("d")) == LocalName(GoneRecord(3_000), loaded=False)
    assert names.read_directory(store, ROOT) == {"d": LocalName(GoneRecord(3_000), loaded=False)}
    assert names.list_directories(store) == [""]
    assert list(store.layout.incoming.iterdir()) == []
    assert names.make_directory(store, Name("d"), DirRecord(1, 4_000))
    assert names.read_directory(store, Name("d")) == {}


def test_directory_with_something_else_in_it(store: Store) -> None:
    """A file somebody put into the share by hand keeps its directory; nothing is half removed."""
    names.make_directory(store, Name("d"), DIRECTORY)
    (store.layout.share / "d/stray").touch()
    with pytest.raises(errors.DirectoryNotEmpty, match="files that are no names"):
        names.remove_directory(store, Name("d"), GoneRecord(3_000))
    assert names.read_directory(store, Name("d")) == {}


def test_name_becomes_directory_and_back(store: Store) -> None:
    """A tombstone is in nobody's way."""
    put_name(store, "x", b"1")
    names.put_gone(store, Name("x"), GoneRecord(2_000))
    names.make_directory(store, Name("x"), DirRecord(1, 3_000))
    names.remove_directory(store, Name("x"), GoneRecord(4_000))
    record = put_name(store, "x", b"1", 5_000)
    assert names.read_record(store, Name("x")) == LocalName(record, loaded=False)
    assert names.read_directory(store, ROOT) == {"x": LocalName(record, loaded=False)}


def test_log_cut_short(store: Store) -> None:
    """The half line a crash left costs that entry; the next one starts on a line of its own."""
    log = store.layout.log(ROOT)
    before = get_mark(log, CHECK)
    assert before is not None
    put_name(store, "a", b"1")
    log.write_bytes(log.read_bytes()[:-30])
    set_mark(log, CHECK, before)
    assert names.read_directory(store, ROOT) == {}
    put_name(store, "b", b"2")
    assert list(names.read_directory(store, ROOT)) == ["b"]
    assert [entry.component for entry in decode_log_entries(log.read_bytes())] == ["b"]


@pytest.mark.parametrize(
    "broken", [None, b"", b"{", b'{"log":2,"generation":"x"}\n', b'{"log":1,"generation":"x"}']
)
def test_broken_log_is_answered_from_the_records(store: Store, broken: bytes | None) -> None:
    """Without a log, or with one of another version, nothing is lost: it is an index."""
    record = put_name(store, "a", b"1")
    log = store.layout.log(ROOT)
    if broken is None:
        log.unlink()
    else:
        log.write_bytes(broken)
    assert names.read_directory(store, ROOT) == {"a": LocalName(record, loaded=False)}


@pytest.mark.parametrize("damage", [lambda raw: raw[:-1], lambda raw: raw.replace(b'"a"', b'"c"')])
def test_damaged_log_is_answered_from_the_records(store: Store, damage: Callable[[bytes], bytes]) -> None:
    """A log that is not what was written, or not all of it, tells nothing: its lines may say anything."""
    record = put_name(store, "a", b"1")
    other = put_name(store, "b", b"2")
    log = store.layout.log(ROOT)
    log.write_bytes(damage(log.read_bytes()))
    found = names.read_directory(store, ROOT)
    assert found == {"a": LocalName(record, loaded=False), "b": LocalName(other, loaded=False)}


def test_record_that_is_not_what_was_written(store: Store) -> None:
    """It may say anything, too: it counts as none. One without a mark is as old as the format, and counts."""
    record = put_name(store, "a", b"1")
    path = store.layout.record(Name("a"))
    changed = path.read_bytes().replace(b'"0444"', b'"0555"')
    mark = get_mark(path, CHECK)
    path.write_bytes(changed)
    assert mark is not None
    assert names.read_record(store, Name("a")) is None
    remove_mark(path, CHECK)
    assert names.read_record(store, Name("a")) == LocalName(replace(record, mode=0o555), loaded=False)


def test_directory_whose_record_is_not_what_was_written(store: Store) -> None:
    """It is a directory all the same; its own times count."""
    names.make_directory(store, Name("d"), DirRecord(1, 2))
    path = store.layout.record(Name("d"))
    line = get_mark(path, RECORD)
    assert line is not None
    set_mark(path, RECORD, line.replace(b"1970", b"1971"))
    found = names.read_record(store, Name("d"))
    changed = path.stat().st_mtime_ns
    assert found == LocalName(DirRecord(changed, changed), loaded=False)


@pytest.mark.parametrize("left", [None, b""])
def test_missing_log_is_written_anew(store: Store, left: bytes | None) -> None:
    """The first change after a log was lost brings it back with everything in it."""
    put_name(store, "a", b"1")
    log = store.layout.log(ROOT)
    log.unlink()
    if left is not None:
        log.write_bytes(left)
    put_name(store, "b", b"2")
    entries = read_log(store.layout, ROOT)
    assert entries is not None
    assert set(entries) == {"a", "b"}


def test_rewritten_log_is_short_and_of_another_generation(store: Store) -> None:
    """Readers notice by its first line and its last that it is another log, and find each name once."""
    for number in range(5):
        put_name(store, "b", b"%d" % number, 1_000 + number)
    put_name(store, "a", b"x")
    header = log_lines(store)[0]
    expected = names.read_directory(store, ROOT)
    names.rewrite_log(store, ROOT)
    lines = log_lines(store)
    assert len(lines) == 4
    assert lines[0] == lines[-1] != header
    assert list(names.read_directory(store, ROOT)) == ["a", "b"]
    assert names.read_directory(store, ROOT) == expected


@pytest.mark.parametrize("raw", [b"", b"{", b"\0" * 100, b'{"v":2}', b'{"v":1,"kind":"dir","published":"x"}'])
def test_broken_record_is_no_record(store: Store, raw: bytes) -> None:
    """What a crash left of a record says nothing, and stops nothing."""
    put_name(store, "a", b"1")
    (store.layout.names / "b").write_bytes(raw)
    assert names.read_record(store, Name("b")) is None
    assert list(names.read_records(store, ROOT)) == ["a"]


def test_files_that_can_be_no_names_are_passed_over(store: Store) -> None:
    """A file that some tool left in the store is not shown, whatever it is called."""
    for raw in (b"\xff\xfe", b".blobfs-new"):
        Path(os.fsdecode(bytes(store.layout.names) + b"/" + raw)).touch()
    assert names.read_records(store, ROOT) == {}
    assert names.list_directories(store) == [""]


def test_deep_and_long_names(store: Store) -> None:
    """Names up to the limit of 1,024 bytes have a place on the disk."""
    component = "n" * 255
    directory = component
    for _ in range(2):
        names.make_directory(store, Name(directory), DIRECTORY)
        directory = f"{directory}/{component}"
    names.make_directory(store, Name(directory), DIRECTORY)
    name = parse_name(f"{directory}/{'x' * 255}")
    put_name(store, name, b"deep")
    assert store.layout.named(name).read_bytes() == b"deep"


def test_more_names_than_an_inode_may_have(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system has no link left for one content, the name gets a copy; the blob is kept."""
    blob = put_name(store, "a", b"popular").blob

    def no_more_links(source: object, target: object) -> None:
        raise OSError(31, "Too many links")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", no_more_links)
        names.put_blob_name(store, Name("b"), BlobRecord(blob, 7, 0o444, 1, 2_000))
    assert (store.layout.share / "b").read_bytes() == b"popular"
    assert (store.layout.share / "b").stat().st_mode & 0o777 == 0o444
    names.put_gone(store, Name("a"), GoneRecord(3_000))
    assert not sealed.drop_blob_if_unnamed(store, blob)
