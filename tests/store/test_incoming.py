"""A file being written: its content, and that its hash is right whatever was written when."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from blobfs import errors
from blobfs.model import EMPTY_BLOB, LEAF_SIZE, BlobId, Name
from blobfs.store.incoming import MAX_ISLANDS, Incoming
from blobfs.store.marks import NAME, PACKAGE, RECORD, get_mark
from blobfs.store.opening import Store, open_store
from tests.store.conftest import Mount
from tests.store.sealing import content_of, record_of

OFFSETS = st.one_of(
    st.integers(0, 4 * LEAF_SIZE),
    st.integers(0, 40 * LEAF_SIZE),
    st.integers(0, 6).map(lambda leaf: leaf * LEAF_SIZE),
)
SIZES = st.one_of(st.integers(0, 3 * LEAF_SIZE), st.just(LEAF_SIZE), st.just(1))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), OFFSETS, SIZES),
        st.tuples(st.just("append"), st.just(0), SIZES),
        st.tuples(st.just("truncate"), OFFSETS, st.just(0)),
        st.tuples(st.just("hash"), st.just(0), st.integers(0, 10 * LEAF_SIZE)),
        st.tuples(st.just("finish"), st.just(0), st.just(0)),
    ),
    max_size=30,
)


def write_model(model: bytearray, offset: int, content: bytes) -> None:
    if content:
        model.extend(bytes(max(0, offset - len(model))))
        model[offset : offset + len(content)] = content


@given(steps=STEPS, seed=st.integers(1, 255))
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
def test_same_as_a_plain_buffer(steps: list[tuple[str, int, int]], seed: int) -> None:
    """Any order of writes, truncations and hashing ends in the bytes and the root of a plain buffer."""
    with TemporaryDirectory() as directory:
        store = open_store(Path(directory) / "store")
        incoming, model = Incoming.create(store), bytearray()
        for number, (step, offset, size) in enumerate(steps):
            content = bytes([(seed + number) % 256]) * size
            if step in ("write", "append"):
                at = len(model) if step == "append" else offset
                incoming.write(at, content)
                write_model(model, at, content)
            elif step == "truncate":
                incoming.truncate(offset)
                model = (model + bytes(max(0, offset - len(model))))[:offset]
            elif step == "hash":
                incoming.hash_some(size)
            else:
                assert incoming.finish() == content_of(bytes(model))
            assert incoming.size == len(model)
        assert incoming.read(0, len(model) + 10) == model
        assert incoming.finish() == content_of(bytes(model))
        incoming.discard()
        store.close()


def hashed(incoming: Incoming) -> int:
    """Leaves with a digest, as the repr tells."""
    return int(repr(incoming).split("hashed=")[1].split(",")[0])


def test_hashing_follows_a_sequential_writer(store: Store) -> None:
    """When a large file is closed only its last leaf is left to hash."""
    incoming = Incoming.create(store)
    for number in range(40):
        incoming.write(number * 10_000, b"x" * 10_000)
    assert incoming.hash_some(16 * LEAF_SIZE)
    while incoming.hash_some():
        pass
    assert hashed(incoming) == 400_000 // LEAF_SIZE
    assert incoming.finish() == content_of(b"x" * 400_000)
    incoming.discard()


def test_hashing_follows_a_writer_that_runs_ahead(store: Store) -> None:
    """Pieces that arrive in another order count as soon as the gap before them is filled."""
    incoming = Incoming.create(store)
    for leaf in (0, 3, 2, 5):
        incoming.write(leaf * LEAF_SIZE, b"x" * LEAF_SIZE)
    assert not incoming.hash_some()
    assert hashed(incoming) == 1
    incoming.write(LEAF_SIZE, b"x" * LEAF_SIZE)
    incoming.hash_some()
    assert hashed(incoming) == 4
    assert "islands=1)" in repr(incoming)
    incoming.discard()


def test_islands_are_bounded(store: Store) -> None:
    """A writer that jumps about cannot make the marks grow without end; the root is right all the same."""
    incoming, model = Incoming.create(store), bytearray()
    for number in reversed(range(MAX_ISLANDS + 20)):
        incoming.write(number * 100, b"y" * 50)
        write_model(model, number * 100, b"y" * 50)
    assert f"islands={MAX_ISLANDS}" in repr(incoming) or "islands=0" in repr(incoming)
    assert incoming.finish() == content_of(bytes(model))
    incoming.discard()


def test_huge_holes_cost_no_memory(store: Store) -> None:
    """`truncate -s 1T` is one system call: nothing is kept for leaves nobody hashed."""
    incoming = Incoming.create(store)
    incoming.truncate(1 << 40)
    incoming.write((1 << 40) - 1, b"x")
    assert not incoming.hash_some()
    assert hashed(incoming) == 0
    assert incoming.size == 1 << 40
    incoming.truncate(0)
    assert incoming.finish().blob == EMPTY_BLOB
    incoming.discard()


class Interrupted(Incoming):
    """Does something of the test's in the middle of hashing, when the leaves were hashed or are about to
    be."""

    before: Callable[[], None] | None = None
    after: Callable[[], None] | None = None

    def hash_leaves(self, first: int, end: int) -> bytes:
        before, self.before = self.before, None
        if before is not None:
            before()
        digests = super().hash_leaves(first, end)
        after, self.after = self.after, None
        if after is not None:
            after()
        return digests


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("cut_to", [0, 5 * LEAF_SIZE, 5 * LEAF_SIZE + 7, 10 * LEAF_SIZE])
def test_truncation_during_hashing(store: Store, moment: str, cut_to: int) -> None:
    """A file that is cut and grows again while it is hashed does not keep the old digests."""
    incoming = Interrupted.create(store)
    incoming.write(0, b"a" * (10 * LEAF_SIZE))

    def cut() -> None:
        incoming.truncate(cut_to)
        incoming.write(cut_to, b"b" * (3 * LEAF_SIZE))

    setattr(incoming, moment, cut)
    incoming.hash_some()
    assert incoming.finish() == content_of(b"a" * cut_to + b"b" * (3 * LEAF_SIZE))
    incoming.discard()


class CutAtOnce(Incoming):
    """Is cut between the choice of leaves and their hashing."""

    def _hash(self, first: int, end: int) -> None:
        if self.size > 5 * LEAF_SIZE:
            self.truncate(3 * LEAF_SIZE + 7)
        super()._hash(first, end)


@pytest.mark.parametrize("hashed_before", [0, 4 * LEAF_SIZE])
def test_truncation_between_choice_and_hashing(store: Store, hashed_before: int) -> None:
    """Leaves that are gone when their turn comes leave nothing behind."""
    incoming = CutAtOnce.create(store)
    incoming.write(0, b"a" * (4 * LEAF_SIZE + 1))
    if hashed_before:
        incoming.hash_some(hashed_before)
    incoming.write(4 * LEAF_SIZE, b"a" * (6 * LEAF_SIZE))
    incoming.hash_some()
    assert incoming.finish() == content_of(b"a" * (3 * LEAF_SIZE + 7))
    incoming.discard()


def test_truncation_that_has_just_begun(store: Store) -> None:
    """The file may be shorter already when the truncation is not noted yet; later it grows again."""
    incoming = Interrupted.create(store)
    incoming.write(0, b"a" * (10 * LEAF_SIZE))
    incoming.before = lambda: os.ftruncate(incoming.fd, 5 * LEAF_SIZE + 7)
    incoming.hash_some()
    incoming.truncate(5 * LEAF_SIZE + 7)
    incoming.write(6 * LEAF_SIZE, b"b" * (3 * LEAF_SIZE))
    expected = b"a" * (5 * LEAF_SIZE + 7) + bytes(LEAF_SIZE - 7) + b"b" * (3 * LEAF_SIZE)
    assert incoming.finish() == content_of(expected)
    incoming.discard()


@pytest.mark.parametrize("left", [0, 5 * LEAF_SIZE, 10 * LEAF_SIZE, 10 * LEAF_SIZE + 1])
def test_file_cut_behind_our_back(store: Store, left: int) -> None:
    """Bytes that are not there any more are an error, never part of a blob."""
    incoming = Incoming.create(store)
    incoming.write(0, b"a" * (10 * LEAF_SIZE + 2))
    os.truncate(incoming.path, left)
    with pytest.raises(errors.StoreBroken, match="shorter than what was written"):
        incoming.finish()
    incoming.discard()


def test_front_goes_back_with_a_truncation(store: Store) -> None:
    """A file that was emptied is hashed from its new bytes only, as far as they were written."""
    incoming = Incoming.create(store)
    incoming.write(0, b"a" * (10 * LEAF_SIZE))
    incoming.truncate(0)
    incoming.write(4 * LEAF_SIZE, b"b" * LEAF_SIZE)
    assert not incoming.hash_some()
    assert hashed(incoming) == 0
    incoming.discard()


@pytest.mark.parametrize("moment", ["before", "after"])
def test_write_during_hashing(store: Store, moment: str) -> None:
    """A leaf that is written while it is hashed is hashed again."""
    incoming = Interrupted.create(store)
    incoming.write(0, b"a" * (4 * LEAF_SIZE))
    setattr(incoming, moment, lambda: incoming.write(LEAF_SIZE + 5, b"b"))
    incoming.hash_some()
    assert "stale=1" in repr(incoming)
    expected = bytearray(b"a" * (4 * LEAF_SIZE))
    expected[LEAF_SIZE + 5] = ord("b")
    assert incoming.finish() == content_of(bytes(expected))
    incoming.discard()


def test_failed_hashing_is_done_again(store: Store) -> None:
    """A read that fails leaves no digest that was never computed."""
    incoming = Interrupted.create(store)
    incoming.write(0, b"a" * (4 * LEAF_SIZE))

    def fail() -> None:
        raise errors.StoreBroken("a bad sector")

    incoming.before = fail
    with pytest.raises(errors.StoreBroken, match="a bad sector"):
        incoming.hash_some()
    assert incoming.finish() == content_of(b"a" * (4 * LEAF_SIZE))
    incoming.discard()


def test_hashing_beside_a_writing_thread(store: Store) -> None:
    """One thread hashes all the time, one writes and rewrites; the root is that of the last bytes."""
    incoming, model = Incoming.create(store), bytearray()
    stop = threading.Event()

    def follow() -> None:
        while not stop.is_set():
            incoming.hash_some(4 * LEAF_SIZE)

    follower = threading.Thread(target=follow)
    follower.start()
    try:
        for number in range(300):
            content = bytes([number % 251]) * (LEAF_SIZE + number)
            offset = (number * 7919) % max(1, len(model)) if number % 3 == 0 else len(model)
            incoming.write(offset, content)
            write_model(model, offset, content)
    finally:
        stop.set()
        follower.join(timeout=30)
    assert incoming.finish() == content_of(bytes(model))
    incoming.discard()


def test_reads_see_what_was_written(store: Store, tells_what_is_cached: bool) -> None:
    """A file being written can be read by others on this node; past its end there is nothing."""
    incoming = Incoming.create(store)
    incoming.write(10, b"hello")
    assert incoming.read(0, 100) == bytes(10) + b"hello"
    assert incoming.read(15, 10) == b""
    assert incoming.read_nowait(10, 5) == (b"hello" if tells_what_is_cached else None)
    assert incoming.read_nowait(12, 100) == (b"llo" if tells_what_is_cached else None)
    incoming.discard()


def test_redo_mark_comes_and_goes(store: Store) -> None:
    """The mark says what a name will mean; a change of mind replaces it; without a name it is kept by id."""
    incoming = Incoming.create(store)
    incoming.set_intent(Name("d/a\nb"), record_of(b"", 7))
    assert get_mark(incoming.path, NAME) == b"d/a\nb"
    assert b"\n" not in (get_mark(incoming.path, RECORD) or b"\n")
    incoming.set_intent(None, record_of(b"", 8))
    assert get_mark(incoming.path, NAME) is None
    assert b"00000008Z" in (get_mark(incoming.path, RECORD) or b"")
    incoming.set_intent(None, record_of(b"", 8), BlobId("a" * 64))
    assert get_mark(incoming.path, PACKAGE) == b"a" * 64
    incoming.set_intent(Name("d"), record_of(b"", 8))
    assert get_mark(incoming.path, PACKAGE) is None
    incoming.set_intent(None, record_of(b"", 8), BlobId("a" * 64))
    incoming.clear_intent()
    incoming.clear_intent()
    assert os.listxattr(incoming.path) == []
    incoming.discard()


def test_discarding_leaves_nothing(store: Store) -> None:
    """Also when it is done twice, and after the descriptor was closed."""
    incoming = Incoming.create(store)
    incoming.write(0, b"x")
    incoming.close_fd()
    incoming.discard()
    incoming.discard()
    assert list(store.layout.incoming.iterdir()) == []


def test_full_disk(tmp_path: Path, mount: Mount) -> None:
    """ENOSPC is said at the write; what the file holds then is hashed as it is."""
    store = open_store(mount("tmpfs", "size=1m", tmp_path / "small") / "store")
    incoming = Incoming.create(store)
    incoming.write(0, b"a" * (50 * LEAF_SIZE))
    incoming.hash_some()
    with pytest.raises(errors.StoreFull):
        incoming.write(LEAF_SIZE // 2, b"b" * (2 << 20))
    content = incoming.read(0, 4 << 20)
    assert incoming.size == len(content) == incoming.path.stat().st_size
    assert incoming.finish() == content_of(content)
    incoming.discard()
    store.close()


def test_a_descriptor_of_ones_own(store: Store) -> None:
    """It outlives the file's; of a file that is closed there is none, whatever its number means by then."""
    incoming = Incoming.create(store)
    incoming.write(0, b"abc")
    mine = incoming.dup()
    incoming.discard()
    assert os.pread(mine, 10, 0) == b"abc"
    os.close(mine)
    with pytest.raises(errors.StaleHandle):
        incoming.dup()
