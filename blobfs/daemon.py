"""The composition root: builds one node from its settings, owns its nurseries, ends it in order.

Two nurseries, one in the other. The inner one is the mount and whatever ends it: a signal, an unmount.
The outer one is what the mount needs while it is being served; it ends after it, when what was closed
has been sealed.
"""

import logging
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import trio

from blobfs import errors
from blobfs.config import NodeSettings
from blobfs.control.service import ControlApp
from blobfs.fuse.adapter import Adapter
from blobfs.fuse.mountpoint import prepare_mountpoint
from blobfs.fuse.session import MountSettings, serve_mount
from blobfs.model import RESERVED_PREFIX, ROOT, Invalid, parse_blob_id, parse_name
from blobfs.shares.late_asgi import serve_asgi_late
from blobfs.shares.listening import bind_listener, shown_address
from blobfs.shares.resolver import install_resolver
from blobfs.shares.server_process import run_share_server
from blobfs.store.opening import Store, open_store
from blobfs.sync.explain import explain_blob, explain_name
from blobfs.sync.known_shares import make_peers
from blobfs.sync.packages.path_keeping import PathKeeping
from blobfs.sync.packages.path_loading import PathLoading
from blobfs.sync.peer import Peer
from blobfs.sync.scrubber import Scrubber, make_scrubber
from blobfs.sync.service import SyncService
from blobfs.vfs.filesystem import FileSystem

_log = logging.getLogger(__name__)


@dataclass(eq=False)
class Node:
    """Everything one running node consists of."""

    settings: NodeSettings
    mountpoint: str
    store: Store
    peers: list[Peer]
    sync: SyncService
    fs: FileSystem
    adapter: Adapter
    listener: socket.socket | None
    scrubber: Scrubber
    is_settled: bool
    """Whether the next start has nothing to redo."""

    def status(self) -> dict[str, Any]:
        """What ``blobfs status`` shows."""
        return {
            "mountpoint": self.mountpoint,
            "pid": os.getpid(),
            "time": int(time.time()),
            "read_only": self.settings.read_only,
            "listen": shown_address(self.listener) if self.listener is not None else None,
            "store": {
                "path": str(self.store.layout.root),
                "file_flushes": self.store.flushes.file_flushes,
                "group_flushes": self.store.flushes.group_flushes,
            },
            "space": self.sync.space.statistics() | self.sync.evicting.statistics(),
            "operations": self.adapter.statistics(),
            "files": self.fs.statistics(),
            "waits": self.fs.wait_statistics(),
            "sealing": self.sync.sealer.statistics(),
            "loading": self.sync.loads.statistics(),
            "packages": {
                "transactions": self.sync.transactions.statistics(),
                "trees": self.sync.trees.statistics(),
                "bundles": asdict(self.sync.bundles.statistics()),
            },
            "scrub": self.scrubber.statistics(),
            "thread_hops": self.sync.disk.hops,
            "tasks": trio.lowlevel.current_statistics().tasks_living,
            "threads": threading.active_count(),
            "shares": [_share_status(peer) for peer in self.peers],
        }

    async def why(self, wanted: str) -> dict[str, Any]:
        """What ``blobfs why`` shows of a name, or of a blob as it stands in the mount. Raises `Invalid`."""
        if wanted.startswith(_BLOBS):
            blob = parse_blob_id(wanted.removeprefix(_BLOBS))
            found = await explain_blob(self.sync, blob, self.fs.seen_blob(blob))
        else:
            name = parse_name(wanted) if wanted else ROOT
            found = await explain_name(self.sync, name, self.fs.seen_name(name))
        return {"mountpoint": self.mountpoint, "read_only": self.settings.read_only, **asdict(found)}


_BLOBS = f"{RESERVED_PREFIX}/blobs/"


def _share_status(peer: Peer) -> dict[str, Any]:
    now = trio.current_time()
    return {
        "url": peer.shown,
        "plain": peer.is_plain,
        "group": peer.share.options.group,
        "down": peer.is_down(),
        "circuit": peer.health.circuit(now),
        "struck_for": peer.struck_for,
        "bodies": peer.bodies,
        "last_failure": None if peer.last_failure is None else asdict(peer.last_failure),
        "failed_ago": None if peer.last_failed is None else round(now - peer.last_failed, 3),
        **asdict(peer.estimates.statistics()),
        **asdict(peer.share.statistics()),
        "health": asdict(peer.health.statistics()),
    }


