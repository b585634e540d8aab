"""docs/semantics.md, "Names"."""

import ctypes
import errno
import os
import socket
import stat
import urllib.request
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.mount.node import BlobfsNode
from tests.mount.probes import attribute, errno_of

ORDINARY = [
    "a b",
    "a\\b",
    "new\nline",
    "%2e%2e",
    "...",
    "-x",
    "'\"$(id)",
    "\u00e9",
    "e\u0301",
    "\U0001f600",
    "?#&",
]

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
AT_FDCWD = -100

_libc = ctypes.CDLL(None, use_errno=True)


def rename_with(flags: int, old: Path, new: Path) -> None:
    """renameat2(2), which Python does not have."""
    if _libc.renameat2(AT_FDCWD, os.fsencode(old), AT_FDCWD, os.fsencode(new), flags):
        raise OSError(ctypes.get_errno(), "renameat2")


def creations(path: Path) -> list[Callable[[], object]]:
    """Every call that makes a name or asks for one."""
    existing = path.parent / "existing"
    return [
        path.stat,
        path.touch,
        path.mkdir,
        partial(os.symlink, "existing", path),
        partial(os.link, existing, path),
        partial(os.rename, existing, path),
        path.unlink,
        path.rmdir,
    ]


def test_what_a_name_is(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S18] Odd characters are ordinary, on this node, on the other, and for any HTTP client; nothing is
    normalised."""
    a, b = two_nodes
    for directory in ("", "dir %41/"):
        a.path(directory).mkdir(exist_ok=True)
        for name in ORDINARY:
            a.path(directory + name).write_text(name)
            attribute(a.path(directory + name), "id")
    for directory in ("", "dir %41/"):
        assert set(os.listdir(b.path(directory))) - {"dir %41"} == set(ORDINARY)
        for name in ORDINARY:
            assert b.path(directory + name).read_text() == name
            with urllib.request.urlopen(a.url + quote(directory + name), timeout=5) as answer:
                assert answer.read().decode() == name


@pytest.mark.parametrize("name", [b"\xff\xfe", b"\xed\xa0\x80", b".blobfsx", b".blobfs-log"])
def test_what_no_name_is(place: Path, name: bytes):
    """[S19] Bytes that are no UTF-8, and reserved components, are EINVAL in every call."""
    (place / "existing").write_text("x")
    attribute(place / "existing", "id")
    path = place / os.fsdecode(name)
    assert [errno_of(create) for create in creations(path)] == [errno.EINVAL] * len(creations(path))
    assert os.listdir(place) == ["existing"]


def test_lengths(node: BlobfsNode):
    """[S20] 255 bytes are a component and 1,024 a name; more is ENAMETOOLONG. Bytes count, not characters."""
    node.path("é" * 127 + "x").write_text("x")
    for long in ("x" * 256, "é" * 128):
        (node.mountpoint / "existing").touch()
        for create in creations(node.path(long)):
            assert errno_of(create) == errno.ENAMETOOLONG
    deep = "/".join(["d" * 250] * 4)
    node.path(deep).mkdir(parents=True)
    node.path(f"{deep}/{'x' * 20}").write_text("1,024 bytes")
    assert errno_of(lambda: node.path(f"{deep}/{'x' * 21}").write_text("")) == errno.ENAMETOOLONG
    assert errno_of(node.path(f"{deep}/{'x' * 21}").mkdir) == errno.ENAMETOOLONG
    assert errno_of(lambda: node.path("d" * 250).rename(node.path("d" * 251))) == errno.ENAMETOOLONG
    assert node.path(f"{deep}/{'x' * 20}").read_text() == "1,024 bytes"


def test_directories(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S21] mkdir, mode 0755, EEXIST, ENOTEMPTY, and the other node sees it come and go."""
    a, b = two_nodes
    os.mkdir(a.path("d"), 0o700)
    assert stat.S_IMODE(a.path("d").stat().st_mode) == 0o755
    a.path("f").touch()
    assert errno_of(a.path("d").mkdir) == errno_of(a.path("f").mkdir) == errno.EEXIST
    assert b.path("d").is_dir()
    assert os.listdir(b.path("d")) == []
    with a.path("d/f").open("w"):
        assert errno_of(a.path("d").rmdir) == errno.ENOTEMPTY
    assert errno_of(a.path("d").rmdir) == errno.ENOTEMPTY
    a.path("d/f").unlink()
    a.path("d").rmdir()
    assert errno_of(a.path("d").stat) == errno.ENOENT
    a.path("d").mkdir()
    assert os.listdir(a.path("d")) == []


