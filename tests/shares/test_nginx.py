"""One share exported by a real nginx."""

from pathlib import Path

import pytest

from blobfs.model import ROOT, Name, Outcome
from blobfs.record import LOG_NAME, GoneRecord, LogEntry, encode_log_entry, encode_log_header, encode_record
from blobfs.shares.client import DirectoryHere
from blobfs.shares.log_tail import LogReading
from tests.servers.nginx import Nginx
from tests.shares.shared_names import BLOB, BODY, NAME, RECORD, attempt_of, opened, read

ODD_NAMES = [
    "ü/a b",
    "100%",
    "a%2fb",
    "q?x=1&y",
    "#top",
    "back\\slash",
    "new\nline",
    "'\"<>|*",
    "~tilde",
    "+plus;",
]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in [NAME, *ODD_NAMES]:
        path = tmp_path / ".blobfs/names" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_record(RECORD))
    for folder in ("blobs", "trees"):
        (tmp_path / ".blobfs" / folder).mkdir()
        (tmp_path / ".blobfs" / folder / BLOB).write_bytes(BODY)
    return tmp_path


async def test_records(root: Path) -> None:
    """Records, absent names and directories are told apart, in as few requests as can be."""
    with Nginx(root) as nginx:
        async with opened(nginx.url) as share:
            assert isinstance(await share.record(Name("models")), DirectoryHere)
            nginx.forget_requests()
            assert await share.record(NAME) == RECORD
            assert await share.record(Name("models/absent")) is None
            assert await share.record(Name("absent/absent")) is None
            # A name below a file: nginx says 404 for ENOTDIR.
            assert await share.record(Name(f"{NAME}/below")) is None
            requests = nginx.requests()
    assert [request.status for request in requests] == [200, 404, 404, 404]
    assert len({request.connection for request in requests}) == 1


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_odd_names(root: Path, name: str) -> None:
    """A name reaches the file of that name, whatever characters it holds."""
    with Nginx(root) as nginx:
        async with opened(nginx.url) as share:
            assert await share.record(Name(name)) == RECORD


async def test_stretches_fetch_what_they_need(root: Path) -> None:
    """A stretch is one request for exactly its bytes."""
    size = len(BODY)
    with Nginx(root) as nginx:
        async with opened(nginx.url) as share:
            assert await share.blob_size(BLOB) == size
            assert await read(share.blob(BLOB, size, 8192, 16384)) == BODY[8192:24576]
            assert await share.tree(BLOB, 32, 64) == BODY[32:96]
            wrong = await attempt_of(read(share.blob(BLOB, size * 2, 0, 10)))
            behind = await attempt_of(read(share.blob(BLOB, size * 2, size, 10)))
        requests = nginx.requests()
    assert [(request.method, request.body_bytes_sent) for request in requests[:3]] == [
        ("HEAD", 0),
        ("GET", 16384),
        ("GET", 64),
    ]
    assert requests[1].range == "bytes=8192-24575"
    assert (wrong.outcome, wrong.detail) == (Outcome.WRONG, f"has {size} bytes, its record says {size * 2}")
    assert (behind.outcome, behind.status) == (Outcome.WRONG, 416)


async def test_a_log_grows(root: Path) -> None:
    """Each reading of a log costs its last line and what is new."""
    log = root / ".blobfs/names" / LOG_NAME
    line = encode_log_entry(LogEntry("a", GoneRecord(1)))
    log.write_bytes(encode_log_header("g1") + line * 1000)
    with Nginx(root) as nginx:
        async with opened(nginx.url) as share:
            reading = LogReading()
            assert await share.log(ROOT, reading)
            with log.open("ab") as file:
                file.write(line * 2 + line[:5])
            assert await share.log(ROOT, reading)
            assert reading.offset == log.stat().st_size - 5
            log.write_bytes(encode_log_header("g2") + line)
            assert await share.log(ROOT, reading)
            assert reading.known is not None
            assert (len(reading.entries), reading.known.generation) == (1, "g2")
        requests = nginx.requests()
    assert [request.status for request in requests] == [200, 206, 416, 200]
    assert requests[1].body_bytes_sent == len(line * 3 + line[:5])


async def test_refused_and_compressed(root: Path) -> None:
    """What nginx denies is refused; what it would compress it does not, for us."""
    directives = "location ~ /trees/ { deny all; } gzip on; gzip_types *; gzip_min_length 0;"
    with Nginx(root, directives) as nginx:
        async with opened(nginx.url) as share:
            assert (await attempt_of(share.tree(BLOB, 0, 10))).outcome is Outcome.REFUSED
            assert await share.record(NAME) == RECORD


async def test_an_outage(root: Path) -> None:
    """A stopped server is unreachable, and a restarted one is asked as if nothing had been."""
    with Nginx(root) as nginx:
        async with opened(nginx.url) as share:
            assert await share.record(NAME) == RECORD
            nginx.stop()
            attempt = await attempt_of(share.record(NAME))
            assert (attempt.outcome, attempt.detail) == (Outcome.UNREACHABLE, "connection refused")
            nginx.start()
            assert await share.record(NAME) == RECORD
