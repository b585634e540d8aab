"""The bundles of this node's directories: written, brought up to date, removed, verified."""

from pathlib import Path

import pytest

from blobfs import errors
from blobfs.model import Name
from blobfs.record import DirRecord, GoneRecord
from blobfs.store import directory_bundles, names
from blobfs.store.directory_bundles import read_bundles, remove_strays, small_blobs, update_bundles
from blobfs.store.opening import Store
from blobfs.store.survey import survey
from blobfs.store.verify.findings import Done, Finding, Inspection, Kind
from blobfs.store.verify.verifying import verify
from tests.store.sealing import put_blob, put_name

HERE = Name("dir")
CONTENTS = {f"dir/{number}": b"%d" % number * 500 for number in range(10)}


def fill(store: Store, contents: dict[str, bytes] = CONTENTS) -> None:
    if not names.directory_exists(store, HERE):
        names.make_directory(store, HERE, DirRecord(500, 500))
    for name, raw in contents.items():
        put_name(store, name, raw)


def update(store: Store) -> int:
    wanted = {}
    if names.directory_exists(store, HERE):
        wanted = small_blobs(names.read_directory(store, HERE))
    return update_bundles(store, HERE, wanted)


def files(store: Store) -> list[Path]:
    return list(store.layout.bundles.iterdir())


def findings(store: Store, mends: bool) -> list[Finding]:
    return list(verify(Inspection(store, mends=mends)))


def test_a_bundle_is_the_small_blobs_in_the_order_of_the_names(store: Store) -> None:
    """P10: whole, flushed and read-only, as is the list that tells of it; and counted as used."""
    fill(store)
    before, flushes = store.usage.used, store.flushes.file_flushes
    assert update(store) == sum(map(len, CONTENTS.values()))
    (path,) = files(store)
    assert path.read_bytes() == b"".join(CONTENTS.values())
    listed = read_bundles(store, HERE)
    assert listed is not None
    assert [bundle.id for bundle in listed] == [path.name]
    modes = [each.stat().st_mode & 0o7777 for each in (path, store.layout.bundle_list(HERE))]
    assert modes == [0o444, 0o444]
    assert store.usage.used - before == path.stat().st_size
    assert store.flushes.file_flushes - flushes == 2
    assert survey(store, 0).used >= path.stat().st_size
    assert update(store) == 0


def test_what_is_removed_is_in_no_bundle(store: Store) -> None:
    """The bundle that had it goes, with the space that it took."""
    fill(store)
    update(store)
    names.put_gone(store, Name("dir/3"), GoneRecord(9_000))
    update(store)
    (path,) = files(store)
    assert CONTENTS["dir/3"] not in path.read_bytes()
    for number in range(10):
        names.put_gone(store, Name(f"dir/{number}"), GoneRecord(9_000))
    before = store.usage.used
    size = path.stat().st_size
    assert update(store) == 0
    assert (files(store), store.layout.bundle_list(HERE).exists()) == ([], False)
    assert before - store.usage.used == size


def test_what_is_loaded_is_not_bundled(store: Store) -> None:
    """It may be evicted at any time, and its bytes would stay."""
    fill(store)
    entries = {
        component: names.LocalName(entry.record, loaded=True)
        for component, entry in names.read_directory(store, HERE).items()
    }
    assert small_blobs(entries) == {}


def test_a_blob_that_is_not_here_is_left_out(store: Store) -> None:
    """The others are bundled."""
    fill(store)
    listed = small_blobs(names.read_directory(store, HERE))
    store.layout.blob(next(iter(listed))).unlink()
    update(store)
    (path,) = files(store)
    assert path.read_bytes() == b"".join(list(CONTENTS.values())[1:])


def test_no_room_leaves_what_was(store: Store) -> None:
    """A bundle that does not fit into the quota is not written; what is listed is here."""
    fill(store)
    update(store)
    (before,) = files(store)
    fill(store, {f"dir/more{number}": b"more%d" % number * 300 for number in range(10)})
    store.usage.quota = store.usage.used + 100
    with pytest.raises(errors.QuotaExceeded):
        update(store)
    assert files(store) == [before]
    assert [bundle.id for bundle in read_bundles(store, HERE) or ()] == [before.name]


