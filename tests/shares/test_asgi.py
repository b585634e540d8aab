"""Listening, and the server around an ASGI application."""

import os
import socket
import stat
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from blobfs.config.addresses import parse_address
from blobfs.errors import StartRefused
from blobfs.model import Invalid
from blobfs.shares import asgi
from blobfs.shares.asgi import GRACE, serve_asgi
from blobfs.shares.listening import bind_listener, shown_address
from tests.shares.asking import ANSWER_SECONDS, ask, connect, parse_reply, read_to_end

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
UPGRADE = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: "
WEBSOCKET_KEY = b"\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
END_SECONDS = GRACE + 1.0


async def hello(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("hello")(scope, receive, send)


async def endless(scope: Scope, receive: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    while True:
        await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), ("localhost:65535", ("localhost", 65535))],
)
def test_address(text: str, expected: tuple[str, int]) -> None:
    """HOST:PORT, an IPv6 address in brackets."""
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text",
    ["", "80", ":80", "host", "host:", "host:x", "host:-1", "host:65536", "host:٣", "::1:80", "http://host:80",
     "a b:80", "a\n:80", "[]:80", "[::1:80", "host:000080", "user@host:80"],
)  # fmt: skip
def test_address_refused(text: str) -> None:
    """What is no address is refused before anything is tried, in one line."""
    with pytest.raises(Invalid) as refused:
        bind_listener(text)
    assert "\n" not in str(refused.value)


def test_port_is_known_at_once() -> None:
    """Port 0 becomes a free port that can be shown, connected to, and not had twice."""
    with bind_listener("127.0.0.1:0") as listener:
        shown = shown_address(listener)
        with socket.create_connection(parse_address(shown)):
            pass
        with pytest.raises(StartRefused, match=f"{shown}.*in use"):
            bind_listener(shown)


def test_ipv6() -> None:
    """An IPv6 address is shown as it is written."""
    with bind_listener("[::1]:0") as listener:
        assert shown_address(listener).startswith("[::1]:")


@pytest.mark.parametrize(
    "text", ["192.0.2.1:0", "no-such-host.invalid:80", "a..b:80", "unix:/no/such/dir/socket"]
)
def test_address_that_cannot_be_had(text: str) -> None:
    """One clear line names the address."""
    with pytest.raises(StartRefused, match=text):
        bind_listener(text)


def test_unix_socket_is_private(tmp_path: Path) -> None:
    """A unix socket is for its owner alone, replaces what a killed server left, never a live one."""
    path = tmp_path / "control"
    text = f"unix:{path}"
    with bind_listener(text) as listener:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert shown_address(listener) == text
        with pytest.raises(StartRefused, match="in use"):
            bind_listener(text)
    with bind_listener(text):
        pass
    path.unlink()
    path.write_text("a file")
    with pytest.raises(StartRefused):
        bind_listener(text)
    assert path.read_text() == "a file"


async def test_unix_socket_serves(tmp_path: Path, nursery: trio.Nursery) -> None:
    """An application is served over a unix socket as over TCP."""
    path = tmp_path / "control"
    started = await nursery.start(serve_asgi, hello, bind_listener(f"unix:{path}"))
    assert started == f"unix:{path}"
    async with await trio.open_unix_socket(path) as stream:
        await stream.send_all(REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        assert parse_reply(await read_to_end(stream)).body == b"hello"


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\0\1\2" * 1000,
        b"GET",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\nx",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        REQUEST * 50,
        UPGRADE + b"websocket\r\n\r\n",
        UPGRADE + b"websocket" + WEBSOCKET_KEY + b"\x81\x85junk",
        UPGRADE + b"h2c\r\n\r\n",
        UPGRADE + b"h2c\r\nHTTP2-Settings: !!!\r\n\r\n",
        UPGRADE + b"h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n" + b"junk" * 100,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\xff" * 100,
    ],
)
@pytest.mark.parametrize("leaving", ["close", "eof", "reset"])
async def test_no_peer_ends_the_server(nursery: trio.Nursery, garbage: bytes, leaving: str) -> None:
    """P8: whatever a peer sends, and however it leaves, the next one is served."""
    address = await nursery.start(serve_asgi, hello, bind_listener("127.0.0.1:0"))
    async with await connect(address) as stream:
        await stream.send_all(garbage)
        if leaving == "reset":
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif leaving == "eof":
            await stream.send_eof()
            await _drain(stream)
    assert (await ask(address, "/")).body == b"hello"


async def test_peer_that_left_costs_nothing(nursery: trio.Nursery) -> None:
    """A connection ends with its peer, not with its idle timeout."""
    address = await nursery.start(serve_asgi, hello, bind_listener("127.0.0.1:0"))
    async with await connect(address) as stream:
        await stream.send_all(REQUEST)
        raw = b""
        while not raw.endswith(b"hello"):
            raw += await stream.receive_some(1000)
        await stream.send_eof()
        assert await read_to_end(stream) == b""