def test_wrong_kinds(place: Path):
    """[S22] Each mismatch of file and directory has its errno."""
    (place / "f").write_text("x")
    (place / "d").mkdir()
    attempts: dict[str, tuple[Callable[[], object], int]] = {
        "rmdir a file": ((place / "f").rmdir, errno.ENOTDIR),
        "unlink a directory": ((place / "d").unlink, errno.EISDIR),
        "through a file": ((place / "f/x").stat, errno.ENOTDIR),
        "through nothing": ((place / "none/x").touch, errno.ENOENT),
        "file over directory": (partial(os.rename, place / "f", place / "d"), errno.EISDIR),
        "directory over file": (partial(os.rename, place / "d", place / "f"), errno.ENOTDIR),
        "from nothing": (partial(os.rename, place / "none", place / "g"), errno.ENOENT),
        "write a directory": (partial(os.open, place / "d", os.O_WRONLY), errno.EISDIR),
    }
    assert {what: errno_of(call) for what, (call, _) in attempts.items()} == {
        what: expected for what, (_, expected) in attempts.items()
    }


def test_renaming_directories(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S23] All below moves along, for the other node too, an open file among it."""
    a, b = two_nodes
    a.path("old/sub/deep").mkdir(parents=True)
    a.path("old/sub/f").write_text("f")
    a.path("old/g").write_text("g")
    os.symlink("sub/f", a.path("old/link"))
    with a.path("old/sub/open").open("w") as file:
        a.path("old").rename(a.path("new"))
        file.write("written after")
    attribute(a.path("new/sub/open"), "id")
    for node in (a, b):
        assert errno_of(node.path("old").stat) == errno.ENOENT
        found = sorted(str(path.relative_to(node.path("new"))) for path in node.path("new").rglob("*"))
        assert found == ["g", "link", "sub", "sub/deep", "sub/f", "sub/open"]
        assert node.path("new/link").read_text() == "f"
        assert node.path("new/sub/open").read_text() == "written after"


def test_renaming_directories_onto_others(place: Path):
    """[S23] Onto an empty directory, a full one, below itself."""
    for name in ("d", "empty", "full"):
        (place / name).mkdir()
    (place / "d/f").write_text("d")
    (place / "full/f").write_text("full")
    (place / "d").rename(place / "empty")
    assert (place / "empty/f").read_text() == "d"
    assert errno_of(lambda: (place / "empty").rename(place / "full")) == errno.ENOTEMPTY
    assert errno_of(lambda: (place / "empty").rename(place / "empty/x")) == errno.EINVAL
    assert (place / "full/f").read_text() == "full"


def test_rename_flags(place: Path):
    """[S24] NOREPLACE protects the target; EXCHANGE and WHITEOUT are refused and change nothing."""
    for name in ("a", "b"):
        (place / name).write_text(name)
    assert errno_of(lambda: rename_with(RENAME_NOREPLACE, place / "a", place / "b")) == errno.EEXIST
    assert errno_of(lambda: rename_with(RENAME_EXCHANGE, place / "a", place / "b")) == errno.EINVAL
    assert errno_of(lambda: rename_with(RENAME_WHITEOUT, place / "a", place / "c")) == errno.EINVAL
    rename_with(RENAME_NOREPLACE, place / "a", place / "c")
    assert {path.name: path.read_text() for path in place.iterdir()} == {"b": "b", "c": "a"}


def test_hard_links(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S25] A second name is the same inode, with the same mode and time; removing one leaves the other."""
    a, b = two_nodes
    a.path("d").mkdir()
    a.path("f").write_text("content")
    os.link(a.path("f"), a.path("d/g"))
    assert a.path("f").stat().st_ino == a.path("d/g").stat().st_ino
    assert a.path("f").stat().st_nlink == 2
    a.path("d/g").chmod(0o755)
    os.utime(a.path("f"), (1, 1))
    a.path("f").unlink()
    for node in (a, b):
        found = node.path("d/g").stat()
        assert (node.path("d/g").read_text(), found.st_mtime) == ("content", 1)
        assert stat.S_IMODE(found.st_mode) == 0o555
    assert errno_of(lambda: os.link(a.path("d/g"), a.path("d"))) == errno.EEXIST


