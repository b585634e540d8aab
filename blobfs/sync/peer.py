"""A share together with what this node has learned about it."""

import logging
import math
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, TypeVar

import trio

from blobfs.directory_bundles import Bundle
from blobfs.model import Attempt, BlobId, Kind, Name
from blobfs.record import Record
from blobfs.shares.address import ShareOptions
from blobfs.shares.body import ByteStream
from blobfs.shares.choice import ShareView
from blobfs.shares.client import DirectoryHere
from blobfs.shares.estimates import ShareEstimates
from blobfs.shares.exchange import ShareStatistics
from blobfs.shares.failure import ShareFailure
from blobfs.shares.health import Circuit, ShareHealth
from blobfs.shares.log_tail import LogReading
from blobfs.shares.plain import PlainFile
from blobfs.shares.retry_rules import failed_attempt
from blobfs.sync.flow import Flow
from blobfs.sync.peer_counts import PeerCounts
from blobfs.sync.recent import ShareHistory
from blobfs.sync.unknown_names import UnknownNames

_log = logging.getLogger(__name__)

T = TypeVar("T")

SUSPECT_BOUND = 0.5
"""Seconds for a question to a share that failed a moment ago, if it used to answer faster than that."""

SAID_FOR = 300.0
"""Seconds until it is said once more that a share cannot be trusted, or does not trust us."""

Body = AbstractAsyncContextManager[ByteStream]


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

    async def log(self, directory: Name, reading: LogReading) -> bool: ...

    async def short_log(self, directory: Name, reading: LogReading, most: int) -> bool | None: ...

    async def bundle_list(self, directory: Name) -> tuple[Bundle, ...] | None: ...

    async def blob_size(self, blob: BlobId) -> int | None: ...

    @property
    def has_parts(self) -> bool: ...

    async def parts(self, blob: BlobId, size: int) -> bytes | None: ...

    async def tree(self, blob: BlobId, offset: int, length: int) -> bytes: ...

    def blob(self, blob: BlobId, size: int, offset: int, length: int) -> Body: ...

    def bundle(self, package: BlobId, offset: int, length: int) -> Body: ...

    async def plain_stat(self, name: Name) -> PlainFile | DirectoryHere | None: ...

    def plain(self, name: Name, pinned: PlainFile, offset: int, length: int) -> Body: ...


