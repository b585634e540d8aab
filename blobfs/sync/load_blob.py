"""load_blob: a name's whole blob is brought here, kept, and shared in turn.

1. What the name means here, and is here, is the answer at once, without any network (P6).
2. Otherwise the shares are asked what it means: in rounds, while one of them cannot be asked.
3. Its blob is loaded whole, by the load that everybody who reads it shares (P7).
4. When it is in this node's share, under its name, the call is done.

The deadline covers all of it. A call that is cancelled takes nothing back: what has arrived stays, and a load
that others want goes on.
"""

import math
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from blobfs import errors
from blobfs.config.settings import LoadSettings, LoadTerms
from blobfs.model import Attempt, BlobId, Name
from blobfs.record import BlobRecord, DirRecord, SymlinkRecord
from blobfs.shares.choice import Urgency
from blobfs.shares.retry_rules import is_worth_asking_again, pause
from blobfs.store.failures import store_errors
from blobfs.store.opening import Store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.keeping import wait_kept
from blobfs.sync.known_shares import Circle, KnownShares
from blobfs.sync.loading.load import Load
from blobfs.sync.loading.loads import Loads
from blobfs.sync.loading.reader import LoadReader, Reader
from blobfs.sync.naming.answers import Answer, Present, PresentPlain, Unknown, failure_from
from blobfs.sync.naming.catalogue import Catalogue
from blobfs.sync.naming.namespace import Namespace
from blobfs.sync.sealer import Sealer

