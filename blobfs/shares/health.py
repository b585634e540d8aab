"""Whether a share is worth asking right now. Pure: times are handed in.

Only failures of the connection count: a share that says "absent", "refused" or sends wrong bytes is there.
After one the share is down for half a second, doubling with each further one up to 30 s; any answer ends it.
"""

from dataclasses import dataclass

from blobfs.model import Outcome

FIRST_BACKOFF = 0.5
"""Seconds; about a service restart."""
LONGEST_BACKOFF = 30.0
"""Seconds; how long a share that is back may go unnoticed."""

CONNECTION_FAILURES = frozenset({Outcome.UNREACHABLE, Outcome.BUSY})


@dataclass(frozen=True, slots=True)
class HealthStatistics:
    """What `blobfs status` shows of one share's health."""

    successes: int
    failures: int
    consecutive_failures: int
    """Of the connection, since the last success."""
    last_outcome: Outcome | None
    down_until: float | None


class ShareHealth:
    """One share's recent past. Mutable: everything, by `record_success` and `record_failure` only."""

    def __init__(self) -> None:
        self._successes = 0
        self._failures = 0
        self._streak = 0
        self._last_outcome: Outcome | None = None
        self._down_until: float | None = None

    def __repr__(self) -> str:
        return f"<ShareHealth {self.statistics()}>"

    def record_success(self, now: float) -> None:
        self._successes += 1
        self._streak = 0
        self._last_outcome = Outcome.OK
        self._down_until = None

    def record_failure(self, outcome: Outcome, now: float, retry_after: float | None = None) -> None:
        """`retry_after`: seconds the share itself asked for, kept to `LONGEST_BACKOFF`."""
        self._failures += 1
        self._last_outcome = outcome
        if outcome not in CONNECTION_FAILURES:
            self._streak = 0
            self._down_until = None
            return
        if not self.is_down(now):
            # Requests that were under way together fail together: that is one outage, not eight.
            self._streak += 1
        # The exponent is bounded: a float overflows after a thousand failures.
        backoff = min(FIRST_BACKOFF * 2 ** min(self._streak - 1, 16), LONGEST_BACKOFF)
        asked = min(retry_after or 0.0, LONGEST_BACKOFF)
        self._down_until = max(now + max(backoff, asked), self._down_until or now)

    def is_down(self, now: float) -> bool:
        """Whether asking it again would most likely be waste."""
        return self._down_until is not None and now < self._down_until

    def statistics(self) -> HealthStatistics:
        return HealthStatistics(
            self._successes, self._failures, self._streak, self._last_outcome, self._down_until
        )
