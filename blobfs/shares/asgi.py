"""An ASGI application on a listening socket, under trio: Hypercorn's connections in our accept loop, over TLS
if there is a context for it (`tls_stream`).

Rules, and what `hypercorn.trio.serve` (0.18) does instead:

1. One connection's failure ends that connection. Some of h11's complaints about a peer escape from
   Hypercorn (a broken WebSocket handshake is enough) and end its whole server.
2. The end is bounded: after `GRACE` the sockets are closed. Hypercorn shields its sends, so one peer
   that stopped reading would hold a cancelled server for ever.
3. A connection ends when its peer does. Hypercorn keeps the socket until the idle timeout, which
   many short visits turn into EMFILE.
4. HTTP/1.1 only. Hypercorn's upgrade to HTTP/2 hangs (its issue 317).
5. So many connections at a time and no more, whoever they are: further ones wait in the kernel. Each takes a
   descriptor, and in the daemon's process the mount needs them.
"""

import logging
import math
import resource
import socket
import ssl
import struct
from collections.abc import Callable
from typing import cast

import trio
from hypercorn.config import Config
from hypercorn.events import Closed, Event
from hypercorn.protocol.h11 import H11Protocol
from hypercorn.trio.task_group import TaskGroup
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ASGIFramework, ConnectionState
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp

from blobfs.shares.listening import shown_address
from blobfs.shares.refusals import Refusals
from blobfs.shares.tls_stream import HandshakeFailed, ServedStream, send_alert, shake_hands

_log = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 75
"""An idle connection stays this long; nginx's default, longer than our client keeps one."""

_CREDENTIALS = struct.Struct("iII")
"""pid, uid and gid (unix(7), SO_PEERCRED)."""

GRACE = 1.0
"""Seconds that answers in flight get when the server ends."""


