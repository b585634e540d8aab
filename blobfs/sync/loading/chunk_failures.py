"""Chunks of one load that are known to fail for a moment: the kernel asks again for a READ that failed."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import trio

from blobfs import errors
from blobfs.model import Attempt
from blobfs.sync.failures import Failure, failed_now

_log = logging.getLogger(__name__)

KEPT_ATTEMPTS = 32
LEAST_MEMORY = 0.05
"""Seconds: whoever waits has to see the failure when it is woken."""


@dataclass(frozen=True, slots=True)
class _Failed:
    """Why a chunk is not coming, and until when (trio's clock) that is believed."""

    error: errors.BlobfsError
    until: float


class ChunkFailures:
    """Mutable: `_failed`, by `remember`, `forget` and the clock; `last` and `attempts`."""

    def __init__(self, seconds: float) -> None:
        self._failed: dict[int, _Failed] = {}
        self.believe(seconds)
        self._has_complained = False
        self.last: Failure | None = None
        """What somebody was told last, whatever it was."""
        self.attempts: tuple[Attempt, ...] = ()
        """Those of the last failure in which shares had a part."""
        self.since_arrival: Failure | None = None
        """What somebody was told last, unless something has arrived since."""

    def believe(self, seconds: float) -> None:
        """For so long, what fails from now on. What has failed may be tried at once."""
        self._seconds = max(seconds, LEAST_MEMORY)
        self._failed.clear()

    def remember(self, chunks: Iterable[int], error: errors.BlobfsError) -> None:
        failed = _Failed(error, trio.current_time() + self._seconds)
        self._failed.update(dict.fromkeys(chunks, failed))
        self.tell(error)

    def tell(self, error: errors.BlobfsError) -> None:
        """Somebody is told this."""
        self.last = self.since_arrival = failed_now(error)
        if isinstance(error, errors.LoadFailed):
            self.attempts = error.attempts[-KEPT_ATTEMPTS:]

    def complain(self, shown: str, error: errors.BlobfsError, *, is_waited_for: bool) -> None:
        """One warning until something arrives again: readers ask for what they do not get again and again.

        Nobody waits for the fill, and so nobody needs to know.
        """
        is_news = is_waited_for and not self._has_complained
        self._has_complained |= is_news
        last = f" ({self.attempts[-1].share}: {self.attempts[-1].detail})" if self.attempts else ""
        _log.log(logging.WARNING if is_news else logging.DEBUG, "%s: %s%s", shown, error, last)

    def is_failing(self, chunk: int) -> bool:
        failed = self._failed.get(chunk)
        return failed is not None and failed.until > trio.current_time()

    def failing(self) -> int:
        """All of them, as a number in which bit c is chunk c."""
        return sum(1 << chunk for chunk in self._failed if self.is_failing(chunk))

    def raise_for(self, first: int, stop: int) -> None:
        """Raises why the first chunk of a range that is known to fail does."""
        now = trio.current_time()
        for chunk in [chunk for chunk, failed in self._failed.items() if failed.until <= now]:
            del self._failed[chunk]
        broken = min((chunk for chunk in self._failed if first <= chunk < stop), default=None)
        if broken is not None:
            raise self._failed[broken].error

    def arrived(self, first: int, stop: int) -> None:
        """These chunks are here."""
        self._has_complained = False
        self.since_arrival = None
        for chunk in range(first, stop):
            self._failed.pop(chunk, None)
