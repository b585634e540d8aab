"""Waiting until what was loaded is in the share."""

import trio
from trio.testing import MockClock

from blobfs.store.opening import Store
from blobfs.sync.keeping import wait_kept
from blobfs.sync.packages.progress import Progress
from tests.sync.fake_share import FakeShare, blob_of
from tests.sync.running import ScriptedDisk, content, is_kept, running, until


async def test_whoever_waits_is_not_kept_waiting(store: Store, mock_clock: MockClock) -> None:
    """Also when the sealer is given the blob only after it was hurried, and has worked on others meanwhile.

    The clock stands still: what gathers for a while gathers for ever.
    """
    raw, share, disk, resume = content(30_000), FakeShare(), ScriptedDisk(), trio.Event()
    share.add_blob(raw)
    disk.pausing["tree"] = resume
    async with running(store, share, disk=disk) as sync, trio.open_nursery() as nursery:
        load = await sync.whole_blobs.bring(blob_of(raw), len(raw), Progress())
        assert load is not None
        nursery.start_soon(wait_kept, load, sync.sealer)
        await disk.paused.wait()
        await sync.share_blob("other", b"other")
        resume.set()
        await until(load.kept.is_set)
        assert is_kept(store, blob_of(raw), raw)
