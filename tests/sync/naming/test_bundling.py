"""A node writes the bundles of its directories when these have come to rest."""

from trio.testing import MockClock

from blobfs.config.settings import SpaceSettings
from blobfs.model import Name
from blobfs.store.opening import Store
from blobfs.sync.service import SyncService
from tests.sync.running import content, running, until, written

HERE = Name("dir")
FILES = {f"{number:03d}": content(4096, number) for number in range(200)}


async def share_all(sync: SyncService, store: Store) -> None:
    for component, raw in FILES.items():
        sync.sealer.submit(written(store, raw, f"{HERE}/{component}"))
    await sync.sealer.settle()


async def test_bundles_are_written_at_rest(store: Store, mock_clock: MockClock) -> None:
    """Two seconds after the last change, behind everything else."""
    async with running(store) as sync:
        await share_all(sync, store)
        assert not store.layout.bundle_list(HERE).exists()
        await until(store.layout.bundle_list(HERE).exists, lambda: mock_clock.jump(0.5))
        (path,) = store.layout.bundles.iterdir()
        assert path.read_bytes() == b"".join(FILES.values())


async def test_the_end_writes_what_is_left(store: Store) -> None:
    """Who ends before a directory has come to rest does not leave it without."""
    async with running(store) as sync:
        await share_all(sync, store)
        await sync.finish(5)
        assert len(list(store.layout.bundles.iterdir())) == 1


async def test_no_room_no_bundles(store: Store) -> None:
    """What is there only to be faster takes nothing that is scarce."""
    async with running(store) as sync:
        sync.space.limit(SpaceSettings(quota=2 << 20))
        await share_all(sync, store)
        await sync.finish(5)
        assert list(store.layout.bundles.iterdir()) == []


async def test_an_unclean_end_is_made_up_for(store: Store, mock_clock: MockClock) -> None:
    """What was changed before a crash is looked at again, and so are its bundles."""
    async with running(store) as sync:
        await share_all(sync, store)
        assert not store.layout.bundle_list(HERE).exists()
    store.was_clean = False
    async with running(store):
        await until(store.layout.bundle_list(HERE).exists, lambda: mock_clock.jump(0.5))
