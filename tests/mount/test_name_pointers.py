"""docs/semantics.md, "Names between nodes"."""

import errno
import mmap
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import attribute, errno_of, put, until


@pytest.fixture(scope="module")
def mutual(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[BlobfsNode, BlobfsNode, BlobfsNode]]:
    """A and B, each other's share, and C, which knows both."""
    directory = tmp_path_factory.mktemp("mutual")
    first = BlobfsNode(directory, "a", listen=True)
    with BlobfsNode(directory, "b", listen=True, shares=[first.url]) as b:
        a = BlobfsNode(directory, "a", listen=True, shares=[b.url])
        a._port = first._port  # B was told of it before A could be told of B
        with a, BlobfsNode(directory, "c", shares=[b.url, a.url]) as c:
            yield a, b, c


@pytest.fixture
def three(
    mutual: tuple[BlobfsNode, BlobfsNode, BlobfsNode],
) -> Iterator[tuple[BlobfsNode, BlobfsNode, BlobfsNode]]:
    for node in mutual:
        node.prolong()
    yield mutual
    for node in mutual:
        node.check_log()


Three = tuple[BlobfsNode, BlobfsNode, BlobfsNode]


def shown(path: Path) -> bytes | None:
    """What a name means: its content, a directory, or nothing."""
    try:
        return path.read_bytes()
    except IsADirectoryError:
        return b"/"
    except FileNotFoundError:
        return None


def replace(node: BlobfsNode, name: str, content: bytes) -> str:
    """Publishes over a name by renaming; the blob id."""
    blob = put(node, f"{name}.new", content)
    node.path(f"{name}.new").rename(node.path(name))
    return blob


def has_size(path: Path, size: int) -> bool:
    return path.stat().st_size == size


def lists(path: Path, *names: str) -> bool:
    return os.listdir(path) == list(names)


def wait_shown(node: BlobfsNode, name: str, content: bytes | None) -> None:
    until(lambda: shown(node.path(name)) == content, f"{node} shows {content!r} as {name}")


def test_the_last_publication_counts(three: Three):
    """[S58] Whoever it was; the removal is one too, and it takes the name away on all nodes."""
    a, b, _ = three
    for node, content in ((a, b"one"), (b, b"two"), (a, b"three")):
        replace(node, "last", content)
        for other in three:
            wait_shown(other, "last", content)
    a.path("last").unlink()
    for node in three:
        wait_shown(node, "last", None)


def test_what_was_loaded_goes_with_its_publisher_s(three: Three):
    """[S59] The name, its record for others and its bytes; who has it open reads on."""
    a, b, _ = three
    content = os.urandom(300_000)
    blob = put(a, "f", content)
    assert b.path("f").read_bytes() == content
    until((b.share / "f").exists, "what was loaded is shared")
    with b.path("f").open("rb", buffering=0) as reader:
        a.path("f").unlink()
        until(lambda: not b.path("f").exists(), "it is seen to be gone")
        until(lambda: not (b.share / ".blobfs/blobs" / blob).exists(), "its bytes are dropped")
        assert not (b.share / "f").exists()
        assert reader.read() == content


def test_what_is_own_is_only_hidden(three: Three):
    """[S59] A tombstone that is newer hides it everywhere; its bytes stay, and can be had by their id."""
    a, b, c = three
    put(a, "own", b"of a")
    wait_shown(b, "own", b"of a")
    mine = replace(b, "own", b"of b")
    wait_shown(a, "own", b"of b")
    replace(a, "own", b"of a again")
    wait_shown(b, "own", b"of a again")
    a.path("own").unlink()
    for node in three:
        wait_shown(node, "own", None)
    assert b.blob(mine).read_bytes() == c.blob(mine).read_bytes() == b"of b"
    b.path("own").write_bytes(b"new")
    for node in three:
        wait_shown(node, "own", b"new")


def test_an_old_version_is_read_to_its_end(three: Three, start_node: StartNode):
    """[S61] By whoever has it open or mapped, from here and from any share that has it; else ENOENT."""
    a, b, _ = three
    old = os.urandom(3_000_000)
    for name in ("open", "mapped", "kept"):
        put(a, name, old[:-1] + name[-1:].encode())
    options = ["fill=never", "read_ahead=0", "retry_timeout=0.01"]
    assert len(b.path("kept").read_bytes()) == len(old)
    c = start_node(shares=[a.url, b.url], options=options)
    c.expect_log("no share has it", perhaps=True)
    opened = {name: c.path(name).open("rb", buffering=0) for name in ("open", "mapped", "kept")}
    try:
        for file in opened.values():
            assert os.pread(file.fileno(), 10, 0) == old[:10]
        mapped = mmap.mmap(opened["mapped"].fileno(), 0, prot=mmap.PROT_READ)
        for name in opened:
            replace(a, name, b"new")
            until(partial(has_size, c.path(name), 3), "the new size")
            assert c.path(name).read_bytes() == b"new"
            assert os.fstat(opened[name].fileno()).st_size == len(old)
            assert c.path(name).stat().st_ino != os.fstat(opened[name].fileno()).st_ino
        assert mapped[:10] == old[:10]
        mapped.close()
        # A has dropped all three; B has loaded one of them.
        assert os.pread(opened["kept"].fileno(), len(old), 0)[1000:-1] == old[1000:-1]
        assert errno_of(partial(os.pread, opened["open"].fileno(), 10, 2_000_000)) == errno.ENOENT
        assert os.pread(opened["open"].fileno(), 10, 0) == old[:10]
    finally:
        for file in opened.values():
            file.close()


