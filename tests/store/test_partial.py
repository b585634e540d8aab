"""A blob being loaded: its map, what survives which end, and how it becomes whole."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blobfs import errors
from blobfs.model import CHUNK_SIZE, BlobId, Name
from blobfs.store import sealed
from blobfs.store.marks import CHECK, DEMOTED, LOADED, YES, get_mark, remove_mark, set_mark
from blobfs.store.opening import Store, open_store
from blobfs.store.partial import Partial, list_partials, open_partial, partial_bytes, place_partial
from blobfs.store.waiting import WaitingName, forget_waiting, list_waiting
from tests.store.conftest import Mount, Reopen
from tests.store.sealing import content_of, put_blob, record_of

RAW = bytes(range(251)) * 4_000
"""Eight chunks, the last one short."""
KEY = content_of(RAW).blob
PLAIN = f"plain-{'7' * 64}"


def load(partial: Partial, first: int, count: int) -> None:
    partial.write_chunks(first, RAW[first * CHUNK_SIZE : (first + count) * CHUNK_SIZE])
    partial.mark(first, count)


def files(store: Store) -> list[str]:
    return sorted(path.name.replace(KEY, "KEY") for path in store.layout.partial.iterdir())


def test_chunks_come_in_any_order(store: Store) -> None:
    """What is present is counted in bytes, what is missing is told in runs."""
    partial = open_partial(store, KEY, len(RAW))
    assert partial.chunks == 8
    assert partial.missing(0, 8) == [(0, 8)]
    load(partial, 7, 1)
    load(partial, 2, 2)
    load(partial, 2, 2)
    assert partial.present_bytes == 2 * CHUNK_SIZE + len(RAW) % CHUNK_SIZE
    assert partial.missing(0, 8) == [(0, 2), (4, 3)]
    assert partial.missing(3, 2) == [(4, 1)]
    assert partial.missing(6, 100) == [(6, 1)]
    assert partial.missing(2, 2) == []
    assert partial.all_present(2, 2)
    assert not partial.all_present(1, 2)
    assert [chunk for chunk in range(8) if partial.present(chunk)] == [2, 3, 7]
    assert not partial.is_whole
    load(partial, 0, 7)
    assert partial.is_whole
    assert partial.read(0, 2 * len(RAW)) == RAW
    assert repr(partial).endswith("chunks=8/8, claimed=0)")
    partial.drop()


@given(
    size=st.integers(0, 70 * CHUNK_SIZE),
    steps=st.lists(st.tuples(st.integers(0, 69), st.integers(1, 20), st.sampled_from("mmmus")), max_size=15),
    clean=st.booleans(),
)
@settings(deadline=None, max_examples=60)
def test_map_is_what_was_saved(size: int, steps: list[tuple[int, int, str]], clean: bool) -> None:
    """Any marks come back as they were saved, as claims: nothing is believed, after a clean end neither."""
    with TemporaryDirectory() as directory:
        store = open_store(Path(directory) / "store")
        partial = open_partial(store, KEY, size)
        model: set[int] = set()
        for first, count, step in steps:
            chunks = range(first, min(first + count, partial.chunks))
            if step == "s":
                partial.save_map()
            elif chunks and step == "m":
                partial.mark(first, len(chunks))
                model |= set(chunks)
            elif chunks:
                partial.unclaim(first, len(chunks))
                model -= set(chunks)
            assert partial.present_bytes == sum(min(CHUNK_SIZE, size - chunk * CHUNK_SIZE) for chunk in model)
        partial.save_map()
        partial.close()
        store.close(clean)
        store = open_store(Path(directory) / "store")
        assert list_partials(store) == [(KEY, size)]
        partial = open_partial(store, KEY, size)
        present = {chunk for chunk in range(partial.chunks) if partial.present(chunk)}
        claimed = {chunk for first, count in partial.claimed(0, 99) for chunk in range(first, first + count)}
        assert (present, claimed) == (set(), model)
        partial.close()
        store.close()


def test_resumed_after_a_clean_end(store: Store, reopen: Reopen) -> None:
    """Nothing of it is missing, once it is verified again."""
    partial = open_partial(store, KEY, len(RAW))
    load(partial, 0, 3)
    partial.save_map()
    load(partial, 5, 1)
    partial.save_map()
    partial.close()
    again = reopen(store, True)
    partial = open_partial(again, KEY, len(RAW))
    assert partial.missing(0, 8) == [(3, 2), (6, 2)]
    assert partial.claimed(0, 8) == [(0, 3), (5, 1)]
    assert partial.present_bytes == 0
    assert partial.read(0, 3 * CHUNK_SIZE) == RAW[: 3 * CHUNK_SIZE]
    partial.close()


@pytest.mark.parametrize("clean", [True, False])
def test_claims(store: Store, reopen: Reopen, clean: bool) -> None:
    """What a map on the disk says is neither believed nor thrown away: it is to be verified, each time."""
    partial = open_partial(store, KEY, len(RAW))
    load(partial, 0, 4)
    partial.save_map()
    partial.close()
    second = reopen(store, clean)
    partial = open_partial(second, KEY, len(RAW))
    assert partial.claimed(0, 8) == [(0, 4)]
    assert partial.missing(0, 8) == [(4, 4)]
    assert partial.present_bytes == 0
    partial.confirm(0, 1)
    partial.unclaim(1, 1)
    assert partial.claimed(0, 8) == [(2, 2)]
    assert partial.missing(0, 8) == [(1, 1), (4, 4)]
    partial.save_map()
    partial.close()
    # What was verified in one run, or before the load slept, is a claim in the next.
    for again in second, reopen(second, clean):
        partial = open_partial(again, KEY, len(RAW))
        assert partial.claimed(0, 8) == [(0, 1), (2, 2)]
        partial.close()


def test_without_a_map_nothing_is_resumed(store: Store, reopen: Reopen) -> None:
    """Small blobs never save one; what they left is removed at the next start, waiting names too."""
    partial = open_partial(store, KEY, len(RAW))
    load(partial, 0, 3)
    partial.write_tree(0, b"t")
    partial.add_name(Name("a"), record_of(RAW), "http://one/")
    partial.close()
    again = reopen(store, True)
    assert list_partials(again) == []
    assert files(again) == []
    assert list_waiting(again) == []


def test_failed_save_is_made_up_for(store: Store) -> None:
    """Marks that could not be saved are saved the next time."""
    partial = open_partial(store, KEY, len(RAW))
    partial.save_map()
    load(partial, 3, 1)
    away = store.layout.root / "away"
    map_path = store.layout.partial_map(KEY).rename(away)
    with pytest.raises(errors.StoreBroken):
        partial.save_map()
    map_path.rename(store.layout.partial_map(KEY))
    partial.save_map()
    partial.close()
    assert open_partial(store, KEY, len(RAW)).claimed(0, 8) == [(3, 1)]


@pytest.mark.parametrize("keep", [0, 5, 18, 19])
def test_map_cut_short(store: Store, reopen: Reopen, keep: int) -> None:
    """A map that a crash cut makes the load start anew."""
    partial = open_partial(store, KEY, len(RAW))
    load(partial, 0, 8)
    partial.save_map()
    partial.close()
    map_path = store.layout.partial_map(KEY)
    map_path.write_bytes(map_path.read_bytes()[:keep])
    again = reopen(store, False)
    partial = open_partial(again, KEY, len(RAW))
    assert partial.missing(0, 8) == [(0, 8)]
    assert partial.claimed(0, 8) == []
    assert partial.read(0, len(RAW)) == bytes(len(RAW))
    partial.close()
    assert list_partials(again) == []
    assert files(again) == []


def test_map_with_stray_bits(store: Store, reopen: Reopen) -> None:
    """Bits behind the last chunk mean that the map is none of ours any more: the load starts anew."""
    partial = open_partial(store, KEY, 5 * CHUNK_SIZE)
    partial.mark(0, 2)
    partial.save_map()
    partial.close()
    map_path = store.layout.partial_map(KEY)
    raw = map_path.read_bytes()
    map_path.write_bytes(raw[:-1] + bytes([raw[-1] | 1 << 5]))
    partial = open_partial(store, KEY, 5 * CHUNK_SIZE)
    assert partial.missing(0, 5) == [(0, 5)]
    partial.close()


@pytest.mark.parametrize("broken", [b"", b"blobfsmap1\n" + bytes(9)])
def test_what_was_whole_once_needs_no_map(store: Store, broken: bytes) -> None:
    """Of a blob that was found wrong any chunk may be right, whatever became of its map; it may be this
    node's own, so it is never thrown away, and not taken for a loaded one."""
    path = store.layout.partial_content(KEY)
    path.write_bytes(RAW)
    set_mark(path, DEMOTED, YES)
    store.layout.partial_map(KEY).write_bytes(broken)
    assert list_partials(store) == [(KEY, len(RAW))]
    partial = open_partial(store, KEY, len(RAW))
    assert partial.is_demoted
    assert partial.claimed(0, 8) == [(0, 8)]
    assert get_mark(path, LOADED) is None
    partial.close()


