"""Asking a share for a name's record, and what else may come in its place."""

import pytest
import trio

from blobfs.model import Kind, Name, Outcome
from blobfs.record import MAX_RECORD_BYTES
from blobfs.shares.client import DirectoryHere
from blobfs.shares.failure import ShareFailure
from tests.servers.scripted import (
    ScriptedServer,
    broken_off,
    chunked,
    closed,
    endless,
    ok,
    raw,
    redirect,
    reset,
    silent,
    stalled,
    status,
)
from tests.shares.shared_names import NAME, RECORD, RECORD_PATH, RECORD_TEXT, attempt_of, opened

LOG_PATH = RECORD_PATH + "/.blobfs-log"


async def test_a_record_is_read(scripted: ScriptedServer) -> None:
    """A record is found under names/, asked for without compression."""
    scripted.route(RECORD_PATH, ok(RECORD_TEXT))
    async with opened(scripted.url) as share:
        assert await share.record(NAME) == RECORD
        statistics = share.statistics()
    assert scripted.requests[0].headers["accept-encoding"] == "identity"
    assert (statistics.requests, statistics.received) == ({"record": 1}, len(RECORD_TEXT))
    assert (statistics.failures, statistics.in_flight) == ({}, 0)


async def test_a_name_is_percent_encoded(scripted: ScriptedServer) -> None:
    """Every byte outside RFC 3986 unreserved is encoded; nothing in a name has a meaning in the URL."""
    path = "/.blobfs/names/a%20b/%C3%BC%3F%23%25%5C%0A%27~x"
    scripted.route(path, ok(RECORD_TEXT))
    async with opened(scripted.url) as share:
        assert await share.record(Name("a b/ü?#%\\\n'~x")) == RECORD
    assert scripted.requests[0].path == path


@pytest.mark.parametrize("code", [404, 410])
async def test_absent(scripted: ScriptedServer, code: int) -> None:
    """404 and 410, with no log below the name, mean that the share does not have it: no failure."""
    scripted.route(RECORD_PATH, status(code))
    async with opened(scripted.url) as share:
        assert await share.record(NAME) is None
        assert share.statistics().failures == {}


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (401, Kind.REFUSED),
        (403, Kind.REFUSED),
        (400, Kind.BAD_STATUS),
        (408, Kind.BUSY),
        (425, Kind.BUSY),
        (429, Kind.BUSY),
        (503, Kind.BUSY),
        (500, Kind.SERVER_ERROR),
        (502, Kind.SERVER_ERROR),
        (204, Kind.BAD_STATUS),
        (304, Kind.BAD_STATUS),
    ],
)
async def test_other_statuses_fail(scripted: ScriptedServer, code: int, kind: Kind) -> None:
    """No other status is ever taken for "absent"."""
    scripted.route(RECORD_PATH, status(code, b""))
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.record(NAME))
        assert share.statistics().failures == {kind: 1}
    words = "HTTP 401: it wants a token or a password" if code == 401 else f"HTTP {code}"
    assert (attempt.kind, attempt.status, attempt.detail) == (kind, code, words)
    assert (attempt.share, attempt.phase) == (scripted.url, "record")


async def test_busy_says_how_long(scripted: ScriptedServer) -> None:
    """Retry-After travels with the failure."""
    scripted.route(RECORD_PATH, status(503, Retry_After="3"))
    async with opened(scripted.url) as share:
        with pytest.raises(ShareFailure) as failure:
            await share.record(NAME)
    assert failure.value.retry_after == 3.0


async def test_a_redirect_that_adds_a_slash_is_a_directory(scripted: ScriptedServer) -> None:
    """As static servers answer for a directory, even if they do not know their own address behind a proxy."""
    scripted.route(RECORD_PATH, redirect("https://inside.example:81" + RECORD_PATH + "/", 301))
    async with opened(scripted.url) as share:
        assert isinstance(await share.record(NAME), DirectoryHere)
        assert await share.record(Name("absent")) is None
    assert len(scripted.requests) == 2


@pytest.mark.parametrize("code", [404, 403, 400])
async def test_an_error_above_a_log_is_a_directory(scripted: ScriptedServer, code: int) -> None:
    """Servers that do not redirect give a directory away by its log."""
    scripted.route(RECORD_PATH, status(code))
    scripted.route(LOG_PATH, ok(b'{"log":1,"generation":"g"}\n'))
    async with opened(scripted.url) as share:
        assert isinstance(await share.record(NAME), DirectoryHere)
        assert share.statistics().failures == {}
    assert scripted.requests[-1].headers["range"] == "bytes=0-0"


async def test_a_server_that_redirects_is_asked_once_for_what_it_has_not(scripted: ScriptedServer) -> None:
    """Whether it redirects directories is seen from that of all names, before any other was met."""
    scripted.route("/.blobfs/names", redirect(f"{scripted.url}.blobfs/names/", 301))
    async with opened(scripted.url) as share:
        for name in ("a", "b", "c"):
            assert await share.record(Name(name)) is None
    assert len(scripted.requests) == 1 + 3


async def test_a_log_that_cannot_be_asked_for_leaves_the_question_open(scripted: ScriptedServer) -> None:
    """P4: absent is not said on half the evidence."""
    scripted.route(RECORD_PATH, status(404))
    scripted.route(LOG_PATH, reset())
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.record(NAME))
    assert (attempt.outcome, attempt.phase) == (Outcome.UNREACHABLE, "log")


