"""Waits that a signal ends: whoever waits for a share or a seal can be killed, and Ctrl-C works (P3).

The kernel ends only a read through the page cache by itself, and only for a fatal signal; a caller in any
other call waits until it is answered. So one task watches those who wait, by /proc::

    with waits.interruptible(caller.pid):       # raises `Interrupted`
        answer = await ...

1. A wait costs nothing under /proc before it has lasted `INTERVAL`.
2. Two looks, an interval apart, must find the same signal (which ones count: `vfs.signals`): one that
   another thread is about to take is gone by then.
3. Nothing is remembered beyond the pending signal: a program whose handler returns asks again (PEP 475),
   and waits anew. But a READ that failed the kernel itself asks for again at once, the single page after the
   read-ahead: that is answered at once too, as long as the signal is still pending.
4. READ and READDIR do not say who asks. The process that opened is watched: its opener if that is what waits,
   else whichever of its threads does. A child that inherits a descriptor is not seen.
5. A page fault is no call that could be interrupted: there EINTR is a SIGBUS, or at best (in a first
   attempt, by Linux from 5.7 on) a fault that begins anew.

Pids are the kernel's: a caller's is that of its thread; 0 is in another pid namespace, and never interrupted.
"""

import contextlib
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType

import trio

from blobfs import errors
from blobfs.vfs.signals import WAITING, Task, ending_signals, names_of, needs_others, parse_status

INTERVAL = 0.05
"""Seconds between two looks at who waits."""
SECONDS_PER_LOOK = 0.001
"""The pause for each look of the last round: however many wait, looking takes a few percent of the time."""
ASKED_AGAIN_WITHIN = 1.0
"""Seconds in which the kernel has asked again for a READ that failed, on a busy machine too."""
STATUS_BYTES = 1 << 14
"""A status has 1.5 KiB, more where there are many processors or groups."""


@dataclass(eq=False, slots=True)
class Opener:
    """Who opened a file or directory. Mutable: the signals that ended a read of it just now."""

    pid: int
    interrupted_by: int = 0
    until: float = -math.inf


@dataclass(eq=False, slots=True)
class _Wait:
    """One wait, from `__enter__` to `__exit__`; `seen` are the signals of the last look."""

    watch: "SignalWatch"
    pid: int
    opener: Opener | None = None
    only_fatal: bool = False
    seen: int = 0
    next_look: float = 0
    is_asked_again: bool = False
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def __enter__(self) -> None:
        self.watch.enter(self)
        self.scope.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.watch.leave(self)
        self.scope.__exit__(kind, error, trace)
        if self.scope.cancelled_caught:
            raise errors.Interrupted(f"its caller has {names_of(self.seen)} to see to") from None


