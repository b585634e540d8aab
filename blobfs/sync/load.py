"""One blob on its way to this node, shared by everybody who reads it (P7).

A read names the chunks it needs. Those that are neither here nor on their way are cut into spans;
each span is one task that asks one share after the other until its chunks are here, verified.
Readers wait for chunks, not for spans, and are woken whenever something has changed.
"""

import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field

import trio

from blobfs import errors
from blobfs.config import LoadSettings
from blobfs.model import CHUNK_SIZE, Attempt, Kind, Name, Outcome
from blobfs.record import BlobRecord
from blobfs.shares.failure import ShareFailure
from blobfs.shares.retry_rules import failed_attempt
from blobfs.store.partial import Partial
from blobfs.sync.answers import failure_from
from blobfs.sync.disk import DiskThreads
from blobfs.sync.peer import Peer
from blobfs.sync.source import Source
from blobfs.sync.window import WHOLE_BELOW, chunk_range, runs

_log = logging.getLogger(__name__)

BATCH = 8 * CHUNK_SIZE
"""The most that is verified and written in one hop to a worker thread."""
MAP_EVERY = 64
"""Chunks between two writes of the map: what a SIGKILL may cost to load again, 8 MiB."""
KEPT_ATTEMPTS = 32


@dataclass(eq=False)
class Failed:
    """Why a chunk is not coming, and until when (trio's clock) that is believed."""

    error: errors.BlobfsError
    until: float


