"""Bytes that were asked for twice: how many there may be, and how many there were."""

from dataclasses import dataclass

ALLOWANCE = 4 * 2**20
"""Bytes that may be lost before anything was gained, so that the first stall of all is hedged too."""


@dataclass(frozen=True, slots=True)
class ExtraStatistics:
    hedged: int
    """Requests that were sent again elsewhere while the first was still under way."""
    moved: int
    """Requests that were taken from a share that was too slow."""
    refused: int
    """Requests that would have been sent again, had there not been too much extra traffic."""
    wasted: int
    """Bytes that came in and were thrown away."""
    kept: int
    """Bytes that came in and were not."""
    retried: int
    """Requests for what an earlier one had failed to bring."""


class ExtraTraffic:
    """The budget of one node. Mutable: all counts, by the spans; `fraction`, when it is set anew."""

    def __init__(self, fraction: float) -> None:
        self.fraction = fraction
        self._kept = 0
        self._wasted = 0
        self.hedged = 0
        self.moved = 0
        self.refused = 0
        self.retried = 0

    def may_hedge(self) -> bool:
        if self._wasted <= ALLOWANCE + self.fraction * self._kept:
            return True
        self.refused += 1
        return False

    def count(self, kept: int, received: int) -> None:
        """Of one request that has ended."""
        self._kept += kept
        self._wasted += max(received - kept, 0)

    def statistics(self) -> ExtraStatistics:
        return ExtraStatistics(self.hedged, self.moved, self.refused, self._wasted, self._kept, self.retried)
