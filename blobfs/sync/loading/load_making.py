"""What a load is made of: its file or the blob that has come meanwhile, and what all loads share."""

from collections.abc import Callable, Sequence

import trio

from blobfs.config.settings import LoadSettings
from blobfs.model import BlobId, Name
from blobfs.shares.plain import PlainFile
from blobfs.store.opening import Store
from blobfs.store.partial import Partial, open_partial
from blobfs.store.verified import OpenBlob, open_verifiable
from blobfs.store.waiting import WaitingName
from blobfs.sync.disk import DiskThreads
from blobfs.sync.loading.dispatch import Dispatcher
from blobfs.sync.loading.extra import ExtraTraffic
from blobfs.sync.loading.landers import Landers
from blobfs.sync.loading.load import Load
from blobfs.sync.loading.passing import Passing
from blobfs.sync.loading.source import MerkleSource, PlainSource
from blobfs.sync.peer import Peer
from blobfs.sync.space import Space


class LoadMaking:
    """Makes loads; holds what they have in common."""

    def __init__(
        self,
        store: Store,
        disk: DiskThreads,
        peers: Sequence[Peer],
        space: Space,
        settings: LoadSettings,
        landers: Landers,
    ) -> None:
        self._store = store
        self._disk = disk
        self._peers = peers
        self._space = space
        self._settings = settings
        self._passing = Passing()
        self._landers = landers
        self.dispatcher = Dispatcher(settings.bodies)
        self.extra = ExtraTraffic(settings.extra_traffic)

    def open_either(self, blob: BlobId, size: int) -> OpenBlob | tuple[Partial, list[WaitingName]]:
        """The blob, if it has become whole since it was looked for, or what there is of it. Blocks."""
        opened = open_verifiable(self._store, blob)
        if opened is not None:
            return opened
        partial = open_partial(self._store, blob, size)
        return partial, partial.names() if partial.is_resumed else []

    def of_blob(self, blob: BlobId, size: int, partial: Partial) -> MerkleSource:
        return MerkleSource(blob, size, partial, self._disk, self._store.hashing)

    async def of_plain(
        self, key: str, name: Name, file: PlainFile, peer: Peer
    ) -> tuple[Partial, PlainSource]:
        partial = await self._disk.run(open_partial, self._store, key, file.size)
        return partial, PlainSource(name, file, peer, partial, self._store.hashing)

    def make(
        self,
        key: str,
        partial: Partial,
        source: MerkleSource | PlainSource,
        peers: Sequence[Peer] | None,
        nursery: trio.Nursery,
        on_whole: Callable[[Load], None],
    ) -> Load:
        """`peers` are the shares to load it from; None: the node's own."""
        load = Load(
            key,
            partial,
            source,
            list(self._peers if peers is None else peers),
            self._settings,
            self._disk,
            self.dispatcher,
            self.extra,
            self._space,
            self._passing,
            self._landers,
            nursery,
            on_whole,
            max_tries=self._settings.max_tries,
            retry_timeout=self._settings.retry_timeout,
        )
        load.last_needed = trio.current_time()
        return load
