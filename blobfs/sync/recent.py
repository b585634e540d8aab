"""The recent past in numbers: how fast something is of late, what a share did in the last minutes. Pure.

Counts go into buckets of some seconds, made by what happens: while nothing happens nothing runs, and nothing
is kept. Times are handed in, and never go back.
"""

from collections import deque
from dataclasses import dataclass
from enum import IntEnum

RATE_BUCKET = 0.5
RATE_OVER = 5.0
"""Seconds. A rate shows a change within two or three of them, and does not jump with every batch."""
LEAST_TIME = 1.0
"""Seconds that a rate is taken over at least: the first batch alone says nothing."""

HISTORY_BUCKET = 5.0
HISTORY_OVER = 300.0
"""Seconds. Sixty points of a small curve."""


class Buckets:
    """Counts by time. Mutable: `_buckets`, the oldest first, by `add` only."""

    def __init__(self, seconds: float, over: float, columns: int) -> None:
        self._seconds = seconds
        self._columns = columns
        self._buckets: deque[tuple[int, list[int]]] = deque(maxlen=round(over / seconds) + 1)

    def __len__(self) -> int:
        return len(self._buckets)

    def add(self, column: int, amount: int, now: float) -> None:
        number = int(now / self._seconds)
        if not self._buckets or self._buckets[-1][0] != number:
            self._buckets.append((number, [0] * self._columns))
        self._buckets[-1][1][column] += amount

    def since(self, begin: float) -> list[tuple[float, list[int]]]:
        """When each of the buckets began, if after that, with its counts; empty ones are left out."""
        return [
            (number * self._seconds, counts)
            for number, counts in self._buckets
            if number * self._seconds > begin
        ]


class Rate:
    """Bytes a second of late. Mutable: by `add` only."""

    def __init__(self) -> None:
        self._bytes = Buckets(RATE_BUCKET, RATE_OVER, columns=1)

    def add(self, length: int, now: float) -> None:
        self._bytes.add(0, length, now)

    def of_late(self, now: float) -> float | None:
        """None: nothing has come so far. What has stopped goes down to 0."""
        if not self._bytes:
            return None
        recent = self._bytes.since(now - RATE_OVER)
        total = sum(counts[0] for _, counts in recent)
        return total / max(now - recent[0][0], LEAST_TIME) if recent else 0.0


class _Column(IntEnum):
    BYTES = 0
    REQUESTS = 1
    FAILURES = 2


@dataclass(frozen=True, slots=True)
class PastSeconds:
    """What a share did in `HISTORY_BUCKET` seconds."""

    ago: float
    """Seconds since they began."""
    bytes: int
    """Of blobs and bundles that came, and were right."""
    requests: int
    failures: int


class ShareHistory:
    """Of one share. Mutable: by `received`, `asked` and `failed`."""

    def __init__(self) -> None:
        self._past = Buckets(HISTORY_BUCKET, HISTORY_OVER, columns=len(_Column))

    def received(self, length: int, now: float) -> None:
        self._past.add(_Column.BYTES, length, now)

    def asked(self, now: float) -> None:
        self._past.add(_Column.REQUESTS, 1, now)

    def failed(self, now: float) -> None:
        self._past.add(_Column.FAILURES, 1, now)

    def past(self, now: float) -> list[PastSeconds]:
        """The last `HISTORY_OVER` seconds, the oldest first; those in which nothing happened are left out."""
        return [
            PastSeconds(round(now - begin, 1), *counts)
            for begin, counts in self._past.since(now - HISTORY_OVER)
        ]
