"""A whole blob that was found wrong: out of the share at once, and nothing that is right of it is lost."""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from blobfs import errors
from blobfs.model import CHUNK_SIZE, BlobId, Name
from blobfs.record import DirRecord
from blobfs.store import demotion, names, packages, sealed
from blobfs.store.demotion import Became, demote, hold_again, list_demoted
from blobfs.store.marks import DEMOTED, KEEP, LOADED, YES, get_mark, set_mark
from blobfs.store.opening import Store
from blobfs.store.partial import list_partials, open_partial, place_partial
from blobfs.store.waiting import read_waiting
from tests.store.conftest import Reopen
from tests.store.sealing import content_of, put_blob, put_name, record_of

RAW = bytes(range(253)) * 4_000
"""Eight chunks, the last one short."""
BLOB = content_of(RAW).blob
SMALL = b"one leaf"
PACKAGE, OTHER = BlobId("a" * 64), BlobId("b" * 64)


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        byte = os.pread(file.fileno(), 1, offset)
        os.pwrite(file.fileno(), bytes([byte[0] ^ 4]), offset)


def in_the_share(store: Store) -> list[str]:
    """Files with bytes; the records are none."""
    root = store.layout.share
    return sorted(
        str(path.relative_to(root)).replace(BLOB, "BLOB")
        for path in root.rglob("*")
        if path.is_file() and not path.is_relative_to(store.layout.names)
    )


def mend(store: Store) -> None:
    """As a load does it that has found everything."""
    partial = open_partial(store, BLOB, len(RAW))
    assert partial.claimed(0, 8) == [(0, 8)]
    partial.write_chunks(0, RAW)
    partial.mark(0, 8)
    place_partial(store, partial, content_of(RAW), 500)
    partial.close()


def test_it_leaves_the_share_under_every_name(store: Store) -> None:
    """P10: not by its id, not by a name, not its tree; its records stay, and its bytes for what is right."""
    put_name(store, "a", RAW)
    names.make_directory(store, Name("d"), DirRecord(1, 1))
    put_name(store, "d/b", RAW)
    put_name(store, "c", b"other")
    flip(store.layout.blob(BLOB), 5)
    done = demote(store, BLOB)
    assert (done.became, done.size, sorted(done.names)) == (Became.PARTIAL, len(RAW), ["a", "d/b"])
    assert in_the_share(store) == [f".blobfs/blobs/{content_of(b'other').blob}", "c"]
    for name in "a", "d/b":
        entry = names.read_record(store, Name(name))
        assert entry is not None
        assert entry.record == record_of(RAW)
    assert list_partials(store) == [(BLOB, len(RAW))]
    assert list_demoted(store) == [(BLOB, len(RAW))]
    partial = open_partial(store, BLOB, len(RAW))
    assert partial.is_demoted
    assert partial.claimed(0, 8) == [(0, 8)]
    assert partial.read(6, len(RAW)) == RAW[6:]
    assert partial.read_tree(0, 10_000).startswith(content_of(RAW).tree)
    assert sorted(each.name for each in partial.names()) == ["a", "d/b"]
    partial.close()


def test_whole_again_it_is_held_as_before(store: Store) -> None:
    """The packages and transactions that held it never let go: their links are the file that is mended."""
    put_name(store, "a", RAW)
    for package in PACKAGE, OTHER:
        packages.open_transaction(store, package)
        assert packages.hold_present(store, package, [BLOB]) == []
    packages.complete_transaction(store, PACKAGE)
    flip(store.layout.blob(BLOB), 5)
    assert demote(store, BLOB).names == (Name("a"),)
    assert packages.is_complete(store, PACKAGE)
    mend(store)
    links = [store.layout.package(PACKAGE) / BLOB, store.layout.transaction(OTHER) / BLOB]
    assert all(os.path.samefile(link, store.layout.blob(BLOB)) for link in links)
    assert get_mark(store.layout.blob(BLOB), DEMOTED) is None
    assert hold_again(store, BLOB) == 0
    assert not sealed.drop_blob_if_unnamed(store, BLOB)
    assert sealed.read_blob(store, BLOB) == RAW


