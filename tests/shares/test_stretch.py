"""Stretches of blobs and trees: exactly what was asked for, or a failure and what came before it."""

from typing import Any

import pytest

from blobfs.model import Outcome
from tests.servers.scripted import (
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
from tests.shares.shared_names import BLOB, BLOB_PATH, BODY, TREE_PATH, attempt_of, opened, read

SIZE = len(BODY)


@pytest.mark.parametrize(("offset", "length"), [(0, SIZE), (0, 1), (SIZE - 1, 1), (5000, 200_000), (7, 0)])
async def test_a_stretch_is_exact(scripted: ScriptedServer, offset: int, length: int) -> None:
    """Any stretch of a blob comes whole and in order, over one connection."""
    scripted.route(BLOB_PATH, ranged(BODY))
    async with opened(scripted.url) as share:
        for _ in range(2):
            assert await read(share.blob(BLOB, SIZE, offset, length)) == BODY[offset : offset + length]
        assert share.statistics().failures == {}
    assert scripted.connections == (1 if length else 0)


async def test_a_stretch_outside_the_blob_is_a_mistake(scripted: ScriptedServer) -> None:
    """Asking for bytes that cannot be there is the caller's defect, not the share's failure."""
    async with opened(scripted.url) as share:
        with pytest.raises(ValueError, match="no such bytes"):
            await read(share.blob(BLOB, SIZE, SIZE, 1))
    assert scripted.requests == []


async def test_the_size_is_told_by_head(scripted: ScriptedServer) -> None:
    """A blob's size costs no content."""
    scripted.route(BLOB_PATH, ok(BODY))
    async with opened(scripted.url) as share:
        assert await share.blob_size(BLOB) == SIZE
        assert await share.blob_size(BLOB) == SIZE
    assert [request.method for request in scripted.requests] == ["HEAD", "HEAD"]
    assert (scripted.sent, scripted.connections) == (0, 1)


@pytest.mark.parametrize(
    ("behaviour", "outcome", "detail"),
    [
        (status(403), Outcome.REFUSED, "HTTP 403"),
        (status(503), Outcome.BUSY, "HTTP 503"),
        (chunked(b""), Outcome.UNREACHABLE, "no Content-Length"),
        (ok(b"<p>", Content_Type="text/html"), Outcome.UNREACHABLE, "not a share's answer: an HTML page"),
        (ok(BODY, Content_Encoding="br"), Outcome.WRONG, "content encoding br"),
        (silent(), Outcome.UNREACHABLE, "no answer in 0.2 s"),
    ],
)
async def test_a_size_that_cannot_be_told(
    scripted: ScriptedServer, behaviour, outcome: Outcome, detail: str
) -> None:
    """What is no proper answer to HEAD is a failure, never a size."""
    scripted.route(BLOB_PATH, behaviour)
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.blob_size(BLOB))
    assert (attempt.outcome, attempt.detail, attempt.phase) == (outcome, detail, "size")


async def test_absent_blobs_and_trees(scripted: ScriptedServer) -> None:
    """An absent blob has no size; asked for its bytes it is a failure "absent"."""
    async with opened(scripted.url) as share:
        assert await share.blob_size(BLOB) is None
        blob = await attempt_of(read(share.blob(BLOB, SIZE, 0, 10)))
        tree = await attempt_of(share.tree(BLOB, 0, 10))
    assert (blob.outcome, blob.phase, blob.status) == (Outcome.ABSENT, "blob", 404)
    assert (tree.outcome, tree.phase, tree.status) == (Outcome.ABSENT, "tree", 404)
    assert scripted.connections == 1


async def test_a_whole_file_from_the_start_will_do(scripted: ScriptedServer) -> None:
    """A server without ranges serves what begins at 0; the rest is not read."""
    scripted.route(BLOB_PATH, ok(BODY))
    async with opened(scripted.url) as share:
        assert await read(share.blob(BLOB, SIZE, 0, SIZE)) == BODY
        assert await read(share.blob(BLOB, SIZE, 0, 100)) == BODY[:100]
        attempt = await attempt_of(read(share.blob(BLOB, SIZE, 1, 100)))
        assert share.statistics().in_flight == 0
    assert (attempt.outcome, attempt.detail) == (Outcome.WRONG, "the server ignores Range")


async def test_an_endless_body_is_not_read_on(scripted: ScriptedServer) -> None:
    """Never more than a few socket reads past what was asked for."""
    scripted.route(BLOB_PATH, endless(b"", bytes(65536)))
    async with opened(scripted.url) as share:
        got = bytearray()
        assert await read(share.blob(BLOB, 1 << 40, 0, 100_000), got) == bytes(100_000)
        assert share.statistics().received < 2_000_000


