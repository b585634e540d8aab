"""Connections: kept, shared out, and never leaked, whatever happens to a request."""

import socket
import subprocess
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from blobfs.model import Name, Outcome
from blobfs.shares.client import Share
from tests.servers.nginx import Nginx, free_port
from tests.servers.scripted import ScriptedServer, closed, gated, ok, ranged, reset, silent, stalled
from tests.shares.shared_names import (
    BLOB,
    BLOB_PATH,
    BODY,
    NAME,
    RECORD,
    RECORD_PATH,
    RECORD_TEXT,
    attempt_of,
    opened,
    read,
)

SIZE = len(BODY)


async def test_a_connection_serves_many_requests(scripted: ScriptedServer) -> None:
    """Answers of all kinds, absent and refused among them, leave their connection usable."""
    scripted.route(RECORD_PATH, ok(RECORD_TEXT))
    scripted.route(BLOB_PATH, ranged(BODY))
    async with opened(scripted.url) as share:
        for _ in range(3):
            assert await share.record(NAME) == RECORD
            assert await share.record(Name("absent")) is None
            assert await share.blob_size(BLOB) == SIZE
            assert await read(share.blob(BLOB, SIZE, 5, 50_000)) == BODY[5:50_005]
        assert share.statistics().idle_connections == 1
    assert scripted.connections == 1


async def test_closing_a_share_closes_its_connections(scripted: ScriptedServer) -> None:
    """Nothing stays open behind a share."""
    scripted.route(RECORD_PATH, ok(RECORD_TEXT))
    async with opened(scripted.url) as share:
        await share.record(NAME)
        assert scripted.open == 1
    await trio.testing.wait_all_tasks_blocked()
    assert scripted.open == 0


@pytest.mark.parametrize("race", [closed(), reset()])
async def test_a_connection_that_dies_idle_costs_no_failure(scripted: ScriptedServer, race) -> None:
    """A server may close an idle connection just as it is used: the request is sent once more."""
    scripted.route(RECORD_PATH, ok(RECORD_TEXT), race, ok(RECORD_TEXT))
    async with opened(scripted.url) as share:
        assert await share.record(NAME) == RECORD
        assert await share.record(NAME) == RECORD
        assert share.statistics().failures == {}
    assert scripted.connections == 2
    assert len(scripted.requests) == 3


async def test_a_new_connection_that_dies_is_not_tried_again(scripted: ScriptedServer) -> None:
    """A second try is for idle connections only; how often to retry is for others to decide."""
    scripted.route(RECORD_PATH, reset())
    async with opened(scripted.url) as share:
        assert (await attempt_of(share.record(NAME))).detail == "reset"
    assert len(scripted.requests) == 1


async def test_cancelled_requests_leak_nothing(scripted: ScriptedServer) -> None:
    """Fifty requests cancelled in flight, in every state, leave room for twenty good ones."""
    scripted.route(BLOB_PATH, silent(), stalled(BODY[:10], SIZE), silent(), stalled(b"", SIZE), ranged(BODY))
    scripted.route(RECORD_PATH, silent(), silent(), silent(), ok(RECORD_TEXT))
    async with opened(scripted.url, first_byte_timeout=30.0, idle_timeout=30.0) as share:
        async with trio.open_nursery() as nursery:
            for _ in range(25):
                nursery.start_soon(read, share.blob(BLOB, SIZE, 0, SIZE))
                nursery.start_soon(share.record, NAME)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert share.statistics().in_flight > 4
            nursery.cancel_scope.cancel()
        assert share.statistics().in_flight == 0
        scripted.route(BLOB_PATH, ranged(BODY))
        with trio.fail_after(10):
            for _ in range(10):
                assert await share.record(NAME) == RECORD
                assert await read(share.blob(BLOB, SIZE, 0, SIZE)) == BODY
        assert share.statistics().idle_connections <= 16
    await trio.testing.wait_all_tasks_blocked(0.01)
    assert scripted.open == 0


