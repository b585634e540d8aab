"""The server over TLS: the rules of plain connections hold, and a handshake costs nobody else anything."""

import logging
import os
import socket
import ssl
from functools import partial
from pathlib import Path

import pytest
import trio
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from blobfs.config.settings import ServeSettings
from blobfs.shares import asgi, tls_stream
from blobfs.shares.admission import Admission
from blobfs.shares.asgi import GRACE, serve_asgi
from blobfs.shares.listening import bind_listener
from tests.servers.authority import Authority, Identity
from tests.shares.asking import ANSWER_SECONDS, connect, parse_reply, read_to_end

REQUEST = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
BIG = 5_000_000


async def told(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse(f"hello over {scope['scheme']}")(scope, receive, send)


async def big(scope: Scope, receive: Receive, send: Send) -> None:
    await PlainTextResponse("x" * BIG)(scope, receive, send)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
def identity(authority: Authority) -> Identity:
    return authority.certify(file_name="server")


@pytest.fixture
def admission(identity: Identity) -> Admission:
    return Admission(ServeSettings(certificate=identity.certificate, key=identity.key))


@pytest.fixture
async def server(admission: Admission, nursery: trio.Nursery) -> str:
    return await start(nursery, admission)


async def start(nursery: trio.Nursery, admission: Admission, app: ASGIApp = told) -> str:
    serve = partial(serve_asgi, app, bind_listener("127.0.0.1:0"), tls=admission.tls)
    address: str = await nursery.start(serve)
    return address


def trusting(authority: Authority, identity: Identity | None = None) -> ssl.SSLContext:
    """A client's context."""
    context = ssl.create_default_context(cafile=authority.file)
    if identity is not None:
        context.load_cert_chain(identity.certificate, identity.key)
    return context


async def secured(address: str, context: ssl.SSLContext) -> trio.SSLStream[trio.SocketStream]:
    return trio.SSLStream(await connect(address), context, server_hostname="127.0.0.1")


async def ask_tls(address: str, context: ssl.SSLContext, request: bytes = REQUEST) -> bytes:
    """The body of the answer. The server says goodbye as TLS has it, or this raises."""
    with trio.fail_after(ANSWER_SECONDS):
        async with await secured(address, context) as stream:
            await stream.send_all(request)
            return parse_reply(await read_to_end(stream)).body


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_serves(server: str, authority: Authority, version: ssl.TLSVersion) -> None:
    """An application is served over TLS 1.2 and 1.3, is told so, and the end of an answer is authentic."""
    context = trusting(authority)
    context.minimum_version = context.maximum_version = version
    context.set_alpn_protocols(["h2", "http/1.1"])
    assert await ask_tls(server, context) == b"hello over https"
    async with await secured(server, context) as stream:
        await stream.do_handshake()
        assert stream.selected_alpn_protocol() == "http/1.1"


async def test_connections_are_kept(server: str, authority: Authority) -> None:
    """Requests one after the other, and one in many pieces, on one connection."""
    async with await secured(server, trusting(authority)) as stream:
        for piece in (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET / HT",
            b"TP/1.1\r\nHost: x\r\n\r\n",
            REQUEST,
        ):
            await stream.send_all(piece)
        assert (await read_to_end(stream)).count(b"hello over https") == 3


async def test_big_answers(admission: Admission, nursery: trio.Nursery, authority: Authority) -> None:
    """More than any buffer holds comes through whole."""
    address = await start(nursery, admission, big)
    assert await ask_tls(address, trusting(authority)) == b"x" * BIG


async def test_old_versions_are_refused(
    server: str, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    """TLS 1.1 is not spoken, and the client is told so by an alert."""
    caplog.set_level(logging.INFO)
    context = trusting(authority)
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1 "):
        context.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(trio.BrokenResourceError) as failure:
        await ask_tls(server, context)
    assert "PROTOCOL_VERSION" in str(failure.value.__cause__)
    assert "turned away 127.0.0.1: no TLS: no TLS version in common" in caplog.text


@pytest.mark.parametrize(
    ("first", "kind"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "plain HTTP on a TLS port"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "what came is no TLS"),
        (b"\x16\x03\x01\x02\x00\x01" + b"\0" * 600, None),
        (b"\x16\x03\x01", "the client left"),
        (b"", "the client left"),
    ],
)
@pytest.mark.parametrize("leaving", ["close", "eof", "reset"])
async def test_no_peer_ends_the_server(
    server: str,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    first: bytes,
    kind: str | None,
    leaving: str,
) -> None:
    """P8: whatever a peer says instead of a handshake, and however it leaves, the next one is served."""
    caplog.set_level(logging.INFO)
    async with await connect(server) as stream:
        await stream.send_all(first)
        if leaving == "reset":
            stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        elif leaving == "eof":
            await stream.send_eof()
            with trio.fail_after(ANSWER_SECONDS):
                await drain(stream)
            assert f"turned away 127.0.0.1: no TLS: {kind or ''}" in caplog.text
    assert await ask_tls(server, trusting(authority)) == b"hello over https"
    assert [record.levelname for record in caplog.records if record.levelno > logging.INFO] == []


async def drain(stream: trio.SocketStream) -> None:
    try:
        while await stream.receive_some():
            continue
    except trio.BrokenResourceError:
        return


async def test_stalled_handshake(
    server: str, authority: Authority, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A peer that says nothing holds up nobody, and is let go of after its time."""
    caplog.set_level(logging.INFO)
    async with await connect(server):
        assert await ask_tls(server, trusting(authority)) == b"hello over https"
    monkeypatch.setattr(tls_stream, "HANDSHAKE_SECONDS", 0.01)
    async with await connect(server) as silent:
        with trio.fail_after(ANSWER_SECONDS):
            assert await silent.receive_some() == b""
    assert "the handshake stalled" in caplog.text


async def test_many_refusals_are_one_line(server: str, caplog: pytest.LogCaptureFixture) -> None:
    """Who knocks again and again does not fill the log."""
    caplog.set_level(logging.INFO)
    for _ in range(20):
        async with await connect(server) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\n\r\n")
            await stream.send_eof()
            await drain(stream)
    assert [record.getMessage() for record in caplog.records] == [
        "turned away 127.0.0.1: no TLS: plain HTTP on a TLS port"
    ]


async def test_client_certificates(
    authority: Authority, identity: Identity, tmp_path: Path, nursery: trio.Nursery
) -> None:
    """With an authority for clients only theirs are answered; the others are told what is missing."""
    stranger = Authority(tmp_path, "stranger")
    settings = ServeSettings(
        certificate=identity.certificate, key=identity.key, client_ca=authority.file, listen="127.0.0.1:0"
    )
    address = await start(nursery, Admission(settings))
    own = trusting(authority, authority.certify("client.example"))
    assert await ask_tls(address, own) == b"hello over https"
    for context, alert in (
        (trusting(authority), "CERTIFICATE_REQUIRED"),
        (trusting(authority, stranger.certify("client.example")), "UNKNOWN_CA"),
    ):
        with pytest.raises(trio.BrokenResourceError) as failure:
            await ask_tls(address, context)
        assert alert in str(failure.value.__cause__)


async def test_certificate_that_was_renewed(
    server: str, admission: Admission, authority: Authority, tmp_path: Path
) -> None:
    """New connections get the new certificate, old ones go on; with a wrong one all stays as it is."""
    other = Authority(tmp_path, "other")
    async with await secured(server, trusting(authority)) as old:
        await old.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        other.certify(file_name="server")
        admission.reload()
        assert await ask_tls(server, trusting(other)) == b"hello over https"
        with pytest.raises(trio.BrokenResourceError):
            await ask_tls(server, trusting(authority))
        await old.send_all(REQUEST)
        assert (await read_to_end(old)).count(b"hello over https") == 2


@pytest.mark.parametrize("idle_in", ["handshake", "keep-alive"])
async def test_end_waits_for_nothing_idle(
    admission: Admission, authority: Authority, idle_in: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled, the server closes the connections that get no answer without their grace."""
    monkeypatch.setattr(asgi, "GRACE", 10 * ANSWER_SECONDS)
    with trio.fail_after(ANSWER_SECONDS):
        async with trio.open_nursery() as nursery:
            address = await start(nursery, admission)
            idle = await secured(address, trusting(authority))
            if idle_in == "handshake":
                await idle.transport_stream.send_all(b"\x16\x03\x01")
                await ask_tls(address, trusting(authority))  # by now the first one is being greeted
            else:
                await idle.do_handshake()
            nursery.cancel_scope.cancel()
    await idle.transport_stream.aclose()


async def test_end_is_bounded(admission: Admission, authority: Authority) -> None:
    """A peer that does not read its answer cannot hold up the end."""

    async def endless(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 1_000_000, "more_body": True})

    before = len(os.listdir("/proc/self/fd"))
    with trio.fail_after(GRACE + 1.0 + ANSWER_SECONDS):
        async with trio.open_nursery() as nursery:
            address = await start(nursery, admission, endless)
            stalled = await secured(address, trusting(authority))
            await stalled.send_all(REQUEST)
            await stalled.receive_some(1000)
            nursery.cancel_scope.cancel()
    await stalled.transport_stream.aclose()
    assert len(os.listdir("/proc/self/fd")) == before
