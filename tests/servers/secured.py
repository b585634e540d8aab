"""A scripted server behind TLS, with the certificate that a test gives it."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

from tests.servers.authority import Identity
from tests.servers.scripted import ScriptedServer


def server_context(identity: Identity) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(identity.certificate, identity.key)
    return context


@dataclass
class SecuredServer(ScriptedServer):
    """`handshakes` are of those that came about: whether the session was a resumed one, and whose certificate
    was shown."""

    handshakes: list[tuple[bool, str | None]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}/"

    async def converse_secretly(self, tcp: trio.SocketStream, context: ssl.SSLContext) -> None:
        stream = trio.SSLStream(tcp, context, server_side=True, https_compatible=True)
        try:
            await stream.do_handshake()
        except trio.BrokenResourceError:
            alert = stream._outgoing.read()  # trio leaves it there; other servers send it
            with suppress(trio.BrokenResourceError):
                await tcp.send_all(alert)
            await tcp.aclose()
            return
        shown = stream.getpeercert()
        host = shown["subjectAltName"][0][1] if shown else None
        self.handshakes.append((stream.session_reused, host))
        with suppress(trio.BrokenResourceError):
            await self.converse(stream)  # type: ignore[arg-type]


@asynccontextmanager
async def secured_server(context: ssl.SSLContext) -> AsyncIterator[SecuredServer]:
    server = SecuredServer()

    async def converse(tcp: trio.SocketStream) -> None:
        await server.converse_secretly(tcp, context)

    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, converse, listeners)
        yield server
        nursery.cancel_scope.cancel()
