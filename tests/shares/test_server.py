"""The share server over a real socket: what it serves, refuses, and survives."""

import os
import socket
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest
import trio

from blobfs.shares import listening
from blobfs.shares.listening import bind_listener
from blobfs.shares.server import serve_share
from tests.shares.asking import ANSWER_SECONDS, ask, connect, parse_reply, read_to_end

ID = "0123456789abcdef" * 4
CONTENT = bytes(range(256)) * 40
MTIME = 1_700_000_000
RECORD = b'{"v":1}\n'
PEER_LEAVES_AFTER = 100_000


@pytest.fixture
def share(tmp_path: Path) -> Path:
    """A store with a share in it, and around and among it what must never be served."""
    share = tmp_path / "store" / "share"
    for directory in ("models", ".blobfs/blobs", ".blobfs/trees", ".blobfs/bundles", ".blobfs/names/models"):
        (share / directory).mkdir(parents=True)
    (share / ".blobfs/blobs" / ID).write_bytes(CONTENT)
    os.link(share / ".blobfs/blobs" / ID, share / "models/a.gguf")
    os.utime(share / "models/a.gguf", (MTIME, MTIME))
    (share / ".blobfs/trees" / ID).write_bytes(b"t" * 64)
    (share / ".blobfs/bundles" / ID).write_bytes(b"b" * 64)
    (share / ".blobfs/names/models/a.gguf").write_bytes(RECORD)
    (share / ".blobfs/names/models/.blobfs-log").write_bytes(b'{"log":1,"generation":"x"}\n')
    (share / ".blobfs/secret").write_bytes(b"secret")
    (share / "empty").touch()
    (share.parent / "format").write_bytes(b"secret")
    (share.parent / "lock").write_bytes(b"secret")
    (share / "out").symlink_to("../lock")
    (share / "out-dir").symlink_to("..")
    (share / "inside").symlink_to("models/a.gguf")
    (share / ".blobfs/blobs" / ("f" * 64)).symlink_to("/etc/passwd")
    os.mkfifo(share / "fifo")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.fspath(share / "socket"))
    return share


@pytest.fixture
async def server(share: Path, nursery: trio.Nursery) -> str:
    address: str = await nursery.start(serve_share, share, bind_listener("127.0.0.1:0"))
    return address


async def test_named_file(server: str) -> None:
    """A name's URL is its bytes, with what a cache and a resuming client need."""
    reply = await ask(server, "/models/a.gguf")
    assert (reply.status, reply.body) == (200, CONTENT)
    assert reply.headers["content-length"] == str(len(CONTENT))
    assert reply.headers["last-modified"] == formatdate(MTIME, usegmt=True)
    assert reply.headers["accept-ranges"] == "bytes"
    assert reply.headers["cache-control"] == "no-cache"
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["etag"].startswith('"')
    assert "date" in reply.headers
    assert "content-encoding" not in reply.headers


@pytest.mark.parametrize(
    ("target", "kind", "keep", "etag"),
    [
        (
            f"/.blobfs/blobs/{ID}",
            "application/octet-stream",
            "public, max-age=31536000, immutable",
            f'"{ID}"',
        ),
        (
            f"/.blobfs/trees/{ID}",
            "application/octet-stream",
            "public, max-age=31536000, immutable",
            f'"{ID}-tree"',
        ),
        (
            f"/.blobfs/bundles/{ID}",
            "application/octet-stream",
            "public, max-age=31536000, immutable",
            f'"{ID}-bundle"',
        ),
        ("/.blobfs/names/models/a.gguf", "application/json", "no-cache", None),
        ("/.blobfs/names/models/.blobfs-log", "application/x-ndjson", "no-cache", None),
        ("/empty", "application/octet-stream", "no-cache", None),
    ],
)
async def test_headers_by_kind(server: str, target: str, kind: str, keep: str, etag: str | None) -> None:
    """Blobs, trees and bundles never change and say so; their tag is their id."""
    reply = await ask(server, target)
    assert reply.status == 200
    assert reply.headers["content-type"] == kind
    assert reply.headers["cache-control"] == keep
    assert etag in (None, reply.headers["etag"])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.html", "text/html"),
        ("a.tar.gz", "application/octet-stream"),
        ("data:text%2Chtml", None),
        ("a.unheard-of", "application/octet-stream"),
    ],
)
async def test_content_type_by_name(server: str, share: Path, name: str, kind: str | None) -> None:
    """A type is guessed from the name's ending, never an encoding, and never from anything before it."""
    (share / name).touch()
    reply = await ask(server, f"/{name}")
    assert reply.headers.get("content-type") == kind or reply.status == 404


