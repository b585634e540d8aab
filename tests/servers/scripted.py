"""A server that does exactly what it is told, wrong things above all. Real TCP on 127.0.0.1.

::

    async with scripted_server() as server:
        server.route("/a", reset(), ok(b"x"))       # the first request is reset, all others are answered
        ...                                         # ask server.url

A behaviour gets the request and the connection and says whether the connection stays open. What is not routed
is 404.
"""

import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked."""

    method: str
    path: str
    """As sent: percent-encoded, with the query."""
    headers: Mapping[str, str]
    """Names in lower case."""


class Connection:
    """The server's end of one connection; counts the bytes of bodies it got rid of."""

    def __init__(self, stream: trio.SocketStream, server: "ScriptedServer") -> None:
        self._stream = stream
        self._server = server
        self._read = b""
        self.sent = 0

    async def next_request(self) -> Request | None:
        while b"\r\n\r\n" not in self._read:
            piece = await self._stream.receive_some()
            if not piece:
                return None
            self._read += bytes(piece)
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {key.lower(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
        return Request(method, path, headers)

    async def send_head(self, status: int, headers: Mapping[str, str]) -> None:
        lines = [f"HTTP/1.1 {status} Scripted", *(f"{key}: {value}" for key, value in headers.items())]
        await self._stream.send_all("\r\n".join([*lines, "", ""]).encode("latin-1"))

    async def send_reply(self, request: Request, reply: "Reply") -> None:
        await self.send_head(reply.status, reply.headers)
        if request.method != "HEAD":
            await self.send(reply.body)

    async def send(self, raw: bytes) -> None:
        self._count(len(raw))  # before the peer has it, and counts itself
        try:
            await self._stream.send_all(raw)
        except BaseException:
            self._count(-len(raw))
            raise

    def _count(self, amount: int) -> None:
        self.sent += amount
        self._server.sent += amount

    def reset(self) -> None:
        """The peer sees ECONNRESET."""
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._stream.socket.close()

    async def until_closed(self) -> None:
        """Says nothing until the client goes away."""
        while await self._stream.receive_some():
            pass


Behaviour = Callable[[Request, Connection], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer that is not sent yet. To HEAD its body stays here, its length is told all the same."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def ranged_reply(request: Request, body: bytes, headers: Mapping[str, str] | None = None) -> Reply:
    """As a good server answers: 206 to a Range, 416 behind the end, 200 otherwise."""
    length, more = len(body), headers or {}
    match = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("range", ""))
    if match is None:
        return Reply(200, {"Content-Length": str(length), "Accept-Ranges": "bytes", **more}, body)
    start, end = int(match[1]), min(int(match[2] or length), length - 1)
    if start >= length:
        return Reply(416, {"Content-Length": "0", "Content-Range": f"bytes */{length}"}, b"")
    part = body[start : end + 1]
    content_range = f"bytes {start}-{end}/{length}"
    return Reply(206, {"Content-Range": content_range, "Content-Length": str(len(part)), **more}, part)


@dataclass
class ScriptedServer:
    """What to answer (`routes`), and what happened so far (the rest)."""

    port: int = 0
    routes: dict[str, list[Behaviour]] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    sent: int = 0
    """Bytes of bodies that went out, or into the socket's buffer."""
    connections: int = 0
    """Accepted so far."""
    open: int = 0
    """Open now."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def route(self, path: str, *behaviours: Behaviour) -> None:
        """One behaviour a request, in this order; the last one stays."""
        self.routes[path] = list(behaviours)

    def behaviour(self, request: Request) -> Behaviour:
        behaviours = self.routes.get(request.path, [status(404)])
        return behaviours.pop(0) if len(behaviours) > 1 else behaviours[0]

    async def converse(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.open += 1
        connection = Connection(stream, self)
        try:
            while (request := await connection.next_request()) is not None:
                self.requests.append(request)
                if not await self.behaviour(request)(request, connection):
                    break
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the client went away, as some tests want it to
        finally:
            self.open -= 1
            with trio.move_on_after(1, shield=True):
                await stream.aclose()


@asynccontextmanager
async def scripted_server() -> AsyncIterator[ScriptedServer]:
    server = ScriptedServer()
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        server.port = listeners[0].socket.getsockname()[1]
        nursery.start_soon(trio.serve_listeners, server.converse, listeners)
        yield server
        nursery.cancel_scope.cancel()


def replying(reply: Reply) -> Behaviour:
    """Always this."""

    async def behave(request: Request, connection: Connection) -> bool:
        await connection.send_reply(request, reply)
        return True

    return behave


def ok(body: bytes, **headers: str) -> Behaviour:
    """200 with everything, Range or not. Header names are given with ``_`` for ``-``."""
    return status(200, body, **headers)


def ranged(body: bytes, **headers: str) -> Behaviour:
    """What `ranged_reply` says."""

    async def behave(request: Request, connection: Connection) -> bool:
        await connection.send_reply(request, ranged_reply(request, body, _named(headers)))
        return True

    return behave


def partial(body: bytes, content_range: str, **headers: str) -> Behaviour:
    """206 with this Content-Range, true or not."""
    return status(206, body, Content_Range=content_range, **headers)


def status(code: int, body: bytes = b"no", **headers: str) -> Behaviour:
    return replying(Reply(code, {"Content-Length": str(len(body)), **_named(headers)}, body))


def redirect(location: str, code: int = 302) -> Behaviour:
    return status(code, Location=location)


def raw(text: bytes) -> Behaviour:
    """Exactly these bytes, then the end."""

    async def behave(request: Request, connection: Connection) -> bool:
        await connection.send(text)
        return False

    return behave


def chunked(body: bytes, code: int = 200, **headers: str) -> Behaviour:
    """No length told beforehand."""

    async def behave(request: Request, connection: Connection) -> bool:
        await connection.send_head(code, {"Transfer-Encoding": "chunked", **_named(headers)})
        await connection.send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
        return True

    return behave


def broken_off(
    body: bytes, promised: int, *, code: int = 200, by_reset: bool = False, **headers: str
) -> Behaviour:
    """Promises `promised` bytes, sends `body` and ends the connection."""

    async def behave(request: Request, connection: Connection) -> bool:
        await connection.send_head(code, {"Content-Length": str(promised), **_named(headers)})
        await connection.send(body)
        if by_reset:
            connection.reset()
        return False

    return behave


def stalled(body: bytes, promised: int, *, code: int = 200, **headers: str) -> Behaviour:
    """Promises `promised` bytes, sends `body` and then nothing more."""

    async def behave(request: Request, connection: Connection) -> bool:
        await connection.send_head(code, {"Content-Length": str(promised), **_named(headers)})
        await connection.send(body)
        await connection.until_closed()
        return False

    return behave


def silent() -> Behaviour:
    """Takes the request and never answers."""

    async def behave(request: Request, connection: Connection) -> bool:
        await connection.until_closed()
        return False

    return behave


def endless(start: bytes, more: bytes, code: int = 200, **headers: str) -> Behaviour:
    """A body that does not end while the client reads."""

    async def behave(request: Request, connection: Connection) -> bool:
        await connection.send_head(code, {"Connection": "close", **_named(headers)})
        await connection.send(start)
        while True:
            await connection.send(more)

    return behave


def reset() -> Behaviour:
    """Takes the request and resets the connection."""

    async def behave(request: Request, connection: Connection) -> bool:
        connection.reset()
        return False

    return behave


def closed() -> Behaviour:
    """Takes the request and closes the connection."""
    return raw(b"")


def gated(gate: trio.Event, then: Behaviour) -> Behaviour:
    """Waits for the gate, then behaves."""

    async def behave(request: Request, connection: Connection) -> bool:
        await gate.wait()
        return await then(request, connection)

    return behave


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {key.replace("_", "-"): value for key, value in headers.items()}
