"""The open transactions of a node: from ``mkdir needed/<id>`` until the package is complete, or aborted.

1. What a transaction needs follows from manifests, what is missing of it from the store. On the disk there is
   only that it is open, and a link to each of its blobs that is here (`store.packages`), which holds the
   blob. So a start finds every transaction in the state it was in.
2. One task tends each transaction. It alone takes blobs (`taking.py`) and completes. Whoever writes, loads or
   shares a blob only tells that it has arrived (`Arrivals`).
3. The disk is changed first: a package is complete here when it is on the disk.
"""

import contextlib
import logging
import math
import time
from collections.abc import Mapping, Sequence

import trio

from blobfs import errors
from blobfs.bundle import Member
from blobfs.model import BlobId
from blobfs.store import bundles, packages
from blobfs.store.opening import Store
from blobfs.sync.arrivals import Arrivals
from blobfs.sync.background import guarded
from blobfs.sync.disk import DiskThreads
from blobfs.sync.naming.namespace import Namespace
from blobfs.sync.packages.open_transaction import OpenTransaction
from blobfs.sync.packages.taking import Taking
from blobfs.sync.packages.transition import Event, State
from blobfs.sync.sealer import Sealer

_log = logging.getLogger(__name__)

RETRY_DELAY = 5.0
"""Seconds until what the disk refused is tried again."""
LOOKS_PER_LIFE = 24
"""How often it is looked for abandoned transactions in the time after which one is."""