def test_two_nodes_publish_at_once(three: Three):
    """[S63] Fifty times: all nodes come to the same winner, and the loser's bytes can be had by their id."""
    a, b, c = three
    names = [f"at-once-{number}" for number in range(50)]
    blobs: dict[str, set[str]] = {}
    both = threading.Barrier(2)

    def publish(node: BlobfsNode) -> None:
        for name in names:
            both.wait(20)
            try:
                with node.path(name).open("xb") as file:
                    file.write(f"{name} by {node.name}".encode())
            except FileExistsError:
                continue  # the other one was seen in time
            blobs.setdefault(name, set()).add(attribute(node.path(name), "id"))

    threads = [threading.Thread(target=publish, args=[node]) for node in (a, b)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(40)
        assert not thread.is_alive()

    def seen(node: BlobfsNode) -> list[bytes | None]:
        return [shown(node.path(name)) for name in names]

    until(lambda: seen(a) == seen(b) == seen(c), "all see the same")
    assert None not in seen(c)
    conflicts = [found for found in blobs.values() if len(found) == 2]
    assert len(conflicts) > 10
    for blob in set().union(*conflicts):
        assert c.blob(blob).read_bytes()


def test_directories_of_several_nodes(three: Three):
    """[S64] One directory with the names of all; it is there as long as one of them keeps it."""
    a, b, c = three
    a.path("dir").mkdir()
    until(b.path("dir").is_dir, "B sees it")
    put(a, "dir/of-a", b"a")
    put(b, "dir/of-b", b"b")
    for node in three:
        until(partial(lists, node.path("dir"), "of-a", "of-b"), f"{node} sees both")
    assert errno_of(a.path("dir").rmdir) == errno.ENOTEMPTY
    a.path("dir/of-a").unlink()
    b.path("dir/of-b").unlink()
    until(lambda: os.listdir(a.path("dir")) == os.listdir(c.path("dir")) == [], "both are gone")
    a.path("dir").rmdir()
    put(b, "dir/again", b"b")
    for node in three:
        until(partial(lists, node.path("dir"), "again"), f"B keeps it, {node} sees it")
    b.path("dir/again").unlink()
    until(lambda: not os.listdir(b.path("dir")), "it is empty")
    b.path("dir").rmdir()
    for node in three:
        wait_shown(node, "dir", None)


def test_a_directory_that_was_only_loaded_goes(three: Three):
    """[S64] What B has in it is A's: when A removes it all, nothing of it is left on B, nor seen on A."""
    a, b, _ = three
    for name in ("tree/x", "tree/below/y"):
        put(a, name, name.encode())
    for name in ("tree/x", "tree/below/y"):
        assert b.path(name).read_bytes() == name.encode()
        until((b.share / name).exists, "what was loaded is shared")
    os.utime(a.path("tree"), (1_000_000_000, 1_000_000_000))
    for step in (a.path("tree/below/y").unlink, a.path("tree/below").rmdir, a.path("tree/x").unlink):
        step()
    a.path("tree").rmdir()
    for node in three:
        wait_shown(node, "tree", None)
    until(lambda: not (b.share / "tree").exists(), "nothing of it is shared")


def test_removing_and_moving_what_was_loaded(three: Three):
    """[S65] A loaded name is another node's: EPERM, also for who published it before."""
    a, b, c = three
    put(a, "f", b"of a")
    wait_shown(b, "f", b"of a")
    until((b.share / "f").exists, "what was loaded is shared")
    assert errno_of(b.path("f").unlink) == errno_of(partial(b.path("f").rename, b.path("g"))) == errno.EPERM
    replace(b, "f", b"of b")
    wait_shown(a, "f", b"of b")
    assert errno_of(a.path("f").unlink) == errno_of(partial(a.path("f").rename, a.path("g"))) == errno.EPERM
    b.path("f").unlink()
    for node in three:
        wait_shown(node, "f", None)
    put(a, "f", b"new")
    wait_shown(c, "f", b"new")
