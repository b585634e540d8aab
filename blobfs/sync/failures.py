"""What went wrong last, by what was wanted: kept for a while for whoever asks why."""

from collections import OrderedDict
from dataclasses import dataclass

import trio

from blobfs import errors
from blobfs.model import Attempt


@dataclass(frozen=True, slots=True)
class Failure:
    """What a caller was told, and when (trio's clock)."""

    error: errors.BlobfsError
    at: float

    @property
    def attempts(self) -> tuple[Attempt, ...]:
        return self.error.attempts if isinstance(self.error, errors.LoadFailed) else ()


def failed_now(error: errors.BlobfsError) -> Failure:
    return Failure(error, trio.current_time())


class RecentFailures:
    """The last failure of each of the `most` things that failed last. Mutable: `_failures`."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._failures: OrderedDict[str, Failure] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failures)

    def note(self, key: str, failure: Failure) -> None:
        self._failures[key] = failure
        self._failures.move_to_end(key)
        if len(self._failures) > self._most:
            self._failures.popitem(last=False)

    def of(self, key: str) -> Failure | None:
        return self._failures.get(key)

    def forget(self, key: str) -> None:
        """It is all right now."""
        self._failures.pop(key, None)
