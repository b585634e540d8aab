"""The connections to one share: kept while they are idle, and given a limited time.

1. There is no pool to queue in. The caller bounds how many requests run at once (`exchange`), each takes an
   idle connection to the same server by the same way, or has one made (`connecting`), and nobody but its
   request knows a connection in use: a cancelled request closes it and nothing can leak.
2. A connection that was idle may be closed by the server in the very moment we send. That request is sent
   once more on a new connection; all requests are GET or HEAD.
3. Time limits are for what a caller waits for, not for a socket read: connecting, then the head as a whole,
   then each piece of the body. A share that drips a byte now and then, of its head or between two chunks, is
   as stalled as one that sends nothing.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

import httpx
import trio

from blobfs.model import Invalid
from blobfs.shares.address import origin
from blobfs.shares.connecting import Connector
from blobfs.shares.connection import Connection, Reply, Route
from blobfs.shares.wording import NoAnswer

KEEPALIVE_SECONDS = 4.0
"""An idle connection is not used after this; the shortest server default around is 5 s."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that a share is given, and connections that are kept."""

    first_byte: float
    """From sending the request until the answer's head is whole."""
    idle: float
    """Between two pieces of a body."""
    idle_connections: int


class Response:
    """An answer's head, and its body by `read_into`. To be closed, which never waits."""

    def __init__(self, reply: Reply, route: Route, idle: float, release: Callable[[], None]) -> None:
        self.route = route
        self.status = reply.status
        self.headers = reply.headers
        self._body = reply.body
        self._idle = idle
        self._release = release
        self._is_closed = False

    async def read_into(self, memory: memoryview) -> int:
        """The bytes of the body that are there now, at least one; 0 at its end. Raises httpx's exceptions."""
        try:
            with trio.fail_after(self._idle):
                return await self._body.read_into(memory)
        except trio.TooSlowError as error:
            raise httpx.ReadTimeout(f"no byte in {self._idle:g} s") from error

    def close(self) -> None:
        """Keeps the connection if the body was read to its end. A connection must not be kept twice: once."""
        assert not self._is_closed, "closed before"
        self._is_closed = True
        self._release()


class ShareTransport:
    """Sends one request; holds the idle connections. Mutable: `_idle`, last used last, with the times."""

    def __init__(self, limits: Limits, connector: Connector) -> None:
        self._limits = limits
        self._connector = connector
        self._idle: list[tuple[Connection, float]] = []
        self._closed = False

    @property
    def idle(self) -> int:
        """How many idle connections are kept."""
        return len(self._idle)

    async def ask(self, request: httpx.Request) -> Response:
        """Raises httpx's exceptions."""
        try:
            route = self._connector.route(origin(request.url))
        except Invalid as error:
            raise httpx.ProxyError(str(error)) from None
        idle = self._take_idle(route)
        if idle is not None:
            with suppress(httpx.RemoteProtocolError, httpx.ReadError):
                return await self._ask(idle, request)
        return await self._ask(await self._connector.connect(route), request)

    def close(self) -> None:
        """The idle connections; those in use are closed by who uses them."""
        self._closed = True
        for connection, _ in self._idle:
            connection.close()
        self._idle.clear()

    async def _ask(self, connection: Connection, request: httpx.Request) -> Response:
        """Whatever comes instead of an answer, the connection is closed."""
        seconds = self._limits.first_byte
        try:
            with trio.fail_after(seconds):
                reply = await connection.ask(request)
        except trio.TooSlowError as error:
            connection.close()
            raise NoAnswer(f"no answer in {seconds:g} s") from error
        except BaseException:
            connection.close()
            raise
        self._connector.remember(connection)
        return Response(reply, connection.route, self._limits.idle, lambda: self._give_back(connection))

    def _take_idle(self, route: Route) -> Connection | None:
        """The one used last: the others grow old and are closed here."""
        youngest_first = reversed(self._idle)
        oldest, found = trio.current_time() - KEEPALIVE_SECONDS, None
        kept: list[tuple[Connection, float]] = []
        for connection, since in youngest_first:
            if since < oldest or not connection.is_reusable:
                connection.close()
            elif found is None and connection.route == route:
                found = connection
            else:
                kept.append((connection, since))
        self._idle = kept[::-1]
        return found

    def _give_back(self, connection: Connection) -> None:
        if self._closed or not connection.is_reusable:
            connection.close()
            return
        self._idle.append((connection, trio.current_time()))
        if len(self._idle) > self._limits.idle_connections:
            self._idle.pop(0)[0].close()
