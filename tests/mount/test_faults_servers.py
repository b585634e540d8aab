"""Servers that are no shares, or answer nonsense: an errno that says so, and the node goes on (P8)."""

import json
import os
from collections.abc import Iterator
from errno import EACCES, EAGAIN, EBADMSG, EHOSTUNREACH, ENOENT, ETIMEDOUT
from typing import Any

import pytest

from blobfs.merkle import StreamHasher
from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import blob_id, errno_of_read, last_error, put, scripted, until
from tests.servers import scripted as answers
from tests.servers.nginx import Nginx
from tests.servers.scripted import Behaviour, ScriptedServer

CONTENT = os.urandom(300_000)
BLOB = blob_id(CONTENT)
PAGE = b"<!doctype html><html><body>Please log in</body></html>"
RECORD: dict[str, Any] = {
    "v": 1,
    "kind": "blob",
    "blob": BLOB,
    "size": len(CONTENT),
    "mode": "0444",
    "mtime": "2026-01-02T03:04:05Z",
    "published": "2026-01-02T03:04:05Z",
}
PATIENT_SECONDS = 3
"""`read_timeout` and `lookup_timeout` of the nodes here."""

OPTIONS = ["fill=never", f"read_timeout={PATIENT_SECONDS}", f"lookup_timeout={PATIENT_SECONDS}"]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted() as server:
        yield server


def start_reader(start_node: StartNode, *shares: str, read_only: bool = True) -> BlobfsNode:
    """A node that is asked for what is wrong there: warnings about it are in order."""
    node = start_node("b", shares=shares, options=OPTIONS, arguments=["--read-only"] if read_only else [])
    node.expect_log("WARNING", perhaps=True)
    return node


def record(**changes: Any) -> bytes:
    """The record of `f`; a key that is changed to None is left out."""
    return json.dumps({key: value for key, value in (RECORD | changes).items() if value is not None}).encode()


BAD_RECORDS = {
    "wrong type": record(blob=5),
    "no id": record(blob="x" * 64),
    "missing key": record(size=None),
    "negative size": record(size=-1),
    "huge size": record(size=1 << 60),
    "another version": record(v=2),
    "unknown kind": record(kind="device"),
    "not JSON": b"{not json",
    "JSON cut short": record()[:-5],
    "deeply nested": b'{"v":' + b"[" * 20_000,
    "no object": b"{}",
    "symlink out of the mount": record(kind="symlink", target="../../etc/passwd", blob=None),
    "absolute symlink": record(kind="symlink", target="/etc/passwd", blob=None),
}


@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "writable"])
def test_bad_records(start_node: StartNode, server: ScriptedServer, read_only: bool):
    """P8: a name whose only record is not one is EBADMSG; other names of that share are read as ever."""
    for number, text in enumerate(BAD_RECORDS.values()):
        server.route(f"/.blobfs/names/bad{number}", answers.ok(text))
    server.route("/.blobfs/names/f", answers.ok(record()))
    route_blob(server, CONTENT)
    b = start_reader(start_node, server.url, read_only=read_only)
    found = {kind: errno_of_read(b.path(f"bad{number}")) for number, kind in enumerate(BAD_RECORDS)}
    assert found == dict.fromkeys(BAD_RECORDS, EBADMSG)
    assert b.path("f").read_bytes() == CONTENT


def route_blob(server: ScriptedServer, content: bytes, tree: bytes | None = None) -> None:
    server.route(f"/.blobfs/blobs/{BLOB}", answers.ranged(content))
    server.route(f"/.blobfs/trees/{BLOB}", answers.ranged(right_tree() if tree is None else tree))


def right_tree() -> bytes:
    hasher = StreamHasher()
    hasher.append(CONTENT)
    return hasher.finish().tree


