"""Rates of late and histories: pure, with times that are handed in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.sync.flow import Flow
from blobfs.sync.recent import (
    HISTORY_BUCKET,
    HISTORY_OVER,
    LEAST_TIME,
    RATE_OVER,
    PastSeconds,
    Rate,
    ShareHistory,
)


def test_no_rate_before_anything_came() -> None:
    """What has not begun has no rate; it is not slow."""
    assert Rate().of_late(100.0) is None


def test_a_steady_rate_is_told_as_it_is() -> None:
    """A megabyte every tenth of a second is ten a second, from the second second on."""
    rate = Rate()
    for tenth in range(100):
        rate.add(10**6, tenth / 10)
        if tenth > 20:
            assert rate.of_late(tenth / 10) == pytest.approx(10**7, rel=0.15)


def test_the_first_batch_alone_is_no_rate() -> None:
    """What came in the last second counts as if it had taken a second."""
    rate = Rate()
    rate.add(5000, 7.0)
    assert rate.of_late(7.0) == 5000 / LEAST_TIME


def test_what_has_stopped_goes_down_to_nothing() -> None:
    """The rate falls from second to second, and is 0 when all that came is too long ago."""
    rate = Rate()
    rate.add(10**6, 0.0)
    rate.add(10**6, 1.0)
    told = [rate.of_late(now) for now in (1.0, 2.0, 3.0, 4.0)]
    assert told == sorted(told, key=lambda each: each or 0, reverse=True)
    assert rate.of_late(1.0 + RATE_OVER + 1) == 0.0


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(0, 10**6))))
def test_a_rate_is_never_more_than_all_that_came(events: list[tuple[float, int]]) -> None:
    """And what is kept for it is bounded, however long it goes on."""
    rate, now, total = Rate(), 1000.0, 0
    for pause, length in events:
        now += pause
        total += length
        rate.add(length, now)
        assert 0 <= (rate.of_late(now) or 0) <= total
    assert len(rate._bytes) <= 11


def test_a_share_has_a_past() -> None:
    """What came, was asked and failed is counted in buckets, the oldest first; quiet ones are left out."""
    history = ShareHistory()
    history.asked(2.0)
    history.received(100, 3.0)
    history.asked(3.0)
    history.failed(21.0)
    assert history.past(22.0) == [PastSeconds(22.0, 100, 2, 0), PastSeconds(2.0, 0, 0, 1)]


def test_the_past_is_forgotten() -> None:
    """After five minutes; and no more is kept than these."""
    history = ShareHistory()
    for second in range(3600):
        history.asked(float(second))
    found = history.past(3600.0)
    assert len(found) == HISTORY_OVER / HISTORY_BUCKET - 1
    assert {bucket.requests for bucket in found} == {5}
    assert history.past(10_000.0) == []


def test_a_flow_feeds_what_it_is_part_of() -> None:
    """What comes for a blob of a package comes for the package, as long as it is being loaded for it."""
    blob, package = Flow(), Flow()
    blob.came("one", 10, 1.0)
    with blob.feeding(package):
        blob.came("one", 20, 1.0)
        blob.came("two", 5, 1.0)
    blob.came("two", 40, 1.0)
    assert blob.from_shares == {"one": 30, "two": 45}
    assert package.from_shares == {"one": 20, "two": 5}
    assert package.rate.of_late(1.0) == 25.0
