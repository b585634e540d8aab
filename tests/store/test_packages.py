"""Open transactions and complete packages: what they hold, and what a crash at any step leaves of them."""

import errno
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blobfs import errors
from blobfs.merkle import Geometry
from blobfs.model import BlobId
from blobfs.store import packages, sealed
from blobfs.store.incoming import Incoming
from blobfs.store.marks import KEEP, YES, get_mark
from blobfs.store.opening import Store, open_store
from blobfs.store.packages import (
    abort_transaction,
    complete_transaction,
    hold_present,
    hold_written,
    is_complete,
    list_packages,
    list_transactions,
    open_transaction,
    touch_transaction,
)
from tests.store.conftest import Reopen
from tests.store.killing import crashes, crashing_starts, run_killed
from tests.store.sealing import content_of, put_blob

PACKAGE, OTHER = BlobId("a" * 64), BlobId("b" * 64)
ABSENT = BlobId("c" * 64)
HERE, WRITTEN, WRITTEN_TOO, FREE = b"here", b"written" * 5_000, b"written, too", b"nobody's" * 3_000


def opened(store: Store) -> list[BlobId]:
    return [package for package, _ in list_transactions(store)]


def collect(store: Store) -> set[BlobId]:
    """Drops every blob that nothing holds; returns what is left, each with its tree."""
    for blob in sealed.list_blobs(store):
        sealed.drop_blob_if_unnamed(store, blob)
    left = set(sealed.list_blobs(store))
    assert {path.name for path in store.layout.trees.iterdir()} == {
        blob for blob in left if Geometry(store.layout.blob(blob).stat().st_size).levels
    }
    return left


def ids(*contents: bytes) -> set[BlobId]:
    return {content_of(raw).blob for raw in contents}


def begin(store: Store) -> None:
    """A transaction that holds a blob that was here and two that were written through it."""
    here = put_blob(store, HERE)
    open_transaction(store, PACKAGE)
    assert hold_present(store, PACKAGE, [here]) == []
    for raw in (WRITTEN, WRITTEN_TOO):
        assert hold_written(store, PACKAGE, put_blob(store, raw))


def complete(store: Store) -> None:
    begin(store)
    complete_transaction(store, PACKAGE)


# Life


def test_opened_once(store: Store) -> None:
    """A second opening changes nothing; the directory is the daemon's alone."""
    assert open_transaction(store, PACKAGE)
    hold_present(store, PACKAGE, [put_blob(store, HERE)])
    assert not open_transaction(store, PACKAGE)
    assert opened(store) == [PACKAGE]
    assert collect(store) == ids(HERE)
    assert store.layout.transaction(PACKAGE).stat().st_mode & 0o777 == 0o700


def test_what_is_not_here_is_told_in_its_order(store: Store) -> None:
    """What is here is held, the rest comes back as it was asked for; again with the same answer."""
    here, other = put_blob(store, HERE), put_blob(store, WRITTEN)
    missing = [BlobId(f"{number:064x}") for number in (9, 3, 7)]
    open_transaction(store, PACKAGE)
    wanted = [missing[0], here, missing[1], other, missing[2]]
    assert hold_present(store, PACKAGE, wanted) == missing
    assert hold_present(store, PACKAGE, iter(wanted)) == missing
    assert collect(store) == {here, other}


def test_held_blobs_are_not_dropped_and_others_are(store: Store) -> None:
    """A link is what holds a blob, in a transaction and in a complete package."""
    begin(store)
    put_blob(store, FREE)
    assert collect(store) == ids(HERE, WRITTEN, WRITTEN_TOO)
    complete_transaction(store, PACKAGE)
    assert collect(store) == ids(HERE, WRITTEN, WRITTEN_TOO)


def test_completion(store: Store) -> None:
    """It is open or complete, never both; the transaction is gone, the package is there."""
    begin(store)
    assert (opened(store), list_packages(store), is_complete(store, PACKAGE)) == ([PACKAGE], [], False)
    complete_transaction(store, PACKAGE)
    assert (opened(store), list_packages(store), is_complete(store, PACKAGE)) == ([], [PACKAGE], True)


