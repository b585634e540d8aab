"""Servers that are no shares, or answer nonsense: an errno that says so, and the node goes on (P8)."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from errno import EACCES, EAGAIN, EBADMSG, EHOSTUNREACH, ENOENT, ETIMEDOUT
from functools import partial
from typing import Any
from urllib.parse import quote

import pytest

from blobfs.merkle import StreamHasher
from tests.mount.conftest import StartNode
from tests.mount.node import BlobfsNode
from tests.mount.probes import blob_id, errno_of, errno_of_read, put, read_to_end, scripted, until
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
    route_blob(server)
    b = start_reader(start_node, server.url, read_only=read_only)
    found = {kind: errno_of_read(b.path(f"bad{number}")) for number, kind in enumerate(BAD_RECORDS)}
    assert found == dict.fromkeys(BAD_RECORDS, EBADMSG)
    assert b.path("f").read_bytes() == CONTENT


def route_blob(server: ScriptedServer) -> None:
    server.route(f"/.blobfs/blobs/{BLOB}", answers.ranged(CONTENT))
    server.route(f"/.blobfs/trees/{BLOB}", answers.ranged(tree_of(CONTENT)))


def tree_of(content: bytes) -> bytes:
    hasher = StreamHasher()
    hasher.append(content)
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
    route_blob(server)
    b = start_reader(start_node, server.url)
    assert errno_of_read(b.path("f")) == expected
    server.route("/.blobfs/names/f", answers.ok(record()))
    assert until(lambda: errno_of_read(b.path("f")) == 0, "the share is asked again")
    assert b.path("f").read_bytes() == CONTENT


def read_cases() -> dict[str, tuple[bytes, Behaviour, Behaviour, int]]:
    """A blob for each, what its share does about its bytes and its tree, and the errno of its reader."""
    bytes_cases: dict[str, tuple[Callable[[bytes], Behaviour], int]] = {
        "no ranges": (answers.ok, 0),
        "endless": (lambda right: answers.endless(right, b"more" * 10_000), 0),
        "longer": (lambda right: answers.ok(right + b"x"), EBADMSG),
        "shorter": (lambda right: answers.ranged(right[:-1]), EBADMSG),
        "zeros": (lambda right: answers.ranged(bytes(len(right))), EBADMSG),
        "shifted": (lambda right: answers.partial(right, f"bytes 1-{len(right)}/{len(right)}"), EBADMSG),
        "bad range": (lambda right: answers.partial(right, "bytes */7"), EBADMSG),
        "compressed": (lambda right: answers.ok(right, Content_Encoding="gzip"), EBADMSG),
        "404": (lambda right: answers.status(404), ENOENT),
        "403": (lambda right: answers.status(403), EACCES),
        "page": (lambda right: answers.ok(PAGE, Content_Type="text/html"), EHOSTUNREACH),
        "broken off": (lambda right: answers.broken_off(right[:200_000], len(right)), EHOSTUNREACH),
        "reset": (lambda right: answers.reset(), EHOSTUNREACH),
        "500": (lambda right: answers.status(500), EHOSTUNREACH),
        "elsewhere": (lambda right: answers.redirect("http://elsewhere.invalid/"), EHOSTUNREACH),
        "503": (lambda right: answers.status(503), EAGAIN),
        "stalled": (lambda right: answers.stalled(right[:200_000], len(right)), ETIMEDOUT),
        "silent": (lambda right: answers.silent(), ETIMEDOUT),
    }
    tree_cases: dict[str, tuple[Callable[[bytes], bytes], int]] = {
        "no tree": (lambda tree: b"", EBADMSG),
        "tree too short": (lambda tree: tree[:-32], EBADMSG),
        "tree too long": (lambda tree: tree + bytes(32), 0),
        "tree of zeros": (lambda tree: bytes(len(tree)), EBADMSG),
    }
    cases = {}
    for name, (behave, expected) in bytes_cases.items():
        content = name.encode() + CONTENT
        cases[name] = (content, behave(content), answers.ranged(tree_of(content)), expected)
    for name, (tree, expected) in tree_cases.items():
        content = name.encode() + CONTENT
        cases[name] = (content, answers.ranged(content), answers.ranged(tree(tree_of(content))), expected)
    return cases


def test_odd_answers_to_a_read(start_node: StartNode, server: ScriptedServer):
    """P1, P3, P8: each reader gets the right bytes or the errno of what happened, and the attempts tell;
    other blobs of that share are read as ever."""
    cases = read_cases()
    for name, (content, blob_answer, tree_answer, _) in cases.items():
        blob = blob_id(content)
        server.route(f"/.blobfs/names/{quote(name)}", answers.ok(record(blob=blob, size=len(content))))
        server.route(f"/.blobfs/blobs/{blob}", blob_answer)
        server.route(f"/.blobfs/trees/{blob}", tree_answer)
    b = start_reader(start_node, server.url)
    with ExitStack() as stack:
        # Opened all before the first one fails: then the share counts as down for a moment.
        files = {name: stack.enter_context(b.path(name).open("rb", buffering=0)) for name in cases}
        found = {name: errno_of(partial(read_to_end, file.fileno())) for name, file in files.items()}
        assert found == {name: expected for name, (*_, expected) in cases.items()}
        for name, file in files.items():
            if found[name]:
                attempts = json.loads(os.getxattr(file.fileno(), "user.blobfs.last_error"))
                assert {attempt["share"] for attempt in attempts} == {server.url}
            else:
                assert file.seek(0) == 0
                assert file.read() == cases[name][0]


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
