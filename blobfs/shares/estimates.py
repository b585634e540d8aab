"""What a share's own past lets one expect of it: how soon it answers, how fast it sends, how long it pauses.
Pure.

Smoothed as TCP smooths its round trips (RFC 6298): a mean, and a mean deviation that says how much to allow
for.
"""

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

    def paused(self, seconds: float) -> None:
        """It took so long until the next chunks of a body were complete."""
        self._pause.add(seconds)

    def received(self, length: int, seconds: float, now: float) -> None:
        """A body, or what was taken of it, came in within so long after its beginning."""
        if length >= LEAST_SAMPLE or (length and seconds >= LEAST_LASTING):
            self._rate.add(length / max(seconds, 1e-4))
            self._rate_seen = now

    def patience(self, has_begun: bool) -> float:
        """Seconds of silence after which this share is slower than its own past suggests."""
        bound = (self._pause if has_begun else self._latency).bound()
        return FIRST_PATIENCE if bound is None else max(bound, LEAST_PATIENCE)

    def statistics(self) -> EstimatesStatistics:
        latency, rate = self._latency.mean, self._rate.mean
        return EstimatesStatistics(
            None if latency is None else round(latency * 1000, 1), None if rate is None else round(rate)
        )
