"""Small blobs on their way from a share into the store: verified, in memory, readable, not yet kept.

1. What arrives while a batch is written goes into the next one: one flush for all of it (`store.small`).
2. What waits takes memory, and so does what was asked for: both count, and at the limit nothing more is asked
   for.
3. A batch that cannot be kept is forgotten: whoever read it has his bytes, whoever wants it again loads it.
"""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import trio

from blobfs import errors
from blobfs.model import BlobId
from blobfs.store.opening import Store
from blobfs.store.small import SmallBlob, place_small
from blobfs.sync.disk import DiskThreads

_log = logging.getLogger(__name__)

MOST_WAITING = 64 << 20
"""Bytes: what a disk takes in a second or so, and what a node can spare."""

QUIET = 0.2
"""Seconds without an arrival after which what waits is put into the store: it is readable as it is, and its
reader would wait for a thread that writes files beside the loop. A program's import that took 0.30 s with
20 ms here takes 0.2 s."""
LONGEST = 5.0
"""Seconds after which it is done all the same."""
ENOUGH = 2 << 20
"""Bytes that are put into the store at once while somebody waits for all of a package: a batch takes the disk
about as long as a line of 1 Gbit/s the next one."""
MUCH = 16 << 20
"""Bytes that are put into the store whether or not more is coming."""


class Arrivals(Protocol):
    """Who wants to know of blobs in the store (`blobfs.sync.arrivals`)."""

    def arrived(self, blob: BlobId) -> None: ...


@dataclass(frozen=True, slots=True)
class _Waiting:
    small: SmallBlob
    package: BlobId | None
    """It came with this one, whose open transaction is to hold it; None: with a directory."""


class Placing:
    """Mutable, all on the event loop: `_waiting`; `_ready`, the bytes of it; `_taken`, those and what was
    promised; `_stirs` counts what comes and what is read.
    """

    def __init__(self, store: Store, disk: DiskThreads, arrivals: Arrivals) -> None:
        self._store = store
        self._disk = disk
        self._arrivals = arrivals
        self._waiting: dict[BlobId, _Waiting] = {}
        self._taken = 0
        self._stirs = 0
        self._ready = 0
        self._eager = 0
        self._stirred = trio.Event()
        self._wanted = trio.Event()
        self._freed = trio.Event()
        self._is_failing = False

    def __repr__(self) -> str:
        return f"<Placing waiting={len(self._waiting)} taken={self._taken}>"

    @property
    def taken(self) -> int:
        """Bytes that wait or were promised."""
        return self._taken

    def content_of(self, blob: BlobId) -> bytes | None:
        waiting = self._waiting.get(blob)
        return None if waiting is None else bytes(waiting.small.content)

    def read(self, blob: BlobId) -> bytes | None:
        """The same, for a program: more is read and less is stored while it goes on."""
        content = self.content_of(blob)
        self._stirs += content is not None
        return content

    async def room(self, length: int) -> None:
        """Until so much more may be asked for; `promise` it before anything else happens."""
        while self._taken and self._taken + length > MOST_WAITING:
            self._wanted.set()
            await self._freed.wait()

    def promise(self, length: int) -> None:
        """So many bytes were asked for: each is added or given back."""
        self._taken += length

    def give_back(self, length: int) -> None:
        self._taken -= length
        self._wake()

    def add(self, small: SmallBlob, package: BlobId | None) -> None:
        """A blob that was promised, verified by the caller."""
        if small.blob in self._waiting:  # another package has it too
            self.give_back(len(small.content))
            return
        self._waiting[small.blob] = _Waiting(small, package)
        self._stirs += 1
        self._ready += len(small.content)
        if self._eager and self._ready >= ENOUGH:
            self._wanted.set()
        self._stirred.set()

    @contextmanager
    def eager(self) -> Iterator[None]:
        """While somebody waits for much of it to be in the store, and no program for its bytes."""
        self._eager += 1
        try:
            yield
        finally:
            self._eager -= 1

    async def settled(self, blobs: Iterable[BlobId]) -> None:
        """Until none of these waits any more: they are in the store, or could not be kept."""
        waiting = set(blobs)
        while not waiting.isdisjoint(self._waiting):
            self._wanted.set()
            await self._freed.wait()

    async def settle(self) -> None:
        """The same of all that waits now."""
        await self.settled(tuple(self._waiting))

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Puts what arrives into the store, until it is cancelled."""
        task_status.started()
        while True:
            await self._stirred.wait()
            await self._until_quiet()
            self._stirred, self._wanted = trio.Event(), trio.Event()
            while self._waiting:
                package = next(iter(self._waiting.values())).package
                batch = [each.small for each in self._waiting.values() if each.package == package]
                is_kept = False
                try:
                    is_kept = await self._place(batch, package)
                finally:
                    self._let_go(batch, is_kept)

    async def _until_quiet(self) -> None:
        """Until nothing has come or was read for a moment, somebody waits for the store, or it is much."""
        seen, end = -1, trio.current_time() + LONGEST
        while seen != self._stirs and self._ready < MUCH and trio.current_time() < end:
            seen = self._stirs
            with trio.move_on_after(QUIET):
                await self._wanted.wait()
                return

    async def _place(self, batch: list[SmallBlob], package: BlobId | None) -> bool:
        """Whether they are in the store. A failure is said once, until it works again."""
        try:
            await self._disk.run(place_small, self._store, batch, package)
        except Exception as error:
            if not isinstance(error, errors.BlobfsError):
                _log.exception("unexpected; %d small blobs are not kept", len(batch))
            elif not self._is_failing:
                _log.warning("%d small blobs are not kept: %s", len(batch), error)
            self._is_failing = True
            return False
        self._is_failing = False
        return True

    def _let_go(self, batch: list[SmallBlob], is_kept: bool) -> None:
        for small in batch:
            del self._waiting[small.blob]
            self._taken -= len(small.content)
            self._ready -= len(small.content)
        self._wake()
        if is_kept:
            for small in batch:
                self._arrivals.arrived(small.blob)

    def _wake(self) -> None:
        self._freed.set()
        self._freed = trio.Event()
