"""What a tree is made of, and what cannot be packed."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import mkdtemp

import pytest

from blobfs.cli import pack_scan
from blobfs.cli.pack_scan import scan_tree
from blobfs.cli.pack_source import Source
from blobfs.manifest import Directory, Link
from tests.cli.pack_trees import NOWHERE, many_files, package_of, scan, scan_problems, write_tree

NOBODY = 65534
SECONDS = 60


def paths(directory: Path) -> set[bytes]:
    tree = scan(directory)
    assert tree.problems == []
    return {file.path for file in tree.files} | {entry.path for entry in tree.others}


def test_everything_in_a_tree_is_an_entry(tmp_path: Path) -> None:
    """Files, directories (empty ones too) and symlinks, which are not followed; the root is none."""
    write_tree(tmp_path, {"a/b/file": b"1"})
    (tmp_path / "empty").mkdir(mode=0o750)
    (tmp_path / "link").symlink_to("a")
    (tmp_path / "nowhere").symlink_to("/does/not/exist")
    tree = scan(tmp_path)
    assert [file.path for file in tree.files] == [b"a/b/file"]
    assert set(tree.others) == {
        Directory(b"a", 0o755),
        Directory(b"a/b", 0o755),
        Directory(b"empty", 0o750),
        Link(b"link", b"a"),
        Link(b"nowhere", b"/does/not/exist"),
    }


@pytest.mark.parametrize(
    "name",
    [b"a b", b"new\nline", b"\xff\xfe", "\u00fc".encode(), b"back\\slash", b"#x", b"a=b", b"*", b"-rf"],
)
def test_odd_names(tmp_path: Path, name: bytes) -> None:
    """Any bytes that Linux allows in a name are a name."""
    os.mkdir(os.fsencode(tmp_path) + b"/" + name)
    with open(b"/".join([os.fsencode(tmp_path), name, name]), "wb"):
        assert paths(tmp_path) == {name, name + b"/" + name}


def nest(directory: Path, name: bytes, depth: int) -> int:
    """Directories in one another; a descriptor of the innermost."""
    fd = os.open(directory, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        parent, fd = fd, os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(parent)
    return fd


def test_a_tree_deeper_than_a_path_may_be_long(tmp_path: Path) -> None:
    """What counts is the path below the directory, not where that is."""
    fd = nest(tmp_path, b"n" * 203, 20)
    with open(os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fd), "wb") as file:
        file.write(b"deep")
    os.close(fd)
    longest = max(paths(tmp_path), key=len)
    assert longest == b"/".join([*[b"n" * 203] * 20, b"file"])
    assert len(os.fsencode(tmp_path)) + len(longest) > 4096
    assert package_of(tmp_path).files == 1


def test_a_tree_deeper_than_python_may_recurse(tmp_path: Path) -> None:
    """Directories are listed one by one."""
    os.close(nest(tmp_path, b"d", 1500))
    try:
        assert len(paths(tmp_path)) == 1500
        assert package_of(tmp_path).manifest.count(b"\n") == 1501
    finally:
        subprocess.run(["rm", "-rf", tmp_path / "d"], check=True, timeout=SECONDS)


def test_many_files(tmp_path: Path) -> None:
    """Five thousand files are found, each once."""
    assert len(paths(write_tree(tmp_path, many_files(5000)))) == 5007


def test_hard_links_are_files(tmp_path: Path) -> None:
    """Two names of one file are two files with one content."""
    write_tree(tmp_path, {"a": b"1"})
    os.link(tmp_path / "a", tmp_path / "b")
    package = package_of(tmp_path)
    assert (package.files, len(package.holders)) == (2, 1)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    """Sockets, fifos and devices, all of them, each with what it is."""
    write_tree(tmp_path, {"d/fine": b"1"})
    os.mkfifo(tmp_path / "d/fifo")
    os.mknod(tmp_path / "device", 0o20600, os.makedev(1, 3))
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "socket"))
        assert scan_problems(tmp_path) == {
            b"d/fifo": "a fifo cannot be in a package",
            b"device": "a device cannot be in a package",
            b"socket": "a socket cannot be in a package",
        }


def test_special_bits_are_named(tmp_path: Path) -> None:
    """Set-id and sticky bits would be lost, so they are refused, on directories too; not on the root."""
    write_tree(tmp_path, {"tool": b"1", "d/x": b"2"})
    (tmp_path / "tool").chmod(0o6755)
    (tmp_path / "d").chmod(0o1777)
    tmp_path.chmod(0o2755)
    assert scan_problems(tmp_path) == {
        b"tool": "the set-user-id and set-group-id bit cannot be in a package",
        b"d": "the sticky bit cannot be in a package",
    }


def test_paths_over_the_limit_are_named(tmp_path: Path) -> None:
    """The directory that is too deep, and nothing of what is in it."""
    os.close(nest(tmp_path, b"n" * 200, 22))
    assert list(scan_problems(tmp_path).values()) == ["a path of 4220 bytes; it has at most 4096"]


def test_times_that_no_manifest_holds_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unless they are to be replaced anyway."""
    monkeypatch.setattr(pack_scan, "LAST_SECOND", 1_600_000_000)
    write_tree(tmp_path, {"new": b"1"})
    assert scan_problems(tmp_path) == {
        b"new": "its time is outside the years 1 to 9999; --mtime sets all times"
    }
    with Source(os.fsencode(tmp_path)) as source:
        assert scan_tree(source, NOWHERE, keeps_times=False).problems == []


def test_files_over_the_limit_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A blob has a largest size."""
    monkeypatch.setattr(pack_scan, "MAX_BLOB_SIZE", 3)
    write_tree(tmp_path, {"large": b"1234", "fine": b"123"})
    assert scan_problems(tmp_path) == {b"large": "4 bytes; a file has at most 3"}


def test_the_mount_itself_is_refused(tmp_path: Path) -> None:
    """A tree with the mount in it would contain what is being made of it. It is not looked into."""
    write_tree(tmp_path, {"d/mnt/x": b"1"})
    for root in (tmp_path, tmp_path / "d/mnt"):
        mounted = (tmp_path / "d/mnt").stat()
        with Source(os.fsencode(root)) as source:
            tree = scan_tree(source, (mounted.st_dev, mounted.st_ino))
        assert [problem.reason for problem in tree.problems] == ["it is the mount itself"]
        assert tree.files == []


@pytest.fixture
def foreign() -> Iterator[Path]:
    """A tree that another user can reach, some of which only its owner may read."""
    directory = Path(mkdtemp(prefix="blobfs-test-"))
    write_tree(directory, {"fine": b"1", "secret": b"2", "closed/x": b"3", "listed/x": b"4"})
    (directory / "secret").chmod(0o600)
    (directory / "closed").chmod(0o700)
    (directory / "listed").chmod(0o744)
    yield directory
    shutil.rmtree(directory)


PROGRAM = """
import json, os, sys
from pathlib import Path
from tests.cli.pack_trees import scan_problems
os.setgroups([])
os.setgid(65534)
os.setuid(65534)
print(json.dumps({os.fsdecode(path): reason for path, reason in scan_problems(Path(sys.argv[1])).items()}))
"""


def test_what_cannot_be_read_is_named(foreign: Path) -> None:
    """Before anything is read: files, directories, and what stands in a directory one may only list."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, foreign],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.stderr == ""
    assert json.loads(done.stdout) == dict.fromkeys(("secret", "closed", "listed/x"), "Permission denied")
