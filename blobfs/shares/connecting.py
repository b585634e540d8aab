"""How a connection comes about: TCP to the share or to its proxy, the proxy's tunnel, TLS.

Each of the three has the connect timeout to itself. A TLS session is taken up again where the server gave us
one for the share: that spares both sides the certificates, and with TLS 1.2 a round trip.
"""

import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import trio

from blobfs.shares.address import Origin
from blobfs.shares.connection import Connection, Route, Stream, tcp_socket
from blobfs.shares.counters import Counters
from blobfs.shares.proxies import Proxies
from blobfs.shares.tls import Trust
from blobfs.shares.tunnel import by_way_of, open_tunnel


class Connector:
    """Makes connections; holds none. Mutable: `_session`, the last one of the share's own origin."""

    def __init__(self, seconds: float, trust: Trust | None, proxies: Proxies, counters: Counters) -> None:
        self._seconds = seconds
        self._trust = trust
        self._proxies = proxies
        self._counters = counters
        self._session: ssl.SSLSession | None = None

    def route(self, to: Origin) -> Route:
        """Raises `Invalid` if there is none."""
        return Route(to, self._proxies.of(to))

    async def connect(self, route: Route) -> Connection:
        """Raises httpx's exceptions."""
        proxy, (scheme, host, port) = route.proxy, route.origin
        stream: Stream
        with by_way_of(proxy), self._in_time():
            there = (host, port) if proxy is None else (proxy.host, proxy.port)
            stream = await trio.open_tcp_stream(*there)
        self._counters.connections += 1
        if scheme == "https":
            try:
                if proxy is not None:
                    with by_way_of(proxy), self._in_time():
                        await open_tunnel(stream, proxy, route.origin)
                stream = await self._secure(stream, route.origin)
            except BaseException:
                tcp_socket(stream).close()
                raise
        return Connection(route, stream)

    async def _secure(self, tcp: trio.SocketStream, to: Origin) -> trio.SSLStream[trio.SocketStream]:
        assert self._trust is not None, "a share that may lead to https is opened with TLS"
        context = self._trust.context(to)
        stream = trio.SSLStream(tcp, context, server_hostname=to[1], https_compatible=True)
        if self._session is not None and to == self._trust.home:
            stream.session = self._session
        with self._in_time():
            await stream.do_handshake()
        return stream

    def remember(self, connection: Connection) -> None:
        """An answer came over it, and with it what the next handshake is shortened by."""
        if self._trust is not None and connection.route.origin == self._trust.home:
            self._session = connection.session or self._session

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        try:
            with trio.fail_after(self._seconds):
                yield
        except trio.TooSlowError as error:
            raise httpx.ConnectTimeout(f"no connection in {self._seconds:g} s") from error
        except (OSError, trio.BrokenResourceError) as error:
            raise httpx.ConnectError(str(error)) from error
