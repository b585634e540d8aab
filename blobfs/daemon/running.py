"""A node's life: its nurseries, its signals, its end in order.

Two nurseries, one in the other. The inner one is the mount and whatever ends it: a signal, an unmount.
The outer one is what the mount needs while it is being served; it ends after it, when what was closed
has been sealed.
"""

import logging
import signal
from collections.abc import AsyncIterator, Callable
from functools import partial

import trio

from blobfs.config.settings import NodeSettings
from blobfs.daemon.canary import Canary
from blobfs.daemon.control import serve_control
from blobfs.daemon.node import Node, open_node
from blobfs.daemon.readiness import notify, watchdog_seconds
from blobfs.daemon.reloading import reload_on_signal
from blobfs.daemon.status import status_line
from blobfs.fuse.session import MountSettings, serve_mount
from blobfs.shares.resolver import install_resolver

ENDING = signal.SIGTERM, signal.SIGINT

_log = logging.getLogger(__name__)


async def run_node(
    settings: NodeSettings,
    reread: Callable[[], NodeSettings],
    *,
    on_opened: Callable[[Node], None],
    on_ready: Callable[[Node], None],
    descriptor: int | None = None,
) -> None:
    """Runs a node until it is unmounted or told to end. Raises `StartRefused` or `StoreRefused`.

    `on_opened` is called when the store is there and before anything runs, `on_ready` when the mount works:
    when somebody else has read through it. `descriptor` is the connection of a mount that was made already.
    """
    install_resolver()
    # Until the very end: a second signal must not kill a node that seals what was closed. One that nobody
    # took is delivered again when the receiver is closed.
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    with trio.open_signal_receiver(*ENDING) as signals:
        async with open_node(settings, reread, descriptor) as node, trio.open_nursery() as background:
            on_opened(node)
            node.is_settled = False
            await background.start(node.sync.run)
            await background.start(node.fs.run)
            await background.start(node.scrubber.run)
            await background.start(serve_control, node)
            await background.start(reload_on_signal, node)
            if node.server is not None:
                await background.start(node.server.run, node.sync.loads)
            serving = trio.CancelScope()
            background.start_soon(_cancel_on_signal, signals, serving)
            with serving:
                await _serve_until_ended(node, on_ready, descriptor)
            notify("STOPPING=1", "STATUS=sealing what was closed")
            node.is_settled = await node.sync.finish(settings.finish_within)
            background.cancel_scope.cancel()


async def _serve_until_ended(node: Node, on_ready: Callable[[Node], None], descriptor: int | None) -> None:
    settings = node.settings
    mount = MountSettings(
        source=str(node.store.layout.root),
        read_only=settings.read_only,
        allow_other=settings.allow_other,
        options=settings.fuse_options,
        descriptor=descriptor,
    )
    canary, watchdog = Canary(node.mountpoint), watchdog_seconds()
    async with trio.open_nursery() as front:
        await front.start(serve_and_cancel, front.cancel_scope, node, mount)
        await canary.demand()
        _log.info("mounted on %s, ready", node.mountpoint)
        on_ready(node)
        node.is_ready = True
        notify("READY=1", f"STATUS={status_line(node)}")
        if watchdog is not None:
            front.start_soon(canary.feed_watchdog, watchdog, partial(status_line, node))


async def serve_and_cancel(
    scope: trio.CancelScope,
    node: Node,
    mount: MountSettings,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves the mount; when it is gone, whatever waits for its end is over."""
    await serve_mount(node.adapter, node.mountpoint, mount, task_status=task_status)
    scope.cancel()


async def _cancel_on_signal(signals: AsyncIterator[int], serving: trio.CancelScope) -> None:
    async for number in signals:
        already = "already " if serving.cancel_called else ""
        _log.info("%sending on %s", already, signal.Signals(number).name)
        serving.cancel()