def test_completion_twice(store: Store) -> None:
    """The second is for nothing, and does not flush everything again."""
    complete(store)
    complete_transaction(store, PACKAGE)
    assert store.flushes.group_flushes == 1
    assert is_complete(store, PACKAGE)


def test_completion_is_durable(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is on the disk before the package is seen, and its name when the call returns."""
    begin(store)
    steps: list[str] = []

    def noted(step: str, call: Callable[..., None]) -> Callable[..., None]:
        def run(*args: Any) -> None:
            steps.append(" ".join([step, *(os.path.relpath(path, store.layout.root) for path in args)]))
            call(*args)

        return run

    for step in ("everything", "directory"):
        monkeypatch.setattr(store.flushes, step, noted(step, getattr(store.flushes, step)))
    monkeypatch.setattr(os, "rename", noted("rename", os.rename))
    complete_transaction(store, PACKAGE)
    moved = f"rename needed/{PACKAGE} packages/{PACKAGE}"
    assert steps == ["everything", moved, "directory needed", "directory packages"]
    opening, completing = 1, 2  # directories
    assert (store.flushes.group_flushes, store.flushes.file_flushes) == (1, opening + completing)


def test_completed_by_two(store: Store) -> None:
    """Of two transactions of one package the second goes, and takes nothing with it."""
    complete(store)
    open_transaction(store, PACKAGE)
    hold_present(store, PACKAGE, ids(HERE))
    hold_written(store, PACKAGE, put_blob(store, WRITTEN))
    complete_transaction(store, PACKAGE)
    assert (opened(store), list_packages(store)) == ([], [PACKAGE])
    assert collect(store) == ids(HERE, WRITTEN, WRITTEN_TOO)
    assert list(store.layout.incoming.iterdir()) == []


def test_abort(store: Store) -> None:
    """What was written through it goes, what was here before stays, nothing else is left. Twice is fine."""
    begin(store)
    abort_transaction(store, PACKAGE)
    abort_transaction(store, PACKAGE)
    assert opened(store) == []
    assert set(sealed.list_blobs(store)) == ids(HERE)
    assert list(store.layout.trees.iterdir()) == []
    assert list(store.layout.incoming.iterdir()) == []


def test_abort_spares_what_others_hold(store: Store) -> None:
    """A blob that another package needs too, that was kept or pinned, or that has a file still, stays."""
    begin(store)
    open_transaction(store, OTHER)
    assert hold_present(store, OTHER, ids(WRITTEN)) == []
    (kept,), (pinned,) = ids(WRITTEN_TOO), ids(FREE)
    sealed.set_keep(store, kept)
    hold_written(store, PACKAGE, put_blob(store, FREE))
    sealed.set_pinned(store, pinned, True)
    incoming = Incoming.create(store)
    incoming.write(0, b"in incoming")
    content = incoming.finish()
    sealed.place_blob(store, incoming.path, content, 0)
    hold_written(store, PACKAGE, content.blob)
    abort_transaction(store, PACKAGE)
    assert set(sealed.list_blobs(store)) == ids(HERE, WRITTEN, WRITTEN_TOO, FREE, b"in incoming")
    incoming.discard()
    assert collect(store) == ids(WRITTEN, WRITTEN_TOO, FREE)


def test_blob_that_is_held_already_is_not_taken_for_written(store: Store) -> None:
    """What was here when it was needed is not dropped by an abort, though somebody wrote it again."""
    here = put_blob(store, HERE)
    open_transaction(store, PACKAGE)
    hold_present(store, PACKAGE, [here])
    assert hold_written(store, PACKAGE, here)
    assert [path.name for path in store.layout.transaction(PACKAGE).iterdir()] == [here]
    abort_transaction(store, PACKAGE)
    assert set(sealed.list_blobs(store)) == {here}


def test_written_blob_stays_one_of_the_transaction(store: Store) -> None:
    """Asking again what is missing does not make it a blob that was here; two links are not two holds."""
    begin(store)
    assert hold_present(store, PACKAGE, ids(WRITTEN)) == []
    (blob,) = ids(WRITTEN)
    assert store.layout.blob(blob).stat().st_nlink == 2
    os.link(store.layout.blob(blob), store.layout.transaction(PACKAGE) / blob)
    abort_transaction(store, PACKAGE)
    assert set(sealed.list_blobs(store)) == ids(HERE)


def test_what_ended_is_gone(store: Store) -> None:
    """After its end a transaction holds nothing, makes no progress and cannot be completed."""
    blob = put_blob(store, HERE)
    for was_there in (False, True):
        if was_there:
            open_transaction(store, PACKAGE)
            abort_transaction(store, PACKAGE)
        with pytest.raises(errors.NameMissing, match=PACKAGE):
            hold_present(store, PACKAGE, [blob])
        with pytest.raises(errors.NameMissing, match=PACKAGE):
            touch_transaction(store, PACKAGE)
        with pytest.raises(errors.NameMissing, match=PACKAGE):
            complete_transaction(store, PACKAGE)
        assert not hold_written(store, PACKAGE, blob)
    assert set(sealed.list_blobs(store)) == {blob}


@pytest.mark.parametrize("end", [abort_transaction, complete_transaction])
def test_ended_while_blobs_are_held(
    store: Store, monkeypatch: pytest.MonkeyPatch, end: Callable[[Store, BlobId], None]
) -> None:
    """Blobs that were not held because the transaction ended meanwhile are not said to be missing."""
    blobs = [put_blob(store, raw) for raw in (HERE, FREE)]
    open_transaction(store, PACKAGE)
    link = os.link

    def link_and_end(source: str, target: str) -> None:
        link(source, target)
        monkeypatch.setattr(os, "link", link)
        store.links.release()
        try:
            end(store, PACKAGE)
        finally:
            store.links.acquire()

    monkeypatch.setattr(os, "link", link_and_end)
    with pytest.raises(errors.NameMissing, match=PACKAGE):
        hold_present(store, PACKAGE, blobs)
    assert set(sealed.list_blobs(store)) == set(blobs)


def test_dropped_between_its_place_and_its_hold(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where another transaction that wrote the blob too is aborted just then, the blob stays all the same."""
    open_transaction(store, OTHER)
    hold_written(store, OTHER, put_blob(store, WRITTEN))
    open_transaction(store, PACKAGE)
    incoming = Incoming.create(store)
    incoming.write(0, WRITTEN)
    place = sealed.place_blob

    def place_and_abort(*args: Any) -> None:
        place(*args)
        abort_transaction(store, OTHER)

    monkeypatch.setattr(packages, "place_blob", place_and_abort)
    assert packages.place_written(store, PACKAGE, incoming.path, incoming.finish(), 500)
    incoming.discard()
    assert collect(store) == ids(WRITTEN)
    abort_transaction(store, PACKAGE)
    assert sealed.list_blobs(store) == []


def test_placed_after_the_end(store: Store) -> None:
    """What is written to its end when its transaction has ended is here until its file has gone."""
    incoming = Incoming.create(store)
    incoming.write(0, WRITTEN)
    content = incoming.finish()
    assert not packages.place_written(store, PACKAGE, incoming.path, content, 500)
    assert collect(store) == {content.blob}
    incoming.discard()
    assert collect(store) == set()


def test_written_blob_that_is_not_here(store: Store) -> None:
    """That is a fault of the store's, not the end of the transaction."""
    open_transaction(store, PACKAGE)
    with pytest.raises(errors.StoreBroken, match=ABSENT):
        hold_written(store, PACKAGE, ABSENT)


def test_blob_that_came_anew(store: Store) -> None:
    """Where a blob was found broken and came here again, it is the new file that is held."""
    begin(store)
    for raw in (HERE, WRITTEN):
        (blob,) = ids(raw)
        store.layout.blob(blob).unlink()
        assert hold_present(store, PACKAGE, [blob]) == [blob]
        put_blob(store, raw)
        assert hold_present(store, PACKAGE, [blob]) == []
    assert collect(store) == ids(HERE, WRITTEN, WRITTEN_TOO)
    abort_transaction(store, PACKAGE)
    assert set(sealed.list_blobs(store)) == ids(HERE)
    assert list(store.layout.incoming.iterdir()) == []


def test_more_holds_than_an_inode_may_have(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system has no link left for one content, the blob is kept for good."""
    here, written = put_blob(store, HERE), put_blob(store, WRITTEN)
    open_transaction(store, PACKAGE)

    def no_more_links(source: object, target: object) -> None:
        raise OSError(errno.EMLINK, "Too many links")

    with monkeypatch.context() as patch:
        patch.setattr(os, "link", no_more_links)
        assert hold_present(store, PACKAGE, [here]) == []
        assert hold_written(store, PACKAGE, written)
    assert get_mark(store.layout.blob(here), KEEP) == YES
    complete_transaction(store, PACKAGE)
    assert collect(store) == {here, written}


def test_progress(store: Store) -> None:
    """What is held and what is said to be progress can be told from the time of the last of it."""
    before = time.time_ns()
    open_transaction(store, PACKAGE)
    path = store.layout.transaction(PACKAGE)

    def passed() -> bool:
        ((package, progress),) = list_transactions(store)
        os.utime(path, ns=(5, 5))
        return package == PACKAGE and progress >= before - 10**9  # the file system's clock is a coarse one

    assert passed()
    touch_transaction(store, PACKAGE)
    assert passed()
    hold_present(store, PACKAGE, [put_blob(store, HERE)])
    assert passed()
    hold_written(store, PACKAGE, put_blob(store, WRITTEN))
    assert passed()
    hold_present(store, PACKAGE, ids(HERE, WRITTEN))
    assert list_transactions(store) == [(PACKAGE, 5)]


def test_foreign_names(store: Store) -> None:
    """What is no directory with the name of a package is passed over."""
    for place in (store.layout.needed, store.layout.packages):
        (place / "lost+found").mkdir()
        (place / ABSENT).touch()
        (place / ("A" * 64)).mkdir()
        (place / OTHER).symlink_to(".")
    open_transaction(store, PACKAGE)
    assert opened(store) == [PACKAGE]
    assert list_packages(store) == []
    assert not is_complete(store, ABSENT)


def test_full_disk_is_said(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the disk's is one of the store's."""
    blob = put_blob(store, HERE)
    open_transaction(store, PACKAGE)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(errors.StoreFull):
        hold_present(store, PACKAGE, [blob])
    with pytest.raises(errors.StoreFull):
        complete_transaction(store, PACKAGE)
    assert opened(store) == [PACKAGE]


def test_links_and_drops_take_turns(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """No link is made between the count of a blob's links and its removal."""
    link, unlink = os.link, Path.unlink
    seen = []

    def link_in_turn(source: str, target: str) -> None:
        seen.append(store.links.locked())
        link(source, target)

    def unlink_in_turn(path: Path, missing_ok: bool = False) -> None:
        if path.parent == store.layout.blobs:
            seen.append(store.links.locked())
        unlink(path, missing_ok)

    free, here, written = (put_blob(store, raw) for raw in (FREE, HERE, WRITTEN))
    open_transaction(store, PACKAGE)
    monkeypatch.setattr(os, "link", link_in_turn)
    monkeypatch.setattr(Path, "unlink", unlink_in_turn)
    sealed.drop_blob_if_unnamed(store, free)
    hold_present(store, PACKAGE, [here])
    hold_written(store, PACKAGE, written)
    abort_transaction(store, PACKAGE)
    assert seen == [True] * 4


# Any order of all this


class Model:
    """What must be true of two packages and some blobs."""

    def __init__(self) -> None:
        self.blobs: set[BlobId] = set()
        self.open: dict[BlobId, dict[BlobId, bool]] = {}
        """By package: the blobs it holds, and whether each was written through it."""
        self.complete: dict[BlobId, set[BlobId]] = {}

    def is_held(self, blob: BlobId) -> bool:
        holds = [*self.open.values(), *self.complete.values()]
        return any(blob in held for held in holds)

    def hold(self, package: BlobId, blob: BlobId, written: bool) -> None:
        self.open[package].setdefault(blob, written)

    def end(self, package: BlobId) -> dict[BlobId, bool]:
        return self.open.pop(package)

    def abort(self, package: BlobId) -> None:
        for blob, written in self.end(package).items():
            if written and not self.is_held(blob):
                self.blobs.discard(blob)


CONTENTS = [HERE, WRITTEN, WRITTEN_TOO, FREE]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["open", "hold", "write", "complete", "abort", "collect", "restart"]),
        st.sampled_from([PACKAGE, OTHER]),
        st.integers(0, len(CONTENTS) - 1),
    ),
    max_size=25,
)