def test_here_anew_it_is_held_again(store: Store) -> None:
    """Somebody wrote the blob while the old file was wrong: who held that one gets the new one."""
    put_name(store, "a", RAW)
    packages.open_transaction(store, PACKAGE)
    packages.hold_present(store, PACKAGE, [BLOB])
    packages.complete_transaction(store, PACKAGE)
    flip(store.layout.blob(BLOB), 5)
    demote(store, BLOB)
    assert hold_again(store, BLOB) == 0  # there is nothing to hold yet
    put_blob(store, RAW)
    assert hold_again(store, BLOB) == 1
    assert os.path.samefile(store.layout.package(PACKAGE) / BLOB, store.layout.blob(BLOB))
    assert not sealed.drop_blob_if_unnamed(store, BLOB)


def test_of_one_leaf_nothing_is_worth_keeping(store: Store) -> None:
    """It is missing then, and the operator has its bytes; who held it holds what it will be."""
    blob = put_name(store, "s", SMALL).blob
    packages.open_transaction(store, PACKAGE)
    packages.hold_present(store, PACKAGE, [blob])
    flip(store.layout.blob(blob), 0)
    assert demote(store, blob).became is Became.QUARANTINED
    (kept,) = store.layout.quarantine.iterdir()
    assert kept.read_bytes() == b"kne leaf"
    assert in_the_share(store) == []
    partial = open_partial(store, blob, len(SMALL))
    assert partial.missing(0, 1) == [(0, 1)]
    partial.write_chunks(0, SMALL)
    partial.mark(0, 1)
    place_partial(store, partial, content_of(SMALL), 500)
    partial.close()
    assert os.path.samefile(store.layout.transaction(PACKAGE) / blob, store.layout.blob(blob))
    assert sealed.read_blob(store, blob) == SMALL


def test_a_load_under_way_is_left_alone(store: Store) -> None:
    """Two files cannot be one partial blob: the one that was whole goes to quarantine."""
    partial = open_partial(store, BLOB, len(RAW))
    put_name(store, "a", RAW)
    flip(store.layout.blob(BLOB), 5)
    assert demote(store, BLOB).became is Became.QUARANTINED
    assert in_the_share(store) == []
    assert len(list(store.layout.quarantine.iterdir())) == 1
    assert [each.name for each in partial.names()] == ["a"]
    partial.write_chunks(0, RAW)
    partial.mark(0, 8)
    place_partial(store, partial, content_of(RAW), 500)
    partial.close()
    assert sealed.read_blob(store, BLOB) == RAW


@pytest.mark.parametrize("has", [0, 1, CHUNK_SIZE, len(RAW) - 1, len(RAW) + 1, len(RAW) + CHUNK_SIZE])
def test_of_another_size_than_it_should_have(store: Store, has: int) -> None:
    """Cut short or grown, it gets its size back: the chunks that are right are found right there."""
    put_blob(store, RAW)
    os.truncate(store.layout.blob(BLOB), has)
    done = demote(store, BLOB, len(RAW))
    assert (done.became, done.size) == (Became.PARTIAL, len(RAW))
    assert list_partials(store) == [(BLOB, len(RAW))]
    partial = open_partial(store, BLOB, len(RAW))
    assert partial.claimed(0, 8) == [(0, 8)]
    assert partial.read(0, has) == RAW[:has]
    partial.close()


def test_what_is_not_there_any_more(store: Store) -> None:
    """The blob was dropped, or has come anew: nothing is done."""
    assert demote(store, BLOB).became is Became.GONE
    put_name(store, "a", RAW)
    inode = store.layout.blob(BLOB).stat().st_ino
    assert demote(store, BLOB, inode=inode + 1).became is Became.GONE
    assert sealed.read_blob(store, BLOB) == RAW
    assert demote(store, BLOB, inode=inode).became is Became.PARTIAL
    assert demote(store, BLOB, inode=inode).became is Became.GONE


