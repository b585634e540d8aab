"""One HTTP/1.1 connection: h11 reads the heads, bodies go from the socket to the reader's memory.

1. A body of a told length is nobody's business but the reader's: what came in one piece with the head is
   copied, all the rest is received straight into the memory that the reader gives (TLS copies once).
2. A body in chunks, or one that ends with its connection, is taken apart by h11.
3. h11 does not know of the bodies that went past it, so each question has a parser of its own; whether the
   connection may be asked another one is decided here (`is_reusable`).

Exceptions are httpx's, which is what `wording` knows.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import h11
import httpx
import trio

from blobfs.shares.address import Origin, origin
from blobfs.shares.proxies import Proxy

READ_BYTES = 64 * 1024
"""Asked of the socket while h11 has the word: a head and most short answers come at once."""

TLS_RECORD_BYTES = 16 * 1024
"""TLS gives out one record at a time, which is never longer."""

MAX_HEAD_BYTES = 100 * 1024
"""A head that does not end here is none."""

Stream = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class CountedBody:
    """`length` bytes, the first of which may have come with the head (`start`)."""

    def __init__(self, stream: Stream, start: bytes, length: int) -> None:
        self._stream = stream
        self._start = memoryview(start)
        self._length = length
        self._left = length

    @property
    def is_complete(self) -> bool:
        """Nothing of it, and nothing that nobody asked for, is still to be read."""
        return not self._left and not self._start

    async def read_into(self, memory: memoryview) -> int:
        """How many bytes there are now, at least one; 0 at the end."""
        memory = memory[: self._left]
        if not memory:
            return 0
        if self._start:
            got = min(len(memory), len(self._start))
            memory[:got], self._start = self._start[:got], self._start[got:]
        else:
            got = await self._receive_into(memory)
        self._left -= got
        return got

    async def _receive_into(self, memory: memoryview) -> int:
        with _httpx_exceptions():
            if isinstance(self._stream, trio.SocketStream):
                got = await self._stream.socket.recv_into(memory)
            else:
                record = await self._stream.receive_some(min(len(memory), TLS_RECORD_BYTES))
                got = len(record)
                memory[:got] = record
        if not got:
            there = f"received {self._length - self._left} bytes, expected {self._length}"
            raise httpx.RemoteProtocolError(
                f"peer closed connection without sending complete message body ({there})"
            )
        return got


class ParsedBody:
    """What h11 makes of a body whose length was not told."""

    def __init__(self, stream: Stream, parser: h11.Connection) -> None:
        self._stream = stream
        self._parser = parser
        self._ready = memoryview(b"")

    @property
    def is_complete(self) -> bool:
        """As `CountedBody.is_complete`."""
        return self._parser.their_state is h11.DONE and not self._parser.trailing_data[0]

    async def read_into(self, memory: memoryview) -> int:
        """As `CountedBody.read_into`."""
        while not self._ready and self._parser.their_state is h11.SEND_BODY:
            event = await next_event(self._stream, self._parser)
            if isinstance(event, h11.Data):
                self._ready = memoryview(event.data)
        got = min(len(memory), len(self._ready))
        memory[:got], self._ready = self._ready[:got], self._ready[got:]
        return got


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back: the head, and the body unread."""

    status: int
    headers: httpx.Headers
    body: CountedBody | ParsedBody


@dataclass(frozen=True, slots=True)
class Route:
    """Whom a connection leads to, and by way of whom."""

    origin: Origin
    proxy: Proxy | None = None