def take_step(store: Store, model: Model, step: str, package: BlobId, raw: bytes) -> None:
    (blob,) = ids(raw)
    is_open = package in model.open
    if step == "open":
        assert open_transaction(store, package) == (not is_open)
        model.open.setdefault(package, {})
    elif step == "hold" and is_open:
        assert hold_present(store, package, [blob]) == ([] if blob in model.blobs else [blob])
        if blob in model.blobs:
            model.hold(package, blob, written=False)
    elif step == "write":
        model.blobs.add(put_blob(store, raw))
        assert hold_written(store, package, blob) == is_open
        if is_open:
            model.hold(package, blob, written=True)
    elif step == "complete" and is_open:
        complete_transaction(store, package)
        if model.complete.get(package):
            model.abort(package)
        else:
            model.complete[package] = set(model.end(package))
    elif step == "abort":
        abort_transaction(store, package)
        if is_open:
            model.abort(package)
    elif step == "collect":
        model.blobs = {each for each in model.blobs if model.is_held(each)}
        assert collect(store) == model.blobs


@given(steps=STEPS)
@settings(deadline=None, max_examples=60)
def test_any_order(steps: list[tuple[str, BlobId, int]]) -> None:
    """Blobs stay as long as a package holds them, and those an abort must drop go, restarts or not."""
    with TemporaryDirectory() as directory:
        store, model = open_store(Path(directory) / "store"), Model()
        for step, package, number in steps:
            if step == "restart":
                store.close(clean=False)
                store = open_store(store.layout.root)
            take_step(store, model, step, package, CONTENTS[number])
            assert set(sealed.list_blobs(store)) == model.blobs
            assert sorted(opened(store)) == sorted(model.open)
            assert sorted(list_packages(store)) == sorted(model.complete)
        store.close(clean=False)


