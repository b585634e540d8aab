"""Root on its way to a mountpoint, in directories where others may do what they like."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from blobfs.errors import StartRefused
from blobfs.fuse import syscalls
from blobfs.fuse.mountinfo import find_mount
from blobfs.fuse.premount import premount
from blobfs.fuse.way import detach_as_root, held, make_way

NOBODY = 65534


@pytest.fixture
def theirs(tmp_path: Path) -> Path:
    """A directory of a user who is not root's friend."""
    path = tmp_path / "theirs"
    path.mkdir()
    os.chown(path, NOBODY, NOBODY)
    return path


@pytest.fixture
def precious(tmp_path: Path) -> Iterator[Path]:
    """An empty directory of root's where a mount would do harm, as /usr/local/sbin."""
    path = tmp_path / "precious"
    path.mkdir()
    yield path
    while find_mount(str(path)) is not None:
        syscalls.umount(str(path), syscalls.MNT_DETACH)


def link(place: Path, target: Path | str, owner: int) -> None:
    place.symlink_to(target)
    os.lchown(place, owner, owner)


def test_what_is_missing_is_made(tmp_path: Path) -> None:
    """All directories on the way; what is there stays."""
    for _ in range(2):
        assert make_way(f"{tmp_path}/a/b/../c/") == f"{tmp_path}/a/c"
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == ["c"]
    assert make_way("/") == "/"


def test_links_of_root_are_followed(tmp_path: Path) -> None:
    """Where an administrator has put his mountpoints somewhere else: to other places, and further up."""
    (tmp_path / "disk/b").mkdir(parents=True)
    link(tmp_path / "a", tmp_path / "disk", 0)
    link(tmp_path / "disk/c", "../disk/./b", 0)
    assert make_way(f"{tmp_path}/a/c/new") == f"{tmp_path}/disk/b/new"
    assert (tmp_path / "disk/b/new").is_dir()


def test_links_go_round(tmp_path: Path) -> None:
    """The same words as the kernel's."""
    link(tmp_path / "a", "b", 0)
    link(tmp_path / "b", "a", 0)
    with pytest.raises(StartRefused, match="Too many levels"):
        make_way(f"{tmp_path}/a/c")


@pytest.mark.parametrize("below", ["", "/below"])
def test_links_of_others_are_not_followed(theirs: Path, precious: Path, below: str) -> None:
    """Else they could have root mount their file system over what is root's, or make directories there."""
    link(theirs / "mnt", precious, NOBODY)
    with pytest.raises(StartRefused, match=f"to {precious} is not"):
        make_way(f"{theirs}/mnt{below}")
    assert list(precious.iterdir()) == []


def test_a_link_that_comes_after_the_look(theirs: Path, precious: Path) -> None:
    """The mountpoint was looked at, and is a link when root mounts: nothing is mounted, here or there."""
    target = make_way(f"{theirs}/mnt")
    (theirs / "mnt").rmdir()
    link(theirs / "mnt", precious, NOBODY)
    with pytest.raises(StartRefused, match="cannot mount"):
        premount(target, "/nowhere", NOBODY, NOBODY, read_only=False)
    assert find_mount(str(precious)) is None


def test_a_directory_above_is_exchanged(theirs: Path, precious: Path) -> None:
    """The mount goes to what root holds, and nothing else of that name is unmounted."""
    real = make_way(f"{theirs}/way/precious")
    with held(real) as place:
        (theirs / "way").rename(theirs / "old")
        link(theirs / "way", precious.parent, NOBODY)
        assert os.path.realpath(place) == f"{theirs}/old/precious"
    os.close(premount(str(precious), "/nowhere", 0, 0, read_only=False))
    with pytest.raises(OSError, match="Too many levels"):
        detach_as_root(real)
    assert find_mount(str(precious)) is not None
    detach_as_root(str(precious))
    assert find_mount(str(precious)) is None


def test_a_dead_mount_is_no_obstacle(precious: Path) -> None:
    """The way to it is gone, and it is removed, without a question to its daemon."""
    os.close(premount(str(precious), "/nowhere", 0, 0, read_only=False))
    assert make_way(str(precious)) == str(precious)
    detach_as_root(str(precious))
    assert find_mount(str(precious)) is None