def test_other_size_starts_anew(store: Store) -> None:
    """Another share's idea of the size does not inherit chunks, map or tree."""
    partial = open_partial(store, KEY, len(RAW))
    load(partial, 0, 8)
    partial.write_tree(0, b"tree")
    partial.save_map()
    partial.close()
    partial = open_partial(store, KEY, CHUNK_SIZE)
    assert partial.missing(0, 1) == [(0, 1)]
    assert partial.read_tree(0, 4) == bytes(4)
    assert store.layout.partial_content(KEY).stat().st_size == CHUNK_SIZE
    partial.drop()


def test_content_cut_short_starts_anew(store: Store) -> None:
    """A file that is not as long as its map says is not believed."""
    partial = open_partial(store, KEY, len(RAW))
    load(partial, 0, 8)
    partial.save_map()
    partial.close()
    os.truncate(store.layout.partial_content(KEY), 100)
    partial = open_partial(store, KEY, len(RAW))
    assert partial.missing(0, 8) == [(0, 8)]
    partial.drop()


def test_only_whole_chunks_are_written(store: Store) -> None:
    """Half a chunk cannot be verified, so nobody may write one; marks stay within the blob."""
    partial = open_partial(store, KEY, len(RAW))
    with pytest.raises(ValueError, match="no whole chunks"):
        partial.write_chunks(0, b"x" * 100)
    with pytest.raises(ValueError, match="no whole chunks"):
        partial.write_chunks(7, b"x" * CHUNK_SIZE)
    for first, count in ((8, 1), (7, 2), (-1, 1), (0, 0)):
        with pytest.raises(IndexError):
            partial.mark(first, count)
    assert partial.present_bytes == 0
    partial.drop()


