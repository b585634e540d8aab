"""Plain shares: one version of a file is pinned, and never mixed with another."""

import os
from pathlib import Path

import pytest

from blobfs.model import Name, Outcome
from blobfs.shares.client import DirectoryHere
from blobfs.shares.plain import PlainFile
from tests.servers.nginx import Nginx
from tests.servers.scripted import ScriptedServer, chunked, ok, partial, ranged, redirect, status
from tests.shares.shared_names import attempt_of, opened, read

NAME = Name("data/file one.bin")
PATH = "/data/file%20one.bin"
BODY = bytes(range(256)) * 300
SIZE = len(BODY)
DATE = "Fri, 02 Jan 2026 03:04:05 GMT"
DATE_NS = 1_767_323_045_000_000_000
BOTH = {"ETag": '"v1"', "Last_Modified": DATE}
PINNED = PlainFile(SIZE, '"v1"', DATE_NS, '"v1"')


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (BOTH, PINNED),
        ({"ETag": '"v1"'}, PlainFile(SIZE, '"v1"', None, '"v1"')),
        ({"ETag": 'W/"v1"', "Last_Modified": DATE}, PlainFile(SIZE, 'W/"v1"', DATE_NS, DATE)),
        ({"Last_Modified": DATE}, PlainFile(SIZE, None, DATE_NS, DATE)),
        ({"Last_Modified": "yesterday"}, PlainFile(SIZE, None, None, None)),
        ({}, PlainFile(SIZE, None, None, None)),
    ],
)
async def test_what_pins_a_version(scripted: ScriptedServer, headers: dict, expected: PlainFile) -> None:
    """A strong ETag pins a version, else the date as the share wrote it; a weak ETag cannot."""
    scripted.route(PATH, ok(BODY, **headers))
    async with opened(scripted.url, plain=True) as share:
        assert await share.plain_stat(NAME) == expected


async def test_absent_and_directories(scripted: ScriptedServer) -> None:
    """As with records: absent is None, a redirect that adds a slash is a directory."""
    scripted.route("/data", redirect("/data/"))
    async with opened(scripted.url, plain=True) as share:
        assert await share.plain_stat(Name("absent")) is None
        assert isinstance(await share.plain_stat(Name("data")), DirectoryHere)


async def test_web_pages_are_files_too(scripted: ScriptedServer) -> None:
    """HTML is what an .html file holds; elsewhere it is a portal's page."""
    page = ok(b"<p>", Content_Type="text/html")
    scripted.route("/index.html", page)
    scripted.route(PATH, page)
    async with opened(scripted.url, plain=True) as share:
        assert await share.plain_stat(Name("index.html")) == PlainFile(3, None, None, None)
        assert (await attempt_of(share.plain_stat(NAME))).outcome is Outcome.UNREACHABLE


async def test_a_stretch_is_asked_for_with_if_range(scripted: ScriptedServer) -> None:
    """Every request carries the pinned version."""
    scripted.route(PATH, ranged(BODY, **BOTH))
    async with opened(scripted.url, plain=True) as share:
        assert await read(share.plain(NAME, PINNED, 100, 5000)) == BODY[100:5100]
        assert await read(share.plain(NAME, PINNED, 0, 0)) == b""
    assert scripted.requests[0].headers["if-range"] == '"v1"'
    assert len(scripted.requests) == 1


@pytest.mark.parametrize(
    "behaviour",
    [
        ok(BODY),
        ok(BODY, ETag='"v2"'),
        ok(BODY[1:], **BOTH),
        status(416),
        partial(BODY[:100], f"bytes 0-99/{SIZE + 1}", **BOTH),
        partial(BODY[:100], f"bytes 0-99/{SIZE}", ETag='"v2"'),
        partial(BODY[:100], f"bytes 0-99/{SIZE}", Last_Modified="Fri, 02 Jan 2026 03:04:06 GMT"),
    ],
)
async def test_another_version_is_noticed(scripted: ScriptedServer, behaviour) -> None:
    """A 200 in place of a range, another ETag, date or size: CHANGED, and not a byte is given out."""
    scripted.route(PATH, behaviour)
    got = bytearray()
    async with opened(scripted.url, plain=True) as share:
        attempt = await attempt_of(read(share.plain(NAME, PINNED, 0, 100), got))
    assert (attempt.outcome, attempt.phase) == (Outcome.CHANGED, "blob")
    assert not got


async def test_a_server_without_ranges(scripted: ScriptedServer) -> None:
    """A whole file that says it is the pinned version serves from the start, and from nowhere else."""
    scripted.route(PATH, ok(BODY, **BOTH))
    async with opened(scripted.url, plain=True) as share:
        assert await read(share.plain(NAME, PINNED, 0, 100)) == BODY[:100]
        attempt = await attempt_of(read(share.plain(NAME, PINNED, 100, 100)))
    assert (attempt.outcome, attempt.detail) == (Outcome.WRONG, "the server ignores Range")


@pytest.mark.parametrize(
    ("behaviour", "outcome"),
    [
        (status(404), Outcome.ABSENT),
        (status(403), Outcome.REFUSED),
        (status(503), Outcome.BUSY),
        (chunked(b"x" * 100, 206, Content_Range=f"bytes 1-100/{SIZE}"), Outcome.WRONG),
    ],
)
async def test_other_failures_keep_their_names(scripted: ScriptedServer, behaviour, outcome: Outcome) -> None:
    """Only another version is CHANGED."""
    scripted.route(PATH, behaviour)
    async with opened(scripted.url, plain=True) as share:
        assert (await attempt_of(read(share.plain(NAME, PINNED, 0, 100)))).outcome is outcome


@pytest.mark.parametrize("replaced", [BODY[::-1], BODY + b"x", BODY[:10]])
async def test_a_file_replaced_on_nginx(tmp_path: Path, replaced: bytes) -> None:
    """With a real server: what was pinned is loaded, and a replaced file is CHANGED."""
    path = tmp_path / NAME
    path.parent.mkdir()
    path.write_bytes(BODY)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    with Nginx(tmp_path) as nginx:
        async with opened(nginx.url, plain=True) as share:
            pinned = await share.plain_stat(NAME)
            assert isinstance(pinned, PlainFile)
            assert pinned.last_modified_ns == 1_700_000_000_000_000_000
            assert await read(share.plain(NAME, pinned, 1, SIZE - 1)) == BODY[1:]
            path.write_bytes(replaced)
            attempt = await attempt_of(read(share.plain(NAME, pinned, 50, 1000)))
            assert attempt.outcome is Outcome.CHANGED
