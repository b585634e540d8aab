"""Packages on a disk that is full: told to whoever writes, and gone on with when there is room."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from blobfs.model import BlobId
from tests.mount.conftest import StartNode
from tests.mount.loop_disk import SmallDisk, loop_disk
from tests.mount.node import BlobfsNode
from tests.mount.packages import (
    begin,
    directory,
    errno_of_write,
    finish,
    held,
    is_absent,
    is_complete,
    is_open,
    meta,
    missing,
    package_of,
    state,
    write,
)
from tests.mount.probes import MIB, assert_sound, attribute, errno_of, until
from tests.sync.packages.made import Made


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with loop_disk(tmp_path / "a-store") as found:
        yield found


@pytest.fixture
def node(disk: SmallDisk, start_node: StartNode) -> BlobfsNode:
    """A node on the small disk; its complaints about it are in order."""
    node = start_node()
    node.expect_log("No space left on device|could not seal|waits for the disk", perhaps=True)
    return node


def write_until_full(node: BlobfsNode, package: Made) -> set[str]:
    """The blobs that were written, until one was not; that says ENOSPC."""
    written = set()
    for blob in os.listdir(missing(node, package)):
        failed = errno_of_write(missing(node, package, blob), package.blobs[BlobId(blob)])
        if failed:
            assert failed == errno.ENOSPC
            break
        written.add(blob)
    return written


@pytest.mark.parametrize(
    ("count", "size", "leave"), [(12, MIB, 5 * MIB), (200, 30_000, 2 * MIB)], ids=["large", "small"]
)
def test_full_in_the_middle(node: BlobfsNode, disk: SmallDisk, count: int, size: int, leave: int):
    """ENOSPC for the blob for which there was no room: it stays missing, the others are held. With room it
    goes on, without anything written twice.
    """
    package = package_of({b"%d" % each: os.urandom(size) for each in range(count)})
    begin(node, package)
    disk.fill(leave)
    written = write_until_full(node, package)
    assert 0 < len(written) < count
    assert '"OUT_OF_SPACE"' in attribute(directory(node, package), "last_error")
    assert is_open(node, package)
    assert os.listdir(missing(node, package)) == sorted(set(package.blobs) - written)
    here = held(node, package, "needed")
    assert here is not None
    assert set(here) == {package.package, *written}
    assert_sound(node.share)
    disk.make_room()
    finish(node, package)
    assert is_complete(node, package)
    until(lambda: not os.listdir(node.store / "incoming"), "nothing of the failures is left")


def test_an_abort_makes_room(node: BlobfsNode, disk: SmallDisk):
    """What it wrote goes, also on a full disk."""
    package = package_of({b"%d" % each: os.urandom(MIB) for each in range(12)})
    begin(node, package)
    disk.fill(5 * MIB)
    assert write_until_full(node, package)
    directory(node, package).rmdir()
    assert is_absent(node, package)
    until(lambda: disk.free() > 2 * MIB, "there is room")
    assert os.listdir(node.store / "needed") == []


def test_nothing_fits_at_all(node: BlobfsNode, disk: SmallDisk):
    """Opening, or writing the meta blob, says so; with room all goes well."""
    package = package_of({b"%d" % each: os.urandom(20_000) for each in range(10)})
    disk.fill()
    opened = errno_of(directory(node, package).mkdir)
    assert opened in (0, errno.ENOSPC)
    if not opened:
        assert errno_of_write(meta(node, package), package.meta) == errno.ENOSPC
        assert state(node, package) == "need-meta"
    disk.make_room()
    errno_of(directory(node, package).mkdir)
    write(meta(node, package), package.meta)
    finish(node, package)
    assert is_complete(node, package)


def test_a_kill_on_a_full_disk(node: BlobfsNode, disk: SmallDisk):
    """What had returned is there after the start, and the rest is written when there is room."""
    package = package_of({b"%d" % each: os.urandom(MIB) for each in range(12)})
    begin(node, package)
    disk.fill(5 * MIB)
    written = write_until_full(node, package)
    node.kill9()
    node.start()
    assert os.listdir(missing(node, package)) == sorted(set(package.blobs) - written)
    disk.make_room()
    finish(node, package)
    assert is_complete(node, package)
