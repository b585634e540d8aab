"""What the kernel asks for, and what goes to a thread, for each operation on what is here. Counted."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.mount.node import BlobfsNode
from tests.mount.probes import until
from tests.mount.programs import run, sync_directory

FILES = 50
CONTENT = os.urandom(4096)


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[BlobfsNode]]:
    """One that has written the files, and one that has loaded them."""
    place = tmp_path_factory.mktemp("round-trips")
    with (
        BlobfsNode(place, "writer", listen=True) as writer,
        BlobfsNode(place, "loader", shares=[writer.url]) as loader,
    ):
        writer.path("d").mkdir()
        for number in range(FILES):
            writer.path(f"d/{number}").write_bytes(CONTENT)
        sync_directory(writer.path("d"))
        for path in paths(loader):
            path.read_bytes()
        shared_in_turn = [loader.share / "d" / str(number) for number in range(FILES)]
        until(lambda: all(path.exists() for path in shared_in_turn), "what was loaded is shared in turn")
        yield [writer, loader]


def paths(node: BlobfsNode) -> list[Path]:
    return [node.path(f"d/{number}") for number in range(FILES)]


def asked(node: BlobfsNode, what: Callable[[], object]) -> tuple[Counter[str], int]:
    """The kernel's requests by kind, and the calls that went to a thread."""
    before = node.status()
    what()
    after = node.status()
    kinds = Counter({kind: n for kind, n in after["operations"].items() if isinstance(n, int)})
    kinds.subtract({kind: n for kind, n in before["operations"].items() if isinstance(n, int)})
    return +kinds, after["thread_hops"] - before["thread_hops"]


def read_all(node: BlobfsNode) -> None:
    for path in paths(node):
        fd = os.open(path, os.O_RDONLY)
        assert os.read(fd, 8192) == CONTENT
        os.close(os.dup(fd))
        os.close(fd)


@pytest.mark.parametrize("which", [0, 1], ids=["own", "loaded"])
def test_a_small_file_that_is_cached(nodes: list[BlobfsNode], which: int):
    """[S127] The reader waits for one answer, to OPEN; no close asks for anything, no thread is needed."""
    node = nodes[which]
    read_all(node)
    run("ls", "-l", cwd=node.path("d"))
    kinds, hops = asked(node, lambda: read_all(node))
    assert kinds["open"] == FILES
    assert kinds["flush"] == kinds["read"] == 0
    if which == 0:  # a name of another node's is good for a second, and so is the directory's
        assert kinds["lookup"] + kinds["getattr"] + kinds["getxattr"] < FILES / 5
    assert hops < FILES / 5


def test_a_small_file_that_is_here(nodes: list[BlobfsNode]):
    """After a restart there is one READ more."""
    node = nodes[0]
    node.restart()
    run("ls", "-l", cwd=node.path("d"))
    kinds, hops = asked(node, lambda: read_all(node))
    assert (kinds["open"], kinds["read"]) == (FILES, FILES)
    assert kinds["flush"] == 0
    assert hops < FILES / 5


def test_a_file_that_was_written_is_flushed(nodes: list[BlobfsNode]):
    """What was written may have something to say at each close: also of who can read."""
    path = nodes[0].path("written")

    def write() -> None:
        with path.open("w+b") as file:
            file.write(CONTENT)
            os.close(os.dup(file.fileno()))

    kinds, _ = asked(nodes[0], write)
    assert kinds["flush"] == 2


def test_a_large_file_that_is_written(nodes: list[BlobfsNode]):
    """A write is one request, and nothing is asked for it; hashing follows in large steps."""
    path, piece = nodes[0].path("large"), os.urandom(128 << 10)

    def write() -> None:
        with path.open("wb", buffering=0) as file:
            for _ in range(64):
                file.write(piece)
        os.getxattr(path, "user.blobfs.id")

    kinds, hops = asked(nodes[0], write)
    assert kinds["write"] == 64
    assert kinds["getxattr"] <= 3  # the first write asks once, and who wants to know the id
    assert hops <= 64 + 8 + 20


def read_cold(path: Path, size: int) -> None:
    """From the daemon, which has it: not from the kernel's cache of the mount."""
    fd = os.open(path, os.O_RDONLY)
    os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    assert sum(len(piece) for piece in iter(lambda: os.read(fd, 1 << 20), b"")) == size
    os.close(fd)


def test_a_large_file_that_is_here(nodes: list[BlobfsNode]):
    """Read in order: after a start some MiB are verified in one hop to a thread, later none is needed."""
    node, size = nodes[0], 32 << 20
    path = node.path("here")
    path.write_bytes(os.urandom(size))
    os.getxattr(path, "user.blobfs.id")
    node.restart()
    kinds, hops = asked(node, lambda: read_cold(path, size))
    assert kinds["read"] <= (
        32 + 8 if os.geteuid() == 0 else 256 + 8
    )  # root has the kernel read further ahead
    assert hops <= 8 + 4 + 10
    kinds, hops = asked(node, lambda: read_cold(path, size))
    assert hops <= 8
