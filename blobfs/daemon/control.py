"""The control socket of a node: which of its abilities can be asked for from outside."""

import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import asdict
from functools import partial
from typing import Any

import trio

from blobfs.control.access import bind_control
from blobfs.control.metric_table import Sample
from blobfs.control.page import render_page
from blobfs.control.service import ControlApp, ReadingApp
from blobfs.daemon.measured import measure
from blobfs.daemon.node import Node
from blobfs.daemon.reloading import reload_and_tell
from blobfs.daemon.status import node_status
from blobfs.errors import StartRefused
from blobfs.model import Invalid
from blobfs.shares.late_asgi import serve_asgi_late
from blobfs.shares.listening import bind_listener, shown_address
from blobfs.sync.packages.path_keeping import PathKeeping
from blobfs.sync.packages.path_loading import PathLoading

MOST_VISITORS = 64
"""Connections to ``control.listen`` at a time, which anybody may make: the mount needs descriptors, too."""

_log = logging.getLogger(__name__)


async def serve_control(node: Node, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Answers on the socket in the store, and what only reads on ``control.listen``, until cancelled."""
    app = make_app(node)
    settings = node.settings.control
    listener = bind_control(node.store.layout.root, settings.group)
    reading = None if settings.listen is None else _bind_reading(settings.listen)
    async with trio.open_nursery() as nursery:
        await nursery.start(_serve, serve_asgi_late, app, listener)
        if reading is not None:
            serve = partial(serve_asgi_late, most=MOST_VISITORS)
            await nursery.start(_serve, serve, ReadingApp(app, _hosts(reading)), reading)
            _log.info("status, page and metrics on http://%s/", shown_address(reading))
        task_status.started()


async def _serve(
    serve: Callable[..., Awaitable[None]],
    app: ControlApp | ReadingApp,
    listener: socket.socket,
    task_status: trio.TaskStatus[str],
) -> None:
    """A defect in there must not cost the mount."""
    address = shown_address(listener)
    try:
        await serve(app, listener, task_status=task_status)
    except Exception:
        _log.exception("unexpected: %s answers no more, the mount goes on", address)


def make_app(node: Node) -> ControlApp:
    keeping = PathKeeping(node.sync)
    touching = {"pin": keeping.pin, "unpin": keeping.unpin, "evict": keeping.evict}
    return ControlApp(
        partial(node_status, node),
        node.why,
        PathLoading(node.sync).load,
        touching,
        metrics=partial(_metrics, node),
        page=render_page,
        reload=partial(_reload, node),
    )


async def _reload(node: Node) -> dict[str, Any]:
    return asdict(await reload_and_tell(node))


async def _metrics(node: Node, accept: str) -> tuple[str, bytes]:
    render = await trio.to_thread.run_sync(_import_render)
    return render(measure(node), accept)


def _import_render() -> Callable[[Iterable[Sample], str], tuple[str, bytes]]:
    """Many a node is never asked, and it takes 45 ms."""
    from blobfs.control.metrics import render

    return render


def _bind_reading(listen: str) -> socket.socket:
    try:
        return bind_listener(listen)
    except Invalid as wrong:
        raise StartRefused(f"control.listen {listen}: {wrong}") from None


def _hosts(listener: socket.socket) -> frozenset[str] | None:
    """The names of a listener for this machine alone. Of others nobody knows how they are called."""
    if listener.family == socket.AF_UNIX:
        return None
    host = listener.getsockname()[0]
    if not ipaddress.ip_address(host).is_loopback:
        return None
    return frozenset({"localhost", "127.0.0.1", "::1", host})
