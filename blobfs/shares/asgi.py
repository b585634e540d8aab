"""An ASGI application on a listening socket, under trio: Hypercorn's connections in our accept loop.

Rules, and what `hypercorn.trio.serve` (0.18) does instead:

1. One connection's failure ends that connection. Some of h11's complaints about a peer escape from
   Hypercorn (a broken WebSocket handshake is enough) and end its whole server.
2. The end is bounded: after `GRACE` the sockets are closed. Hypercorn shields its sends, so one peer
   that stopped reading would hold a cancelled server for ever.
3. A connection ends when its peer does. Hypercorn keeps the socket until the idle timeout, which
   many short visits turn into EMFILE.
4. HTTP/1.1 only. Hypercorn's upgrade to HTTP/2 hangs (its issue 317).

Peers that neither read nor answer are dropped by the kernel after `STALLED_PEER_MS`.
"""

import errno
import logging
import os
import socket
import stat
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

from blobfs.errors import StartRefused
from blobfs.model import Invalid

_log = logging.getLogger(__name__)

BACKLOG = 1024
"""Connections the kernel queues: while a server that died is restarted, nobody is refused."""

KEEP_ALIVE_SECONDS = 75
"""An idle connection stays this long; nginx's default, longer than our client keeps one."""

STALLED_PEER_MS = 60_000
"""Sent bytes may stay unacknowledged, or a peer's window shut, for this long (nginx: send_timeout)."""

GRACE = 1.0
"""Seconds that answers in flight get when the server ends."""


def bind_listener(text: str) -> socket.socket:
    """A listening socket on ``HOST:PORT``, ``[ADDRESS]:PORT`` or ``unix:PATH``; port 0 is a free one.

    Raises `Invalid` for a text that is no address, `StartRefused` for one that cannot be had.
    """
    if text.startswith("unix:"):
        return _bind_unix(text.removeprefix("unix:"))
    host, port = parse_address(text)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise StartRefused(f"cannot listen on {text}: {_reason(error)}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Every accepted connection inherits it.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_PEER_MS)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartRefused(f"cannot listen on {text}: {_reason(error)}") from error
    return listener


def parse_address(text: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT`` or ``[ADDRESS]:PORT``. Raises `Invalid`."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise Invalid(f"an IPv6 address stands in brackets, as in [::1]:8970: {text!r}")
    if not colon or not host or not host.isprintable() or any(c in host for c in "[]/@ "):
        raise Invalid(f"not HOST:PORT: {text!r} (0.0.0.0:8970 is every interface)")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535):
        raise Invalid(f"not a port, 0 to 65535: {port!r} in {text!r}")
    return host, int(port)


def shown_address(listener: socket.socket) -> str:
    """Where it listens, in the form `bind_listener` takes."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}"
    host, port = name[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _bind_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale_socket(path)
        listener.bind(path)
        # Until listen() every connect is refused, so nobody gets in before the mode is right.
        os.chmod(path, 0o600)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartRefused(f"cannot listen on unix:{path}: {_reason(error)}") from error
    return listener


def _remove_stale_socket(path: str) -> None:
    """Removes what a killed server left. A socket that answers stays, and so does what is no socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) == errno.ECONNREFUSED:
            os.unlink(path)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


async def serve_asgi(
    app: ASGIApp,
    listener: socket.socket,
    *,
    task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves `app` until cancelled; takes `listener` over and closes it. Started with its address.

    There is no lifespan: what an application needs, it is given by its constructor.
    """
    connections = _Connections(app)
    address = shown_address(listener)
    accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    async with trio.open_nursery() as nursery:
        holding = await nursery.start(connections.hold)
        try:
            task_status.started(address)
            await trio.serve_listeners(connections.serve, [accepting], handler_nursery=holding)
        finally:
            connections.stop()


class _Http1(H11Protocol):
    async def _check_protocol(self, event: object) -> None:
        """HTTP/1.1 goes on, whatever a client offers to upgrade to."""


class _Connection(TCPServer):
    """Hypercorn's connection, for a plain socket and HTTP/1.1."""

    def __init__(self, app: AppWrapper, config: Config, context: WorkerContext, stream: trio.SocketStream):
        tls = cast("trio.SSLStream[trio.SocketStream]", stream)  # plain ones are as good, only undeclared
        super().__init__(app, config, context, {}, tls)
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
                    ssl=False,
                    client=None,
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

    `_streams` holds each connection from accept to close; only `serve` changes it.
    """

    def __init__(self, app: ASGIApp) -> None:
        config = Config()
        config.errorlog = _log
        config.accesslog = None
        config.include_server_header = False
        config.keep_alive_timeout = KEEP_ALIVE_SECONDS
        self._config = config
        self._app = wrap_app(cast(ASGIFramework, app), config.wsgi_max_body_size, "asgi")
        self._context = WorkerContext(None)
        self._streams: set[trio.SocketStream] = set()
        self._stopping = trio.Event()
        self._drained = trio.Event()

    async def hold(self, *, task_status: trio.TaskStatus[trio.Nursery]) -> None:
        """Owns the connections' tasks, and outlives a cancellation by at most about `GRACE`."""
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                task_status.started(nursery)
                await self._stopping.wait()
                await self._context.terminated.set()  # idle connections end by themselves
                with trio.move_on_after(GRACE):
                    await self._drained.wait()
                nursery.cancel_scope.cancel()
                for stream in tuple(self._streams):
                    stream.socket.close()  # what a cancellation does not reach: a shielded send

    def stop(self) -> None:
        self._stopping.set()
        self._note_drained()

    async def serve(self, stream: trio.SocketStream) -> None:
        self._streams.add(stream)
        try:
            await _Connection(self._app, self._config, self._context, stream).run()
        except* Exception as group:
            _log.info("a connection ended: %s", "; ".join(repr(error) for error in _leaves(group)))
        finally:
            stream.socket.close()
            self._streams.discard(stream)
            self._note_drained()

    def _note_drained(self) -> None:
        if self._stopping.is_set() and not self._streams:
            self._drained.set()


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