async def run_node(
    settings: NodeSettings, *, on_opened: Callable[[Node], None], on_ready: Callable[[Node], None]
) -> None:
    """Runs a node until it is unmounted or told to end. Raises `StartRefused` or `StoreRefused`.

    `on_opened` is called when the store is there and before anything runs, `on_ready` when the mount works.
    """
    install_resolver()
    async with open_node(settings) as node, trio.open_nursery() as background:
        on_opened(node)
        node.is_settled = False
        await background.start(node.sync.run)
        await background.start(node.fs.run)
        await background.start(node.scrubber.run)
        await background.start(_serve_control, node)
        if node.listener is not None:
            await background.start(run_share_server, node.store.layout.share, node.listener)
        await _serve_until_ended(node, on_ready)
        node.is_settled = await node.sync.finish(settings.finish_within)
        background.cancel_scope.cancel()


@asynccontextmanager
async def open_node(settings: NodeSettings) -> AsyncIterator[Node]:
    """Everything that can be refused is refused here, before anything runs."""
    async with AsyncExitStack() as stack:
        listener = _bind(settings.listen)
        if listener is not None:
            stack.callback(listener.close)
        mountpoint = await prepare_mountpoint(str(settings.mountpoint), nonempty=settings.nonempty)
        _demand_outside(settings, mountpoint)
        peers = make_peers(settings.shares, settings.load)
        store = await trio.to_thread.run_sync(open_store, settings.store)
        _demand_room(settings, store)
        sync = SyncService(store, peers, settings.load, settings.seal_delay, space=settings.space)
        fs = FileSystem(sync, read_only=settings.read_only)
        scrubber, adapter = make_scrubber(sync), Adapter(fs)
        node = Node(
            settings, mountpoint, store, peers, sync, fs, adapter, listener, scrubber, store.was_clean
        )
        stack.callback(_close_store, node)
        for peer in peers:
            await stack.enter_async_context(peer.share)
        yield node


def _demand_room(settings: NodeSettings, store: Store) -> None:
    found = store.space()
    problem = settings.space.problem_on(found.f_blocks * found.f_frsize)
    if problem is not None:
        store.close(clean=store.was_clean)
        raise errors.StartRefused(f"{settings.store}: {problem}")


def _close_store(node: Node) -> None:
    try:
        node.store.close(clean=node.is_settled)
    except errors.StoreError as failure:
        _log.warning("the store is left unclean: %s", failure)


def _bind(listen: str | None) -> socket.socket | None:
    if listen is None:
        return None
    try:
        return bind_listener(listen)
    except Invalid as wrong:
        raise errors.StartRefused(f"--listen {listen}: {wrong}") from None


def _demand_outside(settings: NodeSettings, mountpoint: str) -> None:
    store = os.path.realpath(settings.store)
    above = os.path.commonpath([store, mountpoint])
    if above == mountpoint:
        raise errors.StartRefused(f"the store {store} would be hidden below the mountpoint {mountpoint}")
    if above == store:
        raise errors.StartRefused(f"the mountpoint {mountpoint} is inside the store {store}")


async def _serve_until_ended(node: Node, on_ready: Callable[[Node], None]) -> None:
    settings = node.settings
    mount = MountSettings(
        source=str(node.store.layout.root),
        read_only=settings.read_only,
        allow_other=settings.allow_other,
        options=settings.fuse_options,
    )
    async with trio.open_nursery() as front:
        await front.start(_cancel_on_signal, front.cancel_scope)
        await front.start(serve_and_cancel, front.cancel_scope, node, mount)
        _log.info("mounted on %s, ready", node.mountpoint)
        on_ready(node)


async def serve_and_cancel(
    scope: trio.CancelScope,
    node: Node,
    mount: MountSettings,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serves the mount; when it is gone, whatever waits for its end is over."""
    await serve_mount(node.adapter, node.mountpoint, mount, task_status=task_status)
    scope.cancel()


async def _cancel_on_signal(
    scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        number = await anext(signals)
        _log.info("ending on %s", signal.Signals(number).name)
        scope.cancel()


async def _serve_control(node: Node, task_status: trio.TaskStatus[str] = trio.TASK_STATUS_IGNORED) -> None:
    listener = bind_listener(f"unix:{node.store.layout.root / 'control'}")
    keeping = PathKeeping(node.sync)
    touching = {"pin": keeping.pin, "unpin": keeping.unpin, "evict": keeping.evict}
    app = ControlApp(node.status, node.why, PathLoading(node.sync).load, touching)
    await serve_asgi_late(app, listener, task_status=task_status)