@dataclass(eq=False)
class Peer:
    """One share to load from.

    `health`, `last_*` and `struck_for` are changed by what came of requests (`asking`, `record_failure`,
    `strike`), the estimates by the spans that measure them, `bodies` by the dispatcher, `unknown_names` by
    the catalogue too, `counts` by the spans too.
    """

    share: ShareLike
    health: ShareHealth = field(default_factory=ShareHealth)
    estimates: ShareEstimates = field(default_factory=ShareEstimates)
    bodies: int = 0
    """Requests for bytes that it was given and has not ended."""
    struck_for: str | None = None
    """The wrong bytes it once sent; until the next start or reload others are asked first."""
    last_failure: Attempt | None = None
    last_failed: float | None = None
    """When that was; trio's clock, as all times here."""
    last_answered: float | None = None
    unknown_names: UnknownNames = field(default_factory=UnknownNames)
    counts: PeerCounts = field(default_factory=PeerCounts)
    history: ShareHistory = field(default_factory=ShareHistory)
    _is_reported: bool = False
    _distrust_said: float = -math.inf

    @property
    def shown(self) -> str:
        return self.share.shown

    @property
    def is_plain(self) -> bool:
        return self.share.options.plain

    @property
    def has_parts(self) -> bool:
        """Whether it is a live node, which can be asked which parts it has of what it is loading."""
        return self.share.has_parts

    @property
    def is_struck(self) -> bool:
        return self.struck_for is not None

    def is_down(self) -> bool:
        return self.health.is_down(trio.current_time())

    def is_up(self) -> bool:
        """Whether its last answer is no longer ago than its last failure."""
        return self.health.circuit(trio.current_time()) is Circuit.CLOSED

    def view(self, most: int) -> ShareView:
        """For the choice among shares; `most` bodies at once are what it may be given."""
        now = trio.current_time()
        return ShareView(
            self.health.circuit(now),
            self.share.options.group,
            self.is_struck,
            self.bodies,
            min(most, self.share.options.concurrent) - self.bodies,
            self.estimates.latency,
            self.estimates.rate(now),
        )

    def bound(self, usual: float) -> float:
        """Seconds that one question to it is worth; 0 is not asking.

        One failure makes a share suspect, not absent: what only it has must not seem to be gone. What
        goes on failing costs nothing any more, so that writing works while the shares are away.
        """
        match self.health.circuit(trio.current_time()):
            case Circuit.CLOSED:
                return usual
            case Circuit.OPEN if self.health.is_outage:
                return 0.0
            case _:
                return min(usual, max(SUSPECT_BOUND, self.estimates.patience(has_begun=False)))

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
        late = self.too_late(phase, bound)
        self.record_failure(late)
        return late

    @contextmanager
    def asking(self) -> Iterator[ShareLike]:
        """Around one request: what comes of it goes into the share's health."""
        self.history.asked(trio.current_time())
        try:
            yield self.share
        except ShareFailure as failure:
            self.record_failure(failure.attempt, failure.retry_after)
            raise
        self.record_answer()

    def record_answer(self) -> None:
        """It is there."""
        self.last_answered = trio.current_time()
        self.health.record_success(self.last_answered)
        self.unknown_names.answered()
        self._report_back()

    def record_failure(self, attempt: Attempt, retry_after: float | None = None) -> None:
        """Also says in the log, once, that it is down, or does not let us in."""
        self.last_failure, self.last_failed = attempt, trio.current_time()
        self.health.record_failure(attempt.kind, self.last_failed, retry_after)
        self.counts.failures[attempt.kind] += 1
        if attempt.kind is not Kind.ABSENT:  # that is an answer
            self.history.failed(self.last_failed)
        if self.health.is_outage and not self._is_reported:
            self._is_reported = True
            _log.warning("%s is down: %s (%s)", self.shown, attempt.detail, attempt.phase)
        elif not self.health.is_outage:
            self._report_back()
        self._report_distrust(attempt, self.last_failed)

    def start_over(self) -> None:
        """It is asked with other settings: what was wrong may be right now, and if not, it is said again."""
        self.health = ShareHealth()
        self._distrust_said = -math.inf

    def _report_distrust(self, attempt: Attempt, now: float) -> None:
        """What does not pass by itself is said at once. A thing forbidden among what is given is no news."""
        is_shut = attempt.kind is Kind.REFUSED and (attempt.status == 401 or self.last_answered is None)
        if (is_shut or attempt.kind is Kind.TLS) and now >= self._distrust_said + SAID_FOR:
            self._distrust_said = now
            words = "does not let this node in" if is_shut else "cannot be asked"
            _log.warning("%s %s: %s (%s)", self.shown, words, attempt.detail, attempt.phase)

    def _report_back(self) -> None:
        if self._is_reported:
            self._is_reported = False
            unsaid = self.unknown_names.take_unsaid()
            more = f"; {unsaid} more names could not be looked up meanwhile" if unsaid else ""
            _log.warning("%s answers again%s", self.shown, more)

    def came(self, length: int, flow: Flow) -> None:
        """Bytes that were right, for that transfer."""
        now = trio.current_time()
        self.history.received(length, now)
        flow.came(self.shown, length, now)

    def strike(self, what: str, detail: str) -> None:
        """It sent wrong bytes."""
        if not self.is_struck:
            _log.warning(
                "%s sent wrong bytes of %s: %s; from now on others are asked first", self.shown, what, detail
            )
            self.struck_for = f"{what}: {detail}"

    def not_asked(self, phase: str) -> Attempt:
        return failed_attempt(self.shown, phase, Kind.NOT_ASKED, "not asked: it failed a moment ago")

    def too_late(self, phase: str, seconds: float, received: int = 0) -> Attempt:
        detail, ms = f"no answer in {seconds:g} s", int(seconds * 1000)
        return failed_attempt(self.shown, phase, Kind.TOO_LATE, detail, received=received, ms=ms)

    def wrong(self, phase: str, detail: str) -> ShareFailure:
        self.counts.wrong += 1
        return ShareFailure(failed_attempt(self.shown, phase, Kind.WRONG_BYTES, detail))
