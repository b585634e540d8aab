"""Sealing: the end of writing. Content is hashed, made durable, and only then shared.

1. A file's last close submits it. Closed files gather as long as more come, up to a bound, so that a thousand
   small ones cost a few disk flushes and not a thousand; whoever waits for one ends the gathering.
2. What is left is hashed, and the redo mark (what the content is and the name it will have) goes
   on the file beside its bytes. Small ones that are in memory get files now, and one list of marks for
   all (`batching`).
3. One flush for the group. Only now may the share see the bytes (P10), and from now on a crash
   loses nothing: at the next start the mark is found and done (P2).
4. Under the lock of the names: the blob is linked into the share, its name's record written.
   The seal is done. A rename or unlink that came before this moment has changed the job instead.
5. Later, with a flush that many share, the marked files in `incoming/` are removed. Until then they are
   links to the blobs, so the blobs whose names were removed meanwhile go now.
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Collection
from pathlib import Path

import trio

from blobfs import errors
from blobfs.record import BlobRecord
from blobfs.store import batches, packages, sealed
from blobfs.store.held import HeldMemory
from blobfs.store.opening import Store
from blobfs.store.partial import place_partial
from blobfs.store.sealed import place_tree
from blobfs.sync.arrivals import Arrivals
from blobfs.sync.background import guarded
from blobfs.sync.batching import Batching
from blobfs.sync.disk import DiskThreads
from blobfs.sync.durations import Durations
from blobfs.sync.jobs import Job, KeepJob, SealJob
from blobfs.sync.naming.namespace import Namespace
from blobfs.sync.told import ToldFailures

_log = logging.getLogger(__name__)

GROUP_FLUSH_FROM = 4
"""So many files are flushed one by one; from more on the whole file system is flushed once."""
KEEP_DELAY = 0.3
"""Seconds for which loaded blobs gather: nobody waits for them, and they could be loaded again."""
DURABLE_DELAY = 1.0
"""Seconds for which published files gather before the flush that lets their redo marks go."""
MAX_GROUP = 4000
LONGEST_GATHERING = 1.0
"""Seconds for which closed files gather at most while more and more come: sealing would take the time of
whoever writes them."""
RETRY_DELAY = 5.0
"""Seconds until a job that failed (a full disk, mostly) is tried again."""


class Sealer:
    """Takes jobs, works on them in groups.

    `_pending` gathers jobs, `_unconfirmed` are published files whose marks wait for a flush; both
    are changed on the event loop only. `waited` is how long jobs gathered before their group was begun,
    `worked` how long that then took.
    """

    def __init__(
        self,
        store: Store,
        disk: DiskThreads,
        namespace: Namespace,
        arrivals: Arrivals,
        told: ToldFailures,
        delay: float,
        held: HeldMemory,
    ) -> None:
        self._store = store
        self._disk = disk
        self._namespace = namespace
        self._arrivals = arrivals
        self._told = told
        self._delay = delay
        self._held = held
        self._batching = Batching(store, disk, namespace)
        self._pending: list[Job] = []
        self._unconfirmed: list[SealJob] = []
        self._failed: list[Job] = []
        self._failed_some = trio.Event()
        self._published = trio.Event()
        self._submitted = trio.Event()
        self._written = trio.Event()
        self._hurry = trio.Event()
        self._busy = False
        self._running = 0
        self._settled = trio.Condition()
        self._confirming = trio.Lock()
        self.groups = 0
        self.sealed = 0
        self.waited = Durations()
        self.worked = Durations()

    def statistics(self) -> dict[str, int]:
        return {
            "pending": len(self._pending),
            "running": self._running,
            "unconfirmed": len(self._unconfirmed),
            "failed": len(self._failed),
            "groups": self.groups,
            "sealed": self.sealed,
        }

    def submit(self, job: Job) -> None:
        job.since = trio.current_time()
        self._pending.append(job)
        self._submitted.set()
        if isinstance(job, SealJob):
            self._written.set()
        if self._held.is_half_full:
            self._hurry.set()

    def hurry(self) -> None:
        """Ends the gathering: somebody waits."""
        self._written.set()
        self._hurry.set()

    async def wait(self, job: SealJob) -> BlobRecord:
        """Until the job is sealed; raises what kept it from being sealed."""
        self.hurry()
        await job.done.wait()
        if job.failure is not None:
            raise job.failure
        if job.record is None:
            raise errors.NameMissing("the file was removed before it was sealed")
        return job.record

    async def wait_dropped(self, job: SealJob) -> None:
        """Until nothing of a dropped job is left that the next start could bring back."""
        if job not in self._failed:
            self.hurry()
            await job.done.wait()
        if job in self._failed:
            async with self._namespace.lock:
                await self._disk.run(self._undo, job)
            with contextlib.suppress(ValueError):  # it may have been taken up again meanwhile
                self._failed.remove(job)

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Works until it is cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._confirm_regularly)
            nursery.start_soon(self._retry_regularly)
            task_status.started()
            while True:
                await self._gather()
                await guarded(self._work)

    async def settle(self) -> None:
        """Until everything that was submitted is sealed and durable."""
        async with self._settled:
            while self._pending or self._busy:
                self.hurry()
                await self._settled.wait()
        await self.confirm()

    async def _gather(self) -> None:
        await self._submitted.wait()
        with trio.move_on_after(KEEP_DELAY):
            await self._written.wait()
        gathered, end = 0, trio.current_time() + max(LONGEST_GATHERING, self._delay)
        while gathered < len(self._pending) < MAX_GROUP and trio.current_time() < end:
            gathered = len(self._pending)
            with trio.move_on_at(min(trio.current_time() + self._delay, end)):
                await self._hurry.wait()
                break

    async def _work(self) -> None:
        group, self._pending = self._pending[:MAX_GROUP], self._pending[MAX_GROUP:]
        if not self._pending:
            self._submitted = trio.Event()
            self._written = trio.Event()
            self._hurry = trio.Event()
        self._busy, self._running = True, len(group)
        begun = trio.current_time()
        try:
            self.groups += 1
            await self._seal_group(group)
        finally:
            self._busy, self._running = False, 0
            for job in group:
                self.waited.add(begun - job.since)
                self.worked.add(trio.current_time() - begun)
                if not job.done.is_set():
                    job.failure = job.failure or errors.StoreBroken("sealing was cut short")
                    self._failed.append(job)
                    self._failed_some.set()
                    job.end()
        async with self._settled:
            self._settled.notify_all()

    async def _seal_group(self, group: list[Job]) -> None:
        await self._batching.write(group)
        written = [job for job in group if isinstance(job, SealJob) and job.written is not None]
        others = [job for job in group if isinstance(job, KeepJob) or job.written is None]
        async with trio.open_nursery() as nursery:
            for job in others:
                nursery.start_soon(self._guarded, job, self._make_ready)
        await self._flush([job for job in group if job.failure is None])
        for job in await self._batching.publish(written):
            self._note_sealed(job)
            job.end()
        for job in group:
            if not job.done.is_set():
                await self._guarded(job, self._publish)
        for job in group:
            if job.failure is not None:
                self._failed.append(job)  # one that was dropped meanwhile is then removed from the disk
                self._failed_some.set()
            job.end()

    async def _guarded(self, job: Job, step: Callable[[Job], Awaitable[None]]) -> None:
        """One job's failure is its own: the group goes on."""
        if job.failure is not None:
            return
        try:
            await step(job)
        except errors.BlobfsError as failure:
            job.failure = failure
            _log.warning("could not seal %s: %s", job, failure)
            self._told.note("keep" if isinstance(job, KeepJob) else "seal", job.what, failure)
        except Exception as failure:
            job.failure = errors.StoreBroken(f"unexpected: {failure!r}")
            _log.exception("could not seal %s", job)

    async def _make_ready(self, job: Job) -> None:
        if isinstance(job, KeepJob):
            # Before the flush: no redo mark makes up for a tree that a power cut has taken.
            if job.content.tree:
                await self._disk.run(place_tree, self._store, job.content)
        elif not job.dropped and not job.already_durable:
            await self._batching.give_file(job)
            await self._disk.run(self.mark, job)

    def mark(self, job: SealJob) -> None:
        """Hashes what is left and writes the redo mark; in a worker thread."""
        job.content = content = job.incoming.finish()
        record = BlobRecord(content.blob, content.size, job.sealed_mode(), job.mtime_ns, 0)
        job.incoming.set_intent(job.name, record, job.package)

    def mark_durably(self, job: SealJob) -> None:
        """The same, and the mark is on the disk when it returns."""
        self.mark(job)
        self._store.flushes.file(job.incoming.fd)

    async def _flush(self, group: Collection[Job]) -> None:
        is_many = any(
            job.content.tree if isinstance(job, KeepJob) else job.written is not None for job in group
        )
        files = [
            job.partial.fd if isinstance(job, KeepJob) else job.incoming.fd
            for job in group
            if isinstance(job, KeepJob) or not (job.dropped or job.already_durable or job.written)
        ]
        try:
            if is_many or len(files) > GROUP_FLUSH_FROM:
                await self._disk.run(self._store.flushes.everything)
            else:
                async with trio.open_nursery() as nursery:
                    for fd in files:
                        nursery.start_soon(self._disk.run, self._store.flushes.file, fd)
        except* errors.StoreError as failures:
            first = failures.exceptions[0]
            kind = type(first) if isinstance(first, errors.StoreError) else errors.StoreBroken
            for job in group:
                job.failure = kind(f"the disk would not keep it: {first}")

    async def _publish(self, job: Job) -> None:
        if isinstance(job, KeepJob):
            await self._disk.run(place_partial, self._store, job.partial, job.content, job.mtime_ns)
            self._arrivals.arrived(job.content.blob)
            return
        async with self._namespace.lock:
            if job.dropped:
                await self._disk.run(self._undo, job)
                return
            await self._batching.give_file(job)
            job.record = await self._publish_named(job)
        self._note_sealed(job)

    def _note_sealed(self, job: SealJob) -> None:
        assert job.record is not None
        self._unconfirmed.append(job)
        self._published.set()
        self.sealed += 1
        self._arrivals.arrived(job.record.blob)

    def _undo(self, job: SealJob) -> None:
        """Nothing is to be left of it: neither the file, nor what an attempt that failed had got to."""
        if job.written is not None:
            job.source, job.written = batches.as_incoming(self._store, job.written), None
        job.source.discard()
        self._drop_unnamed([job])

    async def _publish_named(self, job: SealJob) -> BlobRecord:
        content = job.content
        assert content is not None
        name = job.name
        namespace = self._namespace
        published = (
            await namespace.next_published_as(name) if name is not None else namespace.next_published()
        )
        record = BlobRecord(content.blob, content.size, job.sealed_mode(), job.mtime_ns, published)
        await self._disk.run(self._place, job, record)
        if name is not None:
            await self._namespace.put(name, record, redone=True)
        return record

    def _place(self, job: SealJob, record: BlobRecord) -> None:
        # The mark is written again: the name may be another one by now, and the time is known.
        job.incoming.set_intent(job.name, record, job.package)
        assert job.content is not None
        placed = (job.incoming.path, job.content, job.mtime_ns)
        if job.package is not None:
            packages.place_written(self._store, job.package, *placed)
            return
        sealed.place_blob(self._store, *placed)
        if job.name is None:
            sealed.set_keep(self._store, record.blob)

    async def _confirm_regularly(self) -> None:
        while True:
            await self._published.wait()
            await trio.sleep(DURABLE_DELAY)
            self._published = trio.Event()
            try:
                await self.confirm()
            except errors.StoreError:  # logged there; the marks stay for the next time
                await trio.sleep(RETRY_DELAY)
                self._published.set()

    async def _retry_regularly(self) -> None:
        """A full disk must not cost a closed file: its bytes are here and its time will come."""
        while True:
            await self._failed_some.wait()
            await trio.sleep(RETRY_DELAY)
            self._failed_some = trio.Event()
            failed, self._failed = self._failed, []
            for job in failed:
                job.failure = None
                job.done = trio.Event()
                self.submit(job)

    async def confirm(self) -> None:
        """Flushes the share's directories and records, then lets go of the redo marks.

        When it returns, everything published before the call is durable.
        """
        async with self._confirming:
            published, self._unconfirmed = self._unconfirmed, []
            redo_lists = self._batching.take_lists() if not self._busy else []
            try:
                await self._disk.run(self._store.flushes.everything)
                await self._disk.run(_discard_all, self._store, published, redo_lists)
                async with self._namespace.lock:
                    await self._disk.run(self._drop_unnamed, published)
            except errors.StoreError as failure:
                self._unconfirmed = published + self._unconfirmed
                self._batching.keep_lists(redo_lists)
                _log.warning("could not make %d sealed files durable: %s", len(published), failure)
                raise

    def _drop_unnamed(self, published: list[SealJob]) -> None:
        for job in published:
            if job.content is not None and not self._namespace.mending.is_loose(job.content.blob):
                sealed.drop_own_if_unnamed(self._store, job.content.blob)

    async def drain(self, seconds: float) -> bool:
        """At the end: seals what was closed, within a bound; whether that is done.

        What is left has its redo mark as soon as it is hashed: the next start goes on with it.
        """
        with trio.move_on_after(seconds), contextlib.suppress(errors.StoreError):
            await self.settle()
            if not self._failed:
                return True
        left = len(self._pending) + len(self._failed) + len(self._unconfirmed)
        _log.warning("%d closed files were not all sealed in %g s: the next start goes on", left, seconds)
        return False


def _discard_all(store: Store, published: list[SealJob], redo_lists: list[Path]) -> None:
    batches.forget(store, [job.written for job in published if job.written is not None], redo_lists)
    for job in published:
        if job.written is None and job.incoming.fd >= 0:  # else it is gone already: another one had failed
            job.incoming.clear_intent()
            job.incoming.discard()
