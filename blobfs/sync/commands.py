"""The measured channel: commands wait in it, in bounds, and an inner loop carries them out.

1. A command is accepted or refused at once (`send_nowait`), or waits for room (`send`); nobody who sends one
   waits for its work.
2. Each kind of command has a line of its own: its own room, its own limit of commands that run at a time. It
   starts them in the order in which they came. So loads that wait for dead shares delay no share.
3. The end of an accepted command is reported exactly once: its value, what it raised, `CommandCancelled`,
   `DeadlineExceeded` when its turn did not come in time, `ServiceEnded` when the loop ended before it did.
4. Everything is measured: how many, how deep the lines were, how long commands waited and worked.

All of it belongs to one trio loop; `interface` lets other threads in.
"""

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import trio

from blobfs import errors
from blobfs.sync.durations import Durations, DurationStatistics

_log = logging.getLogger(__name__)

CAPACITY = 1024
"""Commands of a kind that may wait: a burst, and no more than a program can still be told about."""
CONCURRENT = 64
"""Commands of a kind that run at a time: many waits for slow shares, few enough descriptors."""


@dataclass(frozen=True, slots=True)
class Done:
    """What a command came to."""

    value: Any


Ending = Done | Exception


@dataclass(eq=False)
class Command:
    """Something to be done, once. `scope`, `sent` and `is_ended` are changed by `Commands` only."""

    kind: str
    work: Callable[[], Awaitable[Any]]
    report: Callable[[Ending], None]
    """Called once, on the loop: it must not block. What it raises is logged."""
    deadline: float = math.inf
    """trio's clock: until when its turn must have come. The work has to look after its own."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    sent: float = 0.0
    is_ended: bool = False


@dataclass(frozen=True, slots=True)
class KindStatistics:
    """Commands of one kind. `sent` is the sum of `done`, `failed`, `cancelled`, `waiting` and `running`."""

    sent: int
    done: int
    failed: int
    cancelled: int
    """Called off by their callers, or by the end of the loop."""
    refused: int
    """Not counted as sent: there was no room."""
    waiting: int
    most_waiting: int
    running: int
    waited: DurationStatistics
    """From being accepted to the start of the work, or to an end without it."""
    worked: DurationStatistics


@dataclass(eq=False)
class _Line:
    """The commands of one kind."""

    capacity: int
    concurrent: int
    waiting: deque[Command] = field(default_factory=deque)
    running: set[Command] = field(default_factory=set)
    turn: trio.Lock = field(default_factory=trio.Lock)
    """Those who wait for room get it in the order in which they came."""
    sent: int = 0
    done: int = 0
    failed: int = 0
    cancelled: int = 0
    refused: int = 0
    most_waiting: int = 0
    waited: Durations = field(default_factory=Durations)
    worked: Durations = field(default_factory=Durations)

    @property
    def has_room(self) -> bool:
        return len(self.waiting) < self.capacity

    @property
    def is_idle(self) -> bool:
        return not self.waiting and not self.running

    def statistics(self) -> KindStatistics:
        return KindStatistics(
            self.sent,
            self.done,
            self.failed,
            self.cancelled,
            self.refused,
            len(self.waiting),
            self.most_waiting,
            len(self.running),
            self.waited.statistics(),
            self.worked.statistics(),
        )


class Commands:
    """The lines and their loop.

    Mutable: the lines; `_is_closed`, from when on nothing is accepted any more. `_stirred` is set when there
    may be something to start, `_eased` tells those who wait for room or for the end that something changed.
    """

    def __init__(self, kinds: Iterable[str], capacity: int = CAPACITY, concurrent: int = CONCURRENT) -> None:
        self._lines = {kind: _Line(capacity, concurrent) for kind in kinds}
        self._stirred = trio.Event()
        self._eased = trio.Event()
        self._is_closed = False

    def __repr__(self) -> str:
        lines = " ".join(
            f"{kind}={len(line.waiting)}+{len(line.running)}" for kind, line in self._lines.items()
        )
        return f"<Commands {lines}{' closed' if self._is_closed else ''}>"

    def statistics(self) -> dict[str, KindStatistics]:
        """By kind."""
        return {kind: line.statistics() for kind, line in self._lines.items()}

    # What senders call

    async def send(self, command: Command) -> None:
        """Waits for room. Raises `ServiceEnded`; cancelled, nothing was sent."""
        line = self._lines[command.kind]
        async with line.turn:
            while not self._is_closed and not line.has_room:
                await self._eased.wait()
            self.send_nowait(command)

    def send_nowait(self, command: Command) -> None:
        """Raises `QueueFull` when too many of its kind wait already, `ServiceEnded`; neither is reported."""
        line = self._lines[command.kind]
        if self._is_closed:
            raise errors.ServiceEnded("the service takes no commands any more")
        if not line.has_room:
            line.refused += 1
            raise errors.QueueFull(f"{line.capacity} commands to {command.kind} wait already")
        command.sent = trio.current_time()
        line.waiting.append(command)
        line.sent += 1
        line.most_waiting = max(line.most_waiting, len(line.waiting))
        self._stirred.set()

    def cancel(self, command: Command) -> None:
        """Has it end with `CommandCancelled`, unless it ends by itself first."""
        line = self._lines[command.kind]
        if command in line.running:
            command.scope.cancel()
        elif not command.is_ended:
            line.waiting.remove(command)
            self._end_waiting(line, command, errors.CommandCancelled("cancelled before its turn came"))

    # The end

    def close(self) -> None:
        """Refuses what is sent from now on; what was accepted goes on."""
        self._is_closed = True
        self._ease()

    async def wait_idle(self) -> None:
        """Until every accepted command has ended."""
        while not all(line.is_idle for line in self._lines.values()):
            await self._eased.wait()

    # The inner loop

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Carries commands out until it is cancelled; then everything that was accepted is reported ended."""
        try:
            async with trio.open_nursery() as nursery:
                task_status.started()
                while True:
                    self._stirred = trio.Event()
                    self._start_ready(nursery)
                    with trio.move_on_at(self._next_deadline()):
                        await self._stirred.wait()
                    self._expire()
        finally:
            self.close()
            for line in self._lines.values():
                while line.waiting:
                    ended = errors.ServiceEnded("the service ended before its turn came")
                    self._end_waiting(line, line.waiting.popleft(), ended)

    def _start_ready(self, nursery: trio.Nursery) -> None:
        for line in self._lines.values():
            while line.waiting and len(line.running) < line.concurrent:
                command = line.waiting.popleft()
                line.waited.add(trio.current_time() - command.sent)
                line.running.add(command)
                nursery.start_soon(self._carry_out, line, command)
        self._ease()

    def _next_deadline(self) -> float:
        waiting = (command.deadline for line in self._lines.values() for command in line.waiting)
        return min(waiting, default=math.inf)

    def _expire(self) -> None:
        now = trio.current_time()
        for line in self._lines.values():
            for command in [command for command in line.waiting if command.deadline <= now]:
                line.waiting.remove(command)
                late = errors.DeadlineExceeded("its turn did not come before its deadline")
                self._end_waiting(line, command, late)

    def _end_waiting(self, line: _Line, command: Command, outcome: errors.BlobfsError) -> None:
        line.waited.add(trio.current_time() - command.sent)
        self._end(line, command, outcome)

    async def _carry_out(self, line: _Line, command: Command) -> None:
        started = trio.current_time()
        # What stays if the task is cancelled from outside, or ends as nothing should.
        outcome: Ending = errors.ServiceEnded("the service ended before it was done")
        try:
            with command.scope:
                outcome = Done(await command.work())
            if command.scope.cancelled_caught:
                outcome = errors.CommandCancelled("cancelled by its caller")
        except errors.BlobfsError as failure:
            outcome = failure
        except Exception as failure:
            _log.exception("unexpected, in a command to %s", command.kind)
            outcome = failure
        finally:
            line.running.remove(command)
            line.worked.add(trio.current_time() - started)
            self._end(line, command, outcome)
            self._stirred.set()

    def _end(self, line: _Line, command: Command, outcome: Ending) -> None:
        """The one place where commands end."""
        command.is_ended = True
        match outcome:
            case Done():
                line.done += 1
            case errors.CommandEnded():
                line.cancelled += 1
            case _:
                line.failed += 1
        self._ease()
        try:
            command.report(outcome)
        except Exception:
            _log.exception("unexpected, in reporting the end of a command to %s", command.kind)

    def _ease(self) -> None:
        eased, self._eased = self._eased, trio.Event()
        eased.set()