Lookup = Callable[[Name, Catalogue], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class LoadedBlob:
    """A blob that is whole in this node's share. Its file is not to be changed."""

    name: Name
    blob: BlobId
    size: int
    path: Path
    """The file under its name; under its id where the name has come to mean something newer meanwhile."""


@dataclass(frozen=True, slots=True)
class _Call:
    """One call: what it wants, and whom it asks."""

    name: Name
    terms: LoadTerms
    circle: Circle
    begin: float

    @property
    def deadline(self) -> float:
        return math.inf if self.terms.deadline is None else self.terms.deadline

    def late(self, what: str, phase: str, attempts: Sequence[Attempt]) -> errors.DeadlineExceeded:
        seconds = round(trio.current_time() - self.begin, 3)
        silent = [peer.too_late(phase, seconds) for peer in self.circle.peers]
        return errors.DeadlineExceeded(f"{self.name} was {what} after {seconds:g} s", attempts or silent)


class Loading:
    """Loads blobs by name. Holds no state of its own."""

    def __init__(
        self,
        store: Store,
        disk: DiskThreads,
        namespace: Namespace,
        sealer: Sealer,
        loads: Loads,
        known_shares: KnownShares,
        settings: LoadSettings,
        lookup: Lookup,
    ) -> None:
        self._store = store
        self._disk = disk
        self._namespace = namespace
        self._sealer = sealer
        self._loads = loads
        self._known_shares = known_shares
        self._settings = settings
        self._lookup = lookup

    async def load(self, name: Name, terms: LoadTerms) -> LoadedBlob:
        """Raises `LoadFailed`, `StoreError`; `IsADirectory` and `NotSupported` for what is no blob."""
        if terms.known_shares is None:
            return await self._load(_Call(name, terms, self._known_shares.own, trio.current_time()))
        here = await self._loaded(name)
        if here is not None:
            return here
        async with self._known_shares.opened(terms.known_shares) as circle:
            return await self._load(_Call(name, terms, circle, trio.current_time()))

    async def _load(self, call: _Call) -> LoadedBlob:
        match await self._ask(call):
            case Present(record=BlobRecord() as record, peer=peer):
                return await self._load_record(call, record, is_foreign=peer is not None)
            case PresentPlain(file, peer):
                await self._bring(call, await self._loads.open_plain(call.name, file, peer))
                return await self._demand_loaded(call.name)
            case Present(record=DirRecord()):
                raise errors.IsADirectory(f"{call.name} is a directory")
            case Present(record=SymlinkRecord(target=target)):
                raise errors.NotSupported(f"{call.name} is a symlink to {target}")
            case _:
                raise errors.AbsentEverywhere(f"no share has {call.name}")

    async def _ask(self, call: _Call) -> Answer:
        """What the name means: asked again, with pauses, as long as it is not known and tries are left."""
        if await self._loaded(call.name) is not None:
            return await self._lookup(call.name, call.circle.catalogue)  # waits for nobody
        tries = call.terms.max_tries or self._settings.max_tries
        base = self._settings.retry_timeout if call.terms.retry_timeout is None else call.terms.retry_timeout
        attempts: tuple[Attempt, ...] = ()
        with trio.move_on_at(call.deadline):
            for turn in range(tries):
                answer = await self._lookup(call.name, call.circle.catalogue)
                if not isinstance(answer, Unknown):
                    return answer
                attempts = answer.attempts
                if not any(is_worth_asking_again(attempt.kind) for attempt in attempts):
                    break
                left = call.deadline - trio.current_time()
                seconds = pause(turn, base, random.random(), None, left)
                if turn + 1 == tries or seconds is None:
                    break
                await trio.sleep(seconds)
            raise failure_from(attempts)
        raise call.late("not found", "record", attempts)

    async def _load_record(self, call: _Call, record: BlobRecord, is_foreign: bool) -> LoadedBlob:
        reader = await self._loads.open(
            record.blob,
            record.size,
            call.name if is_foreign else None,
            record if is_foreign else None,
            call.terms,
            call.circle.peers,
        )
        await self._bring(call, reader)
        if is_foreign:
            # Where it had been kept before the load heard of this name; else there is nothing left to do.
            await self._loads.adopt(call.name, record)
        return await self._demand_loaded(call.name, record.blob)

    async def _bring(self, call: _Call, reader: Reader) -> None:
        """Until the blob is whole and kept."""
        try:
            if isinstance(reader, LoadReader):
                await self._bring_whole(call, reader.load)
                await self._wait_kept(call, reader.load)
        finally:
            reader.close()

    async def _bring_whole(self, call: _Call, load: Load) -> None:
        """A deadline that the call names counts instead of the bound of one read."""
        while not load.partial.is_whole:
            try:
                await load.bring(0, load.size, Urgency.READER, call.deadline)
            except errors.DeadlineExceeded as late:
                again = trio.current_time() + self._settings.failure_memory
                if call.terms.deadline is None or again >= call.deadline:
                    raise call.late("not whole", "blob", late.attempts) from late
                await trio.sleep_until(again)

    async def _wait_kept(self, call: _Call, load: Load) -> None:
        with trio.move_on_at(call.deadline):
            await wait_kept(load, self._sealer)
            return
        raise call.late("whole, but not kept", "blob", load.failures.attempts)

    async def _loaded(self, name: Name, blob: BlobId | None = None) -> LoadedBlob | None:
        """What is here: of the name, or of `blob` if the name means something else."""
        entry = await self._namespace.entry(name)
        record = entry.record if entry is not None else None
        if isinstance(record, BlobRecord) and blob in (None, record.blob):
            return await self._disk.run(_at, self._store.layout.named(name), name, record.blob)
        return None if blob is None else await self._disk.run(_at, self._store.layout.blob(blob), name, blob)

    async def _demand_loaded(self, name: Name, blob: BlobId | None = None) -> LoadedBlob:
        found = await self._loaded(name, blob)
        if found is None:
            raise errors.NameMissing(f"{name} was loaded, but has been removed here")
        return found


@store_errors()
def _at(path: Path, name: Name, blob: BlobId) -> LoadedBlob | None:
    try:
        return LoadedBlob(name, blob, path.stat().st_size, path)
    except FileNotFoundError:
        return None
