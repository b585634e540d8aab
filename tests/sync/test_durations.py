"""Durations: what is counted, and in which box."""

from blobfs.sync.durations import BOUNDS, Durations, DurationStatistics


def test_nothing_was_added() -> None:
    """All is zero."""
    assert Durations().statistics() == DurationStatistics(0, 0.0, 0.0, (0,) * (len(BOUNDS) + 1))


def test_each_duration_is_in_one_box() -> None:
    """Up to its bound, inclusive; what is over the last bound is in the last box."""
    durations = Durations()
    for seconds in (0.0, *BOUNDS, 0.5, 1000.0):
        durations.add(seconds)
    statistics = durations.statistics()
    assert statistics.boxes == (2, 1, 1, 2, 1, 1, 1)
    assert statistics.count == sum(statistics.boxes) == 9
    assert statistics.longest == 1000.0
    assert statistics.total == sum(BOUNDS) + 1000.5