def test_what_has_one_name(place: Path):
    """[S25] What is being written, a directory, a symlink: EPERM."""
    (place / "d").mkdir()
    (place / "s").symlink_to("d")
    with (place / "w").open("w"):
        for name in ("d", "s", "w"):
            source, target = place / name, place / "second"
            refused = errno_of(partial(os.link, source, target, follow_symlinks=False))
            assert refused == errno.EPERM


def test_linking_a_blob(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S26] A blob that is here gets a name by its id; one that is elsewhere is EXDEV until it was read."""
    a, b = two_nodes
    a.path("f").write_text("content")
    blob = attribute(a.path("f"), "id")
    a.path("f").chmod(0o755)
    os.link(a.blob(blob), a.path("named"))
    assert (a.share / "named").read_text() == "content"
    assert stat.S_IMODE(a.path("named").stat().st_mode) == 0o444
    assert errno_of(lambda: os.link(b.blob(blob), b.path("mine"))) == errno.EXDEV
    assert errno_of(lambda: os.link(b.path("f"), b.path("mine"))) == errno.EXDEV


def test_symlinks(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S27] Relative targets inside the mount are kept as they are, on both nodes; others are EINVAL."""
    a, b = two_nodes
    a.path("d").mkdir()
    a.path("d/f").write_text("f")
    attribute(a.path("d/f"), "id")
    good = {"s": "d/f", "d/up": "../d/f", "dots": "./d//f", "dangling": "no/such", "to-dir": "d", "é": "é\n"}
    for name, target in good.items():
        os.symlink(target, a.path(name))
    for target in ("/etc/passwd", "..", "../x", "d/../d/f", "./../x"):
        assert errno_of(partial(os.symlink, target, a.path("bad"))) == errno.EINVAL, target
    assert errno_of(lambda: os.symlink("../../x", a.path("d/bad"))) == errno.EINVAL
    for node in (a, b):
        assert {name: os.readlink(node.path(name)) for name in good} == good
        assert [node.path(name).read_text() for name in ("s", "d/up", "dots", "to-dir/f")] == ["f"] * 4
        assert not node.path("dangling").exists()
    a.path("s").rename(a.path("t"))
    a.path("t").unlink()
    assert errno_of(a.path("t").lstat) == errno.ENOENT


@pytest.mark.usefixtures("dropping_caches")
def test_forgotten_nodes_are_found_again(node: BlobfsNode):
    """[S27] Symlinks and all other kinds are there also after the kernel has forgotten them."""
    node.path("d").mkdir()
    node.path("d/f").write_text("f")
    os.symlink("f", node.path("d/s"))
    blob = attribute(node.path("d/s"), "id")
    for _ in range(2):
        assert node.path("d/s").read_text() == node.blob(blob).read_text() == "f"
        Path("/proc/sys/vm/drop_caches").write_text("2")  # dentries and inodes, of clean files only


def test_other_kinds(place: Path):
    """[S28] No FIFO, socket, device, file by mknod, unnamed file."""
    assert errno_of(lambda: os.mkfifo(place / "x")) == errno.EPERM
    assert errno_of(lambda: os.mknod(place / "x", stat.S_IFREG | 0o644)) == errno.EPERM
    assert errno_of(lambda: os.mknod(place / "x", stat.S_IFCHR | 0o644, os.makedev(1, 3))) == errno.EPERM
    here = Path.cwd()
    os.chdir(place)  # the path of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as made:
            assert errno_of(lambda: made.bind("x")) == errno.EPERM
    finally:
        os.chdir(here)
    assert errno_of(lambda: os.open(place, os.O_TMPFILE | os.O_WRONLY)) == errno.EOPNOTSUPP
    assert os.listdir(place) == []


def test_listing(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S29] Names of both nodes, once each, sorted; `.blobfs` never, though it opens; hundreds as well."""
    a, b = two_nodes
    for name in ("c", "a", "both"):
        a.path(name).write_text(name)
        attribute(a.path(name), "id")
    for name in ("b", "both-new"):
        b.path(name).write_text(name)
    b.path("both-new").rename(b.path("both"))
    with b.path("writing").open("w"):
        assert os.listdir(b.path()) == ["a", "b", "both", "c", "writing"]
        assert os.listdir(a.path()) == ["a", "both", "c"]
    assert {entry.name for entry in os.scandir(b.path()) if entry.is_file()} == {
        "a",
        "b",
        "both",
        "c",
        "writing",
    }
    assert b.path(".blobfs").is_dir()
    b.path("many").mkdir()
    names = [f"name-{number:03d}" for number in range(600)]
    for name in names:
        b.path(f"many/{name}").touch()
    assert os.listdir(b.path("many")) == names
