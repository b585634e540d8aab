"""A node ends well, whichever way it is ended and whatever is open then."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from errno import ENOTCONN
from functools import partial
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import STOP_SECONDS, BlobfsNode
from tests.mount.probes import assert_one_line, blobfs, children_of, errno_of, put, until

End = Callable[[BlobfsNode], None]


def by_signal(number: signal.Signals) -> End:
    def end(node: BlobfsNode) -> None:
        assert node.process is not None
        node.process.send_signal(number)

    return end


def by_command(*command: str) -> End:
    def end(node: BlobfsNode) -> None:
        subprocess.run([*command, node.mountpoint], check=True, timeout=20, capture_output=True)

    return end


def by_blobfs(*arguments: str) -> End:
    def end(node: BlobfsNode) -> None:
        done = blobfs("unmount", *arguments, node.mountpoint)
        assert (done.returncode, done.stderr) == (0, "")

    return end


SIGNALS = [
    pytest.param(by_signal(signal.SIGTERM), id="SIGTERM"),
    pytest.param(by_signal(signal.SIGINT), id="SIGINT"),
]
LAZY = [
    pytest.param(by_command("umount", "--lazy"), id="umount --lazy"),
    pytest.param(by_command("fusermount3", "-u", "-z"), id="fusermount3 -u -z"),
    pytest.param(by_blobfs("--lazy"), id="blobfs unmount --lazy"),
]
PLAIN = [
    pytest.param(by_command("umount"), id="umount"),
    pytest.param(by_command("fusermount3", "-u"), id="fusermount3 -u"),
    pytest.param(by_blobfs(), id="blobfs unmount"),
]


def assert_ended_well(node: BlobfsNode, children: list[int]) -> None:
    assert node.wait_ended() == 0
    assert not node.is_mounted()
    assert "Traceback" not in node.log()
    until(lambda: not any(Path(f"/proc/{child}").exists() for child in children), "its share server is gone")


@pytest.mark.parametrize("end", [*SIGNALS, *LAZY, *PLAIN])
def test_an_idle_node_ends(node: BlobfsNode, end: End):
    """Whichever way a mount is ended: exit code 0 within seconds, nothing left mounted, no process left; what
    was closed just before is there at the next start."""
    assert node.process is not None
    children = children_of(node.process.pid)
    assert len(children) == 1
    put(node, "f", b"content")
    node.path("last").write_bytes(b"closed just before")
    end(node)
    assert_ended_well(node, children)
    assert (node.store / "clean").exists()
    node.start()
    assert node.path("last").read_bytes() == b"closed just before"


@pytest.mark.parametrize("end", [*SIGNALS, *LAZY])
def test_a_node_in_use_ends(node: BlobfsNode, end: End):
    """Ended while files are open: exit code 0 within seconds all the same; their users get errors, and what
    was being written is gone."""
    assert node.process is not None
    children = children_of(node.process.pid)
    put(node, "f", b"content" * 100_000)
    reader = os.open(node.path("f"), os.O_RDONLY)
    writer = os.open(node.path("unfinished"), os.O_WRONLY | os.O_CREAT)
    os.write(writer, b"half")
    end(node)
    assert_ended_well(node, children)
    assert errno_of(lambda: os.write(writer, b"more"))
    for fd in (reader, writer):
        assert errno_of(partial(os.close, fd)) in (0, ENOTCONN)
    node.start()
    assert os.listdir(node.path("")) == ["f"]
    assert node.path("f").read_bytes() == b"content" * 100_000


@pytest.mark.parametrize("command", [["umount"], ["fusermount3", "-u"]])
def test_an_unmount_in_use_is_refused(node: BlobfsNode, command: list[str]):
    """Without force a mount that is in use stays, and says so."""
    with node.path("f").open("wb"):
        done = subprocess.run([*command, node.mountpoint], timeout=20, check=False, capture_output=True)
        assert done.returncode != 0
        refused = blobfs("unmount", node.mountpoint)
        assert refused.returncode == 1
        assert "in use" in refused.stderr
        assert_one_line(refused)
    assert node.path("f").read_bytes() == b""


def test_an_unmount_of_what_is_not_mounted(tmp_path: Path):
    """`blobfs unmount` of anything but a blobfs mount fails with one line."""
    for path in (tmp_path, tmp_path / "missing", Path("/proc")):
        done = blobfs("unmount", path)
        assert done.returncode == 1
        assert_one_line(done)


def test_a_node_ends_while_it_loads(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """SIGTERM in the middle of a load: exit code 0, and the load goes on at the next start."""
    a, b = two_nodes
    content = os.urandom(64 << 20)
    put(a, "f", content)
    b.expect_log("fuse_reply_.* failed with", perhaps=True)  # the reader is cut off
    reader = subprocess.Popen(["cat", b.path("f")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: b.status()["loading"]["in_flight"], "it loads")
    b.restart()
    reader.wait(STOP_SECONDS)
    assert b.path("f").read_bytes() == content


def test_the_background_returns_when_the_mount_works(tmp_path: Path):
    """`--background`: when the command returns the mount is ready; its log is in the store."""
    (tmp_path / "mnt").mkdir()
    done = blobfs("mount", "--background", "--store", tmp_path / "store", tmp_path / "mnt")
    try:
        assert (done.returncode, done.stdout) == (0, "")
        (tmp_path / "mnt/f").write_bytes(b"ready")
        assert (tmp_path / "mnt/f").read_bytes() == b"ready"
    finally:
        assert blobfs("unmount", "--lazy", tmp_path / "mnt").returncode == 0
    until((tmp_path / "store/clean").exists, "it ended")
    assert "Traceback" not in (tmp_path / "store/log").read_text()


def test_a_store_survives_being_moved(start_node: StartNode, tmp_path: Path):
    """A store may be moved while nothing runs: nothing in it knows its path."""
    a = start_node("a")
    put(a, "f", b"content")
    a.stop()
    shutil.move(a.store, tmp_path / "moved")
    a.store = tmp_path / "moved"
    a.start()
    assert a.path("f").read_bytes() == b"content"


def test_a_second_signal_does_not_end_the_sealing(start_node: StartNode):
    """P2: Ctrl-C twice, or a service manager that says it again: what was closed is sealed all the same."""
    node = start_node("a", options=["seal_delay=0.3"])
    node.path("f").write_bytes(bytes(50_000_000))
    assert node.process is not None
    node.process.send_signal(signal.SIGINT)
    until(lambda: "ending on SIGINT" in node.log(), "it ends")
    node.stop()
    assert (node.share / "f").stat().st_size == 50_000_000