@pytest.mark.parametrize("steps", range(40))
async def test_a_cancel_at_any_step_leaks_nothing(scripted: ScriptedServer, steps: int) -> None:
    """Wherever a request is when it is cancelled, its connection is closed or usable."""
    scripted.route(BLOB_PATH, ranged(BODY))
    async with opened(scripted.url) as share:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read, share.blob(BLOB, SIZE, 0, SIZE))
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
        assert share.statistics().in_flight == 0
        assert await read(share.blob(BLOB, SIZE, 0, 100)) == BODY[:100]
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert scripted.open == share.statistics().idle_connections == 1


async def test_a_cancel_right_after_connecting_leaks_nothing(
    scripted: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The moment between connecting and sending."""
    scope = trio.CancelScope()
    connect = trio.open_tcp_stream

    async def connect_and_cancel(*arguments: Any, **options: Any) -> Any:
        stream = await connect(*arguments, **options)
        scope.cancel()
        return stream

    monkeypatch.setattr(trio, "open_tcp_stream", connect_and_cancel)
    async with opened(scripted.url) as share:
        with scope:
            await share.record(NAME)
        assert scope.cancelled_caught
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert (scripted.connections, scripted.open, scripted.requests) == (1, 0, [])


async def test_requests_are_bounded(scripted: ScriptedServer) -> None:
    """At most `concurrent` bodies at once; more wait for their turn and all are served."""
    gate = trio.Event()
    scripted.route(BLOB_PATH, gated(gate, ranged(BODY)))
    async with opened(scripted.url, concurrent=3, first_byte_timeout=30.0, idle_timeout=30.0) as share:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(read, share.blob(BLOB, SIZE, 0, 1000))
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert (scripted.open, share.statistics().in_flight) == (3, 3)
            gate.set()
        assert share.statistics().requests == {"blob": 10}
    assert scripted.connections == 3


async def test_a_short_question_does_not_wait_for_long_bodies(scripted: ScriptedServer) -> None:
    """A name can be looked up while every slot for bodies is taken."""
    scripted.route(BLOB_PATH, silent())
    scripted.route(RECORD_PATH, ok(RECORD_TEXT))
    async with (
        opened(scripted.url, concurrent=2, first_byte_timeout=30.0, idle_timeout=30.0) as share,
        trio.open_nursery() as nursery,
    ):
        for _ in range(5):
            nursery.start_soon(read, share.blob(BLOB, SIZE, 0, 1000))
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.fail_after(5):
            assert await share.record(NAME) == RECORD
        nursery.cancel_scope.cancel()


async def test_a_name_does_not_wait_behind_names_that_hang(scripted: ScriptedServer) -> None:
    """Their slots are a politeness to the server: a question waits a moment for one, and is asked all the
    same."""
    scripted.route(RECORD_PATH, ok(RECORD_TEXT))
    scripted.route("/.blobfs/names/hangs", silent())
    async with (
        opened(scripted.url, concurrent=2, first_byte_timeout=30.0, idle_timeout=30.0) as share,
        trio.open_nursery() as nursery,
    ):
        for _ in range(5):
            nursery.start_soon(share.record, Name("hangs"))
        await trio.testing.wait_all_tasks_blocked(0.01)
        with trio.fail_after(5):
            for _ in range(3):
                assert await share.record(NAME) == RECORD
        nursery.cancel_scope.cancel()
    assert share.statistics().in_flight == 0


async def test_large_bodies_come_in_large_pieces(tmp_path: Path) -> None:
    """What the kernel has is received at once, as far as the reader's memory goes."""
    (tmp_path / ".blobfs/blobs").mkdir(parents=True)
    size = 64 * 1024 * 1024
    with (tmp_path / BLOB_PATH[1:]).open("wb") as file:
        file.truncate(size)
    with Nginx(tmp_path) as nginx:
        async with opened(nginx.url) as share, share.blob(BLOB, size, 0, size) as body:
            memory, lengths = memoryview(bytearray(1024 * 1024)), [0]
            while got := await body.read_into(memory):
                lengths.append(got)
    assert sum(lengths) == size
    assert max(lengths) > 128 * 1024


async def test_a_host_that_swallows_packets_times_out() -> None:
    """A connection that is never accepted ends after the connect timeout."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        # With the backlog full, Linux drops further SYNs.
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        port = listener.getsockname()[1]
        async with opened(f"http://127.0.0.1:{port}/", connect_timeout=0.1) as share:
            attempt = await attempt_of(share.record(NAME))
    assert (attempt.outcome, attempt.detail) == (Outcome.UNREACHABLE, "connect timeout")


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate and its key for 127.0.0.1, in one file each."""
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=test"),
            *("-addext", "subjectAltName=IP:127.0.0.1"),
            *("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")),
        ],
        check=True,
        capture_output=True,
        timeout=30,
    )
    return tmp_path / "certificate.pem"


