"""Plain reads, and files that are seen whole or not at all."""

import os
import tracemalloc
from pathlib import Path

import pytest

from blobfs.store.files import read_at, read_at_nowait, replace_file
from blobfs.store.marks import KEEP, YES, get_mark
from blobfs.store.opening import Store
from tests.store.conftest import Mount

MIB = 1 << 20


def test_reads_are_short_at_the_end_only(tmp_path: Path, tells_what_is_cached: bool) -> None:
    """Both ways of reading give all there is, and nothing behind the end."""
    path = tmp_path / "file"
    path.write_bytes(os.urandom(3 * MIB))
    raw = path.read_bytes()
    fd = os.open(path, os.O_RDONLY)
    for offset, length in ((0, 3 * MIB), (5, MIB), (3 * MIB - 5, 100), (3 * MIB, 10), (9 * MIB, 1), (0, 0)):
        expected = raw[offset : offset + length]
        assert read_at(fd, offset, length) == expected
        assert read_at_nowait(fd, offset, length) == (expected if tells_what_is_cached else None)
    os.close(fd)


def test_nowait_says_when_the_disk_must_be_asked(tmp_path: Path, tells_what_is_cached: bool) -> None:
    """What is not in the page cache, or only the front of it, is left to a thread."""
    path = tmp_path / "file"
    path.write_bytes(bytes(4 * MIB))
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_RANDOM)  # no read-ahead
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    os.pread(fd, 4096, 0)
    assert read_at_nowait(fd, 0, 4096) == (bytes(4096) if tells_what_is_cached else None)
    assert read_at_nowait(fd, 0, 4 * MIB) is None
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert read_at_nowait(fd, 0, 4 * MIB) is None
    assert read_at(fd, 0, 4 * MIB) == bytes(4 * MIB)
    os.close(fd)


def test_what_was_read_stays_what_it_is(tmp_path: Path) -> None:
    """Large reads are views of buffers, which are used again only when nobody views them any more."""
    path = tmp_path / "file"
    raw = os.urandom(8 * MIB)
    path.write_bytes(raw)
    fd = os.open(path, os.O_RDONLY)
    starts = range(0, 8 * MIB, MIB)
    found = [memoryview(read_at_nowait(fd, start, MIB) or raw[start : start + MIB])[5:] for start in starts]
    more = [read_at_nowait(fd, 5, MIB - 5) for _ in range(8)]
    assert [part == raw[start + 5 : start + MIB] for part, start in zip(found, starts, strict=True)] == [
        True
    ] * 8
    assert len(more) == 8
    os.close(fd)


def test_a_buffer_serves_one_reader_after_the_other(tmp_path: Path) -> None:
    """Reading on and on takes one buffer, not one for each read."""
    path = tmp_path / "file"
    path.write_bytes(bytes(MIB))
    fd = os.open(path, os.O_RDONLY)
    read_at_nowait(fd, 0, MIB)
    tracemalloc.start()
    for _ in range(50):
        read_at_nowait(fd, 0, MIB)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < MIB // 8
    os.close(fd)


def test_nowait_where_it_is_not_known(tmp_path: Path, mount: Mount) -> None:
    """On a file system without RWF_NOWAIT everything goes through a thread, and nothing fails."""
    path = mount("ramfs", "mode=0700", tmp_path / "ram") / "file"
    path.write_bytes(b"x")
    fd = os.open(path, os.O_RDONLY)
    assert read_at_nowait(fd, 0, 1) in (None, b"x")
    os.close(fd)


def test_replaced_file_has_its_mode_and_marks(store: Store) -> None:
    """It comes into sight complete, over what was there."""
    path = store.layout.trees / "x"
    path.write_bytes(b"old")
    replace_file(store.layout, path, b"new", 0o444, {KEEP: YES})
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o444
    assert get_mark(path, KEEP) == YES
    assert list(store.layout.incoming.iterdir()) == []


def test_failed_replacement_leaves_what_was_there(store: Store) -> None:
    """Neither half a file nor a temporary one is left."""
    path = store.layout.trees / "x"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(store.layout, path, b"new")
    assert list(store.layout.incoming.iterdir()) == []
