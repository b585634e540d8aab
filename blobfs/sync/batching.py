"""Small closed files that are still in memory: how a group of them is sealed together.

What cannot go along (its name means something already, it was renamed or changed since its redo mark was
written, the disk refused a part) is left to the sealer, who does each by itself.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from blobfs import errors
from blobfs.model import split
from blobfs.store import batches
from blobfs.store.batches import SmallFile, Written
from blobfs.store.held import Held
from blobfs.store.opening import Store
from blobfs.sync.disk import DiskThreads
from blobfs.sync.jobs import Job, SealJob
from blobfs.sync.naming.namespace import Namespace

_log = logging.getLogger(__name__)

FROM = 5
"""Files from which on a redo list and a flush of everything cost less than a flush of each."""
AT_ONCE = 128
"""Files published while the lock of the names is held: some 15 ms."""


class Batching:
    """Seals what is in memory. Mutable: `redo_lists`, those written and not taken by `take_lists`."""

    def __init__(self, store: Store, disk: DiskThreads, namespace: Namespace) -> None:
        self._store = store
        self._disk = disk
        self._namespace = namespace
        self._redo_lists: list[Path] = []

    async def write(self, group: Sequence[Job]) -> None:
        """Has them all in `incoming/`, marked, not flushed; or none, then each is to be sealed by itself."""
        jobs = _together(group)
        if len(jobs) < FROM:
            return
        files = [await self._planned(job) for job in jobs]
        try:
            batch = await self._disk.run(batches.write, self._store, files)
        except errors.StoreError as failure:
            _log.info("%d files are sealed one by one: %s", len(jobs), failure)
            return
        self._redo_lists.append(batch.redo_list)
        for job, written in zip(jobs, batch.files, strict=True):
            assert isinstance(job.source, Held)
            job.written, job.content = written, written.content
            job.source.let_go()

    async def _planned(self, job: SealJob) -> SmallFile:
        assert job.name is not None
        assert isinstance(job.source, Held)
        published = await self._namespace.next_published_as(job.name)
        return SmallFile(job.name, job.source.content, job.sealed_mode(), job.mtime_ns, published)

    async def publish(self, jobs: Sequence[SealJob]) -> list[SealJob]:
        """Those that are shared now; all they are published as was written and flushed before."""
        published = []
        for start in range(0, len(jobs), AT_ONCE):
            async with self._namespace.lock:
                ready = [job for job in jobs[start : start + AT_ONCE] if await self._is_ready(job)]
                if await self._put([job.written for job in ready if job.written is not None]):
                    for job in ready:
                        assert job.written is not None
                        job.record = job.written.record
                    published += ready
        return published

    async def _is_ready(self, job: SealJob) -> bool:
        written = job.written
        if written is None or job.dropped or job.failure is not None:
            return False
        record = written.record
        if (job.name, job.sealed_mode(), job.mtime_ns) != (written.name, record.mode, record.mtime_ns):
            return False
        return await self._namespace.is_free_for(written.name, record.published_ns)

    async def _put(self, files: Sequence[Written]) -> bool:
        try:
            for directory in {split(file.name)[0] for file in files}:
                await self._namespace.ensure_directory(directory)
            if files:
                await self._namespace.put_new(files)
        except errors.BlobfsError as failure:  # whoever it was meets it again, by himself
            _log.info("%d files are shared one by one: %s", len(files), failure)
            return False
        return True

    async def give_file(self, job: SealJob) -> None:
        """Whoever is sealed by himself needs a file of his own."""
        if job.written is not None:
            job.source = await self._disk.run(batches.as_incoming, self._store, job.written)
            job.written = None
        elif isinstance(job.source, Held):
            held = job.source
            job.source = await self._disk.run(held.to_disk)
            held.let_go()

    def take_lists(self) -> list[Path]:
        """To be removed when all they list is known to be durable."""
        taken, self._redo_lists = self._redo_lists, []
        return taken

    def keep_lists(self, taken: list[Path]) -> None:
        """They could not be removed yet."""
        self._redo_lists = taken + self._redo_lists


def _together(group: Sequence[Job]) -> list[SealJob]:
    """Of two files with one name the last counts: their order is kept by whoever does them one by one."""
    names = Counter(job.name for job in group if isinstance(job, SealJob))
    return [
        job
        for job in group
        if isinstance(job, SealJob)
        and isinstance(job.source, Held)
        and job.written is None
        and job.name is not None
        and names[job.name] == 1
        and not job.dropped
    ]
