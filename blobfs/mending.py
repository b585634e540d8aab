"""``blobfs verify``, without its words: a store is verified, mended, and what is lost in it is loaded again.

Loading is a node's without a mount, so what comes is verified, goes on from the chunks that are right, and is
shared in turn under the names that waited for it.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import trio

from blobfs import errors
from blobfs.config.settings import Fill, LoadSettings, ShareSetting, SpaceSettings
from blobfs.model import BlobId, Name
from blobfs.record import BlobRecord
from blobfs.shares.resolver import install_resolver
from blobfs.store import sealed
from blobfs.store.opening import Store, open_store, open_unchanged
from blobfs.store.verify.findings import Done, Finding, Inspection, Kind, Progress, Stopped
from blobfs.store.verify.verifying import check_references, measure, verify
from blobfs.sync.known_shares import make_peers
from blobfs.sync.naming.answers import Present
from blobfs.sync.packages.progress import Progress as LoadProgress
from blobfs.sync.service import SyncService

AT_ONCE = 16
"""Blobs that are asked for at a time."""
FINISH_SECONDS = 20.0
LOOK_SECONDS = 0.2

SETTINGS = LoadSettings(fill=Fill.NEVER)
SPACE = SpaceSettings(quota=None, reserve=0)
"""What is loaded was here before: it gets its room."""


def verify_store(
    root: Path, repair: bool, shares: Sequence[ShareSetting], progress: Progress
) -> list[Finding]:
    """What is wrong in a store that no daemon uses, and what was done about it.

    Without `repair` nothing on the disk changes. Raises `StoreRefused`, `StoreError`, `StartRefused`.
    """
    store = open_unchanged(root)
    if repair:
        store.close(clean=False)
        store = open_store(root)
    try:
        inspection = Inspection(store, repair, not store.was_clean, progress)
        progress.total_bytes = measure(inspection)
        findings = list(verify(inspection))
        if repair and shares:
            findings = _load_lost(inspection, shares, findings)
    except BaseException:
        store.close(clean=False)
        raise
    store.close(clean=repair and store.was_clean)  # what a crash left is redone by the next start, as ever
    return findings


def _load_lost(
    inspection: Inspection, shares: Sequence[ShareSetting], findings: list[Finding]
) -> list[Finding]:
    """The findings, with what came of the blobs that were lost."""
    lost = {
        finding.blob: Wanted(finding.blob, finding.size)
        for finding in findings
        if finding.blob is not None and finding.is_left
    }
    names = [finding.name for finding in findings if finding.name is not None]
    if not lost and not names:
        return findings
    failed = load_again(inspection.store, shares, list(lost.values()), names, inspection.progress)
    # That a name is linked to its blob again is no news; what a manifest tells again of its bundle is.
    again = Inspection(inspection.store, inspection.mends, inspection.after_crash)
    bundles = [finding for finding in check_references(again) if finding.kind is Kind.BUNDLE]
    return [_told(finding, failed) for finding in findings] + bundles


def _told(finding: Finding, failed: Mapping[str, str]) -> Finding:
    if finding.name is not None and finding.name not in failed:
        return replace(finding, done=Done.RESTORED, what=f"{finding.what}; a share knows it")
    if finding.blob is None or not finding.is_left:
        return finding
    if finding.blob not in failed:
        return replace(finding, done=Done.LOADED_AGAIN)
    return replace(finding, done=Done.LOST, what=f"{finding.what}; {failed[finding.blob]}")


@dataclass(frozen=True, slots=True)
class Wanted:
    """A blob that should be here."""

    blob: BlobId
    size: int | None
    """None: the shares are asked for it."""


def load_again(
    store: Store,
    shares: Sequence[ShareSetting],
    wanted: Sequence[Wanted],
    names: Sequence[Name],
    progress: Progress,
) -> Mapping[str, str]:
    """What could not be loaded, and why. `names` are those whose records are lost.

    Blocks until each has ended. Raises `StartRefused`, `Stopped`.
    """
    progress.lost = len(wanted)
    failed: dict[str, str] = {}
    trio.run(_load_all, store, shares, wanted, names, failed, progress)
    if progress.stopped.is_set():
        raise Stopped
    return failed


async def _load_all(
    store: Store,
    shares: Sequence[ShareSetting],
    wanted: Sequence[Wanted],
    names: Sequence[Name],
    failed: dict[str, str],
    progress: Progress,
) -> None:
    install_resolver()
    limit = trio.CapacityLimiter(AT_ONCE)

    async def load(sync: SyncService, each: Wanted) -> None:
        async with limit:
            try:
                await _load(sync, each)
            except errors.BlobfsError as failure:
                failed[each.blob] = str(failure)
            progress.loaded += 1

    async with _serving(store, shares) as sync, trio.open_nursery() as watching:
        watching.start_soon(_cancel_when_stopped, watching.cancel_scope, progress)
        async with trio.open_nursery() as nursery:
            for each in wanted:
                nursery.start_soon(load, sync, each)
        for name in names:
            if not await _learn(sync, name):
                failed[name] = "no share knows it"
        await sync.finish(FINISH_SECONDS)
        watching.cancel_scope.cancel()


@asynccontextmanager
async def _serving(store: Store, shares: Sequence[ShareSetting]) -> AsyncIterator[SyncService]:
    peers = make_peers(shares, SETTINGS)
    async with AsyncExitStack() as stack:
        for peer in peers:
            await stack.enter_async_context(peer.share)
        sync = SyncService(store, peers, SETTINGS, 0, space=SPACE)
        async with trio.open_nursery() as background:
            await background.start(sync.run)
            yield sync
            background.cancel_scope.cancel()


async def _cancel_when_stopped(scope: trio.CancelScope, progress: Progress) -> None:
    """Who interrupts it is in another thread."""
    while True:
        await trio.sleep(LOOK_SECONDS)
        if progress.stopped.is_set():
            scope.cancel()


async def _learn(sync: SyncService, name: Name) -> bool:
    """Whether a share knows what a name means; shared in turn where that is here."""
    try:
        answer = await sync.names.lookup(name, sync.catalogue)
    except errors.BlobfsError:
        return False
    match answer:
        case Present(record=BlobRecord() as record) if await sync.is_here(record.blob):
            await sync.loads.adopt(name, record)
    return isinstance(answer, Present)


async def _load(sync: SyncService, wanted: Wanted) -> None:
    """Raises `LoadFailed`, `StoreError`."""
    size = wanted.size if wanted.size is not None else await sync.find_blob(wanted.blob)
    if size is None:
        raise errors.AbsentEverywhere("no share has it")
    load = await sync.whole_blobs.bring(wanted.blob, size, LoadProgress())
    if load is not None:
        await sync.whole_blobs.wait_kept(load)
    if not await sync.disk.run(sealed.has, sync.store, wanted.blob):
        raise errors.StoreBroken("it was loaded, but could not be kept")
