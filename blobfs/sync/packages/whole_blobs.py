"""Blobs are brought here whole, by their ids: one by one, through the loads that their readers share (P7).

1. Large ones first, so that no large one is left when all the small ones are done.
2. A blob comes in two steps. Bringing its bytes is bounded so that the shares are kept busy and no more than
   that; until it is kept many wait together, for one flush of the disk is enough for all of them.
3. That no share has one blob, or has it right, says nothing of the others: they are loaded all the same. Any
   other failure (the shares are down, the disk is full) would meet them too, and ends it at once.
"""

import logging
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import trio

from blobfs import errors
from blobfs.model import BlobId
from blobfs.shares.choice import Urgency
from blobfs.sync.keeping import wait_kept
from blobfs.sync.loading.load import Load
from blobfs.sync.loading.loads import Loads
from blobfs.sync.loading.reader import LoadReader
from blobfs.sync.packages.failing import naming
from blobfs.sync.packages.progress import Progress
from blobfs.sync.sealer import Sealer

_log = logging.getLogger(__name__)

COMING = 32
"""Blobs that are asked for at a time, all packages together: small ones take a request each, and this is
about what a share answers at once."""
OPEN = 256
"""Blobs that are coming, or have come and wait to be kept: a descriptor or two each, of the usual 1,024."""
MOST_MISSING = 16
"""So many blobs that nobody has are enough to see what is wrong."""


NameOf = Callable[[BlobId], str]
"""What to call a blob in an error."""


@dataclass(eq=False)
class _Bringing:
    """What one call has seen so far. Mutable: `missing` and `failure`."""

    name_of: NameOf
    progress: Progress
    missing: list[errors.BlobfsError] = field(default_factory=list)
    """Rule 3."""
    failure: errors.BlobfsError | None = None

    @property
    def is_over(self) -> bool:
        return self.failure is not None or len(self.missing) >= MOST_MISSING

    def note(self, blob: BlobId, error: errors.BlobfsError) -> None:
        if isinstance(error, errors.AbsentEverywhere | errors.WrongEverywhere):
            self.missing.append(naming(self.name_of(blob), error))
        elif self.failure is None:
            self.failure = naming(self.name_of(blob), error)


class WholeBlobs:
    """Holds the bounds, for the whole node."""

    def __init__(self, loads: Loads, sealer: Sealer) -> None:
        self._loads = loads
        self._sealer = sealer
        self._coming = trio.Semaphore(COMING)
        self._open = trio.Semaphore(OPEN)

    async def bring(self, blob: BlobId, size: int, progress: Progress) -> Load | None:
        """Until all its bytes are here; its load, if it is one that may still have to be kept.

        Raises `LoadFailed`, `StoreError`.
        """
        async with self._coming:
            reader = await self._loads.open(blob, size, None, None)
            try:
                if not isinstance(reader, LoadReader):
                    progress.found(1, size)
                    return None
                partial = reader.load.partial
                before = partial.present_bytes
                flow = reader.load.flow
                with progress.arriving(lambda: partial.present_bytes), flow.feeding(progress.flow):
                    await reader.load.bring(0, size, Urgency.READER, math.inf)
                if before < size or not size:
                    progress.loaded(1, size, size - before)
                else:
                    progress.found(1, size)
                return reader.load
            finally:
                reader.close()

    async def wait_kept(self, load: Load) -> None:
        """Until it is in the store. Raises `StoreError`."""
        await wait_kept(load, self._sealer)

    async def load_all(
        self, sizes: Mapping[BlobId, int], name_of: NameOf, progress: Progress
    ) -> errors.BlobfsError | None:
        """Until all of them are in the store, or all but some that nobody has: then the first one's error.

        Raises any other error that it meets. All of them say of what they are.
        """
        seen = _Bringing(name_of, progress)
        async with trio.open_nursery() as nursery:
            for blob, size in sorted(sizes.items(), key=lambda item: item[1], reverse=True):
                await self._open.acquire()
                nursery.start_soon(self._load, blob, size, seen, nursery.cancel_scope)
        if seen.failure is not None:
            raise seen.failure
        return next(iter(seen.missing), None)

    async def _load(self, blob: BlobId, size: int, seen: _Bringing, scope: trio.CancelScope) -> None:
        try:
            load = await self.bring(blob, size, seen.progress)
            if load is not None:
                await self.wait_kept(load)
        except errors.BlobfsError as error:
            seen.note(blob, error)
            if seen.is_over:
                scope.cancel()
        finally:
            self._open.release()
