"""Stretches of a bundle: as of a blob, of a whole whose size is not known."""

from pathlib import Path

import pytest
import trio

from blobfs.model import BlobId, Kind
from blobfs.shares.listening import bind_listener
from blobfs.shares.server import serve_share
from tests.servers.nginx import Nginx
from tests.servers.scripted import (
    Behaviour,
    ScriptedServer,
    broken_off,
    chunked,
    endless,
    ok,
    partial,
    ranged,
    silent,
    stalled,
    status,
)
from tests.shares.shared_names import BODY, attempt_of, opened, read

PACKAGE = BlobId("cd" * 32)
PATH = f"/.blobfs/bundles/{PACKAGE}"
SIZE = len(BODY)
PAGE = {"Content_Type": "text/html"}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A share with one bundle."""
    (tmp_path / ".blobfs/bundles").mkdir(parents=True)
    (tmp_path / ".blobfs/bundles" / PACKAGE).write_bytes(BODY)
    return tmp_path


@pytest.mark.parametrize(("offset", "length"), [(0, SIZE), (0, 1), (SIZE - 1, 1), (5000, 200_000)])
async def test_a_stretch_is_exact(scripted: ScriptedServer, offset: int, length: int) -> None:
    """Any stretch comes whole and in order, in one request for exactly these bytes."""
    scripted.route(PATH, ranged(BODY))
    async with opened(scripted.url) as share:
        for _ in range(2):
            assert await read(share.bundle(PACKAGE, offset, length)) == BODY[offset : offset + length]
        assert share.statistics().requests == {"bundle": 2}
    asked = [request.headers["range"] for request in scripted.requests]
    assert asked == [f"bytes={offset}-{offset + length - 1}"] * 2
    assert scripted.connections == 1


async def test_no_bytes_cost_no_request(scripted: ScriptedServer) -> None:
    """Nothing is asked for nothing, and what cannot be there is the caller's mistake."""
    async with opened(scripted.url) as share:
        assert await read(share.bundle(PACKAGE, 5, 0)) == b""
        with pytest.raises(ValueError, match="no such bytes"):
            await read(share.bundle(PACKAGE, -1, 5))
    assert scripted.requests == []


@pytest.mark.parametrize(
    ("behaviour", "kind", "detail"),
    [
        (status(404), Kind.ABSENT, "HTTP 404"),
        (status(403), Kind.REFUSED, "HTTP 403"),
        (status(503), Kind.BUSY, "HTTP 503"),
        (status(500), Kind.SERVER_ERROR, "HTTP 500"),
        (status(416), Kind.WRONG_RANGE, "shorter than its record says (HTTP 416)"),
        (ok(BODY), Kind.NO_RANGES, "the server ignores Range"),
        (ok(b"<p>", **PAGE), Kind.NOT_A_SHARE, "not a share's answer: an HTML page"),
        (ok(b"<p>" * 1000, **PAGE), Kind.NOT_A_SHARE, "not a share's answer: an HTML page"),
        (chunked(b"<p>" * 1000, code=200, **PAGE), Kind.NOT_A_SHARE, "not a share's answer: an HTML page"),
        (partial(BODY[:100], f"bytes 0-99/{SIZE}"), Kind.WRONG_RANGE, "asked for bytes=1000-1099"),
        (partial(BODY[:50], "bytes 1000-1049/1050"), Kind.WRONG_RANGE, "asked for bytes=1000-1099"),
        (partial(BODY[:100], "bytes 1000-1099/*", Content_Encoding="gzip"), Kind.ENCODED, "content encoding"),
        (silent(), Kind.NO_ANSWER, "no answer in 0.2 s"),
    ],
)
async def test_another_answer_gives_no_byte(
    scripted: ScriptedServer, behaviour: Behaviour, kind: Kind, detail: str
) -> None:
    """What is not the stretch that was asked for is refused before a byte of it is given out."""
    scripted.route(PATH, behaviour)
    got = bytearray()
    async with opened(scripted.url) as share:
        attempt = await attempt_of(read(share.bundle(PACKAGE, 1000, 100), got))
        assert share.statistics().in_flight == 0
    assert (bytes(got), attempt.kind, attempt.phase) == (b"", kind, "bundle")
    assert attempt.detail.startswith(detail)


@pytest.mark.parametrize(
    ("behaviour", "kind"),
    [
        (broken_off(BODY[:400], 1000, code=206, Content_Range="bytes 0-999/*"), Kind.SHORT_BODY),
        (stalled(BODY[:400], 1000, code=206, Content_Range="bytes 0-999/*"), Kind.STALLED),
        (endless(BODY[:1000], BODY, code=206, Content_Range="bytes 0-999/*"), Kind.LONG_BODY),
    ],
)
async def test_what_came_before_a_failure_is_given_out(
    scripted: ScriptedServer, behaviour: Behaviour, kind: Kind
) -> None:
    """Bytes of a body that breaks off are good as far as they came; none beyond the stretch is."""
    scripted.route(PATH, behaviour)
    got = bytearray()
    async with opened(scripted.url) as share:
        attempt = await attempt_of(read(share.bundle(PACKAGE, 0, 1000), got))
    assert attempt.kind is kind
    assert got == BODY[: len(got)]
    assert len(got) == (1000 if kind is Kind.LONG_BODY else 400)


async def test_nginx_serves_bundles_as_they_are(root: Path) -> None:
    """Any file server does: one request brings exactly the stretch, and an absent one is absent."""
    with Nginx(root) as nginx:
        async with opened(nginx.url) as share:
            assert await read(share.bundle(PACKAGE, 8192, 16384)) == BODY[8192:24576]
            assert (await attempt_of(read(share.bundle(PACKAGE, SIZE, 1)))).kind is Kind.WRONG_RANGE
            assert (await attempt_of(read(share.bundle(PACKAGE, SIZE - 1, 2)))).kind is Kind.WRONG_RANGE
            absent = await attempt_of(read(share.bundle(BlobId("ef" * 32), 0, 10)))
        requests = nginx.requests()
    assert (requests[0].status, requests[0].body_bytes_sent) == (206, 16384)
    assert (absent.kind, absent.status) == (Kind.ABSENT, 404)


async def test_the_built_in_server_serves_bundles(root: Path, nursery: trio.Nursery) -> None:
    """Likewise this node's own."""
    address = await nursery.start(serve_share, root, bind_listener("127.0.0.1:0"))
    async with opened(f"http://{address}/", first_byte_timeout=5.0) as share:
        assert await read(share.bundle(PACKAGE, 8192, 16384)) == BODY[8192:24576]
        assert await read(share.bundle(PACKAGE, 0, SIZE)) == BODY
        assert (await attempt_of(read(share.bundle(PACKAGE, SIZE, 1)))).kind is Kind.WRONG_RANGE
        assert (await attempt_of(read(share.bundle(BlobId("ef" * 32), 0, 10)))).kind is Kind.ABSENT
