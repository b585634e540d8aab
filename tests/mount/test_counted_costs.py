"""What operations cost, counted, never timed: round trips, requests, wake-ups.

One share, one node that loads from it; what the kernel asks for is read from its own trace.
`tools/bench-counts` prints such figures for every operation.
"""

import mmap
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.mount.kernel_trace import Seen, fuse_requests
from tests.mount.node import BlobfsNode
from tests.mount.probes import until
from tests.mount.programs import run, sync_directory
from tests.servers.nginx import Nginx

pytestmark = pytest.mark.usefixtures("steady_caches")

LISTED = 200
TRIES = 4
MIB = 1 << 20
DEEP = "a/b/c/d/e/f/g/h"
NAME_SECONDS = 1.1
"""For so long the kernel does not ask again for the name of another node's file, and a little more."""
IDLE_SECONDS = 2.0
"""Long enough for whatever would happen once a second."""
MEMORY = 60_000_000
"""Bytes an idle node may hold."""


@dataclass
class Pair:
    """A node, and the server of the share that it knows."""

    node: BlobfsNode
    server: Nginx

    def path(self, name: str) -> Path:
        return self.node.path(name)

    def asked(self) -> list[str]:
        """What the share was asked for since this was asked the last time."""
        found = [request.uri for request in self.server.requests()]
        self.server.forget_requests()
        return found


@pytest.fixture(scope="module")
def whole_pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    place = tmp_path_factory.mktemp("counted")
    with BlobfsNode(place, "source") as source:
        source.path("listed").mkdir()
        for number in range(LISTED):
            source.path(f"listed/{number}").write_text(f"content {number}")
        for name in ("big", "mapped", "again"):
            source.path(name).write_bytes(os.urandom(MIB))
        source.path(DEEP).mkdir(parents=True)
        source.path(f"{DEEP}/file").write_text("deep down")
        for directory in ("", "listed", DEEP):
            sync_directory(source.path(directory))
        with Nginx(source.share) as server, BlobfsNode(place, "node", shares=[server.url]) as node:
            yield Pair(node, server)


@pytest.fixture
def pair(whole_pair: Pair) -> Pair:
    whole_pair.node.prolong()
    whole_pair.asked()
    return whole_pair


def least(pair: Pair, call: Callable[[], None]) -> Seen:
    """The cheapest of some tries: another node's name is good for a second, and a machine may be slow."""
    found = []
    for _ in range(TRIES):
        with fuse_requests(pair.node.mountpoint) as seen:
            call()
        found.append(seen)
    return min(found, key=Seen.waited_for)


def test_a_stat_and_an_open_ask_the_share_once(pair: Pair):
    """The record of a missing name, once: not for its stat, its open and its xattrs each; no content."""
    path = pair.path("big")
    path.stat()
    assert len(pair.asked()) == 1
    os.close(os.open(path, os.O_RDONLY))
    path.stat()
    assert pair.asked() == []


def test_a_list_tells_everything_about_its_names(pair: Pair):
    """`ls -l` of a directory of another node: a handful of requests, then none for any of its names."""
    run("ls", "-l", pair.path("listed"))
    assert len(pair.asked()) <= 3

    def list_and_stat() -> None:
        run("ls", "-l", pair.path("listed"))
        for number in range(LISTED):
            pair.path(f"listed/{number}").stat()

    assert least(pair, list_and_stat).waited_for() <= 10
    assert len(pair.asked()) <= TRIES


def test_a_second_list_costs_a_handful(pair: Pair):
    """However many names there are: the directory is opened and read, nothing is asked about each."""
    run("ls", "-l", pair.path("listed"))
    with fuse_requests(pair.node.mountpoint) as seen:
        run("ls", "-l", pair.path("listed"))
    assert seen.waited_for() <= 10, seen


def test_what_is_warm_is_read_without_the_daemon(pair: Pair):
    """On an open file: not one request for a megabyte that was read before, however it is read."""
    with pair.path("again").open("rb", buffering=0) as file:
        content = file.readall()
        with fuse_requests(pair.node.mountpoint) as seen:
            assert os.pread(file.fileno(), MIB, 0) == content
            assert os.pread(file.fileno(), 5, 77_777) == content[77_777:77_782]
            file.seek(0)
            assert b"".join(iter(lambda: file.read(10_000), b"")) == content
    assert seen.waited_for() == 0, seen


def test_a_warm_file_is_mapped_without_the_daemon(pair: Pair):
    """Every page of it is touched; none is asked for."""
    path = pair.path("mapped")
    content = path.read_bytes()
    with (
        path.open("rb", buffering=0) as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
        fuse_requests(pair.node.mountpoint) as seen,
    ):
        assert mapped[:] == content
    assert seen["READ"] == 0, seen


def test_a_warm_file_is_opened_again_by_one_round_trip(pair: Pair):
    """OPEN; what it knows of the name is still good, its pages are there, and its close is no news."""
    path = pair.path("again")
    path.read_bytes()

    def read_twice() -> None:
        for _ in range(2):
            descriptor = os.open(path, os.O_RDONLY)
            os.read(descriptor, MIB)
            os.close(descriptor)

    seen = least(pair, read_twice)
    assert seen["READ"] == 0
    assert seen["OPEN"] == 2
    assert seen.waited_for() <= 3, seen  # the name, once


def test_a_deep_path_costs_one_name_a_second_later(pair: Pair):
    """[S62] The file's, which is asked for again: its directories are believed for longer. One request."""
    path = pair.path(f"{DEEP}/file")
    os.close(os.open(path, os.O_RDONLY))
    time.sleep(NAME_SECONDS)
    pair.asked()
    with fuse_requests(pair.node.mountpoint) as seen:
        os.close(os.open(path, os.O_RDONLY))
    assert seen["LOOKUP"] == 1, seen
    assert seen.waited_for() == 2, seen
    assert len(pair.asked()) <= 1


class SecludedNode(BlobfsNode):
    """In a namespace of its own: a change of the mount table wakes every node, and other tests mount too."""

    launcher = ("unshare", "--mount", "--propagation", "private")


def test_nobody_wakes_an_idle_node(tmp_path: Path):
    """Nobody asks, so it sleeps, and is small: no timer, no polling; less than 60 MB."""
    with SecludedNode(tmp_path, listen=True, shares=["http://127.0.0.1:9/"]) as node:
        before = until(lambda: _at_rest(node), "it comes to rest")
        time.sleep(IDLE_SECONDS)
        now = _switches(node)
        assert [thread for thread in now if now[thread] != before[thread]] == []
        assert _memory(node) < MEMORY


def test_a_node_at_work_is_small(pair: Pair):
    """After all that was asked of it here."""
    assert _memory(pair.node) < MEMORY


def _at_rest(node: BlobfsNode) -> dict[int, int]:
    """Nothing yet while it is not."""
    before = _switches(node)
    time.sleep(IDLE_SECONDS / 4)
    return before if _switches(node) == before else {}


def _switches(node: BlobfsNode) -> dict[int, int]:
    """How often each of its threads has given up the processor: to sleep, and by force."""
    assert node.process is not None
    return {
        int(status.parent.name): sum(
            int(line.rpartition(":")[2])
            for line in status.read_text().splitlines()
            if "ctxt_switches:" in line
        )
        for status in Path(f"/proc/{node.process.pid}/task").glob("*/status")
    }


def _memory(node: BlobfsNode) -> int:
    """What it has for itself, and its part of what it shares."""
    assert node.process is not None
    lines = Path(f"/proc/{node.process.pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
