"""How long things took: a count, a sum, the longest, and a small histogram. Pure: seconds are handed in."""

from bisect import bisect_left
from dataclasses import dataclass

BOUNDS = (0.001, 0.01, 0.1, 1.0, 10.0, 100.0)
"""Seconds up to which (inclusive) a duration counts in each box of the histogram; the last box has no bound.
From a round trip on this machine to a blob that takes minutes."""

OPERATION_BOUNDS = (
    *(0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
"""Likewise, of an operation of a mount: from one that needs nothing, 50 us, to the longest read."""


@dataclass(frozen=True, slots=True)
class DurationStatistics:
    """Durations in seconds; `boxes` has one number more than `bounds`."""

    count: int
    total: float
    longest: float
    boxes: tuple[int, ...]
    bounds: tuple[float, ...] = BOUNDS


class Durations:
    """Mutable: everything but the bounds, by `add` only."""

    __slots__ = ("_bounds", "_boxes", "_count", "_longest", "_total")

    def __init__(self, bounds: tuple[float, ...] = BOUNDS) -> None:
        self._bounds = bounds
        self._count = 0
        self._total = 0.0
        self._longest = 0.0
        self._boxes = [0] * (len(bounds) + 1)

    def __repr__(self) -> str:
        return f"<Durations {self.statistics()}>"

    def add(self, seconds: float) -> None:
        self._count += 1
        self._total += seconds
        if seconds > self._longest:
            self._longest = seconds
        self._boxes[bisect_left(self._bounds, seconds)] += 1

    def statistics(self) -> DurationStatistics:
        return DurationStatistics(self._count, self._total, self._longest, tuple(self._boxes), self._bounds)
