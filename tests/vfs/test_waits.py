"""Waits that a signal ends, with a clock that is moved by hand and processes that are files."""

from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from blobfs import errors
from blobfs.vfs.signals import Task, mask_of
from blobfs.vfs.waits import ASKED_AGAIN_WITHIN, INTERVAL, Opener, SignalWatch
from tests.vfs.tasks import Proc

IDLE = Task(7, 7, "D", 1, 0, 0, 0, 0, mask_of(SIGINT))
"""A process that waits, catches SIGINT and has nothing to see to."""
SIGNALLED = replace(IDLE, shared=mask_of(SIGINT))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    made = Proc(tmp_path / "proc")
    made.put(IDLE)
    return made


class Waiting:
    """A watch, and the waits that a test has begun; `ended` gets what became of each."""

    def __init__(self, watch: SignalWatch, nursery: trio.Nursery, clock: MockClock) -> None:
        self.watch = watch
        self.ended: list[str] = []
        self.go_on = trio.Event()
        self._nursery = nursery
        self._clock = clock

    async def begin(self, kind: AbstractContextManager[None], name: str = "wait") -> None:
        async def wait() -> None:
            try:
                with kind:
                    await self.go_on.wait()
                self.ended.append(f"{name} served")
            except errors.Interrupted:
                self.ended.append(f"{name} interrupted")

        self._nursery.start_soon(wait)
        await wait_all_tasks_blocked()

    async def serve(self) -> None:
        """What they wait for is here."""
        self.go_on.set()
        self.go_on = trio.Event()
        await wait_all_tasks_blocked()

    async def looks(self, count: int = 1) -> None:
        """Time for so many looks at one wait, and for what comes of them."""
        for _ in range(count):
            await self.pass_time(INTERVAL * 1.01)

    async def pass_time(self, seconds: float) -> None:
        self._clock.jump(seconds)
        await wait_all_tasks_blocked()


@asynccontextmanager
async def watching(proc: Proc, clock: MockClock) -> AsyncIterator[Waiting]:
    watch = SignalWatch(str(proc.root))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        yield Waiting(watch, nursery, clock)
        nursery.cancel_scope.cancel()


async def test_a_pending_signal_ends_the_wait(proc: Proc, mock_clock: MockClock) -> None:
    """At the second look that finds it."""
    async with watching(proc, mock_clock) as waiting:
        await waiting.begin(waiting.watch.interruptible(7))
        await waiting.looks(3)
        proc.put(SIGNALLED)
        await waiting.looks()
        assert waiting.ended == []
        await waiting.looks()
        assert waiting.ended == ["wait interrupted"]
        assert waiting.watch.statistics() == {"waiting": 0, "looks": 5, "interrupted": 1}


async def test_a_signal_that_is_taken_between_two_looks(proc: Proc, mock_clock: MockClock) -> None:
    """Ends nothing, nor does it together with another one that comes then."""
    async with watching(proc, mock_clock) as waiting:
        proc.put(SIGNALLED)
        await waiting.begin(waiting.watch.interruptible(7))
        await waiting.looks()
        proc.put(replace(IDLE, pending=mask_of(SIGTERM)))
        await waiting.looks()
        proc.put(IDLE)
        await waiting.looks()
        proc.put(SIGNALLED)
        await waiting.looks()
        assert waiting.ended == []


async def test_no_look_before_the_first_interval(proc: Proc, mock_clock: MockClock) -> None:
    """However many calls there are: what does not wait costs nothing under /proc."""
    async with watching(proc, mock_clock) as waiting:
        proc.put(SIGNALLED)
        for _ in range(3):
            await waiting.begin(waiting.watch.interruptible(7))
            await waiting.pass_time(INTERVAL * 0.7)
            await waiting.serve()
        assert waiting.ended == ["wait served"] * 3
        assert waiting.watch.statistics() == {"waiting": 0, "looks": 0, "interrupted": 0}


async def test_nobody_is_watched_while_nobody_waits(proc: Proc, mock_clock: MockClock) -> None:
    """The watch then sleeps for good."""
    async with watching(proc, mock_clock) as waiting:
        await waiting.begin(waiting.watch.interruptible(7))
        await waiting.looks(2)
        await waiting.serve()
        await waiting.looks(2)
        assert trio.lowlevel.current_statistics().seconds_to_next_deadline > 3600
        assert waiting.watch.statistics()["looks"] == 2


@pytest.mark.parametrize("state", ["R", "S", "T", "Z"])
async def test_only_who_waits_in_the_kernel(proc: Proc, mock_clock: MockClock, state: str) -> None:
    """What runs or sleeps otherwise takes its signals by itself, or never will."""
    async with watching(proc, mock_clock) as waiting:
        proc.put(replace(SIGNALLED, state=state))
        await waiting.begin(waiting.watch.interruptible(7))
        await waiting.begin(waiting.watch.interruptible_by(Opener(7)))
        await waiting.looks(4)
        assert waiting.ended == []


@pytest.mark.parametrize("pid", [0, 999])
async def test_a_caller_that_cannot_be_seen(proc: Proc, mock_clock: MockClock, pid: int) -> None:
    """In another pid namespace, or gone: it is never interrupted."""
    async with watching(proc, mock_clock) as waiting:
        for kind in (waiting.watch.interruptible(pid), waiting.watch.killable(pid)):
            await waiting.begin(kind)
        await waiting.begin(waiting.watch.interruptible_by(Opener(pid)))
        await waiting.looks(4)
        await waiting.serve()
        assert waiting.ended == ["wait served"] * 3