@pytest.mark.parametrize("read_only", [True, False], ids=["read-only", "writable"])
def test_a_portal_is_no_share(start_node: StartNode, server: ScriptedServer, read_only: bool):
    """P4: HTML with 200 for everything says nothing about a name: not reachable, or ENOENT where it could be
    created. With a real share beside it everything is found."""
    server.routes = Everything([answers.ok(PAGE, Content_Type="text/html")])
    b = start_reader(start_node, server.url, read_only=read_only)
    assert errno_of_read(b.path("f")) == (EHOSTUNREACH if read_only else ENOENT)
    assert errno_of_read(b.blob(BLOB)) == EHOSTUNREACH
    a = start_node("a", listen=True)
    assert put(a, "f", CONTENT) == BLOB
    c = start_node("c", shares=[server.url, a.url])
    assert c.path("f").read_bytes() == CONTENT
    assert c.blob(BLOB).read_bytes() == CONTENT


class Everything(dict[str, list[Behaviour]]):
    """Routes that lead every path to the same behaviours."""

    def __init__(self, behaviours: list[Behaviour]) -> None:
        super().__init__()
        self._behaviours = behaviours

    def get(self, key: str, default: object = None) -> Any:
        return self._behaviours


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        pytest.param(answers.endless(b'{"v":1,', b'"a":1,' * 10_000), EBADMSG, id="endless JSON"),
        pytest.param(answers.endless(b"<html>", b"spam" * 10_000), EHOSTUNREACH, id="endless page"),
        pytest.param(answers.ok(b'{"v"' + b" " * 40_000), EBADMSG, id="long JSON"),
        pytest.param(answers.ok(record(), Content_Encoding="gzip"), EBADMSG, id="compressed"),
        pytest.param(answers.status(500), EHOSTUNREACH, id="500"),
        pytest.param(answers.status(403), EACCES, id="403"),
        pytest.param(answers.status(429), EAGAIN, id="429"),
        pytest.param(answers.status(503, Retry_After="1"), EAGAIN, id="503"),
        pytest.param(answers.closed(), EHOSTUNREACH, id="closed"),
        pytest.param(answers.reset(), EHOSTUNREACH, id="reset"),
        pytest.param(answers.silent(), EHOSTUNREACH, id="silent"),
        pytest.param(answers.raw(b"SSH-2.0-OpenSSH_9.2\r\n"), EHOSTUNREACH, id="not HTTP"),
        pytest.param(answers.broken_off(record()[:20], 200), EHOSTUNREACH, id="broken off"),
        pytest.param(answers.redirect("/.blobfs/names/f"), EHOSTUNREACH, id="redirect to itself"),
        pytest.param(answers.redirect("http://elsewhere.invalid/f"), EHOSTUNREACH, id="redirect elsewhere"),
    ],
)
def test_odd_answers_to_a_lookup(
    start_node: StartNode, server: ScriptedServer, behaviour: Behaviour, expected: int
):
    """P3, P4, P8: each ends, with the errno of what happened, and the share is asked again later."""
    server.route("/.blobfs/names/f", behaviour)
    server.route("/.blobfs/names/.blobfs-log", answers.ok(b'{"log":1,"generation":"x"}\n'))
    route_blob(server, CONTENT)
    b = start_reader(start_node, server.url)
    assert errno_of_read(b.path("f")) == expected
    server.route("/.blobfs/names/f", answers.ok(record()))
    assert until(lambda: errno_of_read(b.path("f")) == 0, "the share is asked again")
    assert b.path("f").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        pytest.param(answers.ok(PAGE, Content_Type="text/html"), EHOSTUNREACH, id="page"),
        pytest.param(answers.ok(CONTENT), 0, id="no ranges"),
        pytest.param(answers.ok(CONTENT + b"x"), EBADMSG, id="longer"),
        pytest.param(answers.ranged(CONTENT[:-1]), EBADMSG, id="shorter"),
        pytest.param(answers.ranged(bytes(len(CONTENT))), EBADMSG, id="zeros"),
        pytest.param(
            answers.partial(CONTENT, f"bytes 1-{len(CONTENT)}/{len(CONTENT)}"), EBADMSG, id="shifted"
        ),
        pytest.param(answers.partial(CONTENT, "bytes */7"), EBADMSG, id="bad range"),
        pytest.param(answers.endless(CONTENT, b"more" * 10_000), 0, id="endless"),
        pytest.param(answers.broken_off(CONTENT[:200_000], len(CONTENT)), EHOSTUNREACH, id="broken off"),
        pytest.param(answers.stalled(CONTENT[:200_000], len(CONTENT)), ETIMEDOUT, id="stalled"),
        pytest.param(answers.silent(), ETIMEDOUT, id="silent"),
        pytest.param(answers.reset(), EHOSTUNREACH, id="reset"),
        pytest.param(answers.status(404), ENOENT, id="404"),
        pytest.param(answers.status(403), EACCES, id="403"),
        pytest.param(answers.status(503), EAGAIN, id="503"),
        pytest.param(answers.status(500), EHOSTUNREACH, id="500"),
        pytest.param(answers.redirect("http://elsewhere.invalid/"), EHOSTUNREACH, id="redirect elsewhere"),
    ],
)
def test_odd_answers_to_a_read(
    start_node: StartNode, server: ScriptedServer, behaviour: Behaviour, expected: int
):
    """P1, P3, P8: the reader gets the right bytes or the errno of what happened; the attempts tell."""
    server.route("/.blobfs/names/f", answers.ok(record()))
    route_blob(server, CONTENT)
    server.route(f"/.blobfs/blobs/{BLOB}", behaviour)
    b = start_reader(start_node, server.url)
    assert errno_of_read(b.path("f")) == expected
    if expected:
        attempts = last_error(b.path("f"))
        assert {attempt["share"] for attempt in attempts} == {server.url}
    else:
        assert b.path("f").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        pytest.param(b"", EBADMSG, id="empty"),
        pytest.param(right_tree()[:-32], EBADMSG, id="too short"),
        pytest.param(right_tree() + bytes(32), 0, id="too long"),
        pytest.param(bytes(len(right_tree())), EBADMSG, id="zeros"),
    ],
)
def test_odd_trees(start_node: StartNode, server: ScriptedServer, tree: bytes, expected: int):
    """P1: a tree that is not the blob's is EBADMSG; bytes behind its end do not matter."""
    server.route("/.blobfs/names/f", answers.ok(record()))
    route_blob(server, CONTENT, tree)
    b = start_reader(start_node, server.url)
    assert errno_of_read(b.path("f")) == expected
    assert expected or b.path("f").read_bytes() == CONTENT


