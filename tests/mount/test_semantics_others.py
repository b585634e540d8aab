"""docs/semantics.md, "Other nodes' names"."""

import errno
import os
import stat
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import attribute, errno_of, until
from tests.mount.programs import bash, run

NONBLOCKING = os.O_RDONLY | os.O_NONBLOCK

Two = tuple[BlobfsNode, BlobfsNode]


def test_looking(two_nodes: Two):
    """[S45] ls, find, du and stat show foreign files as they are, and nothing is read on either node."""
    a, b = two_nodes
    a.path("d").mkdir()
    a.path("d/f").write_bytes(bytes(2_000_000))
    a.path("d/f").chmod(0o755)
    os.utime(a.path("d/f"), (1_000_000_000, 1_000_000_000))
    attribute(a.path("d/f"), "id")
    before = b.operations("open"), b.operations("read")
    shown = run("ls", "-lR", "--time-style=+%s", b.path())
    assert "-r-xr-xr-x 1 root root 2000000 1000000000 f" in shown
    assert run("find", b.path(), "-type", "f", "-size", "+1M").split() == [str(b.path("d/f"))]
    run("du", "-s", b.path())
    assert stat.S_IMODE(b.path("d/f").stat().st_mode) == 0o555
    assert (b.operations("open"), b.operations("read")) == before
    assert b.status()["loading"]["loads"] == 0
    assert list((b.store / "partial").iterdir()) == []


def test_reading_foreign_files(two_nodes: Two):
    """[S46] A file that was read is here: shared in turn, and read when its publisher is gone."""
    a, b = two_nodes
    content = os.urandom(1_500_000)
    a.path("f").write_bytes(content)
    a.path("other").write_text("x")
    attribute(a.path("other"), "id")
    attribute(a.path("f"), "id")
    assert b.path("f").read_bytes() == content
    until((b.share / "f").exists, "what was loaded is shared")
    a.stop()
    b.restart()
    assert b.path("f").read_bytes() == content
    assert attribute(b.path("f"), "state") == "whole"
    assert (b.share / "f").read_bytes() == content


