"""One share at work: the body of a request is cut into chunks, which are verified and kept as they come."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import trio

from blobfs.merkle import Buffer
from blobfs.model import CHUNK_SIZE, Attempt
from blobfs.shares.body import ByteStream
from blobfs.shares.estimates import LONGEST_GAP
from blobfs.shares.failure import ShareFailure
from blobfs.sync.background import lone_failure
from blobfs.sync.flow import Flow
from blobfs.sync.loading.landers import Landers
from blobfs.sync.loading.source import Source
from blobfs.sync.peer import Peer

BATCH = 8 * CHUNK_SIZE
"""The most that is verified and written in one hop to a worker thread."""
QUICK = 0.02
"""Seconds: chunks that come faster than this are kept in larger batches, slower ones are not held back."""


class Destination(Protocol):
    """What is needed of the load that the chunks are for (`blobfs.sync.loading.load.Load`)."""

    source: Source
    flow: Flow
    landers: Landers

    @property
    def size(self) -> int: ...

    @property
    def is_sequential(self) -> bool: ...

    async def prepare(self, peer: Peer, first: int, stop: int) -> None: ...

    async def keep(self, chunk: int, content: Buffer) -> bool: ...


@dataclass(eq=False)
class Runner:
    """One share at work on a span."""

    peer: Peer
    asked: float
    silent_since: float
    """Since when it owes the next chunk; infinite while what it sent is being kept."""
    begun: float | None = None
    """When its first body began."""
    received: int = 0
    kept: int = 0
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    lost: Attempt | None = None
    """Why it was given up, once it was."""
    may_return: bool = False
    """It was given up for one that might turn out to be worse."""
    is_watched: bool = False
    """It was given up, but goes on to be listened to: does it only pause?"""

    def is_overdue(self, now: float) -> bool:
        return now >= self.due()

    def too_late(self) -> Attempt:
        """What to say of a share that has neither delivered nor failed yet."""
        return self.peer.too_late("blob", round(trio.current_time() - self.asked, 3), self.received)

    def due(self) -> float:
        """From when on it is slower than usual."""
        return self.silent_since + self.peer.estimates.patience(self.begun is not None)

    def has_stalled(self, now: float) -> bool:
        return now >= self.stalled_at(now)

    def stalled_at(self, now: float) -> float:
        """From when on it does not just pause between two bursts."""
        return self.silent_since + self.peer.estimates.stalled_after(self.begun is not None, now)

    def watch(self) -> None:
        """It is not cancelled before it is clear whether it goes on by itself."""
        self.is_watched = True
        self.scope.deadline = self.silent_since + LONGEST_GAP

    def went_on(self, now: float) -> None:
        """It only paused. What it sends now is not wanted any more."""
        self.peer.estimates.paused(now - self.silent_since, now)
        self.peer.record_answer()
        self.is_watched = False
        self.scope.cancel()

    def gap_left(self, now: float) -> float:
        """Seconds until it sends on, if it only pauses."""
        return self.silent_since + self.peer.estimates.gap(now) - now


async def fetch(
    load: Destination, runner: Runner, start: int, end: int, progressed: Callable[[Runner], None]
) -> None:
    """Chunks from one share; what they are verified with comes at the same time if it is missing.

    `progressed` is called whenever some are here. Raises `ShareFailure`.
    """
    source = load.source
    if source.is_prepared(start, end):
        await _fetch_body(load, runner, start, end, progressed, None)
        return
    prepared = trio.Event()

    async def prepare() -> None:
        await load.prepare(runner.peer, start, end)
        prepared.set()

    with lone_failure():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(prepare)
            await _fetch_body(load, runner, start, end, progressed, prepared)


def stretch(start: int, end: int, size: int) -> tuple[int, int]:
    """Offset and length in bytes of some chunks of a blob."""
    offset = start * CHUNK_SIZE
    return offset, min(end * CHUNK_SIZE, size) - offset


async def _fetch_body(
    load: Destination,
    runner: Runner,
    start: int,
    end: int,
    progressed: Callable[[Runner], None],
    prepared: trio.Event | None,
) -> None:
    offset, length = stretch(start, end, load.size)
    asked = trio.current_time()
    async with load.source.body(runner.peer, offset, length) as body:
        runner.peer.estimates.answered(trio.current_time() - asked)
        if prepared is not None:
            await prepared.wait()
        runner.silent_since = trio.current_time()
        if runner.begun is None:
            runner.begun = runner.silent_since
        await _take(load, runner, start, length, body, progressed)


async def _take(
    load: Destination,
    runner: Runner,
    chunk: int,
    length: int,
    body: ByteStream,
    progressed: Callable[[Runner], None],
) -> None:
    """Keeps a body in batches of whole chunks, which grow while the chunks come fast.

    Every batch is received into the same memory, once the one before it is kept.
    """
    memory = _Memory(load.landers, length)
    batch, filled = CHUNK_SIZE, 0
    try:
        while True:
            wanted = min(batch, length)
            try:
                got = await body.read_into(memory.of(wanted)[filled:])
            except ShareFailure:
                # What came whole before it broke off is as good as any.
                await _keep(load, runner, chunk, memory.of(filled - filled % CHUNK_SIZE), progressed)
                raise
            if not got:
                return
            runner.received += got
            if runner.is_watched:
                runner.went_on(trio.current_time())
                await trio.lowlevel.checkpoint()
            filled += got
            if filled < wanted:
                continue
            now = trio.current_time()
            waited = now - runner.silent_since
            runner.peer.estimates.paused(waited, now)
            await _keep(load, runner, chunk, memory.of(filled), progressed)
            chunk += filled // CHUNK_SIZE
            length -= filled
            filled = 0
            batch = min(batch * 2, BATCH) if waited < QUICK else CHUNK_SIZE
    finally:
        memory.give_back()


class _Memory:
    """What a body is received into: little at first, a berth once it comes fast, if there is one."""

    def __init__(self, landers: Landers, length: int) -> None:
        self._landers = landers
        self._most = min(BATCH, length)
        self._view = memoryview(bytearray(min(CHUNK_SIZE, length)))
        self._berth: memoryview | None = None

    def of(self, length: int) -> memoryview:
        """Its first bytes. Before it grows what is in it has been kept."""
        if length > len(self._view):
            self._berth = self._landers.take_berth()
            self._view = memoryview(bytearray(self._most)) if self._berth is None else self._berth
        return self._view[:length]

    def give_back(self) -> None:
        if self._berth is not None:
            self._landers.give_back_berth(self._berth)


async def _keep(
    load: Destination,
    runner: Runner,
    chunk: int,
    content: memoryview,
    progressed: Callable[[Runner], None],
) -> None:
    if not content:
        return
    runner.silent_since = math.inf  # it is our turn
    if not await load.keep(chunk, content):
        start = chunk * CHUNK_SIZE
        detail = f"bytes {start} to {start + len(content)} do not match the blob id"
        raise runner.peer.wrong("blob", detail)
    runner.silent_since = trio.current_time()
    runner.kept += len(content)
    runner.peer.came(len(content), load.flow)
    progressed(runner)
