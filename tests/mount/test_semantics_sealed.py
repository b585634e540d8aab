"""docs/semantics.md, "Sealed files"."""

import errno
import fcntl
import mmap
import os
import threading
from functools import partial
from pathlib import Path

import pytest

from tests.mount.node import BlobfsNode
from tests.mount.probes import attribute, blob_id, errno_of, until
from tests.mount.programs import bash, bash_fails, sync_directory


def test_immutable(place: Path):
    """[S12] Every way to write to a sealed file is EPERM, for root too, before and after the seal."""
    path = place / "f"
    for content in ("just closed", "sealed"):
        path.write_text(content)
        if content == "sealed":
            attribute(path, "id")
        for flags in (
            os.O_WRONLY,
            os.O_RDWR,
            os.O_WRONLY | os.O_APPEND,
            os.O_WRONLY | os.O_TRUNC,
            os.O_RDONLY | os.O_TRUNC,
            os.O_WRONLY | os.O_CREAT,
        ):
            assert errno_of(partial(os.open, path, flags)) == errno.EPERM
        assert errno_of(lambda: os.truncate(path, 0)) == errno.EPERM
        assert errno_of(lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)) == errno.EEXIST
        assert path.read_text() == content
        path.unlink()


def test_replacing(place: Path):
    """[S13] rename over a sealed file: the reader keeps the old content, everybody else gets the new."""
    (place / "f").write_text("old")
    with (place / "f").open() as reader:
        (place / "new").write_text("new content")
        os.replace(place / "new", place / "f")
        assert (place / "f").read_text() == "new content"
        assert reader.read() == "old"
        assert os.fstat(reader.fileno()).st_size == 3
    assert os.listdir(place) == ["f"]


def test_replacing_is_atomic(place: Path):
    """[S13] Somebody who opens the name all the time gets one of its contents each time, whole."""
    contents = {str(number) * 5000 for number in range(4)}
    (place / "f").write_text("0" * 5000)
    seen: set[str] = set()
    stop = threading.Event()

    def look() -> None:
        while not stop.is_set():
            seen.add((place / "f").read_text())

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for number in [1, 2, 3] * 10:
            (place / "new").write_text(str(number) * 5000)
            os.replace(place / "new", place / "f")
    finally:
        stop.set()
        looker.join(20)
    assert seen <= contents
    assert len(seen) > 1


def test_a_rename_waits_for_the_seal(node: BlobfsNode):
    """[S13] A file that was just closed is in the share, under its new name, when rename returns."""
    for number in range(10):
        node.path("new").write_text(f"content {number}")
        os.replace(node.path("new"), node.path("f"))
        assert (node.share / "f").read_text() == f"content {number}"
        assert not (node.share / "new").exists()


@pytest.mark.parametrize("settled", [False, True], ids=["at-once", "later"])
def test_removing(node: BlobfsNode, settled: bool):
    """[S14] Open readers of a removed file read on; it is gone from the share, and so is its blob once
    nothing in the store needs it."""
    path = node.path("f")
    path.write_text("still here")
    blob = attribute(path, "id")
    if settled:
        sync_directory(node.path())
    with path.open() as reader:
        path.unlink()
        assert errno_of(path.stat) == errno.ENOENT
        assert os.listdir(node.path()) == []
        assert reader.read() == "still here"
        assert os.fstat(reader.fileno()).st_nlink == 0
        assert not (node.share / "f").exists()
    sync_directory(node.path())
    assert errno_of(node.blob(blob).stat) == errno.ENOENT
    assert list((node.share / ".blobfs/blobs").iterdir()) == []


def test_removing_what_is_being_written(node: BlobfsNode):
    """[S14] A file removed while it is being written is never shared; writing goes on without an error."""
    with node.path("f").open("w+b", buffering=0) as file:
        file.write(b"one")
        node.path("f").unlink()
        assert not node.path("f").exists()
        file.write(b"two")
        assert os.pread(file.fileno(), 10, 0) == b"onetwo"
    until(lambda: not list((node.store / "incoming").iterdir()), "what was removed is gone")
    assert [path.name for path in node.share.iterdir()] == [".blobfs"]
    assert os.listdir(node.path()) == []


def test_renaming_while_writing(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S15] A file renamed while it is being written is sealed under the new name, over what was there."""
    a, b = two_nodes
    a.path("target").write_text("old")
    with a.path("f").open("w") as file:
        file.write("one ")
        file.flush()
        a.path("f").rename(a.path("target"))
        assert a.path("target").read_text() == "one "
        assert os.listdir(a.path()) == ["target"]
        file.write("two")
    assert attribute(a.path("target"), "id") == blob_id(b"one two")
    assert b.path("target").read_text() == "one two"
    assert os.listdir(b.path()) == ["target"]
    assert not b.path("f").exists()


def test_reading(place: Path):
    """[S16] Every way to read gives the same bytes; short only at the end."""
    content = os.urandom(300_001)
    path = place / "f"
    path.write_bytes(content)
    with path.open("rb", buffering=0) as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
        assert mapping[:] == content
        assert os.pread(file.fileno(), 1000, 299_501) == content[299_501:]
        assert os.pread(file.fileno(), 1000, 300_001) == os.pread(file.fileno(), 1, 1 << 40) == b""
        with (place / "copy").open("wb", buffering=0) as copy:
            assert os.copy_file_range(file.fileno(), copy.fileno(), 200_000, 0, 0) == 200_000
            copy.seek(200_000)
            assert os.sendfile(copy.fileno(), file.fileno(), 200_000, 200_000) == 100_001
    assert (place / "copy").read_bytes() == content
    direct = bash("dd if=f iflag=direct bs=4096 status=none | sha256sum; sha256sum < f", place).split()
    assert direct[0] == direct[2]


def test_executing(place: Path):
    """[S16] A program that was copied in runs, scripts and machine code alike."""
    script = "printf '#!/bin/sh\\necho ran $1\\n' > p; chmod +x p"
    assert bash(f"{script}; ./p 1; ./p 2", place) == "ran 1\nran 2\n"
    assert bash("cp /bin/echo e; ./e 3; stat -c %a e", place).startswith("3\n")
    assert "Permission denied" in bash_fails("printf '#!/bin/sh\\n' > q; ./q", place)


def test_locks(place: Path):
    """[S17] flock and fcntl locks exclude other programs of this machine."""
    (place / "f").write_text("x")
    with (place / "f").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert bash_fails("flock --nonblock f true", place) == ""
        fcntl.flock(file, fcntl.LOCK_UN)
        bash("flock --nonblock f true", place)
        fcntl.lockf(file, fcntl.LOCK_SH)
