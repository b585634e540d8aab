"""HTTP/1.1 connections to one share: httpcore's protocol, our sockets and our keeping of idle connections.

Four things differ from httpx's own transport:

1. Sockets are read 512 KiB at a time. httpcore asks for 64 KiB, which caps a download at 1 GB/s.
2. There is no pool to queue in. The caller bounds how many requests run at once (`exchange`), each takes an
   idle connection or makes one, and nobody but its request knows a connection in use: a cancelled request
   closes it and nothing can leak (httpcore's pool loses slots when a request is cancelled while it waits,
   issue 1093).
3. A connection that was idle may be closed by the server in the very moment we send. That request is sent
   once more on a new connection; all requests are GET or HEAD.
4. Time limits are for what a caller waits for, not for a socket read: connecting, then the head as a whole,
   then each piece of the body. A share that drips a byte now and then, of its head or between two chunks, is
   as stalled as one that sends nothing.
"""

import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpcore
import httpx
import trio

from blobfs.shares.address import origin
from blobfs.shares.answer import Counters
from blobfs.shares.wording import NoAnswer

READ_BYTES = 512 * 1024
"""One socket read. Measured: 2.1 GB/s on loopback, against 1.0 GB/s with 64 KiB; more gains nothing."""

KEEPALIVE_SECONDS = 4.0
"""An idle connection is not used after this; the shortest server default around is 5 s."""

CLOSE_SECONDS = 1.0
"""Closing is shielded from cancellation, for this long at most."""

_Option = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


class WideStream(httpcore.AsyncNetworkStream):
    """A stream that reads as much as it can get, and closes itself when TLS is cancelled half way."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max(max_bytes, READ_BYTES), timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.AsyncNetworkStream:
        try:
            return WideStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))
        except BaseException:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await self.aclose()
            raise

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class WideBackend(httpcore.AsyncNetworkBackend):
    """httpcore's trio backend (which sets TCP_NODELAY) with `WideStream`."""

    def __init__(self) -> None:
        self._backend = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_Option] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        stream = await self._backend.connect_tcp(host, port, timeout, local_address, socket_options)
        return WideStream(stream)


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that a share is given, and connections that are kept."""

    connect: float
    """For name lookup and TCP, and again for TLS."""
    first_byte: float
    """From sending the request until the answer's head is whole."""
    idle: float
    """Between two pieces of a body."""
    idle_connections: int


class _Body(httpx.AsyncByteStream):
    """A response's body; closing it gives the connection back or closes it."""

    def __init__(self, stream: Any, idle: float, release: Callable[[], Awaitable[None]]) -> None:
        self._stream = stream
        self._idle = idle
        self._release = release
        self._parts: AsyncIterator[bytes] | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        if self._parts is None:
            self._parts = aiter(self._stream)
        try:
            with _httpx_exceptions(), trio.fail_after(self._idle):
                return await anext(self._parts)
        except trio.TooSlowError as error:
            raise httpx.ReadTimeout(f"no byte in {self._idle:g} s") from error

    async def aclose(self) -> None:
        with trio.move_on_after(CLOSE_SECONDS, shield=True):
            await self._stream.aclose()
            await self._unwind()
            await self._release()

    async def _unwind(self) -> None:
        """Runs httpcore's nested generators to their end, which is near: their connection is closed.

        Left suspended they would be found by the garbage collector, and trio warns about each.
        """
        try:
            while self._parts is not None:
                await anext(self._parts)
        except (StopAsyncIteration, httpcore.NetworkError, httpcore.ProtocolError):
            self._parts = None


