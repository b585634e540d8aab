"""Whether a share is worth asking right now: its circuit breaker. Pure: times are handed in.

Only what makes the next question slow or vain counts (`retry_rules`): a share that says "absent", "refused"
or sends wrong bytes is there. After one the circuit is open for half a second, doubling with each further one
up to 30 s; then it is half open, which is worth one request that tells; any answer closes it. Open means "ask
others first": a share that is the only one left is asked all the same.
"""

from dataclasses import dataclass
from enum import StrEnum

from blobfs.model import Kind
from blobfs.shares.retry_rules import RULES

FIRST_BACKOFF = 0.5
"""Seconds; about a service restart."""
LONGEST_BACKOFF = 30.0
"""Seconds; how long a share that is back may go unnoticed."""

OUTAGE_FROM = 3
"""Failures in a row, each after a pause, that are an outage and no accident."""


PROVE_NOTHING = frozenset({Kind.LOCAL, Kind.NOT_ASKED})
"""Failures in which the share had no part."""


class Circuit(StrEnum):
    """Of one share."""

    CLOSED = "closed"
    HALF_OPEN = "half-open"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class HealthStatistics:
    """What `blobfs status` shows of one share's health."""

    successes: int
    failures: int
    consecutive_failures: int
    """Those that count, since the last answer."""
    last_failure: Kind | None
    down_until: float | None


class ShareHealth:
    """One share's recent past. Mutable: everything, by `record_success` and `record_failure` only."""

    def __init__(self) -> None:
        self._successes = 0
        self._failures = 0
        self._streak = 0
        self._last_failure: Kind | None = None
        self._down_until: float | None = None

    def __repr__(self) -> str:
        return f"<ShareHealth {self.statistics()}>"

    def record_success(self, now: float) -> None:
        self._successes += 1
        self._streak = 0
        self._down_until = None

    def record_failure(self, kind: Kind, now: float, retry_after: float | None = None) -> None:
        """`retry_after`: seconds the share itself asked for, kept to `LONGEST_BACKOFF`."""
        if kind in PROVE_NOTHING:
            return
        self._failures += 1
        self._last_failure = kind
        if not RULES[kind].counts_against_share:
            self._streak = 0
            self._down_until = None
            return
        asked = min(retry_after or 0.0, LONGEST_BACKOFF)
        if self._down_until is not None and now < self._down_until:
            # Requests that were under way together fail together: that is one outage, not eight. Nor does who
            # asks in vain, because nobody else is left, put off the moment when it is worth trying again.
            self._down_until = max(now + asked, self._down_until)
            return
        self._streak += 1
        # The exponent is bounded: a float overflows after a thousand failures.
        backoff = min(FIRST_BACKOFF * 2 ** min(self._streak - 1, 16), LONGEST_BACKOFF)
        self._down_until = now + max(backoff, asked)

    def is_down(self, now: float) -> bool:
        """Whether asking it again would most likely be waste."""
        return self._down_until is not None and now < self._down_until

    def circuit(self, now: float) -> Circuit:
        if not self._streak:
            return Circuit.CLOSED
        return Circuit.OPEN if self.is_down(now) else Circuit.HALF_OPEN

    @property
    def is_outage(self) -> bool:
        """Whether it failed so often in a row that it is not just an accident."""
        return self._streak >= OUTAGE_FROM

    def statistics(self) -> HealthStatistics:
        return HealthStatistics(
            self._successes, self._failures, self._streak, self._last_failure, self._down_until
        )