@pytest.mark.parametrize("body", [b"<html>sign in</html>", b"", b"   ", b" " * 1000 + b"{", b"[1]", b"\x00"])
async def test_a_portal_is_not_the_share(scripted: ScriptedServer, body: bytes) -> None:
    """A 200 that does not begin like JSON is no share's answer: unreachable, not wrong."""
    scripted.route(RECORD_PATH, ok(body))
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.record(NAME))
    assert (attempt.outcome, attempt.detail) == (Outcome.UNREACHABLE, "not a share's answer")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{", "not JSON"),
        (b"{}", "version"),
        (RECORD_TEXT.replace(b'"v":1', b'"v":2'), "version"),
        (RECORD_TEXT.replace(b'"size":300000', b'"size":-1'), "proper 'size'"),
        (b"{" * (MAX_RECORD_BYTES - 1), "not JSON"),
    ],
)
async def test_a_broken_record_is_wrong(scripted: ScriptedServer, body: bytes, detail: str) -> None:
    """What begins like a record but is none says what is wrong with it."""
    scripted.route(RECORD_PATH, ok(body))
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.record(NAME))
    assert attempt.outcome is Outcome.WRONG
    assert detail in attempt.detail


async def test_a_compressed_record_is_wrong(scripted: ScriptedServer) -> None:
    """Nothing is decompressed."""
    scripted.route(RECORD_PATH, ok(RECORD_TEXT, Content_Encoding="gzip"))
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.record(NAME))
    assert (attempt.outcome, attempt.detail) == (Outcome.WRONG, "content encoding gzip")


async def test_an_endless_record_costs_little(scripted: ScriptedServer) -> None:
    """A record without an end is given up after its limit; the server never gets rid of much."""
    scripted.route(RECORD_PATH, endless(b'{"v":1,', b" " * 65536))
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.record(NAME))
        assert share.statistics().received < 2_000_000
    assert (attempt.outcome, attempt.detail) == (
        Outcome.WRONG,
        f"record larger than {MAX_RECORD_BYTES} bytes",
    )


async def test_a_large_record_is_not_read_on(scripted: ScriptedServer) -> None:
    """A promised gigabyte is refused at its first bytes."""
    scripted.route(RECORD_PATH, stalled(b'{"v":1', 1 << 30))
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.record(NAME))
    assert (attempt.outcome, attempt.detail) == (
        Outcome.WRONG,
        f"record larger than {MAX_RECORD_BYTES} bytes",
    )
    assert attempt.received == 6


@pytest.mark.parametrize(
    ("behaviour", "detail"),
    [
        (silent(), "no answer in 0.2 s"),
        (stalled(b'{"v":1', 100), "stalled"),
        (broken_off(b'{"v":1', 100), "short body"),
        (broken_off(b"", 100, by_reset=True), "reset"),
        (reset(), "reset"),
        (closed(), "closed before it answered"),
        (raw(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), "not HTTP: "),
        (raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 300_000), "not HTTP: "),
        (raw(b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\n"), "not HTTP: "),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), "not HTTP: "),
        (raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{1234"), "short body"),
    ],
)
async def test_a_broken_exchange_is_unreachable(scripted: ScriptedServer, behaviour, detail: str) -> None:
    """Whatever a connection does, the failure is "unreachable" and has a name."""
    scripted.route(RECORD_PATH, behaviour)
    async with opened(scripted.url) as share:
        attempt = await attempt_of(share.record(NAME))
        assert share.statistics().in_flight == 0
        assert share.statistics().idle_connections == 0
    assert attempt.outcome is Outcome.UNREACHABLE
    assert attempt.detail.startswith(detail)


async def test_nobody_listens(free_port: int) -> None:
    """A closed port is unreachable at once."""
    async with opened(f"http://127.0.0.1:{free_port}/") as share:
        attempt = await attempt_of(share.record(NAME))
    assert (attempt.outcome, attempt.detail, attempt.status) == (
        Outcome.UNREACHABLE,
        "connection refused",
        None,
    )


async def test_a_host_without_address() -> None:
    """A name that DNS does not know (RFC 6761: .invalid) is unreachable, and said to be DNS."""
    async with opened("http://share.invalid/") as share:
        attempt = await attempt_of(share.record(NAME))
    assert attempt.outcome is Outcome.UNREACHABLE
    assert attempt.detail.startswith(("DNS: ", "connect timeout"))


async def test_the_failure_tells_time_and_bytes(scripted: ScriptedServer) -> None:
    """An attempt holds the milliseconds and the body bytes until the failure."""
    scripted.route(RECORD_PATH, stalled(b'{"v":1', 100))
    async with opened(scripted.url, idle_timeout=0.1) as share:
        before = trio.current_time()
        attempt = await attempt_of(share.record(NAME))
        elapsed = trio.current_time() - before
    assert attempt.received == 6
    assert 90 <= attempt.ms <= elapsed * 1000 + 1


async def test_a_chunked_record_is_fine(scripted: ScriptedServer) -> None:
    """A length told beforehand is not required."""
    scripted.route(RECORD_PATH, chunked(RECORD_TEXT))
    async with opened(scripted.url) as share:
        assert await share.record(NAME) == RECORD
        assert await share.record(NAME) == RECORD
    assert scripted.connections == 1