async def test_head(server: str) -> None:
    """HEAD is GET without the body: same headers, also for a range and for what is missing."""
    for target in ("/models/a.gguf", "/empty", "/missing", "/models"):
        get, head = await ask(server, target), await ask(server, target, "HEAD")
        assert head.body == b""
        assert head.status == get.status
        for name in get.headers.keys() - {"date"}:
            assert head.headers[name] == get.headers[name]
    reply = await ask(server, "/models/a.gguf", "HEAD", Range="bytes=0-9")
    assert (reply.status, reply.headers["content-length"]) == (200, str(len(CONTENT)))


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "TRACE"])
async def test_other_methods(server: str, share: Path, method: str) -> None:
    """Everything but GET and HEAD is refused, and changes nothing."""
    reply = await ask(server, "/models/a.gguf", method, Content_Length="0")
    assert (reply.status, reply.headers["allow"]) == (405, "GET, HEAD")
    assert (share / "models/a.gguf").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("text", "status", "start", "stop"),
    [
        ("bytes=0-99", 206, 0, 100),
        ("bytes=10000-", 206, 10000, len(CONTENT)),
        ("bytes=-1", 206, len(CONTENT) - 1, len(CONTENT)),
        ("bytes=5-999999", 206, 5, len(CONTENT)),
        ("bytes=0-1,3-4", 200, 0, len(CONTENT)),
        ("items=0-1", 200, 0, len(CONTENT)),
    ],
)
async def test_ranges(server: str, text: str, status: int, start: int, stop: int) -> None:
    """One range of bytes is answered with exactly these, everything else with the whole file."""
    for target in ("/models/a.gguf", f"/.blobfs/blobs/{ID}"):
        reply = await ask(server, target, Range=text)
        assert (reply.status, reply.body) == (status, CONTENT[start:stop])
        assert reply.headers["content-length"] == str(stop - start)
        expected = f"bytes {start}-{stop - 1}/{len(CONTENT)}" if status == 206 else None
        assert reply.headers.get("content-range") == expected


async def test_range_that_is_not_there(server: str) -> None:
    """416 tells the size, so a log's reader sees that there is nothing new."""
    reply = await ask(server, "/models/a.gguf", Range=f"bytes={len(CONTENT)}-")
    assert (reply.status, reply.body) == (416, b"")
    assert reply.headers["content-range"] == f"bytes */{len(CONTENT)}"


async def test_conditions(server: str) -> None:
    """304 and 412 have no body; a 304 repeats what a cache keeps."""
    etag = (await ask(server, "/models/a.gguf")).headers["etag"]
    known = await ask(server, "/models/a.gguf", If_None_Match=etag)
    assert (known.status, known.body) == (304, b"")
    assert (known.headers["etag"], known.headers["cache-control"]) == (etag, "no-cache")
    refused = await ask(server, "/models/a.gguf", If_Match='"other"')
    assert (refused.status, refused.body) == (412, b"")
    resumed = await ask(server, "/models/a.gguf", If_Range=etag, Range="bytes=1-2")
    assert (resumed.status, resumed.body) == (206, CONTENT[1:3])
    changed = await ask(server, "/models/a.gguf", If_Range='"other"', Range="bytes=1-2")
    assert (changed.status, changed.body) == (200, CONTENT)