class SignalWatch:
    """Watches who waits. `_waits` holds them as keys; everything is changed on the event loop."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._waits: dict[_Wait, None] = {}
        self._somebody = trio.Event()
        self._hurry = trio.Event()
        self._looks = 0
        self._interrupted = 0

    def statistics(self) -> dict[str, int]:
        """How many wait, how often a task was looked at, how many waits a signal has ended."""
        return {"waiting": len(self._waits), "looks": self._looks, "interrupted": self._interrupted}

    # For those who wait

    def interruptible(self, pid: int) -> contextlib.AbstractContextManager[None]:
        """Around what a caller waits for, before anything is changed. Raises `Interrupted`."""
        return _Wait(self, pid) if pid else contextlib.nullcontext()

    def killable(self, pid: int) -> contextlib.AbstractContextManager[None]:
        """The same for what only a signal may end that ends the program: nobody is left to be misled."""
        return _Wait(self, pid, only_fatal=True) if pid else contextlib.nullcontext()

    def interruptible_by(self, opener: Opener) -> contextlib.AbstractContextManager[None]:
        """The same around a read of what somebody opened."""
        return _Wait(self, opener.pid, opener) if opener.pid else contextlib.nullcontext()

    def enter(self, wait: _Wait) -> None:
        """The beginning of a wait."""
        now = trio.current_time()
        opener = wait.opener
        if opener is not None and opener.interrupted_by and now < opener.until:
            wait.is_asked_again, wait.seen, wait.next_look = True, opener.interrupted_by, now
            self._hurry.set()
        else:
            wait.next_look = now + INTERVAL
        if not self._waits:
            self._somebody.set()
        self._waits[wait] = None

    def leave(self, wait: _Wait) -> None:
        """Its end; it may have been ended by a signal."""
        self._waits.pop(wait, None)

    # The watch

    async def run(self) -> None:
        """Watches until it is cancelled; sleeps while nobody waits."""
        pause = INTERVAL
        while True:
            if not self._waits:
                self._somebody = trio.Event()
                await self._somebody.wait()
            with trio.move_on_after(pause):
                await self._hurry.wait()
            self._hurry = trio.Event()
            before = self._looks
            self._look(trio.current_time())
            pause = max(INTERVAL, (self._looks - before) * SECONDS_PER_LOOK)

    def _look(self, now: float) -> None:
        """At everybody whose time has come, once for all waits of one thread."""
        found: dict[tuple[int, bool, bool, bool], int] = {}
        for wait in [wait for wait in self._waits if wait.next_look <= now]:
            key = (wait.pid, wait.opener is not None, wait.only_fatal, wait.is_asked_again)
            if key not in found:
                found[key] = self._signals_of(wait)
            if found[key] & wait.seen:
                self._end(wait, found[key] & wait.seen, now)
            else:
                wait.seen, wait.next_look, wait.is_asked_again = found[key], now + INTERVAL, False

    def _end(self, wait: _Wait, mask: int, now: float) -> None:
        del self._waits[wait]
        self._interrupted += 1
        wait.seen = mask
        if wait.opener is not None:
            wait.opener.interrupted_by, wait.opener.until = mask, now + ASKED_AGAIN_WITHIN
        wait.scope.cancel()

    # What /proc says

    def _signals_of(self, wait: _Wait) -> int:
        # What is asked for again may be here before the task that asks has gone to sleep.
        states = WAITING + "R" if wait.is_asked_again else WAITING
        task = self._task(str(wait.pid))
        if task is None:
            return 0
        if task.state in states:
            return self._ending(task, wait)
        if wait.opener is None or task.threads == 1:
            return 0
        mask = 0
        for other in self._threads(task):
            if other.state in states and other.pid != task.pid:
                mask |= self._ending(other, wait)
        return mask

    def _ending(self, task: Task, wait: _Wait) -> int:
        others = self._threads(task) if needs_others(task) else ()
        mask = ending_signals(
            task, (other for other in others if other.pid != task.pid), only_fatal=wait.only_fatal
        )
        if mask and wait.opener is not None and self._is_in_page_fault(task):
            return 0
        return mask

    def _threads(self, task: Task) -> Iterator[Task]:
        directory = f"{task.tgid}/task"
        try:
            pids = os.listdir(f"{self._proc}/{directory}")
        except OSError:
            return  # the process is gone
        for pid in pids:
            if (other := self._task(f"{directory}/{pid}")) is not None:
                yield other

    def _task(self, path: str) -> Task | None:
        self._looks += 1
        text = self._read(f"{path}/status")
        return None if text is None else parse_status(text)

    def _is_in_page_fault(self, task: Task) -> bool:
        """Where that cannot be told (it takes the right to trace the task), it is taken for a call."""
        text = self._read(f"{task.tgid}/task/{task.pid}/syscall")
        return text is not None and text.startswith(b"-1")

    def _read(self, path: str) -> bytes | None:
        """None for what is gone or not for us. Does not wait: the kernel has it all in memory."""
        try:
            fd = os.open(f"{self._proc}/{path}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            return os.read(fd, STATUS_BYTES)
        except OSError:
            return None  # it ended meanwhile
        finally:
            os.close(fd)