def test_disk_space_is_taken_by_what_is_present(store: Store) -> None:
    """A gigabyte of which one chunk is here costs a chunk."""
    partial = open_partial(store, KEY, 1 << 30)
    partial.write_chunks(5000, b"x" * CHUNK_SIZE)
    os.fsync(partial.fd)
    stat = store.layout.partial_content(KEY).stat()
    assert stat.st_size == 1 << 30
    assert CHUNK_SIZE <= partial_bytes(store, KEY, 1 << 30) <= stat.st_blocks * 512 <= 2 * CHUNK_SIZE
    assert partial_bytes(store, KEY, 5) == 5
    assert partial_bytes(store, PLAIN, 5) == 0
    partial.drop()


def test_tree_comes_in_pieces(store: Store) -> None:
    """What never came reads as zeros, also behind the end of the file."""
    partial = open_partial(store, KEY, len(RAW))
    assert partial.read_tree(100, 10) == bytes(10)
    partial.write_tree(50, b"abc")
    assert partial.read_tree(48, 8) == b"\0\0abc\0\0\0"
    partial.drop()
    assert files(store) == []


def test_whole_blob_is_placed(store: Store) -> None:
    """It is linked into the share with its tree; its names wait until the caller has published them."""
    partial = open_partial(store, KEY, len(RAW))
    load(partial, 0, 8)
    partial.save_map()
    partial.write_tree(0, content_of(RAW).tree)
    partial.add_name(Name("d/a"), record_of(RAW), "http://one/")
    place_partial(store, partial, content_of(RAW), 77)
    assert store.layout.blob(KEY).read_bytes() == RAW
    assert store.layout.blob(KEY).stat().st_mtime_ns == 77
    assert store.layout.blob(KEY).stat().st_nlink == 1
    assert sealed.read_tree_file(store, KEY) == content_of(RAW).tree
    assert files(store) == ["KEY.names"]
    assert partial.read(0, 10) == RAW[:10]
    assert partial.names() == [WaitingName(Name("d/a"), record_of(RAW), "http://one/")]
    partial.drop()
    partial.drop()
    assert files(store) == []
    assert sealed.has(store, KEY)