async def test_peer_that_sends_no_more_is_answered(nursery: trio.Nursery) -> None:
    """A client may shut its side down after its request, as `nc` does."""
    address = await nursery.start(serve_asgi, hello, bind_listener("127.0.0.1:0"))
    async with await connect(address) as stream:
        await stream.send_all(REQUEST)
        await stream.send_eof()
        assert parse_reply(await read_to_end(stream)).body == b"hello"


async def test_connections_are_bounded(nursery: trio.Nursery) -> None:
    """Who makes many and asks nothing takes no descriptor beyond the limit. The others wait, and come when
    one of them leaves."""
    address = await nursery.start(partial(serve_asgi, hello, bind_listener("127.0.0.1:0"), most=2))
    idle = [await connect(address) for _ in range(2)]
    for stream in idle:
        await stream.send_all(REQUEST)
        with trio.fail_after(ANSWER_SECONDS):
            assert b" 200 " in await stream.receive_some()
    before = len(os.listdir("/proc/self/fd"))
    waiting = [await connect(address) for _ in range(3)]
    await trio.testing.wait_all_tasks_blocked(0.05)
    assert len(os.listdir("/proc/self/fd")) == before + 3  # this side of them
    await waiting[0].send_all(REQUEST)
    await idle[0].aclose()
    with trio.fail_after(ANSWER_SECONDS):
        assert b" 200 " in await waiting[0].receive_some()
    for stream in (idle[1], *waiting):
        await stream.aclose()


async def test_upgrade_is_ignored(nursery: trio.Nursery) -> None:
    """A client that offers HTTP/2, as `curl --http2` does, is answered in HTTP/1.1."""
    address = await nursery.start(serve_asgi, hello, bind_listener("127.0.0.1:0"))
    async with await connect(address) as stream:
        offer = b"h2c, close\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n"
        await stream.send_all(UPGRADE + offer)
        await stream.send_eof()
        assert parse_reply(await read_to_end(stream)).body == b"hello"


async def _drain(stream: trio.SocketStream) -> None:
    try:
        await read_to_end(stream)
    except trio.BrokenResourceError:
        return


async def test_error_in_the_application(nursery: trio.Nursery, caplog: pytest.LogCaptureFixture) -> None:
    """An application that raises gives 500, and its traceback goes to our log."""

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise ZeroDivisionError("a defect")

    address = await nursery.start(serve_asgi, broken, bind_listener("127.0.0.1:0"))
    assert (await ask(address, "/")).status == 500
    (record,) = [record for record in caplog.records if record.levelname == "ERROR"]
    assert record.name == "blobfs.shares.asgi"
    assert record.exc_info


@pytest.mark.parametrize("requests", [REQUEST, REQUEST * 50, b"GET / HT"])
async def test_end_waits_for_nothing_idle(requests: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancelled, the server closes its port and the connections that get no answer, without their grace."""
    monkeypatch.setattr(asgi, "GRACE", 10 * ANSWER_SECONDS)
    with trio.fail_after(ANSWER_SECONDS):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(serve_asgi, hello, bind_listener("127.0.0.1:0"))
            idle = await connect(address)
            await idle.send_all(requests)
            if requests.endswith(b"\n"):
                await idle.receive_some(100)
            nursery.cancel_scope.cancel()
    await idle.aclose()
    with pytest.raises(OSError, match="connect"):
        await connect(address)


async def test_end_is_bounded() -> None:
    """A peer that does not read its answer cannot hold up the end."""
    with trio.fail_after(END_SECONDS + ANSWER_SECONDS):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(serve_asgi, endless, bind_listener("127.0.0.1:0"))
            stalled = await connect(address)
            await stalled.send_all(REQUEST)
            await stalled.receive_some(1000)
            nursery.cancel_scope.cancel()
    await stalled.aclose()


async def test_end_lets_an_answer_finish() -> None:
    """An answer that is under way when the server ends arrives whole."""
    asked, go_on = trio.Event(), trio.Event()

    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        asked.set()
        await go_on.wait()
        await PlainTextResponse("late")(scope, receive, send)

    async with trio.open_nursery() as nursery:
        address = await nursery.start(serve_asgi, slow, bind_listener("127.0.0.1:0"))
        async with await connect(address) as stream:
            await stream.send_all(REQUEST)
            await asked.wait()
            nursery.cancel_scope.cancel()
            go_on.set()
            with trio.CancelScope(shield=True):
                assert parse_reply(await read_to_end(stream)).body == b"late"


async def test_nothing_is_left_open() -> None:
    """After its end a server holds neither its listener nor a connection."""
    before = len(os.listdir("/proc/self/fd"))
    async with trio.open_nursery() as nursery:
        address = await nursery.start(serve_asgi, hello, bind_listener("127.0.0.1:0"))
        await ask(address, "/")
        async with await connect(address):
            nursery.cancel_scope.cancel()
    assert len(os.listdir("/proc/self/fd")) == before


async def test_cancelled_before_it_serves(nursery: trio.Nursery) -> None:
    """Also a server that never came to serve ends: a node may be told to end while it gets ready."""
    with trio.fail_after(ANSWER_SECONDS), trio.move_on_after(0) as scope:
        await serve_asgi(hello, bind_listener("127.0.0.1:0"))
    assert scope.cancelled_caught
