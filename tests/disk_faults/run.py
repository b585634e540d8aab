"""One run of a scenario on a disk that fails at one point, and what has to be true of it.

1. The scenario ends: well, or with an error whose errno is the disk's. Nothing hangs, nothing unexpected is
   logged, and the share holds only what may be in it.
2. A crash right there: a start makes a store of it in which all is in order, and what was promised is there.
3. The disk works again: the same service does by itself what is left, and the scenario when asked again.
4. Whatever the end is, clean or not, the next start finds everything in order, and nothing left over.

Time is virtual, and there are no threads: operations come in the same order every time.
"""

import copy
import logging
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from errno import errorcode
from pathlib import Path

import trio
from trio.testing import MockClock

from blobfs import errors
from blobfs.store import packages
from blobfs.store.failures import store_errors
from blobfs.store.hashing import HashWorkers
from blobfs.store.opening import Store, open_store
from blobfs.sync.service import SyncService
from tests.disk_faults.injection import Injection
from tests.disk_faults.ledger import Ledger
from tests.disk_faults.plan import Operation, Plan
from tests.disk_faults.scenarios import Scenario, other_node
from tests.disk_faults.walker import meanings, wrong_at_rest, wrong_in_share
from tests.sync.running import copy_of
from tests.sync.virtual import InlineDisk
from tests.vfs.kernel import Kernel, mounted

PATIENCE = 300.0
"""Seconds, of virtual time: more than any deadline a caller may have been given."""
BEHIND = 2.0
"""Seconds for what goes on behind the calls: what was sealed is made durable, and its redo marks go."""
TRIES = 40
"""A second lies between two; the store tries again every 5 s what it could not do."""


@dataclass
class Outcome:
    """Mutable: what one run came to."""

    plan: Plan | None
    ended: str = "success"
    """Or the errno's name."""
    hits: int = 0
    """Operations that were refused; 0: there are not so many."""
    tries: int = 0
    """Until it succeeded when the fault was over; 0 where it had not failed."""
    wrong: list[str] = field(default_factory=list)
    made: list[Operation] = field(default_factory=list)


class _Workers(HashWorkers):
    """One for all runs: to start a process costs more than a run.

    What a worker reads of a file by itself is out of reach; so the first byte is read here before it.
    """

    def hash_file(self, fd: int, offset: int, length: int) -> bytes:
        with store_errors():
            os.preadv(fd, [bytearray(1)], offset)
        return super().hash_file(fd, offset, length)

    def close(self) -> None:
        """It ends with this process."""


_workers = _Workers(1)


class _Watch(logging.Handler):
    """Notes what nobody expects in a log: a traceback, an error."""

    def __init__(self, wrong: list[str]) -> None:
        super().__init__()
        self._wrong = wrong

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info is not None or record.levelno >= logging.ERROR:
            failure = record.exc_info[1] if record.exc_info else None
            self._wrong.append(f"in the log: {record.getMessage()}: {failure!r}")


@contextmanager
def _watched_log(wrong: list[str]) -> Iterator[None]:
    logger, handler = logging.getLogger("blobfs"), _Watch(wrong)
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.propagate = propagates
        logger.removeHandler(handler)