class Transactions:
    """All of them, by package. `_open` is changed here alone: one is in it until it has ended."""

    def __init__(
        self,
        store: Store,
        disk: DiskThreads,
        arrivals: Arrivals,
        sealer: Sealer,
        namespace: Namespace,
        abandoned_after: float,
    ) -> None:
        """`abandoned_after` are seconds without progress."""
        self._store = store
        self._disk = disk
        self._arrivals = arrivals
        self._taking = Taking(store, disk, arrivals)
        self._sealer = sealer
        self._namespace = namespace
        self._abandoned_after = abandoned_after
        self._life_changed = trio.Event()
        self._open: dict[BlobId, OpenTransaction] = {}
        self._nursery: trio.Nursery | None = None
        self.completed = 0
        self.aborted = 0
        self.expired = 0

    def statistics(self) -> dict[str, int]:
        return {
            "open": len(self._open),
            "completed": self.completed,
            "aborted": self.aborted,
            "expired": self.expired,
        }

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Finds what was open, tends it until it is cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for package, progress_ns in await self._disk.run(packages.list_transactions, self._store):
                self._begin(package, progress_ns)
            task_status.started()
            while True:
                with trio.move_on_after(self._abandoned_after / LOOKS_PER_LIFE):
                    await self._life_changed.wait()
                self._life_changed = trio.Event()
                await guarded(self.expire, time.time_ns())

    def abandon_after(self, seconds: float) -> None:
        """So long without progress is enough from now on."""
        if seconds != self._abandoned_after:
            self._abandoned_after = seconds
            self._life_changed.set()

    # What the view asks

    async def get(self, package: BlobId) -> OpenTransaction | None:
        """The open transaction on a package. Waits until it is known what is here."""
        found = self._open.get(package)
        if found is not None:
            await found.ready.wait()
        return None if found is None or found.has_ended else found

    def is_open(self, package: BlobId) -> bool:
        """The same, of what is known now."""
        return package in self._open

    async def listed(self) -> list[OpenTransaction]:
        """All that are open, by package. After a start it waits until it is known what is here."""
        found = sorted(self._open.values(), key=lambda each: each.package)
        for each in found:
            await each.ready.wait()
        return [each for each in found if not each.has_ended]

    async def is_complete(self, package: BlobId) -> bool:
        return await self._disk.run(packages.is_complete, self._store, package)

    async def open(self, package: BlobId) -> OpenTransaction:
        """Opens one. Raises `NameExists` when it is open, or the package complete: also when all of it is
        here; `StoreError`.
        """
        while True:
            if (found := self._open.get(package)) is not None:
                await self._demand_ended(found)
            elif await self.is_complete(package):
                raise errors.NameExists(f"the package {package} is complete")
            elif package not in self._open:
                break
        opened = self._begin(package, time.time_ns())
        await opened.ready.wait()
        if opened.refusal is not None:
            raise opened.refusal
        if opened.known.state is State.COMPLETE:
            raise errors.NameExists(f"the package {package} is complete")
        return opened

    async def _demand_ended(self, found: OpenTransaction) -> None:
        """Raises `NameExists` for what is open. What was about to end has ended after this."""
        await found.ready.wait()
        if not found.has_ended:
            found.known.demand(Event.OPEN)
        async with found.lock:
            pass

    async def adopt(self, package: BlobId) -> bool:
        """Makes a package complete of which everything is here; whether that was so."""
        try:
            opened = await self.open(package)
        except errors.NameExists:
            found = self._open.get(package)
            if found is not None:
                await found.wait_settled()
            return await self.is_complete(package)
        with contextlib.suppress(errors.NameMissing):  # it has become complete meanwhile
            if not opened.writers:
                await self._abort(opened, Event.ABORT)
        return await self.is_complete(package)

    async def abort(self, package: BlobId) -> None:
        """Ends a transaction; when this returns nothing is left of it. Raises `NameMissing`."""
        found = await self.get(package)
        if found is None:
            raise errors.NameMissing(f"no transaction on {package} is open")
        await self._abort(found, Event.ABORT)
        self.aborted += 1

    async def expire(self, now_ns: int) -> None:
        """Ends what nobody has got on with for too long."""
        for found in list(self._open.values()):
            idle = (now_ns - found.progress_ns) / 1e9
            if idle < self._abandoned_after or found.writers or not found.ready.is_set():
                continue
            summary = found.known.summary
            await self._abort(found, Event.EXPIRE)
            if found.state is State.ABORTED:  # else it has become complete
                self.expired += 1
                _log.info("%s expired (%s): no progress for %.0f s", found.package, summary, idle)

    async def _abort(self, found: OpenTransaction, event: Event) -> None:
        async with found.lock:
            found.known.abort(event)
            for job in found.jobs:
                job.dropped = True
            found.end()
            try:
                # What was written is held by its file in incoming/ until that is flushed.
                with contextlib.suppress(errors.StoreError):  # then it goes with the next flush
                    await self._sealer.confirm()
                # A file that is being given its name may have its bytes from here: not in between.
                async with self._namespace.lock:
                    await self._disk.run(packages.abort_transaction, self._store, found.package)
            finally:
                self._forget(found)

    # Tending

    def _begin(self, package: BlobId, progress_ns: int) -> OpenTransaction:
        assert self._nursery is not None
        opened = OpenTransaction(package, progress_ns)
        self._open[package] = opened
        self._arrivals.expect((package,), opened.arrived)
        self._nursery.start_soon(guarded, self._tend, opened)
        return opened

    def _forget(self, found: OpenTransaction) -> None:
        self._arrivals.forget(found.known.needs, found.arrived)
        if self._open.get(found.package) is found:
            del self._open[found.package]

    async def _tend(self, found: OpenTransaction) -> None:
        try:
            async with found.lock:
                await self._disk.run(packages.open_transaction, self._store, found.package)
        except errors.StoreError as failure:
            self._forget(found)
            found.refuse(failure)
            return
        found.arrived(found.package)
        try:
            while not found.has_ended:
                found.calm()
                await self._advance(found)
                found.ready.set()
                found.tell()
                with trio.move_on_after(math.inf if found.trouble is None else RETRY_DELAY):
                    await found.wait_stirred()
        except Exception:
            _log.exception("the transaction on %s: unexpected", found.package)
            found.break_off()
        finally:
            found.ready.set()

    async def _advance(self, found: OpenTransaction) -> None:
        """Takes what has arrived. What the disk refuses is noted, and tried again."""
        async with found.lock:
            if found.has_ended:
                return
            try:
                await self._taking.take_arrived(found)
                if not found.has_failed and found.known.nothing_but(()):
                    await self._complete(found)
                found.trouble = None
            except errors.StoreError as failure:
                if found.trouble is None:  # else that was said already
                    _log.warning("the transaction on %s waits for the disk: %s", found.package, failure)
                found.trouble = failure
                found.known.note(failure)

    async def _complete(self, found: OpenTransaction) -> None:
        await self._disk.run(packages.complete_transaction, self._store, found.package)
        found.known.complete(written=bool(found.written))
        self.completed += 1
        found.end()
        self._forget(found)
        _log.info("the package %s is complete: %d blobs", found.package, len(found.known.needs))
        if self._nursery is not None:
            self._nursery.start_soon(guarded, self._publish_bundles, dict(found.bundled))

    async def _publish_bundles(self, bundled: Mapping[BlobId, Sequence[Member]]) -> None:
        for package, members in bundled.items():
            if members:
                try:
                    await self._disk.run(bundles.write_bundle, self._store, package, members)
                except errors.StoreError as failure:  # its blobs are shared one by one
                    _log.info("no bundle of %s is shared: %s", package, failure)
