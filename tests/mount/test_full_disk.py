"""A disk that is full: told to whoever writes or reads, survived by the node, forgotten with room again."""

import os
from collections.abc import Iterator
from errno import ENOSPC
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.loop_disk import DISK_SIZE, SmallDisk, loop_disk
from tests.mount.node import BlobfsNode
from tests.mount.probes import (
    MIB,
    assert_sound,
    attribute,
    blob_id,
    blobfs,
    errno_of,
    put,
    stored,
    until,
)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """Where the node `b` has its store."""
    with loop_disk(tmp_path / "b-store") as disk:
        yield disk


@pytest.fixture
def node(disk: SmallDisk, start_node: StartNode) -> BlobfsNode:
    """A node on the small disk; its complaints about it are in order."""
    node = start_node("b", listen=True)
    node.expect_log("No space left on device|could not seal", perhaps=True)
    return node


def write(path: Path, content: bytes) -> None:
    with path.open("wb", buffering=0) as file:
        written = 0
        while written < len(content):
            written += file.write(content[written : written + MIB])


def test_a_writer_on_a_full_disk(node: BlobfsNode, disk: SmallDisk):
    """Who writes more than fits gets ENOSPC; nothing that was closed is lost, and there is room again
    once the torso is removed."""
    kept = os.urandom(8 * MIB)
    put(node, "kept", kept)
    assert errno_of(lambda: write(node.path("big"), bytes(DISK_SIZE))) == ENOSPC
    assert node.path("kept").read_bytes() == kept
    node.path("big").unlink()
    until(lambda: disk.free() > 20 * MIB, "the torso is gone")
    more = os.urandom(16 * MIB)
    put(node, "more", more)
    assert node.path("more").read_bytes() == more
    assert set(stored(node.share)) == {blob_id(kept), blob_id(more)}
    assert_sound(node.share)


def test_df_shows_the_disk(node: BlobfsNode, disk: SmallDisk):
    """statfs says what is left on the store's disk."""
    seen = os.statvfs(node.path(""))
    assert abs(seen.f_bavail * seen.f_frsize - disk.free()) < MIB
    disk.fill()
    assert os.statvfs(node.path("")).f_bavail * seen.f_frsize < MIB


def test_a_file_closed_on_a_full_disk(node: BlobfsNode, disk: SmallDisk):
    """P2: a file that was written and cannot be shared for want of room is not lost: it is read
    meanwhile, and shared when there is room."""
    content = os.urandom(3 * MIB)
    file = node.path("f").open("wb", buffering=0)
    file.write(content)
    os.fsync(file.fileno())
    disk.fill()
    assert errno_of(file.close) in (0, ENOSPC)  # that it would survive a crash cannot be promised now
    assert node.path("f").read_bytes() == content
    until(lambda: node.status()["sealing"]["pending"] == 0, "sealing was tried")
    assert_sound(node.share)
    disk.make_room()
    until(lambda: blob_id(content) in stored(node.share), "it is sealed")
    until(lambda: attribute(node.path("f"), "state") == "sealed", "the mount says so")
    assert node.path("f").read_bytes() == content


def test_a_kill_on_a_full_disk(node: BlobfsNode, disk: SmallDisk):
    """P2: what was fsynced and closed before the disk filled up survives a kill, and is served while
    it is still full (P6)."""
    content = os.urandom(3 * MIB)
    put(node, "f", content)
    disk.fill()
    node.kill9()
    node.restart()
    assert node.path("f").read_bytes() == content
    disk.make_room()
    assert put(node, "g", b"room again") in stored(node.share)


def test_loading_to_a_full_disk(node: BlobfsNode, disk: SmallDisk, start_node: StartNode):
    """What is loaded and finds no room is passed on to its reader; with room it is kept."""
    content = os.urandom(16 * MIB)
    a = start_node("a", listen=True)
    put(a, "f", content)
    node.stop()
    node.arguments.append(f"--share={a.url}")
    node.start()
    put(node, "mine", b"mine")
    disk.fill(leave=4 * MIB)
    assert node.path("f").read_bytes() == content
    assert blob_id(content) not in stored(node.share)
    assert node.status()["space"]["passed_bytes"] > 8 * MIB
    assert node.path("mine").read_bytes() == b"mine"
    assert_sound(node.share)
    disk.make_room()
    # What the kernel has still would not be asked for again.
    assert blobfs("load", node.mountpoint, "f").returncode == 0
    until(lambda: blob_id(content) in stored(node.share), "it is shared in turn")
