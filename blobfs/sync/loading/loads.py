"""All loads of this node: one per blob, from its first reader until it is whole and shared in turn.

When the last chunk of a blob is here it is kept and shared in turn (`completion.py`). A load that nobody
reads and that the fill cannot finish (`fill.py`) is put to sleep: its bytes and its map stay on the disk.
"""

import logging
import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict

import trio

from blobfs import errors
from blobfs.config.settings import LoadSettings, LoadTerms
from blobfs.model import CHUNK_SIZE, EMPTY_BLOB, Attempt, BlobId, Invalid, Name, parse_blob_id
from blobfs.record import BlobRecord, SymlinkRecord
from blobfs.shares.choice import Urgency
from blobfs.shares.plain import PlainFile
from blobfs.store import sealed
from blobfs.store.eviction import Kept, evict_partial
from blobfs.store.opening import Store
from blobfs.store.partial import Partial, list_partials, partial_bytes
from blobfs.store.verified import OpenBlob
from blobfs.store.waiting import WaitingName
from blobfs.sync.arrivals import Arrivals
from blobfs.sync.background import guarded
from blobfs.sync.disk import DiskThreads
from blobfs.sync.failures import Failure, RecentFailures, failed_now
from blobfs.sync.loading.completion import Completion
from blobfs.sync.loading.demoting import Around, Demoting
from blobfs.sync.loading.landers import Landers
from blobfs.sync.loading.load import Load
from blobfs.sync.loading.load_making import LoadMaking
from blobfs.sync.loading.reader import LoadReader, Reader
from blobfs.sync.loading.reads import Reads
from blobfs.sync.loading.sealed_reading import SealedReader, StoredBlobs
from blobfs.sync.loading.source import MerkleSource, PlainSource, plain_key
from blobfs.sync.naming.namespace import Namespace
from blobfs.sync.peer import Peer
from blobfs.sync.sealer import Sealer
from blobfs.sync.space import Space

_log = logging.getLogger(__name__)

KEPT_FAILURES = 1024
"""Loads that nobody works on whose last failure can still be asked for."""
KEPT_PLAIN_BLOBS = 4096
"""Versions of plain files whose blob id is known; the kernel may ask for one again until it forgets it."""
NAMES_SAVED_FROM = 8 * CHUNK_SIZE
"""Blobs up to this size arrive in one request: what to call them is not written down before."""


USUAL_TERMS = LoadTerms()
"""Those of a reader of the mount: what the node has set."""


