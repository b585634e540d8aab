"""docs/semantics.md, "Attributes"."""

import errno
import json
import os
import stat
from functools import partial
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import attribute, errno_of, until
from tests.mount.programs import bash, run

MIB = 1 << 20

SECONDS_NS = 1_234_567_890_123_456_789
"""2009-02-13, with all nine digits of nanoseconds."""


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_stat(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S30] What is on this machine is in st_blocks and du; so are owner, links, ctime."""
    a, b = two_nodes
    a.path("d").mkdir()
    a.path("d/f").write_bytes(os.urandom(4 * MIB))
    attribute(a.path("d/f"), "id")
    assert (a.path("d").stat().st_size, a.path("d").stat().st_nlink) == (0, 2)
    whole = a.path("d/f").stat()
    assert (whole.st_size, whole.st_blocks) == (4 * MIB, 4 * MIB // 512)
    assert (whole.st_uid, whole.st_gid, whole.st_nlink) == (os.getuid(), os.getgid(), 1)
    assert whole.st_ctime_ns == whole.st_mtime_ns
    assert b.path("d/f").stat().st_blocks == 0
    assert run("du", "-s", "--block-size=1", b.path()).split()[0] == "0"
    assert int(run("du", "-s", "--block-size=1", "--apparent-size", b.path()).split()[0]) == 4 * MIB
    with b.path("d/f").open("rb", buffering=0) as file:
        os.pread(file.fileno(), 1, 2 * MIB)
    partly = until(lambda: b.path("d/f").stat().st_blocks, "the kernel looks again")
    assert 0 < partly < whole.st_blocks
    b.path("d/f").read_bytes()
    until(lambda: b.path("d/f").stat().st_blocks == whole.st_blocks, "all blocks are here")


def test_chmod(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S31] Any mode while writing; then x bits or none, on both nodes. A directory stays as it is."""
    a, b = two_nodes
    with a.path("f").open("w") as file:
        os.fchmod(file.fileno(), 0o4601)
        assert mode_of(a.path("f")) == 0o4601
        os.write(file.fileno(), b"x")
        assert mode_of(a.path("f")) == 0o601
    attribute(a.path("f"), "id")
    assert mode_of(a.path("f")) == mode_of(b.path("f")) == 0o555
    a.path("f").chmod(0o600)
    assert mode_of(a.path("f")) == 0o444
    until(lambda: mode_of(b.path("f")) == 0o444, "the other node sees it")
    a.path("f").chmod(0o100)
    assert mode_of(a.path("f")) == 0o555
    a.path("d").mkdir()
    a.path("d").chmod(0o700)
    assert mode_of(a.path("d")) == 0o755


def test_times(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S32] An mtime that was set while writing, just after the close or long after is kept for good."""
    a, b = two_nodes
    with a.path("writing").open("w") as file:
        file.write("x")
        file.flush()
        os.utime(file.fileno(), ns=(0, SECONDS_NS))
    a.path("closed").write_text("x")
    os.utime(a.path("closed"), ns=(0, SECONDS_NS))
    a.path("sealed").write_text("x")
    attribute(a.path("sealed"), "id")
    os.utime(a.path("sealed"), ns=(0, SECONDS_NS))
    a.path("link").symlink_to("sealed")
    os.utime(a.path("link"), ns=(0, SECONDS_NS), follow_symlinks=False)
    a.path("d").mkdir()
    os.utime(a.path("d"), ns=(0, SECONDS_NS))
    assert a.path("d").stat().st_mtime_ns == SECONDS_NS
    (a.path("d") / "f").write_text("x")
    names = ("writing", "closed", "sealed", "link", "d")
    a.restart()
    for node in (a, b):
        assert {name: node.path(name).lstat().st_mtime_ns for name in names} == dict.fromkeys(
            names, SECONDS_NS
        )


def test_writing_sets_the_time(place: Path):
    """[S32] Without utimens the mtime is that of the last write, also once sealed; `touch` sets it anew."""
    (place / "f").write_text("x")
    written = (place / "f").stat().st_mtime_ns
    attribute(place / "f", "id")
    assert (place / "f").stat().st_mtime_ns == written
    bash("touch -d @0 f; stat -c %Y f; touch f; test $(stat -c %Y f) -gt 1000000", place)
    assert (
        bash("touch -d '2001-02-03 04:05:06.789Z' f new; stat -c %.3Y f new", place) == "981173106.789\n" * 2
    )


def test_chown(place: Path):
    """[S33] To the owner it has, or to nobody in particular: fine. To another one: EPERM."""
    (place / "f").write_text("x")
    os.chown(place / "f", os.getuid(), os.getgid())
    os.chown(place / "f", -1, -1)
    for owner in ((os.getuid() + 1, -1), (-1, os.getgid() + 1)):
        for name in ("f", ""):
            assert errno_of(partial(os.chown, place / name, *owner)) == errno.EPERM
    assert (place / "f").stat().st_uid == os.getuid()


def test_statfs(node: BlobfsNode):
    """[S34] The store's disk."""
    here, disk = os.statvfs(node.mountpoint), os.statvfs(node.store)
    assert (here.f_frsize, here.f_blocks, here.f_files) == (disk.f_frsize, disk.f_blocks, disk.f_files)
    assert here.f_namemax == 255