async def test_replaced_file_has_another_tag(server: str, share: Path) -> None:
    """A name that means another file is another version, with the same size and the same mtime too."""
    before = (await ask(server, "/models/a.gguf")).headers["etag"]
    new = share / "new"
    new.write_bytes(bytes(reversed(CONTENT)))
    os.utime(new, (MTIME, MTIME))
    new.rename(share / "models/a.gguf")
    reply = await ask(server, "/models/a.gguf", If_Range=before, Range="bytes=0-0")
    assert reply.headers["etag"] != before
    assert (reply.status, reply.body) == (200, bytes(reversed(CONTENT)))


@pytest.mark.parametrize(
    "target",
    [
        "/../lock",
        "/../../../../../../../../etc/passwd",
        "/%2e%2e/lock",
        "/%2e%2e%2flock",
        "/models/../../lock",
        "/..%5c..%5clock",
        "/..\\lock",
        "/%252e%252e/lock",
        "//etc/passwd",
        "//models/a.gguf",
        "/models//a.gguf",
        "/./models/a.gguf",
        "/models/a.gguf/",
        "/models/a.gguf/x",
        "/models/a.gguf%00",
        "/%00",
        "/.blobfs/../../lock",
        "/.blobfs/blobs/../../../format",
        "/.blobfs/secret",
        "/.blobfs/blobs/",
        "/.blobfs/blobs",
        f"/.blobfs/blobs/{ID}%00",
        f"/.blobfs/blobs/{'f' * 64}",
        f"/.blobfs/blobs/{'0' * 64}",
        "/out",
        "/out-dir",
        "/out-dir/lock",
        "/inside",
        "/fifo",
        "/socket",
        "/",
        "/models/",
        "/missing",
        "/" + "a" * 256,
        "/" + "a" * 8000,
        "/" + "a/" * 4000,
        "http://test/../lock",
        "file:///etc/passwd",
        "*",
        "/%ff",
        "/%",
        "/missing?/../lock",
    ],
)
async def test_nothing_else_is_served(server: str, target: str) -> None:
    """Whatever the request line says, only the layout's regular files are served: all else is 404 or 400."""
    reply = await ask(server, target)
    assert reply.status in (400, 404)
    assert b"secret" not in reply.body
    assert b"root:" not in reply.body


@pytest.mark.parametrize("target", [b"/a b", b"/\xff", b"/a\tb", b"/" + b"a" * 100_000])
async def test_broken_request_lines(server: str, target: bytes) -> None:
    """What is not HTTP is refused by the HTTP layer, and the server goes on."""
    assert (await ask(server, target)).status in (400, 431)
    assert (await ask(server, "/models/a.gguf")).status == 200


@pytest.mark.parametrize(
    "name", ["a b", "a\nb", "a\\b", "%2e%2e", "é", "...", "a?b#c", "a+b", "-", "a:b", "x" * 255]
)
async def test_odd_names(server: str, share: Path, name: str) -> None:
    """Any valid name is served under its percent-encoded form."""
    (share / name).write_bytes(name.encode())
    encoded = "".join(f"%{byte:02X}" for byte in name.encode())
    reply = await ask(server, f"/{encoded}")
    assert (reply.status, reply.body) == (200, name.encode())


async def test_query_and_whole_url(server: str) -> None:
    """A query is ignored, and a request target may be a whole URL."""
    for target in ("/models/a.gguf?download=1", f"http://{server}/models/a.gguf"):
        assert (await ask(server, target)).body == CONTENT


@pytest.mark.parametrize("target", ["/models", "/.blobfs/names/models"])
async def test_directory(server: str, target: str) -> None:
    """A directory redirects to itself with a slash, where there is no listing."""
    reply = await ask(server, target)
    assert (reply.status, reply.headers["location"]) == (301, f"{target}/")
    assert (await ask(server, f"{target}/")).status == 404


async def test_share_that_is_away(server: str, share: Path) -> None:
    """P4: while the share's directory is gone, nothing is called absent."""
    share.rename(share.with_name("elsewhere"))
    assert (await ask(server, "/missing")).status == 503
    share.with_name("elsewhere").rename(share)
    assert (await ask(server, "/missing")).status == 404