def test_names_outlive_a_crash_before_their_publication(store: Store, reopen: Reopen) -> None:
    """Between the link and the names a crash loses neither."""
    partial = open_partial(store, KEY, len(RAW))
    load(partial, 0, 8)
    partial.add_name(Name("a"), record_of(RAW), "http://one/")
    place_partial(store, partial, content_of(RAW), 77)
    partial.close()
    again = reopen(store, False)
    assert list_partials(again) == []
    assert list_waiting(again) == [(KEY, [WaitingName(Name("a"), record_of(RAW), "http://one/")])]
    forget_waiting(again, KEY)
    forget_waiting(again, KEY)
    assert list_waiting(again) == []


def test_names_of_a_running_load_do_not_wait_for_the_start(store: Store) -> None:
    """A load that is resumed publishes its names itself."""
    partial = open_partial(store, KEY, len(RAW))
    load(partial, 0, 1)
    partial.save_map()
    partial.add_name(Name("a"), record_of(RAW), "http://one/")
    partial.close()
    assert list_partials(store) == [(KEY, len(RAW))]
    assert list_waiting(store) == []
    assert len(open_partial(store, KEY, len(RAW)).names()) == 1


def test_waiting_names(store: Store) -> None:
    """Each once, the last of each; a line that is none is passed over."""
    partial = open_partial(store, KEY, len(RAW))
    for published in (1, 2, 2):
        partial.add_name(Name("a"), record_of(RAW, published), "http://one/")
    partial.add_name(Name("b\nc"), record_of(RAW), "http://two/")
    path = store.layout.partial_names(KEY)
    broken = b'{\n[]\n1\n{"name":"x"}\n{"name":"x","record":1,"share":""}\n'
    broken += path.read_bytes().splitlines()[0].replace(b'"a"', b'"../a"') + b"\n"
    path.write_bytes(broken + path.read_bytes())
    assert partial.names() == []  # it is not what was written: any line of it may say anything
    remove_mark(path, CHECK)
    assert partial.names() == [
        WaitingName(Name("a"), record_of(RAW, 2), "http://one/"),
        WaitingName(Name("b\nc"), record_of(RAW), "http://two/"),
    ]
    partial.drop()


def test_blob_that_came_another_way(store: Store, reopen: Reopen) -> None:
    """If the blob is whole already, a partial one is of no use at the next start."""
    partial = open_partial(store, KEY, len(RAW))
    load(partial, 0, 8)
    partial.save_map()
    put_blob(store, RAW)
    place_partial(store, partial, content_of(RAW), 77)
    partial.close()
    partial = open_partial(store, KEY, len(RAW))
    load(partial, 0, 1)
    partial.save_map()
    partial.close()
    again = reopen(store, True)
    assert list_partials(again) == []
    assert files(again) == []
    assert again.layout.blob(KEY).read_bytes() == RAW


def test_plain_file_gets_its_id_in_the_end(store: Store, reopen: Reopen) -> None:
    """A file of a plain share is loaded under a key of its own and hashed when it is whole."""
    partial = open_partial(store, PLAIN, len(RAW))
    load(partial, 0, 8)
    partial.save_map()
    partial.close()
    again = reopen(store, True)
    assert list_partials(again) == [(PLAIN, len(RAW))]
    partial = open_partial(again, PLAIN, len(RAW))
    content = sealed.hash_file(store, partial.fd, partial.size)
    place_partial(again, partial, content, 77)
    partial.drop()
    assert again.layout.blob(BlobId(KEY)).read_bytes() == RAW
    assert files(again) == []


def test_empty_blob(store: Store) -> None:
    """It has no chunk to wait for."""
    partial = open_partial(store, content_of(b"").blob, 0)
    assert partial.is_whole
    assert partial.missing(0, 1) == []
    place_partial(store, partial, content_of(b""), 0)
    partial.drop()
    assert sealed.blob_size(store, content_of(b"").blob) == 0


def test_full_disk(tmp_path: Path, mount: Mount) -> None:
    """A chunk that found no room is not there, and can be written when there is room; the map as well."""
    store = open_store(mount("tmpfs", "size=1m", tmp_path / "small") / "store")
    filler = store.layout.root / "filler"
    partial = open_partial(store, KEY, len(RAW))
    with pytest.raises(OSError, match="No space left"):
        filler.write_bytes(bytes(2 << 20))
    with pytest.raises(errors.StoreFull):
        load(partial, 0, 1)
    assert not partial.present(0)
    with pytest.raises(errors.StoreFull):
        partial.save_map()
    filler.unlink()
    load(partial, 0, 2)
    partial.save_map()
    partial.close()
    assert open_partial(store, KEY, len(RAW)).missing(0, 8) == [(2, 6)]
    store.close()
