"""An HTTP proxy on 127.0.0.1: tunnels by CONNECT, and requests in absolute form. Does what it is told.

::

    async with forward_proxy() as proxy:
        monkeypatch.setenv("https_proxy", proxy.url)
        ...
        assert proxy.targets == ["CONNECT 127.0.0.1:443"]
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import trio

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


@dataclass
class ForwardProxy:
    """`answer` is what CONNECT is answered with; only after `ESTABLISHED` there is a tunnel. None is
    silence."""

    answer: bytes | None = ESTABLISHED
    demands: str | None = None
    """Of Proxy-Authorization; what is asked without it is answered 407."""
    port: int = 0
    targets: list[str] = field(default_factory=list)
    """The first two words of every request that was for the proxy to read."""
    heads: list[bytes] = field(default_factory=list)
    connections: int = 0
    open: int = 0
    flights: int = 0
    """How often something went to the servers, through tunnels, that was not said in one breath with what
    went there before: each is a round trip that somebody waited for."""
    _is_said: bool = False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, client: trio.SocketStream) -> None:
        self.connections += 1
        self.open += 1
        try:
            with suppress(trio.BrokenResourceError, trio.ClosedResourceError, OSError):
                await self._converse(client)
        finally:
            self.open -= 1
            await trio.aclose_forcefully(client)

    async def _converse(self, client: trio.SocketStream) -> None:
        async with AsyncExitStack() as stack:
            nursery = await stack.enter_async_context(trio.open_nursery())
            stack.callback(nursery.cancel_scope.cancel)
            upstream: trio.SocketStream | None = None
            while (head := await _read_head(client)) is not None:
                method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
                self.targets.append(f"{method} {target}")
                self.heads.append(head)
                if self.demands is not None and f"Proxy-Authorization: {self.demands}".encode() not in head:
                    await client.send_all(b"HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nno")
                    continue
                if method == "CONNECT":
                    await self._tunnel(client, target)
                    return
                parts = urlsplit(target)
                if upstream is None:
                    upstream = await trio.open_tcp_stream(parts.hostname or "", parts.port or 80)
                    await stack.enter_async_context(upstream)
                    nursery.start_soon(_pump, upstream, client)
                await upstream.send_all(head.replace(target.encode(), parts.path.encode(), 1))

    async def _tunnel(self, client: trio.SocketStream, target: str) -> None:
        if self.answer is None:
            await client.receive_some()
            return
        await client.send_all(self.answer)
        if self.answer != ESTABLISHED:
            return
        host, _, port = target.rpartition(":")
        async with (
            await trio.open_tcp_stream(host.strip("[]"), int(port)) as upstream,
            trio.open_nursery() as nursery,
        ):

            async def both(source: trio.SocketStream, sink: trio.SocketStream) -> None:
                with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    async for piece in source:
                        self.flights += source is client and not self._is_said
                        self._is_said = source is client
                        await sink.send_all(piece)
                nursery.cancel_scope.cancel()

            nursery.start_soon(both, client, upstream)
            nursery.start_soon(both, upstream, client)


async def _read_head(stream: trio.SocketStream) -> bytes | None:
    """Clients here ask one thing at a time, without bodies."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        piece = await stream.receive_some()
        if not piece:
            return None
        head += bytes(piece)
    return head


async def _pump(source: trio.SocketStream, sink: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for piece in source:
            await sink.send_all(piece)


@asynccontextmanager
async def forward_proxy(**settings: object) -> AsyncIterator[ForwardProxy]:
    proxy = ForwardProxy(**settings)  # type: ignore[arg-type]
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        proxy.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, proxy.serve, listeners)
        yield proxy
        nursery.cancel_scope.cancel()