@pytest.mark.parametrize("loaded", [True, False])
def test_its_marks_stay(store: Store, loaded: bool) -> None:
    """What is this node's own is not taken for loaded afterwards, and so never evicted; nor the reverse."""
    put_blob(store, RAW)
    set_mark(store.layout.blob(BLOB), KEEP, YES)
    if loaded:
        set_mark(store.layout.blob(BLOB), LOADED, YES)
        names.put_blob_name(store, Name("a"), record_of(RAW), loaded=True)
    assert demote(store, BLOB).names == ((Name("a"),) if loaded else ())
    mend(store)
    assert get_mark(store.layout.blob(BLOB), LOADED) == (YES if loaded else None)
    assert get_mark(store.layout.blob(BLOB), KEEP) == YES


def test_a_name_whose_record_is_broken_leaves_the_share_too(store: Store) -> None:
    """What its link is, and not what its record says, decides what others may get to see."""
    put_name(store, "a", RAW)
    store.layout.record(Name("a")).write_bytes(b"{}")
    assert demote(store, BLOB).names == ()
    assert in_the_share(store) == []


STEPS: list[tuple[object, str]] = [
    (demotion, "add_waiting"),
    (demotion, "claim_all"),
    (demotion, "set_mark"),
    (Path, "chmod"),
    (demotion, "_unlink_all"),
    (os, "rename"),
]


@pytest.mark.parametrize("call", STEPS, ids=[name for _, name in STEPS])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("after", [False, True])
def test_cut_off_at_any_step(
    store: Store,
    reopen: Reopen,
    monkeypatch: pytest.MonkeyPatch,
    call: tuple[object, str],
    count: int,
    after: bool,
) -> None:
    """P2: whatever the last step was, the blob is either still in the share, to be found wrong again, or a
    partial one that can be resumed; its name is not lost."""
    put_name(store, "a", RAW)
    flip(store.layout.blob(BLOB), 5)
    crash = _Crash(getattr(*call), count, after)
    monkeypatch.setattr(*call, crash)
    with contextlib.suppress(SystemExit):
        demote(store, BLOB)
    monkeypatch.undo()
    again = reopen(store, False)
    found = list_partials(again)
    if again.layout.blob(BLOB).exists():
        assert found == []
        assert demote(again, BLOB).became is Became.PARTIAL
    else:
        assert found == [(BLOB, len(RAW))]
        assert [each.name for each in read_waiting(again.layout, BLOB)] == ["a"]
    partial = open_partial(again, BLOB, len(RAW))
    assert partial.claimed(0, 8) == [(0, 8)]
    assert partial.read_tree(0, 10_000).startswith(content_of(RAW).tree)
    partial.close()
    assert in_the_share(again) == []


class _Crash:
    """Ends everything at the n-th call, before or after it."""

    def __init__(self, call: Callable[..., object], count: int, after: bool) -> None:
        self._call = call
        self._left = count
        self._after = after

    def __call__(self, *args: object, **more: object) -> object:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise SystemExit
        result = self._call(*args, **more)
        if self._left == 0:
            raise SystemExit
        return result

    def __get__(self, instance: object, owner: type) -> Callable[..., object]:
        return (lambda *args, **more: self(instance, *args, **more)) if instance is not None else self


def test_a_full_disk_keeps_nothing_wrong_in_the_share(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """P10: without room for a map or the names the blob leaves the share all the same, and can be resumed."""
    put_name(store, "a", RAW)

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def too_full(*_: object) -> None:
        raise errors.StoreFull("full")

    monkeypatch.setattr(demotion, "claim_all", full)
    monkeypatch.setattr(demotion, "add_waiting", too_full)
    assert demote(store, BLOB).became is Became.PARTIAL
    assert in_the_share(store) == []
    assert list_partials(store) == [(BLOB, len(RAW))]