def test_the_end_of_a_directory_is_that_of_its_bundles(store: Store) -> None:
    """And so is that of a list: a crash between bundle and list leaves nothing for good."""
    fill(store)
    update(store)
    for number in range(10):
        names.put_gone(store, Name(f"dir/{number}"), GoneRecord(9_000))
    names.remove_directory(store, HERE, GoneRecord(9_001))
    assert len(files(store)) == 1
    assert update(store) == 0
    assert files(store) == []


def test_bundles_go_where_room_is_scarce(store: Store) -> None:
    """All of them, with their lists; what is in them is here besides."""
    fill(store)
    size, before = update(store), store.usage.used
    assert directory_bundles.drop_bundles(store) == size
    assert (files(store), read_bundles(store, HERE), before - store.usage.used) == ([], None, size)
    assert directory_bundles.drop_bundles(store) == 0
    assert update(store) == size


def test_strays_go_and_packages_stay(store: Store) -> None:
    """A bundle without a mark is a package's."""
    fill(store)
    update(store)
    package = store.layout.bundle(put_blob(store, b"a package"))
    package.write_bytes(b"its small blobs")
    remove_strays(store)
    assert len(files(store)) == 2
    store.layout.bundle_list(HERE).unlink()
    remove_strays(store)
    assert files(store) == [package]


@pytest.mark.parametrize("raw", [b"", b"{}\n", b'{"bundles":1}\n{}\n'])
def test_a_broken_list_is_made_anew(store: Store, raw: bytes) -> None:
    """P8: as one that is missing; what it told of goes or is told of again."""
    fill(store)
    update(store)
    before = files(store)
    path = store.layout.bundle_list(HERE)
    path.chmod(0o644)
    path.write_bytes(raw)
    assert read_bundles(store, HERE) is None
    update(store)
    assert [bundle.id for bundle in read_bundles(store, HERE) or ()] == [before[0].name]
    assert files(store) == before


def test_verify_finds_nothing_in_what_is_right(store: Store) -> None:
    """And counts it."""
    fill(store)
    update(store)
    inspection = Inspection(store, mends=False)
    assert list(verify(inspection)) == []
    assert inspection.progress.counts["bundles"] == 1


def wrong_byte(store: Store, path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(b"!" + path.read_bytes()[1:])


def cut(store: Store, path: Path) -> None:
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:-1])


def lost(store: Store, path: Path) -> None:
    path.unlink()


def broken_list(store: Store, path: Path) -> None:
    listed = store.layout.bundle_list(HERE)
    listed.chmod(0o644)
    listed.write_bytes(b"{")


@pytest.mark.parametrize("harm", [wrong_byte, cut, lost, broken_list])
def test_verify_mends(store: Store, harm: object) -> None:
    """A wrong, short or missing bundle, and a broken list, are told, and made anew from the blobs."""
    fill(store)
    update(store)
    (path,) = files(store)
    assert callable(harm)
    harm(store, path)
    (found, *_) = findings(store, mends=False)
    assert (found.kind, found.done) == (Kind.BUNDLE, Done.NOTHING)
    assert {each.done for each in findings(store, mends=True)} == {Done.REBUILT}
    assert path.read_bytes() == b"".join(CONTENTS.values())
    assert findings(store, mends=True) == []


def test_verify_removes_strays(store: Store) -> None:
    """What a crash between bundle and list has left."""
    fill(store)
    update(store)
    store.layout.bundle_list(HERE).unlink()
    assert [each.done for each in findings(store, mends=False)] == [Done.NOTHING]
    assert [each.done for each in findings(store, mends=True)] == [Done.REMOVED]
    assert files(store) == []


def test_a_missing_bundle_is_made_anew_when_the_directory_changes(store: Store) -> None:
    """Whatever took it."""
    fill(store)
    update(store)
    (path,) = files(store)
    path.unlink()
    assert update(store) == sum(map(len, CONTENTS.values()))
    assert files(store) == [path]


def test_the_directory_of_a_bundle_is_told(store: Store) -> None:
    """Also of the root's."""
    names.rewrite_log(store, Name(""))
    for number in range(10):
        put_name(store, f"n{number}", b"%d" % number * 70)
    update_bundles(store, Name(""), small_blobs(names.read_directory(store, Name(""))))
    assert [directory for _, directory in directory_bundles.directory_bundles(store)] == [""]
    remove_strays(store)
    assert len(files(store)) == 1
