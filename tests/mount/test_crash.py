"""SIGKILL at any moment: what was closed and fsynced is there afterwards, and nothing half-done is."""

import hashlib
import os
import subprocess
import sys
from errno import ENOENT, ENOTCONN
from pathlib import Path

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import (
    MIB,
    assert_sound,
    attribute,
    children_of,
    errno_of,
    errno_of_read,
    put,
    read_at,
    stored,
    until,
)
from tests.servers.nginx import Nginx

KILLS = 3

PROGRAM = """
import hashlib, os, sys
for number in range(100_000):
    content = os.urandom(1 + number * 7919 % 300_000)
    with open(f"{sys.argv[1]}/d/f{number}", "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    with open(sys.argv[2], "ab") as journal:
        journal.write(f"f{number} {hashlib.sha256(content).hexdigest()}\\n".encode())
"""


def test_what_was_fsynced_and_closed_survives(node: BlobfsNode, start_node: StartNode):
    """P2: a file that was fsynced and closed is there after a kill, byte for byte, also for others."""
    content = os.urandom(3 * MIB)
    with node.path("f").open("wb") as file:
        file.write(content)
        os.fsync(file.fileno())
    node.kill9()
    assert_sound(node.share)
    node.restart()
    assert node.path("f").read_bytes() == content
    b = start_node("b", shares=[node.url])
    assert b.path("f").read_bytes() == content
    assert list(node.store.glob("incoming/*")) == []


def test_kills_while_files_are_written(node: BlobfsNode, start_node: StartNode, tmp_path: Path):
    """P2, P9, P10: a program fsyncs and closes files while the node is killed repeatedly; all that it was
    told to be safe is there, the share never holds anything but whole blobs."""
    journal = tmp_path / "journal"
    safe: dict[str, str] = {}
    for round_number in range(KILLS):
        directory = node.path(f"{round_number}")
        (directory / "d").mkdir(parents=True)
        program = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, directory, journal], stderr=subprocess.DEVNULL
        )
        until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 25, "files are written")
        node.kill9()
        assert program.wait(10) != 0
        assert_sound(node.share)
        for line in journal.read_text().splitlines():
            name, digest = line.split()
            safe[f"{round_number}/d/{name}"] = digest
        journal.unlink()
        node.restart()
    assert {name: sha256(node.path(name)) for name in safe} == safe
    b = start_node("b", shares=[node.url])
    listed = {f"{n}/d/{name}" for n in range(KILLS) for name in os.listdir(b.path(f"{n}/d"))}
    assert set(safe) <= listed
    assert len(listed) <= len(safe) + KILLS  # the one that was being closed at the kill may be whole
    assert {name: sha256(b.path(name)) for name in listed}.items() >= safe.items()


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_was_being_written_is_not_there(node: BlobfsNode):
    """P2: what was open for writing at the kill is gone, fsynced or not; its name is free."""
    plain = node.path("written").open("wb", buffering=0)
    plain.write(os.urandom(2 * MIB))
    synced = node.path("synced").open("wb", buffering=0)
    synced.write(os.urandom(2 * MIB))
    os.fsync(synced.fileno())
    node.kill9()
    assert errno_of(plain.close) in (0, ENOTCONN)
    assert errno_of(synced.close) in (0, ENOTCONN)
    assert stored(node.share) == {}
    node.restart()
    assert os.listdir(node.path("")) == []
    assert errno_of_read(node.path("written")) == ENOENT
    assert stored(node.share) == {}
    assert list(node.store.glob("incoming/*")) == []
    assert put(node, "written", b"anew") in stored(node.share)


def test_what_was_closed_without_fsync_is_whole_or_not_there(node: BlobfsNode):
    """P2: a crash never shows a half-written file, though nobody asked for it to be safe."""
    contents = {f"f{number}": os.urandom(200_000 + number) for number in range(20)}
    for name, content in contents.items():
        node.path(name).write_bytes(content)
    node.kill9()
    assert_sound(node.share)
    node.restart()
    for name in os.listdir(node.path("")):
        assert node.path(name).read_bytes() == contents[name]