@dataclass(eq=False)
class Load:
    """The state of one load.

    Invariant: a chunk is here (`partial`), on its way (`in_flight`), known to fail (`failed`) or
    none of these; it is in flight for exactly one span. All of it is changed on the event loop.
    """

    key: str
    partial: Partial
    source: Source
    peers: Sequence[Peer]
    settings: LoadSettings
    disk: DiskThreads
    nursery: trio.Nursery
    on_whole: Callable[["Load"], None]
    """Called once, when the last chunk is here."""
    names: dict[Name, BlobRecord | None] = field(default_factory=dict)
    readers: int = 0
    in_flight: set[int] = field(default_factory=set)
    failed: dict[int, Failed] = field(default_factory=dict)
    struck: set[Peer] = field(default_factory=set)
    """Shares that sent wrong bytes for this blob; never asked for it again."""
    attempts: tuple[Attempt, ...] = ()
    """Those of the last failure, for ``last_error``."""
    spans: int = 0
    was_whole: bool = False
    last_needed: float = -math.inf
    _changed: trio.Condition = field(default_factory=trio.Condition)
    _unsaved: int = 0

    @property
    def size(self) -> int:
        return self.source.size

    def __repr__(self) -> str:
        return (
            f"<Load {self.key[:12]} {self.partial.present_bytes}/{self.size} in_flight={len(self.in_flight)}"
            f" spans={self.spans} readers={self.readers}>"
        )

    # What readers call

    def is_here(self, offset: int, length: int) -> bool:
        return all(self.partial.present(chunk) for chunk in range(*chunk_range(offset, length, self.size)))

    async def need(self, offset: int, length: int) -> None:
        """Until these bytes are here, for a reader. As `bring`, and the fill keeps quiet meanwhile."""
        if not self.is_here(offset, length):
            self.last_needed = trio.current_time()
            await self.bring(offset, length)
            self.last_needed = trio.current_time()

    async def bring(self, offset: int, length: int) -> None:
        """Until these bytes are here. Raises `LoadFailed`; never waits longer than `read_timeout`."""
        first, stop = chunk_range(offset, length, self.size)
        with trio.move_on_after(self.settings.read_timeout):
            await self._need(first, stop)
            return
        error = errors.DeadlineExceeded(
            f"not here after {self.settings.read_timeout:g} s", self.attempts or self._silence()
        )
        self.attempts = error.attempts
        raise error

    def _silence(self) -> tuple[Attempt, ...]:
        """What to say when the deadline came before any share's failure."""
        ms = int(self.settings.read_timeout * 1000)
        return tuple(
            failed_attempt(peer.shown, "blob", Kind.TOO_LATE, "no answer yet", ms=ms)
            for peer in self.peers
            if self.source.offers(peer)
        )

    async def _need(self, first: int, stop: int) -> None:
        if self.size <= WHOLE_BELOW:
            self.start(0, self.partial.chunks)
        while True:
            missing = [chunk for chunk in range(first, stop) if not self.partial.present(chunk)]
            if not missing:
                return
            for chunk in missing:
                self._raise_remembered(chunk)
            self.start(first, stop)
            async with self._changed:
                if any(chunk in self.in_flight for chunk in missing):
                    await self._changed.wait()

    def ahead(self, offset: int, length: int) -> None:
        """Starts loading what a sequential reader will want, as far as that pays and nobody waits for it."""
        first, stop = chunk_range(offset, length, self.size)
        wanted = sum(1 for chunk in range(first, stop) if self._is_wanted(chunk))
        reaches_end = stop == self.partial.chunks
        if (
            wanted
            and (wanted * 2 >= stop - first or reaches_end)
            and self.spans < self.settings.spans_in_flight
        ):
            self.start(first, stop, limit=self.settings.spans_in_flight - self.spans)

    def start(self, first: int, stop: int, limit: int | None = None) -> None:
        """Starts spans for the chunks of a range that are neither here, nor coming, nor known to fail."""
        most = self.settings.span_size // CHUNK_SIZE
        for number, (start, end) in enumerate(runs(first, stop, self._is_wanted, most)):
            if limit is not None and number >= limit:
                return
            self.in_flight.update(range(start, end))
            self.spans += 1
            self.nursery.start_soon(self._run_span, start, end)

    def _is_wanted(self, chunk: int) -> bool:
        if self.partial.present(chunk) or chunk in self.in_flight:
            return False
        failed = self.failed.get(chunk)
        return failed is None or failed.until <= trio.current_time()

    def _raise_remembered(self, chunk: int) -> None:
        failed = self.failed.get(chunk)
        if failed is None:
            return
        if failed.until > trio.current_time():
            raise failed.error
        del self.failed[chunk]

    def _remember(self, first: int, stop: int, error: errors.BlobfsError) -> None:
        failed = Failed(error, trio.current_time() + self.settings.failure_memory)
        for chunk in range(first, stop):
            if not self.partial.present(chunk):
                self.failed[chunk] = failed
        if isinstance(error, errors.LoadFailed):
            self.attempts = error.attempts[-KEPT_ATTEMPTS:]

    # One span

    async def _run_span(self, first: int, stop: int) -> None:
        try:
            await self._confirm_claimed(first, stop)
            await self._load_span(first, stop)
        except errors.LoadFailed as error:
            self._remember(first, stop, error)
            _log.warning("%s: chunks %d to %d: %s", self.key, first, stop, _last_words(error))
        except errors.BlobfsError as error:
            self._remember(first, stop, error)
            _log.warning("%s: %s", self.key, error)
        except Exception:
            _log.exception("%s: unexpected", self.key)
            self._remember(first, stop, errors.LoadFailed("unexpected; see the log"))
        finally:
            self.spans -= 1
            self.in_flight.difference_update(range(first, stop))
            await self._announce()

    async def _announce(self) -> None:
        self.check_whole()
        # Taking the lock of a condition that nobody keeps over an await never waits, but is a checkpoint.
        with trio.CancelScope(shield=True):
            async with self._changed:
                self._changed.notify_all()

    def check_whole(self) -> None:
        if self.partial.is_whole and not self.was_whole:
            self.was_whole = True
            self.on_whole(self)

    async def _confirm_claimed(self, first: int, stop: int) -> None:
        """After an unclean end: chunks that the map claims are used only once they verify again."""
        for start, count in self.partial.claimed(first, stop - first):
            right = await self._verify_again(start, start + count)
            if right is None:
                continue
            for chunk, is_right in enumerate(right, start):
                if is_right:
                    self.partial.confirm(chunk, 1)
                else:
                    self.partial.unclaim(chunk, 1)
            self.in_flight.difference_update(chunk for chunk, is_right in enumerate(right, start) if is_right)
            await self._announce()

    async def _verify_again(self, first: int, stop: int) -> list[bool] | None:
        """Which chunks are right; None if that cannot be told now: the tree on the disk is gone too."""
        if await self.source.prepare(None, first, stop):
            return await self.disk.run(self._are_right, first, stop)
        for peer in self._order():
            with contextlib.suppress(ShareFailure):  # load_span, which follows, reports on the shares
                with peer.asking():
                    await self.source.prepare(peer, first, stop)
                return await self.disk.run(self._are_right, first, stop)
        return None

    def _are_right(self, first: int, stop: int) -> list[bool]:
        return [
            self.source.is_right(
                chunk,
                self.partial.read(chunk * CHUNK_SIZE, min(CHUNK_SIZE, self.size - chunk * CHUNK_SIZE)),
            )
            for chunk in range(first, stop)
        ]

    async def _load_span(self, first: int, stop: int) -> None:
        """Rounds over the shares until the span is here. Raises what the attempts amount to."""
        attempts: list[Attempt] = []
        for turn in range(self.settings.max_tries):
            if turn:
                await trio.sleep(self.settings.retry_timeout * 2 ** (turn - 1))
            asked = self._order()
            for peer in asked:
                try:
                    with peer.asking():
                        await self._load_from(peer, first, stop)
                    return
                except ShareFailure as failure:
                    self._note(peer, failure.attempt)
                    attempts.append(failure.attempt)
            if not asked or all(attempt.outcome in _FINAL for attempt in attempts[-len(asked) :]):
                break
        raise failure_from(attempts or self.attempts)

    def _order(self) -> list[Peer]:
        """The shares to ask, those believed to be up first."""
        able = [peer for peer in self.peers if self.source.offers(peer) and peer not in self.struck]
        return sorted(able, key=Peer.is_down)

    def _note(self, peer: Peer, attempt: Attempt) -> None:
        if attempt.outcome is Outcome.WRONG:
            self.struck.add(peer)
            _log.warning("%s sent wrong bytes of %s: %s", peer.shown, self.key, attempt.detail)

    async def _load_from(self, peer: Peer, first: int, stop: int) -> None:
        """What is missing of a span, from one share. Raises `ShareFailure` with the rest still missing."""
        for start, end in runs(first, stop, lambda chunk: not self.partial.present(chunk), stop - first):
            await self.source.prepare(peer, start, end)
            offset, length = start * CHUNK_SIZE, min(end * CHUNK_SIZE, self.size) - start * CHUNK_SIZE
            async with self.source.body(peer, offset, length) as pieces:
                await self._take(peer, start, length, pieces)

    async def _take(self, peer: Peer, chunk: int, length: int, pieces: AsyncIterator[bytes]) -> None:
        """Cuts a body into whole chunks and keeps them, in batches that grow."""
        pending = bytearray()
        batch, left = CHUNK_SIZE, length
        async for piece in pieces:
            pending += piece
            while len(pending) >= min(batch, left) > 0:
                count = min(len(pending), BATCH)
                count = count if count == left else count - count % CHUNK_SIZE
                await self._keep(peer, chunk, bytes(memoryview(pending)[:count]))
                del pending[:count]
                chunk += count // CHUNK_SIZE
                left -= count
                batch = min(batch * 2, BATCH)

    async def _keep(self, peer: Peer, chunk: int, content: bytes) -> None:
        if not await self.disk.run(self.source.keep, chunk, content):
            detail = (
                f"bytes {chunk * CHUNK_SIZE} to {chunk * CHUNK_SIZE + len(content)} do not match the blob id"
            )
            raise peer.wrong("blob", detail)
        count = -(-len(content) // CHUNK_SIZE)
        self.partial.mark(chunk, count)
        for done in range(chunk, chunk + count):
            self.failed.pop(done, None)
        self.in_flight.difference_update(range(chunk, chunk + count))
        self._unsaved += count
        if self._unsaved >= MAP_EVERY and not self.partial.is_whole:
            self._unsaved = 0
            await self.disk.run(self.partial.save_map)
        await self._announce()


_FINAL = frozenset({Outcome.ABSENT, Outcome.REFUSED, Outcome.WRONG, Outcome.CHANGED})
"""Asking again at once would give the same answer."""


def _last_words(error: errors.LoadFailed) -> str:
    last = f" ({error.attempts[-1].share}: {error.attempts[-1].detail})" if error.attempts else ""
    return f"{error}{last}"
