"""What may be evicted, what goes first, and what a crash at any step of it leaves."""

import os
from pathlib import Path

import pytest

from blobfs import errors
from blobfs.model import BlobId, Name, parse_name
from blobfs.record import BlobRecord
from blobfs.store import names, packages, sealed
from blobfs.store.eviction import (
    Kept,
    evict_blob,
    evict_partial,
    let_go_package,
    loaded_packages,
    restore_link,
)
from blobfs.store.loaded_names import SHORT, is_loaded, noted_names
from blobfs.store.marks import LOADED, YES, set_mark
from blobfs.store.opening import Store
from blobfs.store.partial import open_partial, place_partial
from blobfs.store.small import SmallBlob, place_small
from blobfs.store.survey import survey
from blobfs.store.usage import Usage
from tests.store.killing import crashes
from tests.store.sealing import content_of, put_blob, put_name, record_of

RAW = bytes(range(256)) * 800
"""A blob with a tree."""
SECOND_NS = 10**9


def load(store: Store, raw: bytes, *names_of_it: str) -> BlobId:
    """A blob as it is when it came from a share, with its names."""
    content = content_of(raw)
    partial = open_partial(store, content.blob, len(raw))
    partial.write_chunks(0, raw)
    place_partial(store, partial, content, 500)
    partial.close()
    for text in names_of_it:
        names.put_blob_name(store, parse_name(text), record_of(raw), loaded=True)
    return content.blob


def used_at(store: Store, blob: BlobId, seconds: int) -> None:
    os.utime(store.layout.blob(blob), ns=(seconds * SECOND_NS, 500))


def taken(store: Store) -> int:
    """Bytes of blobs and trees on the disk."""
    paths = [*store.layout.blobs.iterdir(), *store.layout.trees.iterdir()]
    return sum(path.stat().st_blocks * 512 for path in paths)


def test_a_loaded_blob_goes_with_its_links(store: Store):
    """Blob, tree and the links under its names; the records stay."""
    blob = load(store, RAW, "a", "b")
    assert noted_names(store.layout.blob(blob)) == ["a", "b"]
    before = taken(store)
    freed = evict_blob(store, blob)
    assert freed == before > len(RAW)
    assert taken(store) == 0
    assert not store.layout.named(Name("a")).exists()
    found = names.read_record(store, Name("a"))
    assert found is not None
    assert (found.record, found.loaded) == (record_of(RAW), True)
    assert evict_blob(store, blob) is Kept.MISSING


def test_its_link_comes_back_with_it(store: Store):
    """Under the name it had, once; a name whose blob is not here gets none."""
    blob = load(store, RAW, "a")
    evict_blob(store, blob)
    restore_link(store, Name("a"), record_of(RAW), loaded=True)
    assert not store.layout.named(Name("a")).exists()
    load(store, RAW)
    restore_link(store, Name("a"), record_of(RAW), loaded=True)
    assert os.path.samefile(store.layout.named(Name("a")), store.layout.blob(blob))
    assert evict_blob(store, blob) != 0


def test_what_is_never_evicted(store: Store):
    """Own blobs, pinned ones, and what a name of this node, a transaction or a package holds."""
    own = put_name(store, "own", b"own").blob
    assert evict_blob(store, own) is Kept.OWN
    kept = load(store, b"by its id, too")
    sealed.set_keep(store, kept)
    assert evict_blob(store, kept) is Kept.OWN
    pinned = load(store, b"pinned")
    sealed.set_pinned(store, pinned, True)
    assert evict_blob(store, pinned) is Kept.PINNED
    named = load(store, b"named here, too", "loaded")
    names.put_blob_name(store, Name("mine"), record_of(b"named here, too"))
    assert evict_blob(store, named) is Kept.HELD
    needed = load(store, b"needed")
    packages.open_transaction(store, BlobId("a" * 64))
    packages.hold_present(store, BlobId("a" * 64), [needed])
    assert evict_blob(store, needed) is Kept.HELD
    assert {own, kept, pinned, named, needed} == set(sealed.list_blobs(store))
    sealed.set_pinned(store, pinned, False)
    assert evict_blob(store, pinned) != 0


def test_a_name_that_this_node_takes_over_is_its_own(store: Store):
    """What was loaded under a name and is published under it here does not go."""
    blob = load(store, RAW, "a")
    names.put_blob_name(store, Name("a"), record_of(RAW, 2_000))
    assert noted_names(store.layout.blob(blob)) == []
    assert evict_blob(store, blob) is Kept.HELD


def test_a_note_may_be_older_than_the_truth(store: Store):
    """A noted name that means something else by now keeps nothing and loses nothing."""
    blob = load(store, RAW, "a", "b")
    names.put_blob_name(store, Name("a"), record_of(put_and_return(store, b"other"), 2_000))
    assert evict_blob(store, blob) != 0
    assert store.layout.named(Name("a")).read_bytes() == b"other"


def put_and_return(store: Store, raw: bytes) -> bytes:
    put_blob(store, raw)
    return raw


def test_too_many_names(store: Store):
    """A blob whose names do not fit any more stays for good; on a full disk it does not lose its mark."""
    blob = load(store, RAW)
    for number in range(200):
        name = Name(f"{number:0250}")
        names.put_blob_name(store, name, record_of(RAW), loaded=True)
        if not is_loaded(store.layout.blob(blob)):
            break
    assert len(b"\0".join(each.encode() for each in noted_names(store.layout.blob(blob)))) > SHORT
    assert evict_blob(store, blob) is Kept.OWN


