"""The way through a proxy: its tunnel, and what is said when it is in the way."""

from collections.abc import Iterator
from contextlib import contextmanager

import h11
import httpx
import trio

from blobfs.model import Kind
from blobfs.shares.address import Origin
from blobfs.shares.connection import MAX_HEAD_BYTES, next_event
from blobfs.shares.proxies import Proxy
from blobfs.shares.wording import described


async def open_tunnel(stream: trio.SocketStream, proxy: Proxy, to: Origin) -> None:
    """From here on the stream leads to `to`. Raises httpx's exceptions."""
    _, host, port = to
    target = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    headers = [("Host", target), ("User-Agent", "blobfs")]
    if proxy.authorization is not None:
        headers.append(("Proxy-Authorization", proxy.authorization))
    parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD_BYTES)
    head = parser.send(h11.Request(method="CONNECT", target=target, headers=headers)) or b""
    parser.send(h11.EndOfMessage())
    await stream.send_all(head)
    event = await next_event(stream, parser)
    while not isinstance(event, h11.Response):
        event = await next_event(stream, parser)
    if not 200 <= event.status_code < 300:
        raise httpx.ProxyError(proxy.rejected(event.status_code))
    if parser.trailing_data[0]:
        raise httpx.ProxyError(f"{proxy}: it speaks before the share was asked")


@contextmanager
def by_way_of(proxy: Proxy | None) -> Iterator[None]:
    """What fails in here is the proxy's doing, if there is one; not what is the matter with this machine."""
    try:
        yield
    except httpx.TransportError as error:
        kind, words = described(error)
        if proxy is None or kind is Kind.LOCAL or isinstance(error, httpx.ProxyError):
            raise
        raise httpx.ProxyError(f"{proxy}: {words}") from error
