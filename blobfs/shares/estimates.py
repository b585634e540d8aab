"""What a share's own past lets one expect of it: how soon it answers, how fast it sends, how long it pauses.
Pure.

Smoothed as TCP smooths its round trips (RFC 6298): a mean, and a mean deviation that says how much to allow
for. A share that is limited sends in bursts: a second's worth at once, then nothing until the second is over.
Its gaps are no stalls, so those it came out of by itself are remembered, and its rate counts them.
"""

import math
from collections import deque
from dataclasses import dataclass

FIRST_PATIENCE = 0.4
"""Seconds for which a share that nothing is known of may be silent before another one is asked as well: long
for a machine on the same continent, short enough for a first byte within a second."""
LEAST_PATIENCE = 0.15
"""Seconds; less is within what a busy machine's own scheduling takes."""
FIRST_RATE = 16 * 2**20
"""Bytes a second that a share is believed to send until it was seen: a gigabit link, shared by others."""
FIRST_LATENCY = 0.02
"""Seconds until its first byte, likewise."""

BELIEVED_FOR = 30.0
"""Seconds for which a rate is believed: a share that was slow once is tried again."""
LEAST_SAMPLE = 512 * 1024
"""Bytes of the smallest body whose rate means something; a shorter one measures the latency,"""
LEAST_LASTING = 0.5
"""unless it took so many seconds: what drips is taken from a share before much of it has come."""
LONGEST_GAP = 2.0
"""Seconds; who is silent for longer has stalled, however regularly. Servers count limits by the second."""
GAP_MARGIN = 2.5
"""Times the longest gap of late: a chunk may need the next burst but one, and the bytes have a way to go."""
GAP_FRESH = 5.0
"""Seconds after a gap in which nothing is learned from another one."""
_GAPS_KEPT = 16

_GAIN = 1 / 4
_DEVIATION_GAIN = 1 / 4
_DEVIATIONS = 4


@dataclass(slots=True)
class Smoothed:
    """A mean and a mean deviation of what was measured; None before the first sample."""

    mean: float | None = None
    deviation: float = 0.0

    def add(self, sample: float) -> None:
        if self.mean is None:
            self.mean, self.deviation = sample, sample / 2
            return
        self.deviation += _DEVIATION_GAIN * (abs(sample - self.mean) - self.deviation)
        self.mean += _GAIN * (sample - self.mean)

    def bound(self) -> float | None:
        """What a sample hardly ever exceeds."""
        return None if self.mean is None else self.mean + _DEVIATIONS * self.deviation


@dataclass(frozen=True, slots=True)
class EstimatesStatistics:
    """What ``blobfs status`` shows; None is not measured yet."""

    latency_ms: float | None
    bytes_per_second: int | None


class ShareEstimates:
    """Of one share. Mutable: by `answered`, `received` and `paused`. Times are handed in."""

    def __init__(self) -> None:
        self._latency = Smoothed()
        self._pause = Smoothed()
        self._gaps: deque[tuple[float, float]] = deque(maxlen=_GAPS_KEPT)
        """When it went on after a pause, and how long that was."""
        self._stalled = -math.inf
        self._rate = Smoothed()
        self._rate_seen = 0.0

    def __repr__(self) -> str:
        return f"<ShareEstimates {self.statistics()}>"

    @property
    def latency(self) -> float:
        """Seconds to the first byte."""
        return FIRST_LATENCY if self._latency.mean is None else self._latency.mean

    def rate(self, now: float) -> float | None:
        """Bytes a second of one body; None is not known, or not any more."""
        if self._rate.mean is None or now - self._rate_seen > BELIEVED_FOR:
            return None
        return max(self._rate.mean, 1.0)

    def answered(self, seconds: float) -> None:
        """A body began so long after it was asked for."""
        self._latency.add(seconds)

    def paused(self, seconds: float, now: float) -> None:
        """It took so long until the next chunks of a body were complete."""
        self._pause.add(seconds)
        if seconds > LEAST_PATIENCE:
            self._gaps.append((now, seconds))

    def received(self, length: int, seconds: float, now: float) -> None:
        """A body, or what was taken of it, came in within so long after its beginning."""
        if length >= LEAST_SAMPLE or (length and seconds >= LEAST_LASTING):
            self._rate.add(length / max(seconds, 1e-4))
            self._rate_seen = now

    def patience(self, has_begun: bool) -> float:
        """Seconds of silence after which this share is slower than its own past suggests."""
        bound = (self._pause if has_begun else self._latency).bound()
        return FIRST_PATIENCE if bound is None else max(bound, LEAST_PATIENCE)

    def gap(self, now: float) -> float:
        """Seconds that it paused for, of late, before it went on by itself; 0 is that it sends steadily."""
        lately = (seconds for seen, seconds in self._gaps if now - seen <= BELIEVED_FOR)
        return min(max(lately, default=0.0), LONGEST_GAP)

    def stalled(self, now: float) -> None:
        """It was given up for its silence in the midst of a body."""
        self._stalled = now

    def may_only_pause(self, now: float) -> bool:
        """Whether its silence is worth to be waited for the end of, as it might send in bursts.

        The first time nothing speaks for that; who has just been seen to go on need not prove it again.
        """
        seen = self._gaps[-1][0] if self._gaps else -math.inf
        return now - max(seen, self._stalled) <= BELIEVED_FOR and now - seen > GAP_FRESH

    def stalled_after(self, has_begun: bool, now: float) -> float:
        """Seconds of silence after which it has stalled: its patience, and no pause between two bursts."""
        return max(self.patience(has_begun), GAP_MARGIN * self.gap(now) if has_begun else 0.0)

    def statistics(self) -> EstimatesStatistics:
        latency, rate = self._latency.mean, self._rate.mean
        return EstimatesStatistics(
            None if latency is None else round(latency * 1000, 1), None if rate is None else round(rate)
        )