# Crashes


def states(stores: Iterable[Store]) -> list[str]:
    """Of the package after each crash."""
    found = []
    for store in stores:
        is_open, is_done = opened(store) == [PACKAGE], list_packages(store) == [PACKAGE]
        assert is_complete(store, PACKAGE) == is_done
        assert list(store.layout.incoming.iterdir()) == []
        found.append({(True, False): "open", (False, True): "complete"}.get((is_open, is_done), "none"))
    return found


def test_killed_while_opening(tmp_path: Path) -> None:
    """There is a transaction, or there is none; also when the flush that makes it last does not come."""
    found = states(crashes(tmp_path, lambda store: None, lambda store: open_transaction(store, PACKAGE)))
    assert found == ["none", "open", "open"]


def test_killed_while_holding(tmp_path: Path) -> None:
    """Each blob is held or not; the next start asks again, and then all are."""
    blobs = [*ids(HERE, WRITTEN, FREE), ABSENT]

    def prepare(store: Store) -> None:
        for raw in (HERE, WRITTEN, FREE):
            put_blob(store, raw)
        open_transaction(store, PACKAGE)

    held = []
    for store in crashes(tmp_path, prepare, lambda store: hold_present(store, PACKAGE, blobs)):
        assert states([store]) == ["open"]
        held.append(len(os.listdir(store.layout.transaction(PACKAGE))))
        assert set(sealed.list_blobs(store)) == ids(HERE, WRITTEN, FREE)
        assert hold_present(store, PACKAGE, blobs) == [ABSENT]
        assert collect(store) == ids(HERE, WRITTEN, FREE)
    assert held == [0, 1, 2, 3, 3]  # the last link is tried for the blob that is not here