def test_extended_attributes(place: Path):
    """[S35] What there is, what can be read, set, removed; getfattr shows it."""
    path = place / "f"
    always = {"pinned", "present", "shares", "state", "verified"}
    with path.open("w"):
        assert set(os.listxattr(path)) == {f"user.blobfs.{name}" for name in always}
    attribute(path, "id")
    assert set(os.listxattr(path)) == {f"user.blobfs.{name}" for name in always | {"id"}}
    for name in ("user.other", "user.blobfs.other"):
        assert errno_of(partial(os.getxattr, path, name)) == errno.ENODATA
    for name in ("system.posix_acl_access", "security.capability", "security.selinux", "trusted.x"):
        assert errno_of(partial(os.getxattr, path, name)) == errno.EOPNOTSUPP
    for name in ("user.other", "user.blobfs.id", "user.blobfs.other"):
        assert errno_of(partial(os.setxattr, path, name, b"1")) == errno.EOPNOTSUPP
    assert errno_of(partial(os.removexattr, path, "user.blobfs.pinned")) == errno.EPERM
    assert errno_of(partial(os.removexattr, path, "user.other")) == errno.ENODATA
    assert os.listxattr(place) == []
    assert 'user.blobfs.state="sealed"' in run("getfattr", "-d", "-m", "-", "--absolute-names", path)


def test_id(place: Path):
    """[S36] Known as soon as the file is closed, to whoever asks; before that ENODATA."""
    with (place / "f").open("wb", buffering=0) as file:
        file.write(b"\xff" * 8192)
        assert errno_of(partial(attribute, place / "f", "id")) == errno.ENODATA
    known = attribute(place / "f", "id")
    assert known == "68d131bc271f9c192d4f6dcd8fe61bef90004856da19d0f2f514a7f4098b0737"


def test_state(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S37] From writing to sealed, and elsewhere from missing to whole; verified once there is a blob id."""
    a, b = two_nodes

    def seen(node: BlobfsNode) -> tuple[str, ...]:
        return tuple(attribute(node.path("f"), name) for name in ("state", "present", "verified", "shares"))

    with a.path("f").open("wb", buffering=0) as file:
        file.write(bytes(4 * MIB))
        assert seen(a) == ("writing", str(4 * MIB), "no", "")
    attribute(a.path("f"), "id")
    assert seen(a) == ("sealed", str(4 * MIB), "yes", "")
    assert seen(b) == ("missing", "0", "yes", a.url)
    with b.path("f").open("rb", buffering=0) as file:
        os.pread(file.fileno(), 1, 0)
    state, present, *_ = seen(b)
    assert state == "partial"
    assert 0 < int(present) < 4 * MIB
    b.path("f").read_bytes()
    assert seen(b)[:3] == ("whole", str(4 * MIB), "yes")


def test_pinned(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S38] Settable to 0 and 1, kept over a restart; not while nothing of the file is here."""
    a, b = two_nodes
    path = a.path("f")
    path.write_text("x")
    os.setxattr(path, "user.blobfs.pinned", b"1")
    for wrong in (b"", b"2", b"yes"):
        assert errno_of(partial(os.setxattr, path, "user.blobfs.pinned", wrong)) == errno.EINVAL
    assert errno_of(partial(os.setxattr, b.path("f"), "user.blobfs.pinned", b"1")) == errno.EPERM
    a.restart()
    assert attribute(path, "pinned") == "1"
    os.setxattr(path, "user.blobfs.pinned", b"0")
    assert attribute(path, "pinned") == "0"


@pytest.mark.parametrize("tries", [1, 2])
def test_last_error(start_node: StartNode, tries: int):
    """[S39] After a failed load: one object for each attempt; before it there is none."""
    a = start_node("a", listen=True)
    a.path("f").write_bytes(os.urandom(100_000))
    attribute(a.path("f"), "id")
    options = ["fill=never", f"max_tries={tries}", "retry_timeout=0.01"]
    b = start_node("b", shares=[a.url], options=options)
    with b.path("f").open("rb", buffering=0) as file:
        assert "user.blobfs.last_error" not in os.listxattr(b.path("f"))
        a.stop()
        b.expect_log("no share that may have it can be reached")
        assert errno_of(lambda: file.read(1)) == errno.EHOSTUNREACH
        assert "user.blobfs.last_error" in os.listxattr(b.path("f"))
        attempts = json.loads(attribute(b.path("f"), "last_error"))
    assert len(attempts) == tries
    keys = {"share", "phase", "kind", "outcome", "detail", "status", "received", "ms", "request"}
    assert all(attempt.keys() == keys for attempt in attempts)
    assert {attempt["share"] for attempt in attempts} == {a.url}
    assert {attempt["kind"] for attempt in attempts} == {"connect-refused"}
    assert {attempt["outcome"] for attempt in attempts} == {"unreachable"}