async def test_opened_version_is_served_to_the_end(server: str, share: Path) -> None:
    """A file that is replaced and removed while it is served arrives whole, as it was."""
    old = os.urandom(1 << 20) * 16
    (share / "big").write_bytes(old)
    async with await connect(server) as stream:
        await stream.send_all(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        raw = bytes(await stream.receive_some(1000))
        (share / "new").write_bytes(b"new")
        (share / "new").rename(share / "big")
        raw += await read_to_end(stream)
    assert parse_reply(raw).body == old
    assert (await ask(server, "/big")).body == b"new"


async def test_file_that_shrinks_cuts_the_connection(server: str, share: Path) -> None:
    """A file that loses bytes behind our back ends the connection: a short body, never filler."""
    (share / "big").write_bytes(b"x" * (64 << 20))
    async with await connect(server) as stream:
        await stream.send_all(b"GET /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        raw = bytes(await stream.receive_some(1000))
        os.truncate(share / "big", 10)
        reply = parse_reply(raw + await read_to_end(stream))
    assert int(reply.headers["content-length"]) == 64 << 20
    assert len(reply.body) < 64 << 20
    assert set(reply.body) == {ord("x")}


async def test_small_request_during_a_big_download(server: str, share: Path) -> None:
    """A download that nobody reads holds up nobody else."""
    (share / "big").write_bytes(b"x" * (64 << 20))
    async with await connect(server) as stream:
        await stream.send_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.receive_some(1000)
        assert (await ask(server, "/models/a.gguf")).body == CONTENT


async def test_client_that_leaves(server: str, share: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A client that goes away in the middle ends its answer quietly, and its file is closed."""
    (share / "big").write_bytes(b"x" * (64 << 20))
    async with await connect(server) as stream:
        await stream.send_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        received = 0
        while received < PEER_LEAVES_AFTER:
            received += len(await stream.receive_some(PEER_LEAVES_AFTER))
        assert _holds_open(share / "big")
    with trio.fail_after(ANSWER_SECONDS):
        while _holds_open(share / "big"):  # noqa: ASYNC110  the kernel's table sets no event
            await trio.sleep(0.01)
    assert [record for record in caplog.records if record.levelname != "INFO"] == []


async def test_client_that_stops_reading(
    share: Path, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that keeps its connection but reads no more is dropped by the kernel after its time."""
    (share / "big").write_bytes(b"x" * (64 << 20))
    monkeypatch.setattr(listening, "STALLED_PEER_MS", 100)
    address = await nursery.start(serve_share, share, bind_listener("127.0.0.1:0"))
    async with await connect(address) as stream:
        await stream.send_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n")
        await stream.receive_some(1000)
        with trio.fail_after(ANSWER_SECONDS):
            while _holds_open(share / "big"):  # noqa: ASYNC110  the kernel's table sets no event
                await trio.sleep(0.01)


def _holds_open(path: Path) -> bool:
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return os.fspath(path) in [os.readlink(link) for link in links if os.path.islink(link)]


async def test_keep_alive(server: str) -> None:
    """Requests follow each other on one connection, errors among them."""
    targets = ["/models/a.gguf", "/missing", "/models", "/empty", "/models/a.gguf"]
    async with await connect(server) as stream:
        for target in targets:
            await stream.send_all(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            raw = b""
            while b"\r\n\r\n" not in raw or len(parse_reply(raw).body) < _length(raw):
                raw += await stream.receive_some(100_000)
            assert parse_reply(raw).status in (200, 301, 404)


def _length(raw: bytes) -> int:
    return int(parse_reply(raw).headers["content-length"])


async def test_httpx_downloads(server: str, share: Path) -> None:
    """A real client gets a file of many pieces, in many requests at a time."""
    content = os.urandom(3_000_001)
    (share / "big").write_bytes(content)
    received: list[bytes] = []

    async with httpx.AsyncClient(trust_env=False, timeout=ANSWER_SECONDS) as client:

        async def download() -> None:
            received.append((await client.get(f"http://{server}/big")).content)

        async with trio.open_nursery() as nursery:
            for _ in range(8):
                nursery.start_soon(download)
    assert received == [content] * 8
