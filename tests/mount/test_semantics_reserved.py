"""docs/semantics.md, ".blobfs"."""

import errno
import os
import stat
from functools import partial
from pathlib import Path

import pytest

from blobfs.model import EMPTY_BLOB
from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import attribute, blob_id, errno_of
from tests.mount.programs import bash, sync_directory

ABSENT = "0" * 64


def incoming(node: BlobfsNode, blob: str) -> Path:
    return node.path(f".blobfs/incoming/{blob}")


def write_blob(node: BlobfsNode, blob: str, content: bytes) -> int:
    """Writes under an id; the errno of the close."""
    descriptor = os.open(incoming(node, blob), os.O_WRONLY | os.O_CREAT, 0o644)
    os.write(descriptor, content)
    return errno_of(partial(os.close, descriptor))


def test_reserved(node: BlobfsNode):
    """[S40] Nothing of it can be made, changed, moved, removed or listed."""
    node.path("f").write_text("x")
    blob = node.blob(attribute(node.path("f"), "id"))
    root = node.path(".blobfs")
    for change in (
        root.rmdir,
        root.mkdir,
        partial(root.rename, node.path("x")),
        partial(os.symlink, "f", root),
    ):
        assert errno_of(change) in (errno.EINVAL, errno.EEXIST)
    for parent in (root, root / "blobs", root / "incoming"):
        assert errno_of((parent / "x").mkdir) == errno.EPERM
        assert errno_of(partial(os.symlink, "f", parent / "x")) == errno.EPERM
        assert errno_of(partial(os.link, node.path("f"), parent / "x")) == errno.EPERM
        assert errno_of(partial(os.rename, node.path("f"), parent / "x")) == errno.EPERM
        assert os.listdir(parent) == []
    for create in ((root / "x").touch, (root / "blobs" / ABSENT).touch):
        assert errno_of(create) == errno.EPERM
    changes = (
        blob.unlink,
        partial(blob.rename, node.path("x")),
        partial(blob.chmod, 0o755),
        partial(os.utime, blob),
    )
    for change in (*changes, (root / "blobs").rmdir, partial((root / "blobs").chmod, 0o755)):
        assert errno_of(change) == errno.EPERM
    assert node.path("f").read_text() == "x"
    assert os.listdir(node.path()) == ["f"]


def test_blobs(two_nodes: tuple[BlobfsNode, BlobfsNode]):
    """[S41] Every blob, here or on a share, read-only and loaded as it is read."""
    a, b = two_nodes
    content = os.urandom(300_000)
    a.path("f").write_bytes(content)
    blob = attribute(a.path("f"), "id")
    for node in (a, b):
        found = node.blob(blob).stat()
        assert (found.st_size, stat.S_IMODE(found.st_mode)) == (300_000, 0o444)
        assert errno_of(partial(os.open, node.blob(blob), os.O_WRONLY)) == errno.EPERM
    assert b.blob(blob).stat().st_blocks == 0
    assert b.blob(blob).read_bytes() == content
    assert b.blob(EMPTY_BLOB).read_bytes() == b""
    for wrong in (ABSENT, "x", blob[:-1], blob.upper(), f"{blob}0"):
        assert errno_of(b.blob(wrong).stat) == errno.ENOENT


@pytest.mark.parametrize("arguments", [[], ["--read-only"]], ids=["writable", "read-only"])
def test_blobs_that_cannot_be_asked_for(start_node: StartNode, free_port: int, arguments: list[str]):
    """[S41] While a share does not answer, a blob that is not here is EHOSTUNREACH."""
    node = start_node(shares=[f"http://127.0.0.1:{free_port}/"], arguments=arguments)
    assert errno_of(node.blob(ABSENT).stat) == errno.EHOSTUNREACH


def test_incoming(node: BlobfsNode):
    """[S42] Right: in `blobs` at close, for good. Wrong: EBADMSG, and nothing is kept."""
    content = os.urandom(100_000)
    blob = blob_id(content)
    assert write_blob(node, blob, content[:-1] + b"x") == errno.EBADMSG
    assert errno_of(node.blob(blob).stat) == errno_of(incoming(node, blob).stat) == errno.ENOENT
    assert write_blob(node, blob, content) == 0
    assert errno_of(incoming(node, blob).stat) == errno.ENOENT
    assert node.blob(blob).read_bytes() == content
    assert errno_of(partial(write_blob, node, blob, content)) == errno.EEXIST
    assert errno_of(partial(write_blob, node, "x", content)) == errno.EINVAL
    assert write_blob(node, EMPTY_BLOB, b"") == 0
    os.link(node.blob(blob), node.path("named"))
    node.path("named").unlink()
    sync_directory(node.path())
    node.kill9()
    node.restart()
    assert node.blob(blob).read_bytes() == content
    assert [path.name for path in (node.share / ".blobfs/blobs").iterdir()].count(blob) == 1


def test_closing_incoming_early(node: BlobfsNode):
    """[S43] A copy closed before the first write decides nothing; short content is EBADMSG."""
    blob = blob_id(b"12")
    bash(
        f"exec 3>.blobfs/incoming/{blob}; (true >&3); printf 12 >&3; exec 3>&-; cat .blobfs/blobs/{blob}",
        node.path(),
    )
    short = blob_id(b"123")
    assert write_blob(node, short, b"12") == errno.EBADMSG
    assert errno_of(node.blob(short).stat) == errno.ENOENT
    assert write_blob(node, short, b"123") == 0


def test_two_writers_of_one_incoming_blob(node: BlobfsNode):
    """[S44] Both write; who closes it right first has won, and the other sees success."""
    content = os.urandom(50_000)
    blob = blob_id(content)
    first = os.open(incoming(node, blob), os.O_WRONLY | os.O_CREAT)
    os.write(first, content)
    second = os.open(incoming(node, blob), os.O_WRONLY | os.O_CREAT)
    os.write(second, content)
    assert errno_of(partial(os.close, second)) == 0
    assert node.blob(blob).read_bytes() == content
    assert errno_of(partial(os.close, first)) == 0
    assert node.blob(blob).read_bytes() == content