def test_killed_while_a_written_blob_is_held(tmp_path: Path) -> None:
    """Before it, the blob is nobody's; after it, it is the transaction's and goes with it."""

    def prepare(store: Store) -> None:
        begin(store)
        put_blob(store, FREE)

    left = []
    for store in crashes(tmp_path, prepare, lambda store: hold_written(store, PACKAGE, *ids(FREE))):
        assert states([store]) == ["open"]
        left.append(collect(store) - ids(HERE, WRITTEN, WRITTEN_TOO))
        abort_transaction(store, PACKAGE)
        assert set(sealed.list_blobs(store)) == ids(HERE)
    assert left == [set(), ids(FREE)]


def test_killed_while_completing(tmp_path: Path) -> None:
    """It is open, with all it holds, or complete; and a second try completes it."""
    found = []
    for store in crashes(tmp_path, begin, lambda store: complete_transaction(store, PACKAGE)):
        found += states([store])
        assert collect(store) == ids(HERE, WRITTEN, WRITTEN_TOO)
        complete_transaction(store, PACKAGE)
        assert states([store]) == ["complete"]
        assert collect(store) == ids(HERE, WRITTEN, WRITTEN_TOO)
    assert found == ["open", "complete", "complete", "complete"]


def test_killed_while_the_second_completes(tmp_path: Path) -> None:
    """The package stays complete, whatever becomes of the transaction that came too late."""

    def prepare(store: Store) -> None:
        complete(store)
        begin(store)

    open_still = []
    for store in crashes(tmp_path, prepare, lambda store: complete_transaction(store, PACKAGE)):
        assert list_packages(store) == [PACKAGE]
        open_still.append(opened(store) == [PACKAGE])
        assert collect(store) == ids(HERE, WRITTEN, WRITTEN_TOO)
        assert list(store.layout.incoming.iterdir()) == []
    assert open_still[0]
    assert not open_still[-1]
    assert open_still == sorted(open_still, reverse=True)