def test_nonblocking(two_nodes: Two):
    """[S47] A read waits for a moment, or else tar and grep -r would fail."""
    a, b = two_nodes
    a.path("d").mkdir()
    for name in ("d/f", "d/g", "d/h"):
        a.path(name).write_text(f"content of {name}")
        attribute(a.path(name), "id")
    descriptor = os.open(b.path("d/f"), os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(descriptor, 100) == b"content of d/f"
    os.close(descriptor)
    assert run("grep", "-rlh", "of d/g", b.path("d")) == f"{b.path('d/g')}\n"
    assert bash("gzip -c h | gunzip", b.path("d")) == "content of d/h"


def test_nonblocking_as_asked_for(start_node: StartNode):
    """[S47] With `-o nonblock_wait=0`: EAGAIN for what is not here yet; the load goes on by itself."""
    a = start_node("a", listen=True)
    content = os.urandom(400_000)
    a.path("f").write_bytes(content)
    attribute(a.path("f"), "id")
    b = start_node("b", shares=[a.url], options=["fill=never", "nonblock_wait=0"])
    with open(b.path("f"), "rb", buffering=0, opener=lambda path, _: os.open(path, NONBLOCKING)) as file:
        assert errno_of(partial(os.pread, file.fileno(), 10, 0)) == errno.EAGAIN
        until(lambda: file.seek(0) or file.readall() == content, "the load goes on")


def test_changing_foreign_names(two_nodes: Two):
    """[S48] Whatever would change what another node published is refused, and nothing changes."""
    a, b = two_nodes
    a.path("d").mkdir()
    a.path("empty").mkdir()
    for name in ("f", "d/g"):
        a.path(name).write_text(name)
        attribute(a.path(name), "id")
    a.path("s").symlink_to("f")
    b.path("own").write_text("own")
    f, s, d = b.path("f"), b.path("s"), b.path("d")
    attempts: list[tuple[Callable[[], object], int]] = [
        (f.unlink, errno.EPERM),
        (s.unlink, errno.EPERM),
        (partial(f.chmod, 0o755), errno.EPERM),
        (partial(os.utime, f), errno.EPERM),
        (partial(os.utime, s, follow_symlinks=False), errno.EPERM),
        (partial(f.rename, b.path("x")), errno.EPERM),
        (partial(s.rename, b.path("x")), errno.EPERM),
        (partial(os.open, f, os.O_WRONLY), errno.EPERM),
        (partial(os.truncate, f, 0), errno.EPERM),
        (partial(d.rename, b.path("x")), errno.EXDEV),
        (d.rmdir, errno.ENOTEMPTY),
        (b.path("empty").rmdir, errno.EPERM),
        (d.mkdir, errno.EEXIST),
        (partial(os.link, f, b.path("x")), errno.EXDEV),
    ]
    assert [errno_of(attempt) for attempt, _ in attempts] == [expected for _, expected in attempts]
    assert os.listdir(b.path()) == ["d", "empty", "f", "own", "s"]
    assert (f.read_text(), s.read_text(), b.path("d/g").read_text()) == ("f", "f", "d/g")


def test_publishing_over_a_foreign_name(start_node: StartNode):
    """[S49] The newest publication counts, also for a third node that asks both publishers."""
    a = start_node("a", listen=True)
    b = start_node("b", listen=True, shares=[a.url])
    c = start_node("c", shares=[a.url, b.url])
    a.path("d").mkdir()
    a.path("d/f").write_text("from a")
    attribute(a.path("d/f"), "id")
    assert c.path("d/f").read_text() == "from a"
    b.path("d/own").write_text("new")
    b.path("d/f.new").write_text("from b")
    b.path("d/f.new").rename(b.path("d/f"))
    assert (b.path("d/f").read_text(), a.path("d/f").read_text()) == ("from b", "from a")
    until(lambda: c.path("d/f").read_text() == "from b", "the newest is seen")
    assert os.listdir(c.path("d")) == ["f", "own"]
    b.path("d/f").unlink()
    assert attribute(a.path("d/f"), "state") == "sealed"  # A does not ask B


@pytest.mark.parametrize("loaded", [False, True], ids=["missing", "whole"])
def test_replaced_elsewhere(two_nodes: Two, loaded: bool):
    """[S50] A replaced file is seen, an open reader keeps what it has; a removed one is gone."""
    a, b = two_nodes
    for name in ("f", "gone"):
        a.path(name).write_text("old content")
        attribute(a.path(name), "id")
        assert b.path(name).exists()
        if loaded:
            assert b.path(name).read_text() == "old content"
            until((b.share / name).exists, "what was loaded is shared")
    with b.path("f").open() as reader:
        assert reader.read(3) == "old"
        a.path("new").write_text("new")
        a.path("new").rename(a.path("f"))
        a.path("gone").unlink()
        until(
            lambda: b.path("f").stat().st_size == 3 and b.path("f").read_text() == "new",
            "the new one is seen",
        )
        assert reader.read() == " content"
    until(lambda: not b.path("gone").exists(), "the removed one is gone")


@pytest.mark.parametrize("read_only", [False, True], ids=["writable", "read-only"])
def test_not_reachable(start_node: StartNode, free_port: int, read_only: bool):
    """[S51] Not reachable: EHOSTUNREACH; ENOENT where it may be created, which works. The log tells why."""
    dead = f"http://127.0.0.1:{free_port}/"
    node = start_node(shares=[dead], arguments=["--read-only"] if read_only else [])
    expected = errno.EHOSTUNREACH if read_only else errno.ENOENT
    for name in ("f", "d/f"):
        assert errno_of(node.path(name).stat) == expected
    assert f"'f' could not be looked up: {dead}: connection refused" in node.log()
    if not read_only:
        node.path("f").write_text("written offline")
        assert node.path("f").read_text() == "written offline"


def test_absent(start_node: StartNode):
    """[S51] What every share says it does not have is ENOENT, on a read-only mount too."""
    a = start_node("a", listen=True)
    b = start_node("b", shares=[a.url], arguments=["--read-only"])
    assert errno_of(b.path("nothing").stat) == errno_of(b.path("no/thing").stat) == errno.ENOENT
    assert errno_of(b.blob("0" * 64).stat) == errno.ENOENT


def test_reading_what_cannot_be_reached(start_node: StartNode):
    """[S52] EHOSTUNREACH when all tries are over; when the share is back, so is the file."""
    a = start_node("a", listen=True)
    a.path("f").write_text("content")
    attribute(a.path("f"), "id")
    b = start_node("b", shares=[a.url], options=["fill=never", "retry_timeout=0.01"])
    b.expect_log("no share that may have it can be reached")
    with b.path("f").open() as file:
        a.stop()
        assert errno_of(file.read) == errno.EHOSTUNREACH
        assert len(attribute(b.path("f"), "last_error").split('"phase"')) == 1 + 3
        a.start()
        until(lambda: errno_of(b.path("f").read_bytes) == 0, "the share is back")
        assert file.read() == "content"


def test_read_only_mounts(start_node: StartNode):
    """[S53] Every change is EROFS; reading and loading work."""
    a = start_node("a", listen=True)
    a.path("f").write_text("content")
    a.path("d").mkdir()
    attribute(a.path("f"), "id")
    b = start_node("b", shares=[a.url], arguments=["--read-only"])
    f, new = b.path("f"), b.path("new")
    changes: list[Callable[[], object]] = [
        new.touch,
        new.mkdir,
        partial(os.symlink, "f", new),
        partial(os.link, f, new),
        partial(f.rename, new),
        f.unlink,
        b.path("d").rmdir,
        partial(f.chmod, 0o555),
        partial(os.utime, f),
        partial(os.truncate, f, 0),
        partial(os.open, f, os.O_WRONLY),
        partial(os.setxattr, f, "user.blobfs.pinned", b"1"),
        Path(b.path(".blobfs/incoming") / ("0" * 64)).touch,
    ]
    assert [errno_of(change) for change in changes] == [errno.EROFS] * len(changes)
    assert f.read_text() == "content"
    assert sorted(os.listdir(b.path())) == ["d", "f"]
    until((b.share / "f").exists, "what was loaded is shared in turn")
