"""A share together with what this node has learned about it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, TypeVar

import trio

from blobfs.model import Attempt, BlobId, Kind, Name, Outcome
from blobfs.record import Record
from blobfs.shares.address import ShareOptions
from blobfs.shares.client import DirectoryHere
from blobfs.shares.exchange import ShareStatistics
from blobfs.shares.failure import ShareFailure
from blobfs.shares.health import ShareHealth
from blobfs.shares.log_tail import LogPosition, LogTail
from blobfs.shares.plain import PlainFile
from blobfs.shares.retry_rules import failed_attempt

T = TypeVar("T")

SUSPECT_BOUND = 0.5
"""Seconds for a question to a share that failed a moment ago."""
GIVEN_UP_AFTER = 3
"""Failures in a row, each after a pause, after which a share that is down is not asked any more."""

Body = AbstractAsyncContextManager[AsyncIterator[bytes]]


class ShareLike(Protocol):
    """What is asked of a share (`blobfs.shares.client.Share` is one and says what each answer means).

    Every question gives a value, None for "absent", or raises `ShareFailure`.
    """

    @property
    def options(self) -> ShareOptions: ...

    @property
    def shown(self) -> str: ...

    async def __aenter__(self) -> object: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def statistics(self) -> ShareStatistics: ...

    async def record(self, name: Name) -> Record | DirectoryHere | None: ...

    async def log(self, directory: Name, known: LogPosition | None) -> LogTail | None: ...

    async def blob_size(self, blob: BlobId) -> int | None: ...

    async def tree(self, blob: BlobId, offset: int, length: int) -> bytes: ...

    def blob(self, blob: BlobId, size: int, offset: int, length: int) -> Body: ...

    async def plain_stat(self, name: Name) -> PlainFile | DirectoryHere | None: ...

    def plain(self, name: Name, pinned: PlainFile, offset: int, length: int) -> Body: ...


@dataclass(eq=False)
class Peer:
    """One share to load from. `health` is changed by `asking` only."""

    share: ShareLike
    health: ShareHealth = field(default_factory=ShareHealth)

    @property
    def shown(self) -> str:
        return self.share.shown

    @property
    def is_plain(self) -> bool:
        return self.share.options.plain

    def is_down(self) -> bool:
        return self.health.is_down(trio.current_time())

    def bound(self, usual: float) -> float:
        """Seconds that one question to it is worth; 0 is not asking.

        One failure makes a share suspect, not absent: what only it has must not seem to be gone. What
        goes on failing costs nothing any more, so that writing works while the shares are away.
        """
        if not self.is_down():
            return usual
        gave_up = self.health.statistics().consecutive_failures >= GIVEN_UP_AFTER
        return 0.0 if gave_up else min(usual, SUSPECT_BOUND)

    async def ask(
        self, phase: str, usual: float, question: Callable[[ShareLike], Awaitable[T]]
    ) -> T | Attempt:
        """The share's answer, or why there is none; in the time that it is worth."""
        bound = self.bound(usual)
        if not bound:
            return self.not_asked(phase)
        try:
            with trio.move_on_after(bound), self.asking() as share:
                return await question(share)
        except ShareFailure as failure:
            return failure.attempt
        self.health.record_failure(Outcome.UNREACHABLE, trio.current_time())
        return self.too_late(phase, bound)

    @contextmanager
    def asking(self) -> Iterator[ShareLike]:
        """Around one request: what comes of it goes into the share's health."""
        try:
            yield self.share
        except ShareFailure as failure:
            self.health.record_failure(failure.attempt.outcome, trio.current_time(), failure.retry_after)
            raise
        self.health.record_success(trio.current_time())

    def not_asked(self, phase: str) -> Attempt:
        return failed_attempt(self.shown, phase, Kind.NOT_ASKED, "not asked: it failed a moment ago")

    def too_late(self, phase: str, seconds: float) -> Attempt:
        detail = f"no answer in {seconds:g} s"
        return failed_attempt(self.shown, phase, Kind.TOO_LATE, detail, ms=int(seconds * 1000))

    def wrong(self, phase: str, detail: str) -> ShareFailure:
        return ShareFailure(failed_attempt(self.shown, phase, Kind.WRONG_BYTES, detail))