def test_killed_while_aborting(tmp_path: Path) -> None:
    """It is open, with all it holds, or gone, with all that it wrote; the start after the kill sees to it."""
    found = []
    for store in crashes(tmp_path, begin, lambda store: abort_transaction(store, PACKAGE)):
        found += states([store])
        blobs = ids(HERE, WRITTEN, WRITTEN_TOO) if found[-1] == "open" else ids(HERE)
        assert set(sealed.list_blobs(store)) == blobs
        assert len(list(store.layout.trees.iterdir())) == len(blobs & ids(WRITTEN))
        if found[-1] == "open":
            assert collect(store) == blobs
    assert len(found) > 8
    assert found == ["open"] + ["none"] * (len(found) - 1)


def test_starts_that_are_killed_after_an_abort_that_was(tmp_path: Path) -> None:
    """What an abort left to do may be cut off at any step, and again."""
    starts, number, is_killed = 0, 1, True  # after no change at all the transaction is open still
    while is_killed:
        first = tmp_path / str(number)
        store = open_store(first)
        begin(store)
        is_killed = run_killed(number, lambda store=store: abort_transaction(store, PACKAGE))  # type: ignore[misc]
        store.close(clean=False)
        for again in crashing_starts(first, tmp_path / f"{number}-restarted"):
            assert states([again]) == ["none"]
            assert set(sealed.list_blobs(again)) == ids(HERE)
            assert list(again.layout.trees.iterdir()) == []
            starts += 1
        number += 1
    assert starts > 100


def test_foreign_files_among_the_aborted(store: Store, reopen: Reopen) -> None:
    """Whatever is called like an aborted transaction goes, and nothing that is not its own with it."""
    begin(store)
    free = put_blob(store, FREE)
    aborted = store.layout.new_aborted()
    store.layout.transaction(PACKAGE).rename(aborted)
    (aborted / "x.written").touch()
    (aborted / f"{free}.written").write_bytes(b"another file")
    (aborted / "directory").mkdir()
    store.layout.new_aborted().touch()
    store.layout.new_aborted().symlink_to(store.layout.packages)
    again = reopen(store, False)
    assert set(sealed.list_blobs(again)) == ids(HERE, FREE)
    assert list(again.layout.incoming.iterdir()) == []
