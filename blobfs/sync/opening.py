"""The service on its own, without a mount: store and shares are opened, it runs, and ends in order."""

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import trio

from blobfs import errors
from blobfs.config.settings import LoadSettings, ShareSetting
from blobfs.shares.resolver import install_resolver
from blobfs.store.opening import Store, open_store
from blobfs.sync.background import lone_failure
from blobfs.sync.known_shares import make_peers
from blobfs.sync.service import SyncService

_log = logging.getLogger(__name__)

SEAL_DELAY = 0.03
"""Seconds for which blobs gather that nobody waits for. Whoever shares one by a call waits, and ends it."""
FINISH_WITHIN = 20.0
"""Seconds at the end for what is not durable yet: calls have ended by then, so there is little."""


@asynccontextmanager
async def open_service(
    root: Path, shares: Sequence[ShareSetting], settings: LoadSettings
) -> AsyncIterator[SyncService]:
    """A service that works, over the store at `root`. Raises `StoreRefused`, `StartRefused`."""
    install_resolver()
    peers = make_peers(shares, settings)
    store = await trio.to_thread.run_sync(open_store, root)
    is_settled = False
    try:
        sync = SyncService(store, peers, settings, SEAL_DELAY)
        async with AsyncExitStack() as stack:
            for peer in peers:
                await stack.enter_async_context(peer.share)
            with lone_failure():
                async with trio.open_nursery() as nursery:
                    await nursery.start(sync.run)
                    yield sync
                    is_settled = await sync.finish(FINISH_WITHIN)
                    nursery.cancel_scope.cancel()
    finally:
        _close(store, is_settled)


def _close(store: Store, is_settled: bool) -> None:
    try:
        store.close(clean=is_settled)
    except errors.StoreError as failure:
        _log.warning("the store is left unclean: %s", failure)
