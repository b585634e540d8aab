"""What the adapter counts: operations, what they were answered with, how long the answers took."""

import errno
from collections import Counter, defaultdict
from typing import Any

from blobfs.sync.durations import OPERATION_BOUNDS, Durations, DurationStatistics

UNEXPECTED = "unexpected"
"""Among the errors: defects, answered with EIO."""


class OperationCounts:
    """Of one mount. Mutable: all of it only grows.

    `asked` are operations by kind, when they are taken up; but ``forget`` and ``prune``, which are counted in
    inodes. `errors` are answers by the name of the error.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.took: defaultdict[str, Durations] = defaultdict(lambda: Durations(OPERATION_BOUNDS))
        self._numbers: Counter[tuple[str, int]] = Counter()

    def refused(self, operation: str, number: int) -> None:
        """It was answered with this errno."""
        self._numbers[operation, number] += 1

    def statistics(self) -> dict[str, Any]:
        return {**self.asked, "errors": dict(self.errors)}

    def durations(self) -> dict[str, DurationStatistics]:
        """By kind of operation, from when it was taken up to its answer."""
        return {operation: took.statistics() for operation, took in self.took.items()}

    def numbers(self) -> dict[tuple[str, str], int]:
        """How often each kind of operation was answered with each errno, by name."""
        return {(operation, errno.errorcode[number]): n for (operation, number), n in self._numbers.items()}