class Connection:
    """Asks one question at a time. Mutable: `_parser` and `_body`, those of the last question."""

    def __init__(self, route: Route, stream: Stream) -> None:
        self.route = route
        self._stream = stream
        self._socket = tcp_socket(stream)
        self._parser: h11.Connection | None = None
        self._body: CountedBody | ParsedBody | None = None

    def close(self) -> None:
        """At once: a goodbye of TLS is for nobody, as every length was told."""
        self._socket.close()

    @property
    def session(self) -> ssl.SSLSession | None:
        """Of TLS, by which another handshake is shorter; TLS 1.3 gives it with the first answer."""
        found = None if isinstance(self._stream, trio.SocketStream) else self._stream.session
        return found if isinstance(found, ssl.SSLSession) else None

    @property
    def is_reusable(self) -> bool:
        """The last answer was read to its end, the server wants to go on and has not said more, or left."""
        return (
            self._body is not None
            and self._body.is_complete
            and self._parser is not None
            and self._parser.our_state is h11.DONE  # MUST_CLOSE after "Connection: close" and for HTTP/1.0
            and not self._socket.is_readable()
        )

    async def ask(self, request: httpx.Request) -> Reply:
        """Sends a request (which has no body) and waits for the head of the answer."""
        assert origin(request.url) == self.route.origin, "a connection is for one server"
        parser = self._parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
        self._body = None
        with _httpx_exceptions():
            target, fields = self._addressed(request)
            head = parser.send(h11.Request(method=request.method, target=target, headers=fields))
            parser.send(h11.EndOfMessage())
            # A server that refuses may have closed before it read all; what it said is still there.
            with suppress(trio.BrokenResourceError):
                await self._stream.send_all(head or b"")
        event = await next_event(self._stream, parser)
        while not isinstance(event, h11.Response):  # "100 Continue" and its like
            event = await next_event(self._stream, parser)
        headers = httpx.Headers(event.headers.raw_items())
        self._body = self._body_of(request.method, event.status_code, headers)
        return Reply(event.status_code, headers, self._body)

    def _addressed(self, request: httpx.Request) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        """Target and header fields. A proxy that is no tunnel is told the whole URL (RFC 9112, 3.2.2), and
        who we are."""
        proxy, (scheme, _, _) = self.route.proxy, self.route.origin
        if proxy is None or scheme == "https":
            return request.url.raw_path, request.headers.raw
        fields = list(request.headers.raw)
        if proxy.authorization is not None:
            fields.append((b"Proxy-Authorization", proxy.authorization.encode("ascii")))
        return b"http://" + request.url.netloc + request.url.raw_path, fields

    def _body_of(self, method: str, status: int, headers: httpx.Headers) -> CountedBody | ParsedBody:
        """RFC 9112, section 6.3. h11 has seen to it that no two lengths are told."""
        assert self._parser is not None
        if method == "HEAD" or status in (204, 304):
            length = 0
        elif "transfer-encoding" in headers or "content-length" not in headers:
            return ParsedBody(self._stream, self._parser)
        else:
            length = int(headers["content-length"])
        return CountedBody(self._stream, self._parser.trailing_data[0], length)


def tcp_socket(stream: Stream) -> trio.socket.SocketType:
    """What is below TLS, if there is TLS."""
    return (stream if isinstance(stream, trio.SocketStream) else stream.transport_stream).socket


async def next_event(stream: Stream, parser: h11.Connection) -> h11.Event | type[h11.PAUSED]:
    while True:
        try:
            event = parser.next_event()
        except (h11.RemoteProtocolError, ValueError) as error:  # a length of 5,000 digits is no int in Python
            raise httpx.RemoteProtocolError(str(error)) from error
        if not isinstance(event, type) or event is h11.PAUSED:
            return event
        with _httpx_exceptions():
            received = await stream.receive_some(READ_BYTES)
        if not received and parser.their_state is h11.SEND_RESPONSE:
            raise httpx.RemoteProtocolError("Server disconnected without sending a response.")
        parser.receive_data(bytes(received))


@contextmanager
def _httpx_exceptions() -> Iterator[None]:
    try:
        yield
    except (OSError, trio.BrokenResourceError) as error:
        raise httpx.ReadError(str(error)) from error
    except h11.LocalProtocolError as error:
        raise httpx.LocalProtocolError(str(error)) from error