class ShareTransport(httpx.AsyncBaseTransport):
    """Sends one request; holds the idle connections. Mutable: `_idle`, most recently used last."""

    def __init__(self, limits: Limits, tls: ssl.SSLContext | None, counters: Counters) -> None:
        self._limits = limits
        self._tls = tls
        self._counters = counters
        self._backend = WideBackend()
        self._idle: list[httpcore.AsyncHTTP11Connection] = []
        self._closed = False

    @property
    def idle(self) -> int:
        """How many idle connections are kept."""
        return len(self._idle)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Raises httpx's exceptions."""
        target = _core_origin(request.url)
        connection, reused = await self._take(target)
        try:
            response = await self._send(connection, request)
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError):
            if not reused:
                raise
            connection = await self._connect(target)
            response = await self._send(connection, request)
        return httpx.Response(
            response.status,
            headers=response.headers,
            stream=_Body(response.stream, self._limits.idle, lambda: self._give_back(connection)),
            request=request,
        )

    async def aclose(self) -> None:
        self._closed = True
        idle, self._idle = self._idle, []
        for connection in idle:
            await _close(connection)

    async def _take(self, target: httpcore.Origin) -> tuple[httpcore.AsyncHTTP11Connection, bool]:
        expired = [connection for connection in self._idle if connection.has_expired()]
        self._idle = [connection for connection in self._idle if connection not in expired]
        usable = [connection for connection in self._idle if connection.can_handle_request(target)]
        if usable:
            self._idle.remove(usable[-1])
        for connection in expired:
            await _close(connection)
        return (usable[-1], True) if usable else (await self._connect(target), False)

    async def _connect(self, target: httpcore.Origin) -> httpcore.AsyncHTTP11Connection:
        host, seconds = target.host.decode("ascii"), self._limits.connect
        with _httpx_exceptions():
            stream = await self._backend.connect_tcp(host, target.port, seconds)
            self._counters.connections += 1
            if target.scheme == b"https":
                assert self._tls is not None, "a share that may lead to https is opened with TLS"
                stream = await stream.start_tls(self._tls, host, seconds)
        return httpcore.AsyncHTTP11Connection(target, stream, KEEPALIVE_SECONDS)

    async def _send(
        self, connection: httpcore.AsyncHTTP11Connection, request: httpx.Request
    ) -> httpcore.Response:
        """The answer's head. Whatever else comes of it, the connection is closed."""
        url = request.url
        core = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
        )
        seconds = self._limits.first_byte
        try:
            with _httpx_exceptions(), trio.fail_after(seconds):
                return await connection.handle_async_request(core)
        except trio.TooSlowError as error:
            await _close(connection)
            raise NoAnswer(f"no answer in {seconds:g} s") from error
        except BaseException:
            await _close(connection)
            raise

    async def _give_back(self, connection: httpcore.AsyncHTTP11Connection) -> None:
        # A body that ends with its connection, or a server that has had enough: it is closed already.
        keeps = connection.is_idle() and not connection.has_expired() and not self._closed
        if keeps:
            self._idle.append(connection)
        if not keeps or len(self._idle) > self._limits.idle_connections:
            await (self._idle.pop(0) if keeps else connection).aclose()


async def _close(connection: httpcore.AsyncHTTP11Connection) -> None:
    with trio.move_on_after(CLOSE_SECONDS, shield=True):
        await connection.aclose()


def _core_origin(url: httpx.URL) -> httpcore.Origin:
    scheme, _, port = origin(url)
    return httpcore.Origin(scheme.encode(), url.raw_host, port)


_HTTPX_EXCEPTIONS: tuple[tuple[type[Exception], type[httpx.TransportError]], ...] = (
    (httpcore.ConnectTimeout, httpx.ConnectTimeout),
    (httpcore.ReadTimeout, httpx.ReadTimeout),
    (httpcore.WriteTimeout, httpx.WriteTimeout),
    (httpcore.ConnectError, httpx.ConnectError),
    (httpcore.ReadError, httpx.ReadError),
    (httpcore.WriteError, httpx.WriteError),
    (httpcore.RemoteProtocolError, httpx.RemoteProtocolError),
    (httpcore.LocalProtocolError, httpx.LocalProtocolError),
    (httpcore.UnsupportedProtocol, httpx.UnsupportedProtocol),
)


@contextmanager
def _httpx_exceptions() -> Iterator[None]:
    try:
        yield
    except tuple(core for core, _ in _HTTPX_EXCEPTIONS) as error:
        mapped = next(ours for core, ours in _HTTPX_EXCEPTIONS if isinstance(error, core))
        raise mapped(str(error)) from error