def test_a_replaced_name_survives(node: BlobfsNode):
    """P2: a name that was replaced by `mv`, with fsync on its directory, means the new content."""
    put(node, "f", b"old" * 100_000)
    with node.path("new").open("wb") as file:
        file.write(b"new" * 100_000)
        os.fsync(file.fileno())
    os.rename(node.path("new"), node.path("f"))
    directory = os.open(node.path(""), os.O_RDONLY)
    os.fsync(directory)
    os.close(directory)
    node.kill9()
    node.restart()
    assert node.path("f").read_bytes() == b"new" * 100_000
    assert os.listdir(node.path("")) == ["f"]


def test_what_was_removed_stays_removed(node: BlobfsNode):
    """P2: a file that was sealed and removed does not come back through its redo mark."""
    put(node, "f", b"removed")
    node.path("f").unlink()
    node.kill9()
    node.restart()
    assert os.listdir(node.path("")) == []
    assert errno_of_read(node.path("f")) == ENOENT


def test_a_load_goes_on_after_a_kill(start_node: StartNode):
    """P2, P9: killed while it loads, a node goes on with what it had: little is transferred twice, and
    the fill completes what was begun."""
    content = os.urandom(96 * MIB)
    a = start_node("a")
    blob = put(a, "f", content)
    with Nginx(a.share, "limit_rate 12m;") as nginx:
        options = ["fill_after=0.2"]
        b = start_node("b", shares=[nginx.url], options=options)
        reader = subprocess.Popen(["cat", b.path("f")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: int(attribute(b.path("f"), "present")) >= 40 * MIB, "it loads")
        b.kill9()
        assert reader.wait(10) != 0
        assert stored(b.share) == {}
        b.restart()
        assert read_at(b.path("f"), 0, MIB) == content[:MIB]
        until(lambda: blob in stored(b.share), "the fill completes it", seconds=30)
        sent = sum(request.body_bytes_sent for request in nginx.requests())
        assert b.path("f").read_bytes() == content
    assert sent < len(content) * 1.5
    assert_sound(b.share)


def test_torn_bytes_of_a_load_are_found(start_node: StartNode):
    """P1: after a kill, chunks that the map claims and the disk lost are loaded again, not given out."""
    content = os.urandom(16 * MIB)
    a = start_node("a", listen=True)
    put(a, "f", content)
    b = start_node("b", shares=[a.url])
    with b.path("f").open("rb") as file:
        assert file.read(12 * MIB) == content[: 12 * MIB]
    b.kill9()
    (partial,) = (path for path in (b.store / "partial").iterdir() if not path.suffix)
    with partial.open("r+b") as torn:
        torn.write(bytes(MIB))
    b.restart()
    assert b.path("f").read_bytes() == content
    until(lambda: stored(b.share), "it is whole")
    assert_sound(b.share)


def test_a_stale_mount_is_healed_every_time(node: BlobfsNode):
    """P9: after a kill the mount says ENOTCONN; the next start heals it, again and again, also with a program
    still standing in it."""
    put(node, "f", b"content")
    standing = subprocess.Popen(["sleep", "60"], cwd=node.path(""))
    try:
        for _ in range(3):
            node.kill9()
            assert errno_of(lambda: os.listdir(node.path(""))) == ENOTCONN
            node.restart()
            assert node.path("f").read_bytes() == b"content"
    finally:
        standing.kill()
        standing.wait()


def test_the_share_server_is_replaced(node: BlobfsNode):
    """P8: a share server that dies does not take the mount along, and the next one answers."""
    put(node, "f", b"content")
    assert node.process is not None
    (child,) = children_of(node.process.pid)
    node.expect_log("the share server ended")
    os.kill(child, 9)
    assert node.path("f").read_bytes() == b"content"
    done = subprocess.run(
        ["curl", "-sSf", "--max-time", "20", f"{node.url}f"], check=True, capture_output=True, timeout=30
    )
    assert done.stdout == b"content"