class Run:
    """One run in an empty directory. `again`: the scenario is run again when the fault is over, and then the
    node is killed; else it ends well after what was left was done.
    """

    def __init__(self, directory: Path, scenario: Scenario, plan: Plan | None, *, again: bool = True) -> None:
        self._root = directory / "store"
        self._crashed = directory / "crashed"
        self._scenario = scenario
        self._again = again
        self._ledger = Ledger()
        self._at_crash = Ledger()
        self.outcome = Outcome(plan)

    def run(self) -> Outcome:
        """Never raises: what is wrong is in the outcome."""
        shutil.rmtree(self._root, ignore_errors=True)
        wrong = self.outcome.wrong
        with _watched_log(wrong):
            try:
                self._in_virtual_time(self._work)
                for root, ledger in ((self._crashed, self._at_crash), (self._root, self._ledger)):
                    self._check_start(root, ledger)
            except Exception as failure:
                wrong.append(f"unexpected: {_shown(failure)}")
        return self.outcome

    def _in_virtual_time(self, work: object, *args: object) -> None:
        trio.run(work, *args, clock=MockClock(autojump_threshold=0))  # type: ignore[arg-type]

    async def _work(self) -> None:
        store = _open(self._root)
        is_clean = False
        try:
            with Injection(self._root, keep=self.outcome.plan is None) as injection:
                async with mounted(store, other_node(), disk=InlineDisk()) as kernel:
                    await self._fail(kernel, injection)
                    is_clean = await self._recover(kernel)
        finally:
            store.close(clean=is_clean)

    async def _fail(self, kernel: Kernel, injection: Injection) -> None:
        outcome = self.outcome
        injection.made.clear()
        injection.set_plan(outcome.plan)
        outcome.ended = await self._attempt(kernel)
        await trio.sleep(BEHIND)
        outcome.hits = injection.hits
        injection.set_plan(None)
        outcome.made = list(injection.made)
        outcome.wrong += wrong_in_share(kernel.sync.store.layout.share)
        copy_of(self._root, self._crashed)
        self._at_crash = copy.deepcopy(self._ledger)

    async def _attempt(self, kernel: Kernel) -> str:
        fault = self.outcome.plan.fault if self.outcome.plan else None
        try:
            with trio.fail_after(PATIENCE):
                await self._scenario(kernel, self._ledger)
        except errors.BlobfsError as failure:
            if fault is None or failure.errno != fault.errno:
                self.outcome.wrong.append(f"its caller got {_shown(failure)}")
            return errorcode[failure.errno]
        return "success"

    async def _recover(self, kernel: Kernel) -> bool:
        if self._again and self.outcome.ended != "success":
            await self._succeed(kernel)
        if not await _is_settled(kernel.sync):
            self.outcome.wrong.append(f"it does not settle: {kernel.sync.sealer.statistics()}")
        return not self._again and await kernel.sync.finish(PATIENCE)

    async def _succeed(self, kernel: Kernel) -> None:
        failure: errors.BlobfsError | None = None
        for _ in range(TRIES):
            self.outcome.tries += 1
            try:
                with trio.fail_after(PATIENCE):
                    await self._scenario(kernel, self._ledger)
                return
            except errors.BlobfsError as error:
                failure = error
            await trio.sleep(1)
        self.outcome.wrong.append(f"the disk works again, its caller still gets {_shown(failure)}")

    def _check_start(self, root: Path, ledger: Ledger) -> None:
        self._in_virtual_time(self._start, root)
        after_crash = root == self._crashed
        what = "after a crash" if after_crash else "at the end"
        store = _open(root)
        try:
            found = [*wrong_at_rest(store, after_crash), *ledger.wrong(meanings(store))]
            found += [
                f"the package {package[:8]} is not complete"
                for package in ledger.packages
                if not packages.is_complete(store, package)
            ]
            self.outcome.wrong += [f"{what}, {each}" for each in found]
        finally:
            store.close(clean=False)

    async def _start(self, root: Path) -> None:
        store = _open(root)
        try:
            async with mounted(store, disk=InlineDisk()) as kernel:
                await _is_settled(kernel.sync)
        finally:
            store.close(clean=False)


def _open(root: Path) -> Store:
    store = open_store(root)
    store.hashing = _workers
    return store


async def _is_settled(sync: SyncService) -> bool:
    """Whether all that is left gets done, sooner or later."""
    for _ in range(TRIES):
        counts = sync.sealer.statistics()
        if await sync.finish(PATIENCE) and not (
            counts["pending"] or counts["unconfirmed"] or counts["failed"]
        ):
            return True
        await trio.sleep(1)
    return False


def _shown(failure: BaseException | None) -> str:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return f"{type(failure).__name__}: {failure}"