def tls_nginx(root: Path, certificate: Path) -> tuple[Nginx, str]:
    """An nginx that speaks TLS too, and the URL."""
    port = free_port()
    directives = (
        f"listen 127.0.0.1:{port} ssl; ssl_certificate {certificate};"
        f" ssl_certificate_key {certificate.parent / 'key.pem'};"
    )
    return Nginx(root, directives), f"https://127.0.0.1:{port}/"


async def test_tls_is_verified(tmp_path: Path, certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A certificate nobody vouches for is refused by name; with SSL_CERT_FILE it is as good as any."""
    path = tmp_path / RECORD_PATH[1:]
    path.parent.mkdir(parents=True)
    path.write_bytes(RECORD_TEXT)
    nginx, url = tls_nginx(tmp_path, certificate)
    with nginx:
        async with opened(url) as share:
            attempt = await attempt_of(share.record(NAME))
        assert (attempt.outcome, attempt.detail[:5]) == (Outcome.UNREACHABLE, "TLS: ")
        assert "certificate" in attempt.detail
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with opened(url) as share:
            assert await share.record(NAME) == RECORD
            assert await share.record(NAME) == RECORD
            assert share.statistics().idle_connections == 1


async def test_plain_text_where_tls_is_expected(tmp_path: Path) -> None:
    """A server that does not speak TLS is told apart from one that is gone."""
    with Nginx(tmp_path) as nginx:
        async with opened(nginx.url.replace("http:", "https:")) as share:
            attempt = await attempt_of(share.record(NAME))
    assert (attempt.outcome, attempt.detail) == (Outcome.UNREACHABLE, "TLS: the server does not speak it")


async def test_a_tls_handshake_that_is_cancelled_leaves_no_connection(scripted: ScriptedServer) -> None:
    """The TCP connection under an unfinished handshake is closed."""
    async with opened(scripted.url.replace("http:", "https:"), connect_timeout=30.0) as share:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(share.record, NAME)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert scripted.open == 1
            nursery.cancel_scope.cancel()
        await trio.testing.wait_all_tasks_blocked(0.01)
        assert scripted.open == 0


async def test_a_share_may_be_opened_again(scripted: ScriptedServer) -> None:
    """A context manager opens and closes the share as often as it is entered."""
    scripted.route(RECORD_PATH, ok(RECORD_TEXT))
    async with opened(scripted.url) as first:
        options = first.options
    share = Share(options)
    for _ in range(2):
        async with share:
            assert await share.record(NAME) == RECORD
    assert share.statistics().requests == {"record": 2}


async def test_a_large_body_through_tls(tmp_path: Path, certificate: Path, monkeypatch) -> None:
    """It comes a record at a time, exact, and its connection is used again."""
    body = BODY * 10
    (tmp_path / ".blobfs/blobs").mkdir(parents=True)
    (tmp_path / BLOB_PATH[1:]).write_bytes(body)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    nginx, url = tls_nginx(tmp_path, certificate)
    with nginx:
        async with opened(url) as share:
            for _ in range(2):
                assert await read(share.blob(BLOB, len(body), 7, len(body) - 7)) == body[7:]
            assert share.statistics().connections_opened == 1
