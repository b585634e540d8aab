"""docs/semantics.md, "Names between nodes": how soon a change is seen, on a share that is written by hand."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from blobfs.model import BlobId
from blobfs.record import BlobRecord, LogEntry, encode_log_entry, encode_log_header, encode_record
from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import blob_id, put, until
from tests.servers.nginx import Nginx

NAMES = 10_000
READERS = 8
KNOWS_NOTICES = tuple(int(part) for part in os.uname().release.split("-")[0].split(".")[:2]) >= (6, 18)
"""Whether this kernel can be told (`fuse.pruning`)."""

READER = """
import os, sys
directory, rounds = sys.argv[1], 0
names = [f"n{number}" for number in range(int(sys.argv[2]), 10_000, 97)]
while os.stat(sys.argv[3]).st_size == 0:
    for name in names:
        path = f"{directory}/{name}"
        size = os.stat(path).st_size
        with open(path, "rb") as file:
            content = file.read()
            assert len(content) == os.fstat(file.fileno()).st_size, "a size of one version, bytes of another"
        assert content in (b"old", b"newer"), content
    assert len(os.listdir(directory)) == 10_000
    rounds += 1
print(rounds)
"""
"""Goes through a part of the names, and lists them all, until a file is no longer empty."""


class HandMade:
    """A share that is changed as its publisher would change it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.log = root / ".blobfs/names/.blobfs-log"
        self.log.parent.mkdir(parents=True)
        (root / ".blobfs/blobs").mkdir()
        self.log.write_bytes(encode_log_header("a generation"))

    def record(self, content: bytes, published_ns: int) -> BlobRecord:
        blob = BlobId(blob_id(content))
        (self.root / ".blobfs/blobs" / blob).write_bytes(content)
        return BlobRecord(blob, len(content), 0o444, 7_000, published_ns)

    def publish(self, names: list[str], record: BlobRecord) -> None:
        """One change after the other, but seen at once."""
        lines = [encode_log_entry(LogEntry(name, record)) for name in names]
        for name in names[:1] if len(names) > 1 else names:
            (self.log.parent / name).write_bytes(encode_record(record))
        with self.log.open("ab") as log:
            log.write(b"".join(lines))


@pytest.fixture
def hand_made(tmp_path: Path) -> Iterator[tuple[HandMade, str]]:
    """A share, and its URL."""
    share = HandMade(tmp_path / "hand-made")
    with Nginx(share.root) as nginx:
        yield share, nginx.url


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[HandMade, BlobfsNode]]:
    """A share, and a node that knows it."""
    directory = tmp_path_factory.mktemp("changing")
    share = HandMade(directory / "hand-made")
    with Nginx(share.root) as nginx, BlobfsNode(directory, shares=[nginx.url]) as node:
        yield share, node


def test_names_change_while_they_are_used(changing: tuple[HandMade, BlobfsNode], tmp_path: Path):
    """[S62] Ten thousand at once, under eight readers: none hangs, none sees half a change, all see it."""
    share, node = changing
    names = [f"n{number}" for number in range(NAMES)]
    share.publish(names, share.record(b"old", 1_000))
    assert sum(entry.stat().st_size for entry in os.scandir(node.path())) == 3 * NAMES
    ended = tmp_path / "ended"
    ended.touch()
    readers = [
        subprocess.Popen(
            [sys.executable, "-c", READER, node.path(), str(number), ended], stdout=subprocess.PIPE
        )
        for number in range(READERS)
    ]
    try:
        share.publish(names, share.record(b"newer", 2_000))
        until(lambda: node.path("n1").stat().st_size == 5, "the change is seen")
        until(lambda: node.path(names[-1]).read_bytes() == b"newer", "of all names")
        assert sum(entry.stat().st_size for entry in os.scandir(node.path())) == 5 * NAMES
        ended.write_text("now")
        assert [reader.wait(30) for reader in readers] == [0] * READERS
    finally:
        for reader in readers:
            reader.kill()
            reader.wait()
            assert reader.stdout is not None
            reader.stdout.close()
    assert not KNOWS_NOTICES or node.operations("prune") > 0
    assert node.status()["operations"]["errors"] == {}


def test_an_inode_is_one_version(changing: tuple[HandMade, BlobfsNode]):
    """[S62] Made executable, replaced: what the kernel had noted down is asked for again."""
    share, node = changing
    record = share.record(b"old", 1_000)
    share.publish(["f"], record)
    path = node.path("f")
    until(path.exists, "it is seen")
    before = path.stat()
    share.publish(["f"], replace(record, mode=0o555, published_ns=2_000))
    until(lambda: path.stat().st_mode & 0o777 == 0o555, "the mode is seen")
    assert path.stat().st_ino == before.st_ino
    share.publish(["f"], share.record(b"newer", 3_000))
    until(lambda: path.stat().st_size == 5, "the size is seen")
    assert path.stat().st_ino != before.st_ino
    assert path.read_bytes() == b"newer"


def test_clocks_that_differ(start_node: StartNode, hand_made: tuple[HandMade, str]):
    """[S60] What was published in the future is replaced like anything; one warning tells of each share."""
    share, url = hand_made
    far = 4_000_000_000 * 10**9
    share.publish(["a"], share.record(b"from the future", far))
    share.publish(["b"], share.record(b"from the future", far + 1))
    node = start_node(shares=[url], listen=True)
    other = start_node("other", shares=[url, node.url])
    for each in (node, other):
        each.expect_log("was published .* hours from now: a clock is wrong")
        assert each.path("a").read_bytes() == b"from the future"
    put(node, "new", b"of today")
    node.path("new").rename(node.path("a"))
    until(lambda: other.path("a").read_bytes() == b"of today", "the last publication counts")
    node.path("a").unlink()
    until(lambda: not other.path("a").exists(), "so does the removal")
    assert not node.path("a").exists()
    assert other.path("b").read_bytes() == b"from the future"
    for each in (node, other):
        warned = [line for line in each.log().splitlines() if "a clock is wrong" in line]
        assert len([line for line in warned if url in line]) == 1, warned


def test_a_name_that_waits_holds_nothing_up(start_node: StartNode, hand_made: tuple[HandMade, str]):
    """[S62] While a lookup waits for a share that does not answer, names of its directory change."""
    share, url = hand_made
    share.publish(["f"], share.record(b"old", 1_000))
    with socket.create_server(("127.0.0.1", 0)) as silent:
        shares = [url, f"http://127.0.0.1:{silent.getsockname()[1]}/"]
        node = start_node(shares=shares, options=["fill=never", "lookup_timeout=1.5"])
        node.expect_log("is down", perhaps=True)
        assert node.path("f").read_bytes() == b"old"
        waiting = threading.Thread(target=node.path("not there").exists)
        waiting.start()
        share.publish(["f"], share.record(b"newer", 2_000))
        until(lambda: node.path("f").read_bytes() == b"newer", "the change is seen")
        waiting.join(30)
        assert not waiting.is_alive()
        node.stop()
