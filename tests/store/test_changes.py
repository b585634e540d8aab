"""Marks on directories that change: what is suspect after a crash, and no more."""

import os
from pathlib import Path

import pytest

from blobfs import errors
from blobfs.model import ROOT, Name
from blobfs.record import DirRecord, GoneRecord, SymlinkRecord
from blobfs.store import names
from blobfs.store.changes import Suspects
from blobfs.store.opening import Store
from tests.store.conftest import Reopen

LINK = SymlinkRecord("target", 1, 1)


def suspects(store: Store) -> list[str]:
    found = store.changes.suspects()
    assert not found.everything
    return list(found.directories)


def settle(store: Store) -> None:
    store.changes.settle(store.changes.take())


@pytest.fixture
def filled(store: Store) -> Store:
    """A directory in which nothing was changed for long."""
    names.make_directory(store, Name("d"), DirRecord(1, 1))
    names.put_symlink(store, Name("d/link"), LINK)
    names.make_directory(store, Name("d/e"), DirRecord(1, 1))
    settle(store)
    assert suspects(store) == []
    return store


def test_every_change_marks_the_directory_it_is_in(filled: Store) -> None:
    """And no other; of a directory that is made, changed or removed it is the one above, and a new one."""
    for change, *directories in (
        (lambda: names.put_symlink(filled, Name("d/link"), LINK), "d"),
        (lambda: names.put_gone(filled, Name("d/link"), GoneRecord(2)), "d"),
        (lambda: names.put_directory(filled, Name("d/e"), DirRecord(3, 3)), "d"),
        (lambda: names.remove_directory(filled, Name("d/e"), GoneRecord(4)), "d"),
        (lambda: names.make_directory(filled, Name("new"), DirRecord(5, 5)), "", "new"),
        (lambda: names.put_symlink(filled, Name("d/link"), LINK), "d"),
    ):
        change()
        assert suspects(filled) == directories
        settle(filled)


def test_a_directory_is_marked_before_it_changes(filled: Store) -> None:
    """And as long as it does; what is settled meanwhile does not take the mark away."""
    with filled.changes.changing(Name("d")):
        assert suspects(filled) == ["d"]
        settle(filled)
        assert suspects(filled) == ["d"]
    settle(filled)
    assert suspects(filled) == []


def test_what_changes_during_the_flush_stays_suspect(filled: Store) -> None:
    """The flush may have begun before."""
    names.put_symlink(filled, Name("d/one"), LINK)
    names.put_symlink(filled, Name("one"), LINK)
    taken = filled.changes.take()
    names.put_symlink(filled, Name("d/two"), LINK)
    filled.changes.settle(taken)
    assert suspects(filled) == ["d"]


def test_a_failed_flush_settles_nothing(filled: Store) -> None:
    """The marks are there for the next one."""
    names.put_symlink(filled, Name("d/one"), LINK)
    taken = filled.changes.take()
    assert not filled.changes.any_marked
    filled.changes.put_back(taken)
    assert filled.changes.any_marked
    settle(filled)
    assert suspects(filled) == []


def test_a_change_that_broke_off_stays_suspect_until_it_is_mended(filled: Store) -> None:
    """No flush makes it whole."""
    with pytest.raises(errors.StoreError):
        names.put_symlink(filled, Name("d/link/below"), LINK)
    settle(filled)
    assert suspects(filled) == ["d/link"]
    filled.changes.mended(Name("d/link"))
    settle(filled)
    assert suspects(filled) == []


def test_nothing_is_suspect_after_a_clean_end(filled: Store, reopen: Reopen) -> None:
    """Whatever was marked."""
    names.put_symlink(filled, Name("d/one"), LINK)
    assert suspects(reopen(filled, True)) == []


def test_what_had_changed_is_suspect_after_a_crash(filled: Store, reopen: Reopen) -> None:
    """Until it was looked over: a second crash before that changes nothing. A name may be long."""
    deep = Name("d")
    for _ in range(3):
        deep = Name(f"{deep}/{'x' * 200}")
        names.make_directory(filled, deep, DirRecord(1, 1))
    settle(filled)
    names.put_symlink(filled, Name(f"{deep}/link"), LINK)
    for _ in range(2):
        filled = reopen(filled, False)
        assert suspects(filled) == [deep]
    filled.changes.settle([deep])
    assert suspects(filled) == []


def test_a_store_without_marks_is_suspect_as_a_whole(store: Store, reopen: Reopen) -> None:
    """It was made before there were any. It stays so until everything was looked over."""
    store.layout.changing.rmdir()
    for _ in range(2):
        store = reopen(store, False)
        assert store.changes.suspects() == Suspects((), everything=True)
    store.changes.settle([ROOT], everything=True)
    assert store.changes.suspects() == Suspects(())


@pytest.mark.parametrize("name", ["x", "0" * 32])
def test_a_mark_of_nobody_makes_everything_suspect(store: Store, name: str) -> None:
    """It stands for something, and nobody knows for what."""
    os.symlink("/d", store.layout.changing / name)
    assert store.changes.suspects().everything


def test_what_cannot_be_marked_is_not_changed(filled: Store, tmp_path: Path) -> None:
    """A full disk, for instance: the change is refused."""
    filled.layout.changing.rename(tmp_path / "away")
    with pytest.raises(errors.StoreError):
        names.put_symlink(filled, Name("d/one"), LINK)
    assert names.read_record(filled, Name("d/one")) is None
