"""Landing workers: processes that verify chunks and write them while the event loop goes on.

In threads of the daemon both asked for the interpreter's lock for every leaf and every call, forty thousand
times a GiB, beside a loop that needs it for every READ. A worker reads what came where it was received
(`berths`) and gets the files with the request, so that nothing but a line goes to and fro.

1. Requests are spread over the workers; each answers in order, and is given the next one before it is done.
2. Whoever waits is not cancelled: memory that a worker may still read is not received into. A worker that
   does not come back is ended at the end of the node.
3. A worker that dies is replaced. What it had in hand, and everything when there is none to be had, lands in
   a thread as it would without them.
"""

import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

import trio

from blobfs.merkle import Buffer
from blobfs.store.berths import Berths
from blobfs.store.failures import store_errors
from blobfs.store.landing_worker import ANSWER, REQUEST, WRITTEN, WRONG

_log = logging.getLogger(__name__)

WORKERS = min(4, os.cpu_count() or 1)
END_SECONDS = 2.0

_BOOT = "import sys; sys.path.append(sys.argv.pop(1)); import blobfs.store.landing_worker as it; it.main()"
"""Finds our package where the daemon found it, and nothing in the current directory."""
_ROOT = os.fspath(Path(__file__).parents[3])


@dataclass(frozen=True, slots=True)
class Place:
    """Where chunks belong, and what says that they are right."""

    content: int
    """A descriptor, as `tree`."""
    offset: int
    tree: int
    digests_at: int


@dataclass(eq=False)
class _Request:
    """`outcome` is None when the worker died over it."""

    done: trio.Event = field(default_factory=trio.Event)
    outcome: int | None = None


class _Worker:
    """One process. Mutable: `waiting`, what it was asked and has not answered yet, in order."""

    def __init__(self, memory_fd: int) -> None:
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.waiting: deque[_Request] = deque()
        inherited = (theirs.fileno(), memory_fd)
        with theirs:
            try:
                self.process = subprocess.Popen(
                    [sys.executable, "-P", "-c", _BOOT, _ROOT, *map(str, inherited)],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=inherited,
                )
            except BaseException:
                self.connection.close()
                raise
        self.connection.setblocking(False)

    def ask(self, berth: int, length: int, place: Place) -> _Request:
        """Raises OSError: it cannot be asked any more."""
        line = REQUEST.pack(berth, length, place.offset, place.digests_at)
        socket.send_fds(self.connection, [line], [place.content, place.tree])
        self.waiting.append(_Request())
        return self.waiting[-1]

    async def answer(self) -> bool:
        """Takes one answer; False: it is no more."""
        await trio.lowlevel.wait_readable(self.connection)
        try:
            answer = self.connection.recv(ANSWER.size)
        except BlockingIOError:
            return True
        except OSError:
            return False
        if len(answer) < ANSWER.size:
            return False
        request = self.waiting.popleft()
        (request.outcome,) = ANSWER.unpack(answer)
        request.done.set()
        return True

    def end(self) -> None:
        """At once; nothing is read or written by it afterwards, unless the disk holds it."""
        self.process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(END_SECONDS)
        self.connection.close()
        for request in self.waiting:
            request.done.set()
        self.waiting.clear()


class Landers:
    """Mutable: the workers, made when the first chunks come; `landed` counts the batches."""

    def __init__(self, most: int = WORKERS) -> None:
        """None at all: everything lands in threads."""
        self._most = most
        self._berths: Berths | None = None
        self._workers: list[_Worker] = []
        self._nursery: trio.Nursery | None = None
        self.landed = 0

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Owns the workers, until it is cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None
            self._close_berths()

    def take_berth(self) -> memoryview | None:
        """Memory to receive into; None: use your own. `give_back_berth` it."""
        if self._nursery is None or not self._most:
            return None
        if self._berths is None:
            self._berths = Berths()
        return self._berths.take()

    def give_back_berth(self, memory: memoryview) -> None:
        assert self._berths is not None
        self._berths.give_back(memory)
        if self._nursery is None:
            self._close_berths()

    def _close_berths(self) -> None:
        """At the end, when the last body has given back its own."""
        if self._berths is not None and not self._berths.in_use:
            self._berths.close()
            self._berths = None

    async def land(self, content: Buffer, place: Place) -> bool | None:
        """Whether whole chunks in a berth were right; then they are written.

        None: it has to be done elsewhere. Raises `StoreError`.
        """
        berth = None if self._berths is None else self._berths.number(content)
        worker = None if berth is None else self._least_busy()
        if berth is None or worker is None:
            return None
        try:
            request = worker.ask(berth, len(content), place)
        except OSError:
            return None  # it has died, and is taken away soon
        with trio.CancelScope(shield=True):
            await request.done.wait()
        if request.outcome is None:
            return None
        with store_errors():
            if request.outcome not in (WRITTEN, WRONG):
                raise OSError(request.outcome, os.strerror(request.outcome))
        self.landed += 1
        return request.outcome == WRITTEN

    def _least_busy(self) -> _Worker | None:
        if self._nursery is not None and len(self._workers) < self._most:
            self._start(self._nursery)
        return min(self._workers, key=lambda worker: len(worker.waiting), default=None)

    def _start(self, nursery: trio.Nursery) -> None:
        assert self._berths is not None
        try:
            worker = _Worker(self._berths.fd)
        except OSError as error:
            _log.warning("cannot start a landing worker: %s", error)
            self._most = len(self._workers)
            return
        self._workers.append(worker)
        nursery.start_soon(self._listen, worker)

    async def _listen(self, worker: _Worker) -> None:
        try:
            while await worker.answer():
                pass
            _log.warning("a landing worker ended, and is replaced when there is work")
        finally:
            self._workers.remove(worker)
            worker.end()
