"""Small blobs out of the shares' bundles: many in one request, where each on its own would cost one.

1. No byte is given to anybody before it is verified by its own blob id.
2. Nobody depends on bundles: whatever fails, a blob that did not come is loaded as any other, and that load
   finds the words for what is wrong. So nothing is reported here but wrong bytes and a disk that is full.
3. What is fetched belongs to `run`, not to who asked for it: a reader that is cancelled, or has waited long
   enough, takes nothing from the others.
"""

import logging
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import asdict, dataclass

import trio

from blobfs import errors
from blobfs.bundle import Member
from blobfs.config.settings import LoadSettings
from blobfs.model import BlobId, Name
from blobfs.store.opening import Store
from blobfs.sync.bundles.fill import BundleFill
from blobfs.sync.bundles.load import BundleLoad, absent_of
from blobfs.sync.bundles.means import Counts, Loading, Means
from blobfs.sync.bundles.placing import Arrivals, Placing
from blobfs.sync.disk import DiskThreads
from blobfs.sync.flow import Flow
from blobfs.sync.peer import Peer

_log = logging.getLogger(__name__)

KEPT_BUNDLES = 64
"""Packages of which is remembered who has no bundle and where readers are; a large one takes some 10 MiB."""
READ_PART = 3
"""A reader waits for a bundle for a part of the longest read only: the usual load comes after it."""


@dataclass(frozen=True, slots=True)
class BundleStatistics:
    requests: int
    bytes: int
    """Of bodies that came in."""
    members: int
    """Blobs that arrived and are right."""
    wasted: int
    """Bytes of whole members that came in and were here already."""
    fallbacks: int
    """Blobs that no bundle brought."""
    waiting: int
    """Bytes that were asked for, or are here and not in the store yet."""


class Bundles:
    """Mutable: `_bundles`, the bundles that were asked for last; `_means`, while it runs."""

    def __init__(
        self,
        store: Store,
        disk: DiskThreads,
        peers: Sequence[Peer],
        loads: Loading,
        settings: LoadSettings,
        arrivals: Arrivals,
    ) -> None:
        self._store = store
        self._disk = disk
        self._peers = peers
        self._loads = loads
        self._settings = settings
        self._placing = Placing(store, disk, arrivals)
        self._counts = Counts()
        self._means: Means | None = None
        self._bundles: OrderedDict[BlobId, BundleLoad] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Bundles {self.statistics()}>"

    def statistics(self) -> BundleStatistics:
        return BundleStatistics(**asdict(self._counts), waiting=self._placing.taken)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Owns the fetches and what they bring, until it is cancelled."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._placing.run)
            means = Means(
                self._store,
                self._disk,
                self._peers,
                self._loads,
                self._settings,
                self._placing,
                self._counts,
                nursery,
            )
            self._means = means
            try:
                task_status.started()
                await trio.sleep_forever()
            finally:
                self._means, means.has_ended = None, True

    async def settle(self) -> None:
        """Until what has arrived is in the store, or could not be kept."""
        await self._placing.settle()

    def forget_verdicts(self) -> None:
        """The shares are not what they were."""
        for bundle in self._bundles.values():
            bundle.forget_verdicts()

    def active(self) -> list[BundleLoad]:
        """Those that are being fetched right now."""
        return [bundle for bundle in self._bundles.values() if bundle.is_fetching]

    def content_of(self, blob: BlobId) -> bytes | None:
        """What arrived, is verified and is not in the store yet."""
        return self._placing.content_of(blob)

    def read(self, blob: BlobId) -> bytes | None:
        """The same, for a program."""
        return self._placing.read(blob)

    async def settled(self, blobs: Iterable[BlobId]) -> None:
        """Until these are in the store, or could not be kept."""
        await self._placing.settled(blobs)

    async def bring(
        self, package: BlobId, members: Sequence[Member], blob: BlobId, directory: Name | None = None
    ) -> bytes | None:
        """A blob's bytes, for a reader; its neighbours in the bundle come with it. None: load it on its own.

        `directory`: it is a bundle of that, and `package` its id.
        Waits as long as a share may take to answer at all, and no longer than a third of a read: if the only
        share is silent, the usual load must have the time to find that out, and to say so.
        """
        content = self.read(blob)
        if content is not None:
            return content
        bundle = self._bundle(package, members, directory)
        number = None if bundle is None else bundle.number_of(blob)
        if bundle is not None and number is not None:
            bound = min(self._settings.first_byte_timeout, self._settings.read_timeout / READ_PART)
            try:
                with trio.move_on_after(bound):
                    content = await bundle.need(number)
            except errors.BlobfsError as error:
                _log.debug("%s out of the bundle of %r: %s", blob, bundle.what, error)
        self._counts.fallbacks += content is None
        return content

    async def bring_all(
        self,
        package: BlobId,
        members: Sequence[Member],
        wanted: Set[BlobId],
        progress: Callable[[int, int], None],
        flow: Flow,
    ) -> set[BlobId]:
        """As many of `wanted` as the bundles have; they are in the store when it returns. Returns the others.

        `progress` is told how many more blobs and bytes have arrived, or turned out to be here; `flow`, from
        where. It takes as
        long as a share brings something; one that has just failed is waited for for a moment.
        """
        bundle = self._bundle(package, members)
        missing = set(wanted)
        if bundle is not None:
            try:
                missing = await self._absent(wanted)
                with bundle.flow.feeding(flow):
                    await self._fill(bundle, wanted, missing, progress)
                missing = await self._absent(missing)
            except errors.BlobfsError as error:
                _log.debug("bundle of %s: %s", package, error)
        self._counts.fallbacks += len(missing)
        return missing

    async def _absent(self, blobs: Set[BlobId]) -> set[BlobId]:
        return set(await self._disk.run(absent_of, self._store, blobs))

    async def _fill(
        self,
        bundle: BundleLoad,
        wanted: Set[BlobId],
        absent: Set[BlobId],
        progress: Callable[[int, int], None],
    ) -> None:
        """Until what of `absent` comes is in the store."""
        left = []
        for blob in wanted:
            number = bundle.number_of(blob)
            if number is None:
                continue
            if blob in absent and self.content_of(blob) is None:
                left.append(number)
            else:
                progress(1, bundle.members[number].size)
        await BundleFill(bundle, left, progress).run()
        await self._placing.settled(absent)

    def _bundle(
        self, package: BlobId, members: Sequence[Member], directory: Name | None = None
    ) -> BundleLoad | None:
        """None: there is none, or nobody fetches any more."""
        if self._means is None or not members:
            return None
        bundle = self._bundles.get(package)
        if bundle is None:
            self._forget_some()
            bundle = self._bundles[package] = BundleLoad(package, members, self._means, directory)
        self._bundles.move_to_end(package)
        return bundle

    def _forget_some(self) -> None:
        """The oldest, to make room for one more; never one that somebody waits for."""
        idle = [package for package, bundle in self._bundles.items() if bundle.is_idle]
        for package in idle[: max(len(self._bundles) - KEPT_BUNDLES + 1, 0)]:
            del self._bundles[package]
