"""A sync service over a store and fake shares, and ways to wait for it without a clock."""

import os
import random
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar, TypeVarTuple

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs import errors
from blobfs.config.settings import Fill, LoadSettings
from blobfs.model import BlobId, Name
from blobfs.record import BlobRecord
from blobfs.store import sealed
from blobfs.store.incoming import Incoming
from blobfs.store.opening import Store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.jobs import SealJob
from blobfs.sync.loading.reader import Reader
from blobfs.sync.peer import Peer
from blobfs.sync.service import SyncService
from tests.sync.fake_share import FakeShare

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

SETTINGS = LoadSettings(max_tries=1, read_ahead=0, fill=Fill.NEVER)
"""One round over the shares, and nothing is loaded that is not read: the tests count requests."""

IDLE = 0.001
"""Seconds for which nothing runs before a condition is looked at again: threads take part."""

LONG = 3600.0
"""Seconds; a deadline further away is nobody's."""


def content(size: int, seed: int = 0) -> bytes:
    """Bytes that are no two times the same."""
    return random.Random(f"{size} {seed}").randbytes(size)


async def until(condition: Callable[[], bool], stir: Callable[[], object] = lambda: None) -> None:
    """Waits without a clock for what threads have a part in; the test's time limit is the bound."""
    while not condition():
        stir()
        await wait_all_tasks_blocked(IDLE)


@asynccontextmanager
async def running(
    store: Store, *shares: FakeShare, settings: LoadSettings = SETTINGS, disk: DiskThreads | None = None
) -> AsyncIterator[SyncService]:
    """A service that works; at the end it is cancelled as it is, which is not a clean end."""
    sync = SyncService(store, [Peer(share) for share in shares], settings, 0, disk)
    async with trio.open_nursery() as nursery:
        await nursery.start(sync.run)
        yield sync
        nursery.cancel_scope.cancel()


async def open_named(sync: SyncService, name: str, record: BlobRecord) -> Reader:
    return await sync.loads.open(record.blob, record.size, Name(name), record)


async def kept(sync: SyncService) -> None:
    """Until no load is under way and all that was loaded is in the share."""
    await until(lambda: sync.loads.statistics()["loads"] == 0, sync.sealer.hurry)


def is_kept(store: Store, blob: BlobId, raw: bytes) -> bool:
    """Whether the share holds exactly these bytes under their id."""
    return sealed.has(store, blob) and store.layout.blob(blob).read_bytes() == raw


def written(store: Store, raw: bytes, name: str | None, mode: int = 0o644, mtime_ns: int = 7_000) -> SealJob:
    """A file that was written and closed."""
    incoming = Incoming.create(store)
    incoming.write(0, raw)
    return SealJob(incoming, None if name is None else Name(name), mode, mtime_ns)


def copy_of(root: Path, to: Path) -> Path:
    """The store as a SIGKILL at this moment would leave it: links, holes and attributes as they are."""
    shutil.rmtree(to, ignore_errors=True)
    subprocess.run(["cp", "-a", "--", root, to], check=True, timeout=30)
    return to


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def jumping(clock: MockClock, call: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
    """Calls what sleeps on its way: whenever nothing runs, the clock goes to the next deadline."""
    done: list[T] = []
    failed: list[errors.BlobfsError] = []  # raised here, outside the nursery, that would wrap it
    async with trio.open_nursery() as nursery:

        async def work() -> None:
            try:
                done.append(await call(*args))
            except errors.BlobfsError as error:
                failed.append(error)

        nursery.start_soon(work)
        while not done and not failed:
            await wait_all_tasks_blocked(IDLE)
            ahead = trio.lowlevel.current_statistics().seconds_to_next_deadline
            clock.jump(ahead if 0 < ahead < LONG else 0)
    if failed:
        raise failed[0]
    return done[0]


class ScriptedDisk(DiskThreads):
    """Worker threads that fail, pause, or are watched.

    `failing` and `pausing` are changed by the tests; calls go by the name of what is called.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failing: dict[str, Exception] = {}
        self.pausing: dict[str, trio.Event] = {}
        """The next such call returns only when its event is set."""
        self.paused = trio.Event()
        self.after: Callable[[str], None] = lambda name: None
        """Called after each call with its name, in between two steps on the disk."""

    async def run(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        name = getattr(call, "__name__", repr(call))
        if name in self.failing:
            await trio.lowlevel.checkpoint()
            raise self.failing[name]
        try:
            return await super().run(call, *args)
        finally:
            self.after(name)
            if (resume := self.pausing.pop(name, None)) is not None:
                self.paused.set()
                await resume.wait()