@pytest.mark.parametrize(
    ("behaviour", "outcome", "detail"),
    [
        (partial(BODY[:100], f"bytes 0-99/{SIZE}"), Outcome.WRONG, "asked for bytes=1000-1099"),
        (partial(BODY[:100], "bytes 1000-1099/5000"), Outcome.WRONG, "has 5000 bytes, its record says"),
        (partial(BODY[:50], "bytes 1000-1049/*"), Outcome.WRONG, "asked for bytes=1000-1099"),
        (
            partial(BODY[:50], f"bytes 1000-1099/{SIZE}"),
            Outcome.WRONG,
            "Content-Length 50 for a range of 100",
        ),
        (partial(b"--b", "", Content_Type="multipart/byteranges"), Outcome.WRONG, "HTTP 206 without"),
        (status(416), Outcome.WRONG, "shorter than its record says"),
        (status(403), Outcome.REFUSED, "HTTP 403"),
        (status(500), Outcome.UNREACHABLE, "HTTP 500"),
        (
            partial(BODY[:100], f"bytes 1000-1099/{SIZE}", Content_Encoding="gzip"),
            Outcome.WRONG,
            "content encoding gzip",
        ),
        (ok(b"<html>", Content_Type="text/html"), Outcome.UNREACHABLE, "not a share's answer: an HTML page"),
    ],
)
async def test_another_answer_gives_no_byte(
    scripted: ScriptedServer, behaviour, outcome: Outcome, detail: str
) -> None:
    """An answer that is not the one asked for is refused before a byte of it is given out."""
    scripted.route(BLOB_PATH, behaviour)
    got = bytearray()
    async with opened(scripted.url) as share:
        attempt = await attempt_of(read(share.blob(BLOB, SIZE, 1000, 100), got))
    assert got == b""
    assert attempt.outcome is outcome
    assert attempt.detail.startswith(detail)


RANGE: dict[str, Any] = {"code": 206, "Content_Range": f"bytes 0-999/{SIZE}"}


@pytest.mark.parametrize(
    ("behaviour", "received", "outcome", "detail"),
    [
        (broken_off(BODY[:400], 1000, **RANGE), 400, Outcome.UNREACHABLE, "short body"),
        (broken_off(BODY[:400], 1000, by_reset=True, **RANGE), None, Outcome.UNREACHABLE, "reset"),
        (stalled(BODY[:400], 1000, **RANGE), 400, Outcome.UNREACHABLE, "stalled"),
        (chunked(BODY[:400], **RANGE), 400, Outcome.UNREACHABLE, "short body: 400 of 1000 bytes"),
        (endless(BODY[:1000], BODY, **RANGE), 1000, Outcome.WRONG, "body longer than asked for"),
    ],
)
async def test_what_came_before_a_failure_is_kept(
    scripted: ScriptedServer, behaviour, received: int | None, outcome: Outcome, detail: str
) -> None:
    """A caller can go on behind the last byte it got; bytes past the stretch are never given out."""
    scripted.route(BLOB_PATH, behaviour)
    got = bytearray()
    async with opened(scripted.url) as share:
        attempt = await attempt_of(read(share.blob(BLOB, SIZE, 0, 1000), got))
        assert share.statistics().in_flight == 0
    assert got == BODY[: len(got)]
    assert received is None or len(got) == received
    assert (attempt.outcome, attempt.detail) == (outcome, detail)


async def test_leaving_early_closes_the_connection(scripted: ScriptedServer) -> None:
    """A caller that has seen enough leaves nothing behind, and asks again as if nothing was."""
    scripted.route(BLOB_PATH, ranged(BODY * 40))
    size = SIZE * 40
    async with opened(scripted.url) as share:
        for _ in range(10):
            async with share.blob(BLOB, size, 0, size) as body:
                memory = bytearray(4)
                assert await body.read_into(memoryview(memory)) == 4
                assert memory == BODY[:4]
        assert (share.statistics().in_flight, share.statistics().idle_connections) == (0, 0)
        assert await read(share.blob(BLOB, size, 0, 10)) == BODY[:10]


async def test_trees(scripted: ScriptedServer) -> None:
    """A range of a tree file is exact; its size need not be known."""
    scripted.route(TREE_PATH, ranged(BODY))
    async with opened(scripted.url) as share:
        assert await share.tree(BLOB, 64, 128) == BODY[64:192]
        assert await share.tree(BLOB, 0, 0) == b""
        attempt = await attempt_of(share.tree(BLOB, SIZE - 10, 20))
        with pytest.raises(ValueError, match="the limit is"):
            await share.tree(BLOB, 0, (1 << 20) + 1)
    assert (attempt.outcome, attempt.phase) == (Outcome.WRONG, "tree")