async def test_what_has_been_done_is_only_ended_with_the_program(proc: Proc, mock_clock: MockClock) -> None:
    """`killable`: a signal that is caught would tell of a failure that was none."""
    async with watching(proc, mock_clock) as waiting:
        proc.put(SIGNALLED)
        await waiting.begin(waiting.watch.killable(7))
        await waiting.looks(4)
        assert waiting.ended == []
        proc.put(replace(SIGNALLED, pending=mask_of(SIGKILL)))
        await waiting.looks(2)
        assert waiting.ended == ["wait interrupted"]


async def test_a_read_that_is_asked_again(proc: Proc, mock_clock: MockClock) -> None:
    """Is answered at once while the signal is pending, even before the task is asleep again."""
    async with watching(proc, mock_clock) as waiting:
        opener = Opener(7)
        proc.put(SIGNALLED)
        await waiting.begin(waiting.watch.interruptible_by(opener), "ahead")
        await waiting.looks(2)
        proc.put(replace(SIGNALLED, state="R"))
        await waiting.begin(waiting.watch.interruptible_by(opener), "page")
        assert waiting.ended == ["ahead interrupted", "page interrupted"]


async def test_nothing_is_remembered_beyond_the_signal(proc: Proc, mock_clock: MockClock) -> None:
    """A handler that returns and asks again waits anew, and is looked at as if for the first time."""
    async with watching(proc, mock_clock) as waiting:
        opener = Opener(7)
        proc.put(SIGNALLED)
        await waiting.begin(waiting.watch.interruptible_by(opener), "first")
        await waiting.looks(2)
        proc.put(IDLE)
        await waiting.begin(waiting.watch.interruptible_by(opener), "second")
        await waiting.looks(4)
        assert waiting.ended == ["first interrupted"]
        proc.put(SIGNALLED)
        await waiting.looks()
        assert waiting.ended == ["first interrupted"]
        await waiting.looks()
        assert waiting.ended == ["first interrupted", "second interrupted"]


async def test_a_later_read_is_not_one_that_is_asked_again(proc: Proc, mock_clock: MockClock) -> None:
    """After a second it takes two looks like any other."""
    async with watching(proc, mock_clock) as waiting:
        opener = Opener(7)
        proc.put(SIGNALLED)
        await waiting.begin(waiting.watch.interruptible_by(opener), "first")
        await waiting.looks(2)
        await waiting.pass_time(ASKED_AGAIN_WITHIN)
        await waiting.begin(waiting.watch.interruptible_by(opener), "second")
        assert waiting.ended == ["first interrupted"]
        await waiting.looks(2)
        assert waiting.ended == ["first interrupted", "second interrupted"]


async def test_a_thread_reads_what_another_opened(proc: Proc, mock_clock: MockClock) -> None:
    """Its signal ends the read if the opener is not waiting; if that is, the read is taken for its own."""
    async with watching(proc, mock_clock) as waiting:
        worker = replace(IDLE, pid=8, threads=2, pending=mask_of(SIGINT))
        proc.put(replace(IDLE, threads=2))
        proc.put(worker)
        await waiting.begin(waiting.watch.interruptible_by(Opener(7)))
        await waiting.looks(4)
        assert waiting.ended == []
        proc.put(replace(IDLE, threads=2, state="S"))
        await waiting.looks(2)
        assert waiting.ended == ["wait interrupted"]


async def test_a_thread_is_not_interrupted_for_another(proc: Proc, mock_clock: MockClock) -> None:
    """The main thread's signal is not that of the thread which waits for a name, nor of what that opened."""
    async with watching(proc, mock_clock) as waiting:
        proc.put(replace(SIGNALLED, threads=2))
        proc.put(replace(SIGNALLED, pid=8, threads=2))
        await waiting.begin(waiting.watch.interruptible(8), "name")
        await waiting.begin(waiting.watch.interruptible_by(Opener(8)), "read")
        await waiting.begin(waiting.watch.interruptible(7), "main")
        await waiting.looks(4)
        assert waiting.ended == ["main interrupted"]


async def test_a_page_fault_is_not_interrupted(proc: Proc, mock_clock: MockClock) -> None:
    """Whoever touched a mapped page waits on; so does nobody of whom that cannot be told."""
    async with watching(proc, mock_clock) as waiting:
        proc.put(SIGNALLED, syscall="-1 0x7ffe 0x7f")
        await waiting.begin(waiting.watch.interruptible_by(Opener(7)))
        await waiting.looks(4)
        assert waiting.ended == []
        (proc.root / "7/task/7/syscall").unlink()
        await waiting.looks(2)
        assert waiting.ended == ["wait interrupted"]


async def test_many_who_wait_are_looked_at_less_often(proc: Proc, mock_clock: MockClock) -> None:
    """200 processes: once in 200 ms each. Many reads of one process are one look."""
    async with watching(proc, mock_clock) as waiting:
        for pid in range(1000, 1200):
            proc.put(replace(IDLE, pid=pid, tgid=pid))
            for _ in range(2):
                await waiting.begin(waiting.watch.interruptible_by(Opener(pid)))
        await waiting.looks()
        assert waiting.watch.statistics()["looks"] == 200
        await waiting.looks(3)
        assert waiting.watch.statistics()["looks"] == 200
        await waiting.looks()
        assert waiting.watch.statistics()["looks"] == 400
