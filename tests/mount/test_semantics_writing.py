"""docs/semantics.md, "Writing"."""

import errno
import mmap
import os
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from blobfs.model import EMPTY_BLOB
from tests.mount.node import BlobfsNode
from tests.mount.probes import attribute, blob_id, errno_of, until
from tests.mount.programs import bash, bash_fails, run, sync_directory


def test_creating(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S1] A new file has the mode asked for and the state `writing`; nobody else sees it."""
    a, b = two_nodes
    before = os.umask(0o027)
    try:
        with a.path("f").open("xb") as file:
            file.write(b"half of it")
            file.flush()
            assert stat.S_IMODE(a.path("f").stat().st_mode) == 0o640
            assert attribute(a.path("f"), "state") == "writing"
            assert not b.path("f").exists()
            assert os.listdir(b.path()) == []
            assert not (a.share / "f").exists()
    finally:
        os.umask(before)


def test_reading_what_is_being_written(place: Path):
    """[S2] Readers see each write and the size; a hole reads as zeros."""
    with (place / "f").open("wb", buffering=0) as writer, (place / "f").open("rb", buffering=0) as reader:
        assert reader.read() == b""
        writer.write(b"one")
        assert reader.read() == b"one"
        os.pwrite(writer.fileno(), b"end", 10_000)
        assert reader.read() == bytes(9_997) + b"end"
        assert (place / "f").stat().st_size == os.fstat(reader.fileno()).st_size == 10_003


def test_seek_and_rewrite(place: Path):
    """[S3] Rewriting, cutting, extending and emptying; what is sealed is what was there at the end."""
    path = place / "f"
    writer = os.open(path, os.O_RDWR | os.O_CREAT)
    os.write(writer, b"x" * 300_000)
    os.pwrite(writer, b"YYYY", 8190)
    os.ftruncate(writer, 100_000)
    os.truncate(path, 50_000)
    os.ftruncate(writer, 60_000)
    expected = b"x" * 8190 + b"YYYY" + b"x" * (50_000 - 8194) + bytes(10_000)
    assert os.pread(writer, 100_000, 0) == path.read_bytes() == expected
    os.close(writer)
    assert attribute(path, "id") == blob_id(expected)
    assert path.read_bytes() == expected


def test_emptied_by_o_trunc(place: Path):
    """[S3] O_TRUNC empties a file that is being written."""
    path = place / "f"
    first = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(first, b"1234567890")
    second = os.open(path, os.O_WRONLY | os.O_TRUNC)
    assert os.fstat(first).st_size == path.stat().st_size == 0
    os.write(second, b"new")
    os.close(second)
    os.close(first)
    assert path.read_bytes() == b"new"


def test_several_writers(place: Path):
    """[S4] Two writers, one of them appending, write one file; the last close seals it. O_EXCL is EEXIST."""
    path = place / "f"
    first = os.open(path, os.O_WRONLY | os.O_CREAT)
    appending = os.open(path, os.O_WRONLY | os.O_APPEND)
    assert errno_of(lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)) == errno.EEXIST
    os.write(first, b"one ")
    os.write(appending, b"two ")
    os.pwrite(first, b"ONE ", 0)
    os.close(first)
    assert attribute(path, "state") == "writing"
    os.write(appending, b"three")
    os.close(appending)
    assert attribute(path, "id") == blob_id(b"ONE two three")
    assert path.read_bytes() == b"ONE two three"


def test_closing(node: BlobfsNode):
    """[S5] The last close seals and shares: 0444, or 0555 with an x bit; the empty file is the empty blob."""
    for name, mode, sealed in (("a", 0o600, 0o444), ("b", 0o644, 0o444), ("c", 0o710, 0o555)):
        os.close(os.open(node.path(name), os.O_WRONLY | os.O_CREAT, mode))
        assert attribute(node.path(name), "id") == EMPTY_BLOB
        assert stat.S_IMODE(node.path(name).stat().st_mode) == sealed
        assert (node.share / name).read_bytes() == b""
        assert (node.share / ".blobfs/names" / name).exists()


def test_duplicated_descriptors(place: Path):
    """[S6] Copies of a descriptor that are closed, also before the first write, seal nothing."""
    bash("exec 3>f; (true >&3); (echo a >&3); echo b >&3; exec 3>&-", place)
    assert (place / "f").read_text() == "a\nb\n"
    first = os.open(place / "g", os.O_WRONLY | os.O_CREAT)
    os.close(os.dup(first))
    os.write(first, b"1")
    os.close(os.dup(first))
    assert attribute(place / "g", "state") == "writing"
    os.write(first, b"2")
    os.close(first)
    assert attribute(place / "g", "id") == blob_id(b"12")


def test_writing_through_a_mapping(place: Path):
    """[S7] What a shared mapping writes after the descriptor was closed is in the file."""
    descriptor = os.open(place / "f", os.O_RDWR | os.O_CREAT)
    os.ftruncate(descriptor, 20_000)
    with mmap.mmap(descriptor, 20_000) as mapping:
        os.close(descriptor)
        mapping[:3] = b"abc"
        assert attribute(place / "f", "state") == "writing"
        mapping[-3:] = b"xyz"
        mapping.flush()
    assert attribute(place / "f", "id") == blob_id(b"abc" + bytes(19_994) + b"xyz")


def test_fsync(node: BlobfsNode):
    """[S8] What was fsynced and closed is there after a SIGKILL that follows at once."""
    contents = {f"f{number}": os.urandom(number * 10_000) for number in range(3)}
    for name, content in contents.items():
        with node.path(name).open("wb", buffering=0) as file:
            file.write(content)
            (os.fdatasync if name == "f1" else os.fsync)(file.fileno())
    node.kill9()
    node.restart()
    assert {name: node.path(name).read_bytes() for name in sorted(os.listdir(node.path()))} == contents
    assert {name: (node.share / name).read_bytes() for name in contents} == contents


def test_fsync_of_a_directory(node: BlobfsNode):
    """[S9] When it returns, what was closed in it and below is shared, and survives a SIGKILL."""
    node.path("d/sub").mkdir(parents=True)
    names = [f"{directory}/{number}" for directory in ("d", "d/sub") for number in range(30)]
    for name in names:
        node.path(name).write_text(name)
    run("sync", node.path("d"))
    shared = {name: (node.share / name).read_text() for name in names}
    node.kill9()
    assert shared == {name: name for name in names}
    node.restart()
    assert {name: node.path(name).read_text() for name in names} == shared


def test_crash(node: BlobfsNode):
    """[S10] After a SIGKILL a sealed file is whole, and one that was being written is gone, fsync or not."""
    node.path("sealed").write_bytes(b"s" * 100_000)
    sync_directory(node.path())
    writers = [os.open(node.path(name), os.O_WRONLY | os.O_CREAT) for name in ("synced", "open")]
    for writer in writers:
        os.write(writer, b"half")
    os.fsync(writers[0])
    node.kill9()
    assert [errno_of(partial(os.close, writer)) for writer in writers] == [errno.ENOTCONN] * 2
    node.restart()
    assert os.listdir(node.path()) == ["sealed"]
    assert node.path("sealed").read_bytes() == b"s" * 100_000
    assert list((node.store / "incoming").iterdir()) == []


def test_too_large(place: Path):
    """[S11] A size that cannot be kept is EFBIG, and what was there before stays; fallocate is EOPNOTSUPP."""
    with (place / "f").open("wb", buffering=0) as file:
        file.write(b"small")
        assert errno_of(lambda: os.ftruncate(file.fileno(), 1 << 61)) == errno.EFBIG
        assert errno_of(lambda: os.pwrite(file.fileno(), b"x", 1 << 61)) == errno.EFBIG
        assert "not supported" in bash_fails("fallocate --length 1M f", place)
    assert (place / "f").read_bytes() == b"small"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    path = tmp_path / "disk"
    path.mkdir()
    run("mount", "-t", "tmpfs", "-o", "size=4M", "tmpfs", path)
    yield path
    run("umount", path)


def test_full_disk(small_disk: Path):
    """[S11] On a full disk a write is ENOSPC; what is here is read as ever, and there is room after an rm."""
    with BlobfsNode(small_disk) as node:
        node.path("kept").write_bytes(b"k" * 1_000_000)
        run("sync", node.path())
        with node.path("f").open("wb", buffering=0) as file:
            assert errno_of(lambda: [file.write(bytes(100_000)) for _ in range(100)]) == errno.ENOSPC
            node.path("f").unlink()
        assert node.path("kept").read_bytes() == b"k" * 1_000_000
        until(
            lambda: errno_of(lambda: node.path("g").write_bytes(bytes(2_000_000))) == 0, "there is room again"
        )
        assert attribute(node.path("g"), "id") == blob_id(bytes(2_000_000))


def test_crash_after_removing(node: BlobfsNode):
    """[S10] What was removed or replaced just after its seal stays so after a SIGKILL, and leaves no blob."""
    for name, content in (("removed", "1"), ("replaced", "2"), ("new", "3")):
        node.path(name).write_text(content)
        attribute(node.path(name), "id")
    node.path("removed").unlink()
    node.path("new").rename(node.path("replaced"))
    node.kill9()
    node.restart()
    assert os.listdir(node.path()) == ["replaced"]
    assert node.path("replaced").read_text() == "3"
    assert [path.name for path in (node.share / ".blobfs/blobs").iterdir()] == [blob_id(b"3")]
