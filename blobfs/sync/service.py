"""The sync service: sharing and loading by name, over one store and any number of shares.

The composition of this layer, and the one object the file system above it talks to. `run` owns
every background task: sealing, loads, the fill, the repair after an unclean end.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import trio

from blobfs import errors, model
from blobfs.config.settings import LoadSettings, LoadTerms, SpaceSettings
from blobfs.model import EMPTY_BLOB, BlobId, Name, parse_name
from blobfs.record import BlobRecord
from blobfs.store import recovery, sealed
from blobfs.store.held import Held, HeldMemory
from blobfs.store.incoming import Incoming
from blobfs.store.opening import Store
from blobfs.sync.arrivals import Arrivals
from blobfs.sync.background import guarded
from blobfs.sync.bundles.bundles import Bundles
from blobfs.sync.disk import DiskThreads
from blobfs.sync.evicting import Evicting
from blobfs.sync.known_shares import Circle, KnownShares
from blobfs.sync.load_blob import LoadedBlob, Loading
from blobfs.sync.loading.fill import Filler
from blobfs.sync.loading.landers import Landers
from blobfs.sync.loading.loads import USUAL_TERMS, Loads
from blobfs.sync.named_files import NamedFiles
from blobfs.sync.names import Names
from blobfs.sync.naming.answers import Answer, Present
from blobfs.sync.naming.bundling import Bundling
from blobfs.sync.naming.catalogue import Catalogue
from blobfs.sync.naming.namespace import Namespace
from blobfs.sync.naming.news import News
from blobfs.sync.naming.repairing import Repairs
from blobfs.sync.naming.settling import settle_changes
from blobfs.sync.packages.bundle_writer import BundleWriter
from blobfs.sync.packages.drafts import Drafting
from blobfs.sync.packages.files import PackageFiles
from blobfs.sync.packages.loading import PackageLoading
from blobfs.sync.packages.manifests import Manifests
from blobfs.sync.packages.open_transaction import OpenTransaction
from blobfs.sync.packages.small_writes import SmallWrites
from blobfs.sync.packages.transactions import Transactions
from blobfs.sync.packages.trees import PackageTrees
from blobfs.sync.packages.whole_blobs import WholeBlobs
from blobfs.sync.packages.writer import BlobWriter
from blobfs.sync.peer import Peer
from blobfs.sync.sealer import Sealer
from blobfs.sync.sharing import Sharing
from blobfs.sync.space import Space
from blobfs.sync.told import ToldFailures

_log = logging.getLogger(__name__)

USUAL_SPACE = SpaceSettings()


class SyncService:
    """Names and blobs, here and on the shares."""

    def __init__(
        self,
        store: Store,
        peers: Sequence[Peer],
        settings: LoadSettings,
        seal_delay: float,
        disk: DiskThreads | None = None,
        space: SpaceSettings = USUAL_SPACE,
        landers: Landers | None = None,
    ) -> None:
        """Without `landers` what is loaded is verified and written in threads."""
        self.store = store
        # Both are the service's own, and everybody's in it: they change while it runs (`changing`).
        self.peers = peers = list(peers)
        self.settings = settings = replace(settings)
        self.disk = disk or DiskThreads()
        news = News()
        self.catalogue = Catalogue(peers, settings, news)
        self.namespace = Namespace(store, self.disk, self.catalogue.heard_of)
        self.arrivals = Arrivals()
        self.told = ToldFailures()
        self.space = Space(store, space)
        self.landers = landers = landers or Landers(0)
        self._held = HeldMemory(store, lambda: self.space.is_roomy)
        self.sealer = Sealer(
            store, self.disk, self.namespace, self.arrivals, self.told, seal_delay, self._held
        )
        self.loads = Loads(
            store, self.disk, peers, self.sealer, self.namespace, self.space, self.arrivals, settings, landers
        )
        self.evicting = Evicting(store, self.disk, self.namespace, self.loads, self.sealer)
        self.names = Names(self.namespace, self.catalogue, self.loads, news)
        self.transactions = Transactions(
            store, self.disk, self.arrivals, self.sealer, self.namespace, settings.abandoned_after
        )
        self._small_writes = SmallWrites(store, self.disk, self.arrivals, self.space)
        self._drafting = Drafting(store, self.disk, self.sealer, self._small_writes, self.space)
        self.trees = PackageTrees(store, self.disk, self.catalogue, self.loads, settings)
        self.bundles = Bundles(store, self.disk, peers, self.loads, settings, self.arrivals)
        self._bundling = Bundling(store, self.disk, self.namespace, self.space)
        self.named_files = NamedFiles(self.loads, self.bundles, self.catalogue, self.namespace, settings)
        self.package_files = PackageFiles(self.trees, self.bundles, self.loads, settings)
        self.whole_blobs = WholeBlobs(self.loads, self.sealer)
        manifests = Manifests(self.disk, self.find_blob, self.whole_blobs, self.trees)
        self.package_loading = PackageLoading(
            store, self.disk, manifests, self.bundles, self.whole_blobs, self.transactions
        )
        self._sharing = Sharing(store, self.disk, self.namespace, self.sealer, self.space)
        self._known_shares = KnownShares(Circle(peers, self.catalogue), settings, self._is_asked)
        self._loading = Loading(
            store,
            self.disk,
            self.namespace,
            self.sealer,
            self.loads,
            self._known_shares,
            settings,
            self.names.lookup,
        )
        self._repairs = Repairs(store, self.disk, self.namespace)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Redoes what an unclean end left, says `started`, works until it is cancelled."""
        await self._redo()
        await self._repairs.begin()
        async with trio.open_nursery() as nursery:
            await nursery.start(self.namespace.mending.run)
            await nursery.start(self.names.run)
            await nursery.start(self.sealer.run)
            await nursery.start(self.landers.run)
            await nursery.start(self.loads.run)
            await nursery.start(self.transactions.run)
            await nursery.start(self.bundles.run)
            await nursery.start(self.named_files.adopting.run)
            await nursery.start(self._bundling.run)
            await nursery.start(self.package_loading.run)
            await nursery.start(self._small_writes.run)
            await nursery.start(Filler(self.loads, self.space, self.settings).run)
            await nursery.start(self.space.run, self.evicting.free, self.evicting.measure)
            nursery.start_soon(self._known_shares.run)
            nursery.start_soon(guarded, self._repairs.run)
            nursery.start_soon(guarded, settle_changes, self.store, self.disk)
            task_status.started()

    async def finish(self, seconds: float) -> bool:
        """Before the end: seals what was closed and notes what was loaded, within a bound.

        Whether nothing is left for the next start to redo.
        """
        deadline = trio.current_time() + seconds
        with trio.move_on_at(deadline):
            await self.bundles.settle()
            await self.named_files.adopting.settle()
        is_settled = await self.sealer.drain(max(deadline - trio.current_time(), 0))
        try:
            await self.namespace.mending.mend()
            await self.loads.save_maps()
            with trio.move_on_at(deadline):
                await self._bundling.settle()
        except errors.StoreError as failure:
            _log.warning("what was loaded or changed is not all noted down: %s", failure)
            return False
        return is_settled and self._repairs.is_done

    async def _redo(self) -> None:
        done = await self.disk.run(recovery.finish_seals, self.store)
        if done:
            _log.info("sealed %d files that the last run had accepted", done)

    # Names

    async def lookup(self, name: Name) -> Answer:
        """What a name means: what is known here goes first, without any network (P6).

        Raises `WrongEverywhere` when the name is there but no usable record of it.
        """
        return await self.names.lookup(name, self.catalogue)

    def lookup_nowait(self, name: Name) -> Answer | None:
        """The same, where neither the disk nor a share has to be asked; else None."""
        return self.names.lookup_nowait(name, self.catalogue)

    async def listing(self, directory: Name) -> dict[str, Present]:
        """Every live name of a directory, here and on the shares; the newest record wins.

        Raises `NameMissing` when nobody has such a directory, `LoadFailed` when that cannot be known.
        """
        return await self.names.listing(directory)

    # Blobs

    async def find_blob(self, blob: BlobId) -> int | None:
        """The size of a blob, here or on a share; None is absent everywhere. Raises `Unreachable`."""
        size = await self.disk.run(sealed.blob_size, self.store, blob)
        if size is not None:
            return size
        if blob == EMPTY_BLOB:
            return 0
        load = self.loads.load_of(blob)
        return load.size if load is not None else await self.catalogue.blob_size(blob)

    async def is_here(self, blob: BlobId) -> bool:
        return await self.disk.run(sealed.has, self.store, blob)

    def _is_asked(self, peer: Peer) -> bool:
        """Whether a load may still want something of a share."""
        return peer.bodies > 0 or any(
            peer in load.peers or (peer.is_plain and load.source.offers(peer))
            for load in self.loads.unfinished()
        )

    def open_bundle_writer(self, transaction: OpenTransaction) -> BundleWriter:
        """Writes the small blobs that a transaction needs, in one stream."""
        return BundleWriter(self._small_writes, transaction, transaction.members)

    def open_writer(self, transaction: OpenTransaction, blob: BlobId) -> BlobWriter:
        """Writes a blob that a transaction needs."""
        return BlobWriter(self._drafting, transaction, blob)

    def hold_incoming(self) -> Held | None:
        """A new file that is in memory as long as it is small. None: it needs one on the disk."""
        return self._held.hold()

    async def new_incoming(self) -> Incoming:
        return await self.disk.run(Incoming.create, self.store)

    # Both together, for programs (docs/embedding.md)

    async def share_blob(self, resource_id: str, blob: bytes | Path) -> BlobRecord:
        """Makes a blob, bytes or the file at a path, available under a name; durable when it returns.

        Raises `NameRefused`; `NameExists` where the name means another blob, `IsADirectory`, `NotADirectory`;
        `InvalidArgument` for a file that cannot be read; `StoreError`. Asks no share.
        """
        return await self._sharing.share(_parse(resource_id), blob)

    async def load_blob(self, resource_id: str, terms: LoadTerms = USUAL_TERMS) -> LoadedBlob:
        """Brings the blob that a name means here, whole, and shares it in turn; here already, it is at once.

        Raises `LoadFailed` (`AbsentEverywhere`, `Unreachable`, `DeadlineExceeded` and so on), with attempts;
        `NameRefused`; `IsADirectory`; `NotSupported` for a symlink; `InvalidArgument` for what is no share's
        URL; `StoreError`.
        """
        return await self._loading.load(_parse(resource_id), terms)


def _parse(resource_id: str) -> Name:
    try:
        return parse_name(resource_id)
    except model.TooLong as wrong:
        raise errors.NameTooLong(str(wrong)) from None
    except model.Invalid as wrong:
        raise errors.InvalidName(str(wrong)) from None