class Loads:
    """The registry. `_loads` holds a load exactly while somebody reads it or it is not whole yet and awake.

    `_asleep` are partial blobs on the disk that no load works on, with the time from which the fill
    may wake them.
    """

    def __init__(
        self,
        store: Store,
        disk: DiskThreads,
        peers: Sequence[Peer],
        sealer: Sealer,
        namespace: Namespace,
        space: Space,
        arrivals: Arrivals,
        settings: LoadSettings,
        landers: Landers,
    ) -> None:
        self._store = store
        self._disk = disk
        self._peers = peers
        self._settings = settings
        self._making = LoadMaking(store, disk, peers, space, settings, landers)
        self._completion = Completion(store, disk, sealer, namespace)
        around = Around(self.load_of, self.adopt, self._bring)
        self.demoting = Demoting(store, disk, namespace.lock, arrivals, around)
        self.reads = Reads()
        self.stored = StoredBlobs(store, disk, self.demoting, self._open_again, settings, self.reads)
        self.dispatcher = self._making.dispatcher
        self.extra = self._making.extra
        self._loads: dict[str, Load] = {}
        self._opening: dict[str, trio.Lock] = {}
        self._asleep: dict[str, tuple[int, float]] = {}
        self._failures = RecentFailures(KEPT_FAILURES)
        self._plain_blobs: OrderedDict[str, BlobId] = OrderedDict()
        self.stirred = trio.Event()
        """Set when there may be something to fill; whoever waits for it puts a new one here."""
        self._nursery: trio.Nursery | None = None
        self.completed = 0

    def statistics(self) -> dict[str, int]:
        return {
            "loads": len(self._loads),
            "asleep": len(self._asleep),
            "in_flight": sum(len(load.in_flight) for load in self._loads.values()),
            "spans": sum(len(load.spans) for load in self._loads.values()),
            "completed": self.completed,
            **asdict(self.dispatcher.statistics()),
            **asdict(self.extra.statistics()),
            **self.demoting.statistics(),
        }

    def load_of(self, key: str) -> Load | None:
        return self._loads.get(key)

    def part_of(self, blob: BlobId) -> Partial | None:
        """What has come of a blob that is being loaded, for those who ask this node for it."""
        load = self._loads.get(blob)
        return None if load is None else load.partial

    def last_attempts(self, key: str) -> tuple[Attempt, ...]:
        """Those of the last failure to load something, also when nobody loads it any more."""
        load, kept = self._loads.get(key), self._failures.of(key)
        return load.failures.attempts if load is not None else () if kept is None else kept.attempts

    def last_failure(self, key: str) -> Failure | None:
        """Likewise."""
        load = self._loads.get(key)
        return (load.failures.last if load is not None else None) or self._failures.of(key)

    def loads_of(self, name: Name) -> list[Load]:
        """Those that will be shared in turn under this name."""
        return [load for load in self._loads.values() if name in load.names]

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Owns the tasks of all loads, until it is cancelled."""
        for key, size in await self._disk.run(list_partials, self._store):
            self._asleep[key] = (size, trio.current_time() + self._settings.fill_after)
        await self._completion.publish_waiting()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            await nursery.start(self.demoting.run)
            task_status.started()
            await trio.sleep_forever()

    async def open(
        self,
        blob: BlobId,
        size: int,
        name: Name | None,
        record: BlobRecord | None,
        terms: LoadTerms = USUAL_TERMS,
        peers: Sequence[Peer] | None = None,
    ) -> Reader:
        """A reader of a blob, wherever it is; `name` is shared in turn with it. Asks no share.

        `peers` are the shares to load it from, if not the node's own; they stay open as long as the load.
        """
        if size == 0 and blob != EMPTY_BLOB:
            raise errors.WrongEverywhere("its record gives it no bytes, and that is not its id")
        reader: Reader | None = self.stored.open_nowait(blob, size)
        if reader is None and blob not in self._loads:  # what is being loaded is not looked for on the disk
            reader = await self.open_here(blob, size)
        reader = reader or await self._open_load(blob, size, terms, peers)
        try:
            if name is not None and record is not None:
                await self._remember_name(reader, name, record)
        except BaseException:
            reader.close()
            raise
        return reader

    def open_nowait(
        self, blob: BlobId, size: int, name: Name | None, record: BlobRecord | None
    ) -> SealedReader | None:
        """As `open`, if nothing has to be waited for: not for the disk either. None: `open` it."""
        if name is not None and record is not None and not self._completion.is_known_nowait(name, record):
            return None
        return self.stored.open_nowait(blob, size)

    async def open_here(self, blob: BlobId, size: int) -> SealedReader | None:
        """A reader of a blob that is here."""
        return await self.stored.open(blob, size)

    async def _open_again(self, blob: BlobId, size: int) -> Reader:
        return await self.open(blob, size, None, None)

    async def _bring(self, blob: BlobId, size: int) -> None:
        """All of a blob, for nobody who waits."""
        reader = await self._open_again(blob, size)
        try:
            if isinstance(reader, LoadReader):
                await reader.load.bring(0, size, Urgency.FILL, math.inf)
        finally:
            reader.close()

    async def _open_kept(self, load: Load) -> SealedReader | None:
        return await self.stored.open(BlobId(load.key), load.size)

    async def _open_load(
        self, blob: BlobId, size: int, terms: LoadTerms, peers: Sequence[Peer] | None
    ) -> Reader:
        async with self._opening.setdefault(blob, trio.Lock()):
            load = self._loads.get(blob)
            if load is not None and load.partial.refusal is not None and _is_unused(load):
                self._loads.pop(blob).partial.close()
                load = None  # the disk may take it by now
            if load is None:
                while isinstance(
                    found := await self._disk.run(self._making.open_either, blob, size), OpenBlob
                ):
                    if (here := await self.stored.reader(found, size)) is not None:
                        return here
                load = self._resume(blob, size, *found, peers)
            if load.size != size:
                raise errors.WrongEverywhere(f"a record gives it {size} bytes, another {load.size}")
            load.join(terms, peers if peers is not None else self._peers)
            # No await since the load was found or made: before it has a reader it may be put to sleep.
            return LoadReader(load, self._settings.read_ahead, self.reads, self._release, self._open_kept)

    async def _remember_name(self, reader: Reader, name: Name, record: BlobRecord) -> None:
        """Shares a name in turn: now if its blob is here, or when it is. Reading does not depend on it."""
        try:
            if not isinstance(reader, LoadReader):
                await self.adopt(name, record)
            elif name not in reader.load.names:
                reader.load.names[name] = record
                if reader.size > NAMES_SAVED_FROM:
                    await self._disk.run(reader.load.partial.add_name, name, record, "")
        except (errors.StoreFull, errors.QuotaExceeded, errors.StoreReadOnly) as failure:
            _log.info("%r is not shared in turn for now: %s", name, failure)

    async def open_plain(self, name: Name, file: PlainFile, peer: Peer) -> Reader:
        """A reader of one version of a file on a plain share."""
        key = plain_key(peer, name, file)
        async with self._opening.setdefault(key, trio.Lock()):
            load = self._loads.get(key)
            if load is None and key in self._plain_blobs:
                here = await self.open_here(self._plain_blobs[key], file.size)
                if here is not None:
                    return here
            if load is None:
                partial, source = await self._making.of_plain(key, name, file, peer)
                load = self._start(key, partial, source, [peer])
            load.names[name] = None
            return LoadReader(load, self._settings.read_ahead, self.reads, self._release)

    async def _open_either(self, blob: BlobId, size: int) -> OpenBlob | tuple[Partial, list[WaitingName]]:
        return await self._disk.run(self._making.open_either, blob, size)

    def _resume(
        self,
        blob: BlobId,
        size: int,
        partial: Partial,
        names: list[WaitingName],
        peers: Sequence[Peer] | None = None,
    ) -> Load:
        self._asleep.pop(blob, None)
        load = self._start(blob, partial, self._making.of_blob(blob, size, partial), peers)
        load.names.update((each.name, each.record) for each in names)
        return load

    def _start(
        self,
        key: str,
        partial: Partial,
        source: MerkleSource | PlainSource,
        peers: Sequence[Peer] | None = None,
    ) -> Load:
        assert self._nursery is not None
        load = self._making.make(key, partial, source, peers, self._nursery, self._on_whole)
        self._loads[key] = load
        self.stirred.set()
        load.check_whole()
        return load

    def _on_whole(self, load: Load) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(guarded, self._complete, load)

    def _release(self, load: Load) -> None:
        load.readers -= 1
        if load.readers == 0:
            load.forget_goals()
        load.last_needed = trio.current_time()
        self.stirred.set()
        if load.readers == 0 and self._loads.get(load.key) is not load:
            load.partial.close()

    async def _complete(self, load: Load) -> None:
        """Keeps a blob that is whole and shares it in turn, under its names."""
        try:
            content = await self._completion.keep(load, had_names_saved=load.size > NAMES_SAVED_FROM)
            self.stored.note_right(content.blob, load.partial.fd)
            if isinstance(load.source, PlainSource):
                self._keep_plain_blob(load.key, content.blob)
        except errors.BlobfsError as error:
            load.keep_failure = error
            self._failures.note(load.key, failed_now(error))
            _log.warning("could not keep %s: %s", load.key, error)
        finally:
            load.kept.set()
            if self._loads.get(load.key) is load:
                del self._loads[load.key]
            self._forget_opening(load.key)
            if load.readers == 0:
                load.partial.close()
        self.completed += 1

    def _forget_opening(self, key: str) -> None:
        opening = self._opening.get(key)
        if opening is not None and not opening.locked():
            del self._opening[key]

    def _keep_plain_blob(self, key: str, blob: BlobId) -> None:
        self._plain_blobs[key] = blob
        if len(self._plain_blobs) > KEPT_PLAIN_BLOBS:
            self._plain_blobs.popitem(last=False)

    async def adopt(self, name: Name, record: BlobRecord | SymlinkRecord) -> None:
        """Shares in turn what was loaded under its name elsewhere, unless that means something newer here."""
        await self._completion.adopt(name, record)

    # What the fill works on

    def unfinished(self) -> list[Load]:
        return [load for load in self._loads.values() if not load.partial.is_whole]

    def asleep(self) -> list[tuple[str, float]]:
        """Partial blobs on the disk that no load works on, with the time from which they may be woken."""
        return [(key, until) for key, (_, until) in self._asleep.items()]

    async def put_to_sleep(self, load: Load, until: float) -> bool:
        """Lets go of a load that nobody reads; its bytes stay. False when somebody does."""
        if not _is_unused(load):
            return False
        await self._disk.run(load.partial.save_map)
        if not _is_unused(load) or self._loads.get(load.key) is not load:
            return False
        del self._loads[load.key]
        load.partial.close()
        if load.failures.last is not None:
            self._failures.note(load.key, load.failures.last)
        if isinstance(load.source, MerkleSource):  # part of a plain file: worth something to a reader only
            self._asleep[load.key] = (load.size, until)
        return True

    async def wake(self, key: str) -> None:
        """Makes a load of what is asleep."""
        size, _ = self._asleep.pop(key)
        try:
            blob = parse_blob_id(key)
        except Invalid:
            return  # part of a plain file
        async with self._opening.setdefault(blob, trio.Lock()):
            if blob in self._loads:
                return
            found = await self._open_either(blob, size)
            if isinstance(found, OpenBlob):
                found.close()
            else:
                self._resume(blob, size, *found)

    # What eviction asks

    def busy(self) -> set[str]:
        """What somebody reads, or has waiting to be kept: blob ids and keys of partial blobs."""
        return {key for key, load in self._loads.items() if not _is_unused(load)} | set(self.stored.readers)

    async def evict_partial(self, key: str) -> int | Kept:
        """Lets go of what there is of a blob that nobody reads; bytes freed."""
        load = self._loads.get(key)
        if load is not None and not await self.put_to_sleep(load, math.inf):
            return Kept.OPEN
        async with self._opening.setdefault(key, trio.Lock()):
            if key in self._loads:
                return Kept.OPEN
            self._asleep.pop(key, None)
            outcome = await self._disk.run(evict_partial, self._store, key)
        self._forget_opening(key)
        return outcome

    def present_bytes(self, key: str, size: int) -> int:
        """How much of a blob is on the disk; two cheap calls to the file system at most."""
        load = self._loads.get(key)
        if load is not None:
            return load.partial.present_bytes
        if sealed.has(self._store, self._plain_blobs.get(key, BlobId(key))):
            return size
        return partial_bytes(self._store, key, size) if key in self._asleep else 0

    async def save_maps(self) -> None:
        """At the end: what was loaded is not loaded again."""
        for load in list(self._loads.values()):
            if not load.partial.is_whole:
                await self._disk.run(load.partial.save_map)


def _is_unused(load: Load) -> bool:
    return not (load.readers or load.in_flight or load.partial.is_whole)