async def serve_asgi(
    app: ASGIApp,
    listener: socket.socket,
    *,
    tls: Callable[[], ssl.SSLContext] | None = None,
    most: int | None = None,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves `app` until cancelled; takes `listener` over and closes it. Started with its address.

    `tls` is asked by every new connection for its context; None is plain HTTP. `most` are the connections at
    a time, None is half of the descriptors that the process may have: an answer may need another one. There
    is no lifespan: what an application needs, it is given by its constructor.
    """
    places = trio.Semaphore(most or _most_connections())
    connections = _Connections(app, tls, places)
    address = shown_address(listener)
    bound = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    accepting = _Accepting(bound, places)
    with bound.socket:
        async with trio.open_nursery() as nursery:
            holding = await nursery.start(connections.hold)
            try:
                task_status.started(address)
                await trio.serve_listeners(connections.serve, [accepting], handler_nursery=holding)
            finally:
                connections.stop()


class _Accepting(trio.abc.Listener[trio.SocketStream]):
    """Accepts while there are places; who is done with a connection gives its place back."""

    def __init__(self, listener: trio.SocketListener, places: trio.Semaphore) -> None:
        self._listener = listener
        self._places = places

    async def accept(self) -> trio.SocketStream:
        await self._places.acquire()
        try:
            return await self._listener.accept()
        except BaseException:
            self._places.release()
            raise

    async def aclose(self) -> None:
        await self._listener.aclose()


class _Http1(H11Protocol):
    async def _check_protocol(self, event: object) -> None:
        """HTTP/1.1 goes on, whatever a client offers to upgrade to."""


class _Connection(TCPServer):
    """Hypercorn's connection, for HTTP/1.1 on a stream that is ready for it.

    `client` is who is at the other end (`_peer`).
    """

    def __init__(
        self,
        app: AppWrapper,
        config: Config,
        context: WorkerContext,
        stream: ServedStream,
        client: tuple[str, int] | None,
    ) -> None:
        tls = cast("trio.SSLStream[trio.SocketStream]", stream)  # plain ones are as good, only undeclared
        super().__init__(app, config, context, {}, tls)
        self._is_secure = isinstance(stream, trio.SSLStream)
        self._client = client
        self._reading = trio.CancelScope()

    async def run(self) -> None:
        try:
            async with TaskGroup() as self._task_group:
                self.protocol = _Http1(  # type: ignore[assignment]  # the declared one adds HTTP/2
                    app=self.app,
                    config=self.config,
                    context=self.context,
                    task_group=self._task_group,
                    connection_state=ConnectionState({}),  # the lifespan's, and there is none
                    ssl=self._is_secure,
                    client=self._client,
                    server=None,
                    send=self.protocol_send,
                )
                await self.idle_task.restart(self._task_group, self._idle_timeout)
                with self._reading:
                    await self._read_data()
                await self.idle_task.stop()  # the peer left, so there is nothing to be idle for
        finally:
            await self._close()

    async def protocol_send(self, event: Event) -> None:
        await super().protocol_send(event)
        if isinstance(event, Closed):
            self._reading.cancel()  # else it waits for its turn if the peer sent requests ahead


class _Connections:
    """The open connections of one server.

    `_streams` holds each connection from accept to close; only `serve` changes it. `_greeting` holds the
    scopes of those that are in their handshake, which the end does not wait for.
    """

    def __init__(
        self, app: ASGIApp, tls: Callable[[], ssl.SSLContext] | None, places: trio.Semaphore
    ) -> None:
        config = Config()
        config.errorlog = _log
        config.accesslog = None
        config.include_server_header = False
        config.keep_alive_timeout = KEEP_ALIVE_SECONDS
        self._config = config
        self._app = wrap_app(cast(ASGIFramework, app), config.wsgi_max_body_size, "asgi")
        self._context = WorkerContext(None)
        self._tls = tls
        self._places = places
        self._refusals = Refusals(_log)
        self._greeting: set[trio.CancelScope] = set()
        self._streams: set[trio.SocketStream] = set()
        self._stopping = trio.Event()
        self._drained = trio.Event()

    async def hold(self, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Owns the connections' tasks, and outlives a cancellation by at most about `GRACE`."""
        with trio.CancelScope() as outliving:
            async with trio.open_nursery() as nursery:
                task_status.started(nursery)
                # Who is cancelled before he has his nursery stops nothing: a shield would hold him for ever.
                outliving.shield = trio.current_effective_deadline() > -math.inf
                await self._stopping.wait()
                await self._context.terminated.set()  # idle connections end by themselves
                for scope in self._greeting:
                    scope.cancel()
                with trio.move_on_after(GRACE):
                    await self._drained.wait()
                nursery.cancel_scope.cancel()
                for stream in tuple(self._streams):
                    stream.socket.close()  # what a cancellation does not reach: a shielded send

    def stop(self) -> None:
        self._stopping.set()
        self._note_drained()

    async def serve(self, raw: trio.SocketStream) -> None:
        self._streams.add(raw)
        try:
            client = _peer(raw)
            stream = await self._greet(raw, client)
            if stream is not None:
                await _Connection(self._app, self._config, self._context, stream, client).run()
        except* Exception as group:
            _log.info("a connection ended: %s", "; ".join(repr(error) for error in _leaves(group)))
        finally:
            raw.socket.close()
            self._places.release()
            self._streams.discard(raw)
            self._note_drained()

    async def _greet(self, raw: trio.SocketStream, client: tuple[str, int] | None) -> ServedStream | None:
        """What HTTP is spoken on; None if the peer did not get so far."""
        if self._tls is None:
            return raw
        with trio.CancelScope() as scope:
            self._greeting.add(scope)
            try:
                return await shake_hands(raw, self._tls())
            except HandshakeFailed as failure:
                self._refusals.note(logging.INFO, f"no TLS: {failure}", client)
                await send_alert(raw, failure.alert)
            finally:
                self._greeting.discard(scope)
        return None

    def _note_drained(self) -> None:
        if self._stopping.is_set() and not self._streams:
            self._drained.set()


def _most_connections() -> int:
    """Half of the descriptors; a few belong to the process itself."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 1 << 20 if limit == resource.RLIM_INFINITY else max(limit // 2 - 32, 16)


def _peer(stream: trio.SocketStream) -> tuple[str, int] | None:
    """Who is at the other end: its address and port, for a unix socket ``uid N`` and the pid."""
    if stream.socket.family == socket.AF_UNIX:
        found = stream.socket.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        pid, uid, _ = _CREDENTIALS.unpack(found)
        return f"uid {uid}", pid
    try:
        host, port = stream.socket.getpeername()[:2]
    except OSError:  # it has left already
        return None
    return host, port


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