def test_a_missing_tree_beside_a_whole_share(start_node: StartNode, server: ScriptedServer):
    """P5: a share that has the bytes and not the tree costs nothing but its questions."""
    server.route("/.blobfs/names/f", answers.ok(record()))
    server.route(f"/.blobfs/blobs/{BLOB}", answers.ranged(CONTENT))
    a = start_node("a")
    assert put(a, "f", CONTENT) == BLOB
    with Nginx(a.share) as nginx:
        b = start_reader(start_node, server.url, nginx.url)
        assert b.path("f").read_bytes() == CONTENT


def test_an_odd_listing(start_node: StartNode, server: ScriptedServer):
    """P8: names in a listing that no name can be are left out, `ls` shows the others."""
    lines = [
        b'{"log":1,"generation":"x"}',
        *(
            json.dumps(RECORD | {"name": name}).encode()
            for name in (
                "good",
                "..",
                ".",
                "",
                "a/b",
                "../x",
                "/etc",
                "nul\0",
                ".blobfs",
                ".blobfsx",
                "y" * 300,
            )
        ),
        json.dumps(RECORD | {"kind": "symlink", "target": "../x", "name": "link"}).encode(),
        b"nonsense",
        json.dumps({"name": "kindless"}).encode(),
        json.dumps(RECORD | {"name": ["list"]}).encode(),
        b"\xff\xfe",
    ]
    server.route("/.blobfs/names/.blobfs-log", answers.ranged(b"\n".join(lines) + b"\n"))
    b = start_reader(start_node, server.url)
    assert os.listdir(b.path("")) == ["good"]
