"""How long things took: a count, a sum, the longest, and a small histogram. Pure: seconds are handed in."""

from bisect import bisect_left
from dataclasses import dataclass

BOUNDS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
"""Seconds up to which (inclusive) a duration counts in each box of the histogram; the last box has no bound.
From a round trip on this machine to a blob that takes minutes."""


@dataclass(frozen=True, slots=True)
class DurationStatistics:
    """Durations in seconds; `boxes` has one number more than `BOUNDS`."""

    count: int
    total: float
    longest: float
    boxes: tuple[int, ...]


class Durations:
    """Mutable: everything, by `add` only."""

    def __init__(self) -> None:
        self._count = 0
        self._total = 0.0
        self._longest = 0.0
        self._boxes = [0] * (len(BOUNDS) + 1)

    def __repr__(self) -> str:
        return f"<Durations {self.statistics()}>"

    def add(self, seconds: float) -> None:
        self._count += 1
        self._total += seconds
        self._longest = max(self._longest, seconds)
        self._boxes[bisect_left(BOUNDS, seconds)] += 1

    def statistics(self) -> DurationStatistics:
        return DurationStatistics(self._count, self._total, self._longest, tuple(self._boxes))