def test_partial_blobs(store: Store):
    """All of one goes: bytes, map, tree and names; not what is pinned or was this node's own."""
    blob = content_of(RAW).blob
    partial = open_partial(store, blob, len(RAW))
    partial.write_chunks(0, RAW[: 128 * 1024])
    partial.mark(0, 1)
    partial.save_map()
    partial.add_name(Name("a"), record_of(RAW), "http://share/")
    partial.close()
    sealed.set_pinned(store, blob, True)
    assert evict_partial(store, blob) is Kept.PINNED
    sealed.set_pinned(store, blob, False)
    freed = evict_partial(store, blob)
    assert not isinstance(freed, Kept)
    assert freed >= 128 * 1024
    assert list(store.layout.partial.iterdir()) == []
    assert evict_partial(store, blob) is Kept.MISSING


def test_a_loaded_package_is_let_go(store: Store):
    """One that was loaded, not one that something of was written here; its blobs may go afterwards."""
    for package, written in ((BlobId("a" * 64), False), (BlobId("b" * 64), True)):
        packages.open_transaction(store, package)
        raw = package.encode()
        place_small(store, [SmallBlob(content_of(raw).blob, raw, b"")], hold=package, written=written)
        packages.complete_transaction(store, package)
    loaded = content_of(b"a" * 64).blob
    assert loaded_packages(store) == [BlobId("a" * 64)]
    assert evict_blob(store, loaded) is Kept.HELD
    assert let_go_package(store, BlobId("b" * 64)) is Kept.OWN
    assert let_go_package(store, BlobId("c" * 64)) is Kept.MISSING
    assert let_go_package(store, BlobId("a" * 64)) is None
    assert evict_blob(store, loaded) != 0
    assert sealed.list_blobs(store) == [content_of(b"b" * 64).blob]


def test_the_survey_finds_the_longest_unused(store: Store):
    """As much as is wanted and no more, oldest first; nothing that may not go or is busy."""
    blobs = [load(store, bytes([number]) * 100_000) for number in range(6)]
    for number, blob in enumerate(blobs):
        used_at(store, blob, number)
    sealed.set_pinned(store, blobs[0], True)
    put_blob(store, b"own" * 50_000)
    found = survey(store, 200_000, busy={blobs[2]})
    assert [candidate.key for candidate in found.candidates] == [blobs[1], blobs[3]]
    assert found.used >= taken(store)
    assert found.used == store.usage.used
    assert survey(store, 0).candidates == ()
    assert len(survey(store, 10**9).candidates) == 5


def test_a_use_is_noted(store: Store):
    """Opening a blob to read it makes it the one that was used last."""
    blob = load(store, RAW)
    used_at(store, blob, 1)
    fd = sealed.open_blob(store, blob)
    assert fd is not None
    found = os.fstat(fd)
    os.close(fd)
    assert found.st_atime_ns > 10**9 * SECOND_NS
    assert found.st_mtime_ns == 500


def test_the_quota_is_demanded(store: Store):
    """Who writes more than there may be is refused, and nothing of it stays."""
    store.usage.quota = 100_000
    small = SmallBlob(content_of(b"x" * 60_000).blob, b"x" * 60_000, content_of(b"x" * 60_000).tree)
    place_small(store, [small], hold=None)
    other = SmallBlob(content_of(b"y" * 60_000).blob, b"y" * 60_000, content_of(b"y" * 60_000).tree)
    with pytest.raises(errors.QuotaExceeded):
        place_small(store, [other], hold=None)
    assert sealed.list_blobs(store) == [small.blob]
    assert list(store.layout.incoming.iterdir()) == []


def test_measuring_while_something_comes():
    """What is expected counts before, during and after a measurement; what went meanwhile, too."""
    usage = Usage()
    usage.add(70)
    usage.expect(10)
    begun = usage.begin_measuring()
    usage.expect(5)
    usage.arrived(5)
    usage.measured(100, begun, 1)
    assert usage.used == 100 + 10 + 5
    usage.arrived(10)
    usage.expect(3)
    usage.expect(-3)
    usage.add(-15)
    assert usage.used == 100
    assert usage.is_measured


def test_a_crash_while_a_blob_is_evicted(tmp_path: Path):
    """Whatever step it comes at: the blob is whole and right, or gone; never a name of wrong bytes."""
    record = record_of(RAW)
    seen = set()
    for store in crashes(
        tmp_path, lambda store: load(store, RAW, "a"), lambda store: evict_blob(store, record.blob)
    ):
        is_here = sealed.has(store, record.blob)
        link = store.layout.named(Name("a"))
        if is_here:
            assert store.layout.blob(record.blob).read_bytes() == RAW
            assert store.layout.tree(record.blob).read_bytes() == content_of(RAW).tree
        if link.exists():
            assert link.read_bytes() == RAW
        found = names.read_record(store, Name("a"))
        assert found is not None
        assert isinstance(found.record, BlobRecord)
        seen.add((is_here, link.exists()))
    assert seen == {(True, True), (True, False), (False, False)}


def test_what_another_version_loaded_is_not_evicted(store: Store):
    """A blob without the mark stays, whatever its names' records say."""
    put_blob(store, RAW)
    names.put_blob_name(store, Name("a"), record_of(RAW), loaded=True)
    assert evict_blob(store, content_of(RAW).blob) is Kept.OWN
    set_mark(store.layout.blob(content_of(RAW).blob), LOADED, YES)
    assert evict_blob(store, content_of(RAW).blob) is Kept.HELD
