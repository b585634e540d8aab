"""Plain shares: any directory on a web server, loaded without a blob id that vouches for it."""

import mmap
import os
from collections.abc import Iterator
from errno import ENOENT, EPERM, ESTALE
from pathlib import Path

import pytest

from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import MIB, assert_sound, attribute, blob_id, errno_of, errno_of_read, stored, until
from tests.servers.nginx import Nginx

CONTENT = os.urandom(20 * MIB)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    plain = tmp_path / "plain"
    (plain / "sub/deep").mkdir(parents=True)
    (plain / "big.bin").write_bytes(CONTENT)
    (plain / "sub/deep/a b%.txt").write_bytes(b"small")
    (plain / "page.html").write_bytes(b"<html>a page that is meant</html>")
    (plain / "empty").write_bytes(b"")
    return plain


@pytest.fixture
def nginx(directory: Path) -> Iterator[Nginx]:
    with Nginx(directory, "types { text/html html; }") as nginx:
        yield nginx


@pytest.fixture
def reader(start_node: StartNode, nginx: Nginx) -> BlobfsNode:
    """A node that serves its own share, and never loads what nobody reads."""
    return start_node("b", listen=True, plain_shares=[nginx.url])


def replace(path: Path, content: bytes) -> None:
    """Another version at once, with a time of its own."""
    new = path.with_name("new")
    new.write_bytes(content)
    os.utime(new, (1_000_000_000, 1_000_000_000))
    new.rename(path)


def test_files_of_a_plain_share(reader: BlobfsNode):
    """Files of a plain share are read by name, in sub-directories too; nothing vouches for them, and
    `.verified` says so."""
    assert attribute(reader.path("big.bin"), "verified") == "no"
    assert attribute(reader.path("big.bin"), "state") == "missing"
    assert reader.path("big.bin").stat().st_size == len(CONTENT)
    assert reader.path("sub/deep/a b%.txt").read_bytes() == b"small"
    assert reader.path("page.html").read_bytes() == b"<html>a page that is meant</html>"
    assert reader.path("empty").read_bytes() == b""
    assert errno_of_read(reader.path("absent")) == ENOENT
    assert errno_of_read(reader.path("sub/absent/x")) == ENOENT
    assert errno_of(lambda: reader.path("big.bin").open("r+b")) == EPERM


def test_a_plain_file_is_mapped(reader: BlobfsNode, nginx: Nginx):
    """A program that maps the file gets its pages, and only what it touches is loaded."""
    with (
        reader.path("big.bin").open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
    ):
        assert mapped[12 * MIB : 12 * MIB + 100] == CONTENT[12 * MIB : 12 * MIB + 100]
        assert mapped[-100:] == CONTENT[-100:]
    assert sum(request.body_bytes_sent for request in nginx.requests()) < len(CONTENT) / 2


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) - MIB, len(CONTENT) + MIB])
def test_a_plain_file_that_changes_while_it_is_loaded(reader: BlobfsNode, directory: Path, size: int):
    """P1: who has it open gets ESTALE, never bytes of two versions; who opens it then gets the new one."""
    reader.expect_log("changed on its share", perhaps=True)
    new = os.urandom(size)
    with reader.path("big.bin").open("rb", buffering=0) as file:
        assert file.read(1000) == CONTENT[:1000]
        replace(directory / "big.bin", new)
        assert errno_of(lambda: os.pread(file.fileno(), 1000, 15 * MIB)) == ESTALE
        assert os.pread(file.fileno(), 1000, 0) == CONTENT[:1000]
    until(lambda: reader.path("big.bin").stat().st_mtime == 1_000_000_000, "the new version is seen")
    assert reader.path("big.bin").read_bytes() == new
    until(lambda: blob_id(new) in stored(reader.share), "the new version is whole")
    assert set(stored(reader.share)) == {blob_id(new)}


def test_a_whole_plain_file_is_shared_in_turn(reader: BlobfsNode, start_node: StartNode, nginx: Nginx):
    """A plain file that was loaded to its end has a blob id and is served under it."""
    assert reader.path("big.bin").read_bytes() == CONTENT
    assert reader.path("sub/deep/a b%.txt").read_bytes() == b"small"
    until(lambda: len(list((reader.share / "sub/deep").glob("*.txt"))) == 1, "it is shared in turn")
    until(lambda: (reader.share / "big.bin").exists(), "it is shared in turn")
    assert_sound(reader.share)
    nginx.stop()
    assert reader.path("big.bin").read_bytes() == CONTENT
    c = start_node("c", shares=[reader.url])
    assert sorted(os.listdir(c.path(""))) == ["big.bin", "sub"]
    assert c.path("big.bin").read_bytes() == CONTENT
    assert attribute(c.path("big.bin"), "id") == blob_id(CONTENT)
    assert c.path("sub/deep/a b%.txt").read_bytes() == b"small"


def test_a_plain_load_goes_on_after_a_restart(reader: BlobfsNode, nginx: Nginx):
    """What was loaded of a plain file is not loaded again while its version is the same."""
    with reader.path("big.bin").open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 8 * MIB, 0) == CONTENT[: 8 * MIB]
    reader.expect_log("fuse_reply_.* failed with No such file", perhaps=True)  # the kernel's read-ahead
    reader.restart()
    nginx.forget_requests()
    assert reader.path("big.bin").read_bytes() == CONTENT
    assert sum(request.body_bytes_sent for request in nginx.requests()) < 14 * MIB


def test_a_share_goes_before_a_plain_share(start_node: StartNode, nginx: Nginx):
    """A name that has a record is loaded by it, verified, also where a plain share has such a file."""
    a = start_node("a", listen=True)
    a.path("big.bin").write_bytes(b"the real one")
    a.path("link").symlink_to("sub")
    attribute(a.path("big.bin"), "id")
    b = start_node("b", shares=[a.url], plain_shares=[nginx.url])
    assert b.path("big.bin").read_bytes() == b"the real one"
    assert attribute(b.path("big.bin"), "verified") == "yes"
    assert b.path("link/deep/a b%.txt").read_bytes() == b"small"
