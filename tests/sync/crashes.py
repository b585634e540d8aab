"""A SIGKILL between any two steps on the disk, and what the next start makes of it.

A `SteppingDisk` lets one call at a time to the disk and copies the store after each one. A copy is
what a killed daemon leaves: everything that was written, nothing that was only in memory.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio
from trio.testing import wait_all_tasks_blocked

from blobfs.model import ROOT, Name, join
from blobfs.record import BlobRecord, DirRecord
from blobfs.store import names, sealed
from blobfs.store.marks import RECORD, get_mark
from blobfs.store.opening import Store, open_store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.service import SyncService
from tests.sync.fake_share import FakeShare, tree_of
from tests.sync.running import T, Ts, copy_of, running


@dataclass(frozen=True)
class Crash:
    """The store as it was after one step; `steps` are the calls up to there."""

    root: Path
    steps: tuple[str, ...]


class SteppingDisk(DiskThreads):
    """Mutable: `crashes`, one for each step."""

    def __init__(self, root: Path, copies: Path) -> None:
        super().__init__()
        self._limiter = trio.CapacityLimiter(1)
        self._root = root
        self._copies = copies
        copies.mkdir()
        self._steps: list[str] = []
        self.crashes: list[Crash] = []

    async def run(self, call: Callable[[*Ts], T], *args: *Ts) -> T:
        def step(*args: *Ts) -> T:
            try:
                return call(*args)
            finally:
                self._note(call)

        return await super().run(step, *args)

    def _note(self, call: object) -> None:
        self._steps.append(getattr(call, "__name__", repr(call)))
        copied = copy_of(self._root, self._copies / f"{len(self._steps)}")
        self.crashes.append(Crash(copied, tuple(self._steps)))


def named_bytes(store: Store) -> dict[str, bytes]:
    """What the share serves under names; each is checked to be whole, read-only and as recorded (P10)."""
    found = {}
    directories = [ROOT]
    for directory in directories:
        for component, entry in names.read_records(store, directory).items():
            name = join(directory, component)
            path = store.layout.named(name)
            match entry.record:
                case BlobRecord() as record:
                    raw = path.read_bytes()
                    assert tree_of(raw).root == record.blob, f"{name} is not what its record says"
                    assert len(raw) == record.size
                    assert path.stat().st_mode & 0o222 == 0
                    found[str(name)] = raw
                case DirRecord():
                    directories.append(Name(name))
                case _:
                    assert not path.exists(), f"{name} is gone, or a symlink, and yet in the share"
    return found


def check_store(store: Store) -> None:
    """What holds in every store at rest: whole blobs with their trees, logs that say what the records say."""
    for blob in sealed.list_blobs(store):
        raw = store.layout.blob(blob).read_bytes()
        assert tree_of(raw).root == blob
        assert sealed.read_tree_file(store, blob) == tree_of(raw).tree
    for directory in names.list_directories(store):
        assert names.read_directory(store, directory) == names.read_records(store, directory)
    recorded = set(named_bytes(store))
    assert files_in_share(store) == recorded
    assert list(store.layout.incoming.iterdir()) == []


def files_in_share(store: Store) -> set[str]:
    share = store.layout.share
    files = (path.relative_to(share) for path in share.rglob("*") if path.is_file())
    return {str(path) for path in files if path.parts[0] != ".blobfs"}


async def settled(sync: SyncService) -> None:
    """Until nothing is left to redo or to repair."""
    while not await sync.finish(5):
        await wait_all_tasks_blocked()


async def restarted(root: Path, *shares: FakeShare) -> dict[str, bytes]:
    """Starts on what a crash left, waits for the repair, and says which names there are."""
    store = open_store(root)
    try:
        async with running(store, *shares) as sync:
            await settled(sync)
        check_store(store)
        return named_bytes(store)
    finally:
        store.close(clean=False)


async def after_a_crash(root: Path, copies: Path) -> dict[str, bytes]:
    """What a start on a copy of the store, as it is now, brings back."""
    return await restarted(copy_of(root, copies))


def marks(store: Store) -> list[bytes]:
    """The redo marks of what is in incoming/."""
    found = (get_mark(path, RECORD) for path in store.layout.incoming.iterdir())
    return [mark for mark in found if mark is not None]
