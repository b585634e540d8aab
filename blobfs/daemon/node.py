"""One node: everything it consists of, built from its settings. Nothing runs yet; `running` does that."""

import logging
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import trio

from blobfs import errors
from blobfs.config.settings import NodeSettings
from blobfs.fuse.adapter import Adapter
from blobfs.fuse.mountinfo import find_mount_of
from blobfs.fuse.mountpoint import prepare_mountpoint
from blobfs.model import RESERVED_PREFIX, ROOT, Invalid, parse_blob_id, parse_name
from blobfs.shares.listening import bind_share_listener
from blobfs.shares.server_process import ShareServer
from blobfs.store.layout import Layout
from blobfs.store.opening import Store, open_store
from blobfs.sync.changing import close_shares
from blobfs.sync.explain import explain_blob, explain_name
from blobfs.sync.known_shares import make_peers
from blobfs.sync.loading.landers import Landers
from blobfs.sync.peer import Peer
from blobfs.sync.scrubber import Scrubber, make_scrubber
from blobfs.sync.service import SyncService
from blobfs.vfs.filesystem import FileSystem

_log = logging.getLogger(__name__)

_BLOBS = f"{RESERVED_PREFIX}/blobs/"


@dataclass(eq=False)
class Node:
    """Everything one running node consists of."""

    settings: NodeSettings
    reread: Callable[[], NodeSettings]
    """What the same sources say by now. Raises `ConfigRefused`."""
    mountpoint: str
    store: Store
    peers: list[Peer]
    """Those of `sync`: they change when the settings are read again."""
    sync: SyncService
    fs: FileSystem
    adapter: Adapter
    server: ShareServer | None
    """Of its own share."""
    scrubber: Scrubber
    is_settled: bool
    """Whether the next start has nothing to redo."""
    is_ready: bool = False
    """Whether somebody has read through the mount."""
    reloading: trio.Lock = field(default_factory=trio.Lock)

    async def why(self, wanted: str) -> dict[str, Any]:
        """What ``blobfs why`` shows of a name, or of a blob as it stands in the mount. Raises `Invalid`."""
        if wanted.startswith(_BLOBS):
            blob = parse_blob_id(wanted.removeprefix(_BLOBS))
            found = await explain_blob(self.sync, blob, self.fs.seen_blob(blob))
        else:
            name = parse_name(wanted) if wanted else ROOT
            found = await explain_name(self.sync, name, self.fs.seen_name(name))
        return {"mountpoint": self.mountpoint, "read_only": self.settings.read_only, **asdict(found)}


@asynccontextmanager
async def open_node(
    settings: NodeSettings, reread: Callable[[], NodeSettings], descriptor: int | None = None
) -> AsyncIterator[Node]:
    """Everything that can be refused is refused here, before anything runs.

    `descriptor` is the connection of a mount that was made already.
    """
    async with AsyncExitStack() as stack:
        listener, server = _bind(settings.serve.listen), None
        if listener is not None:
            stack.callback(listener.close)
            server = ShareServer(Layout(settings.store).share, listener, settings.serve)
        if descriptor is None:
            mountpoint = await prepare_mountpoint(str(settings.mountpoint), nonempty=settings.nonempty)
        else:
            mountpoint = _premounted(settings)
        _demand_outside(settings, mountpoint)
        peers = make_peers(settings.shares, settings.load)
        store = await trio.to_thread.run_sync(open_store, settings.store)
        try:
            demand_room(settings, store)
        except errors.StartRefused:
            store.close(clean=store.was_clean)
            raise
        sync = SyncService(
            store, peers, settings.load, settings.seal_delay, space=settings.space, landers=Landers()
        )
        fs = FileSystem(sync, read_only=settings.read_only)
        scrubber, adapter = make_scrubber(sync), Adapter(fs)
        node = Node(
            *(settings, reread, mountpoint, store, sync.peers, sync, fs, adapter, server, scrubber),
            is_settled=store.was_clean,
        )
        stack.callback(_close_store, node)
        for peer in peers:
            await stack.enter_async_context(peer.share)
        try:
            yield node
        finally:
            await close_shares([peer.share for peer in node.peers])  # there may be others by now


def _premounted(settings: NodeSettings) -> str:
    """Where it is mounted already. Its directory must not be looked at: nobody answers there yet."""
    mount = find_mount_of(os.path.abspath(settings.store), os.geteuid())
    if mount is None:
        raise errors.StartRefused(
            f"a connection was passed, but no mount of {settings.store} is to be seen: a sandbox hides it"
            " (PrivateTmp= hides what is below /tmp)"
        )
    return mount.mount_point


def demand_room(settings: NodeSettings, store: Store) -> None:
    """Raises `StartRefused` for a quota or a reserve that the store's partition cannot have."""
    found = store.space()
    problem = settings.space.problem_on(found.f_blocks * found.f_frsize)
    if problem is not None:
        raise errors.StartRefused(f"{store.layout.root}: {problem}")


def _close_store(node: Node) -> None:
    try:
        node.store.close(clean=node.is_settled)
    except errors.StoreError as failure:
        _log.warning("the store is left unclean: %s", failure)


def _bind(listen: str | None) -> socket.socket | None:
    if listen is None:
        return None
    try:
        return bind_share_listener(listen)
    except Invalid as wrong:
        raise errors.StartRefused(f"--listen {listen}: {wrong}") from None


def _demand_outside(settings: NodeSettings, mountpoint: str) -> None:
    store = os.path.realpath(settings.store)
    above = os.path.commonpath([store, mountpoint])
    if above == mountpoint:
        raise errors.StartRefused(f"the store {store} would be hidden below the mountpoint {mountpoint}")
    if above == store:
        raise errors.StartRefused(f"the mountpoint {mountpoint} is inside the store {store}")
