"""What a share's own past lets one expect of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.shares.estimates import (
    BELIEVED_FOR,
    FIRST_LATENCY,
    FIRST_PATIENCE,
    GAP_FRESH,
    GAP_MARGIN,
    LEAST_PATIENCE,
    LEAST_SAMPLE,
    LONGEST_GAP,
    EstimatesStatistics,
    ShareEstimates,
    Smoothed,
)

SECONDS = st.floats(0.001, 100)
MIB = 2**20


def test_nothing_is_known_of_a_new_share() -> None:
    """It is given the patience that fits a share on the same continent, and its rate is open."""
    new = ShareEstimates()
    assert new.latency == FIRST_LATENCY
    assert new.rate(0.0) is None
    assert new.patience(False) == new.patience(True) == FIRST_PATIENCE
    assert new.statistics() == EstimatesStatistics(None, None)


def test_the_first_sample_is_believed_and_the_later_ones_by_and_by() -> None:
    """A quarter of each new one."""
    smoothed = Smoothed()
    assert smoothed.bound() is None
    smoothed.add(8.0)
    assert (smoothed.mean, smoothed.deviation) == (8.0, 4.0)
    smoothed.add(4.0)
    assert (smoothed.mean, smoothed.deviation) == (7.0, 4.0)
    assert smoothed.bound() == 7.0 + 4 * 4.0


@given(st.lists(SECONDS, min_size=1))
def test_a_mean_lies_among_its_samples(samples: list[float]) -> None:
    """Whatever came in which order; and the bound is never below it."""
    smoothed = Smoothed()
    for sample in samples:
        smoothed.add(sample)
    mean, bound = smoothed.mean, smoothed.bound()
    assert mean is not None
    assert bound is not None
    assert min(samples) * 0.999 <= mean <= max(samples) * 1.001
    assert bound >= mean


@pytest.mark.parametrize("usual", [0.01, 0.2, 3.0])
def test_patience_follows_the_shares_own_past(usual: float) -> None:
    """A share that always needs three seconds is not late after one; no share is late within 150 ms."""
    steady = ShareEstimates()
    for _ in range(30):
        steady.answered(usual)
        steady.paused(usual, 0.0)
    assert steady.latency == pytest.approx(usual)
    for has_begun in False, True:
        assert steady.patience(has_begun) == pytest.approx(max(usual, LEAST_PATIENCE), rel=0.01)


def test_answers_and_pauses_are_told_apart() -> None:
    """One that thinks for long and then sends fast is late in its body after a moment."""
    thinking = ShareEstimates()
    thinking.answered(2.0)
    thinking.paused(0.001, 0.0)
    assert thinking.patience(False) > 2.0
    assert thinking.patience(True) == LEAST_PATIENCE


def test_an_unsteady_share_is_given_longer() -> None:
    """The same mean with more scatter means a later alarm."""
    steady, unsteady = ShareEstimates(), ShareEstimates()
    for turn in range(40):
        steady.answered(0.5)
        unsteady.answered(0.1 if turn % 2 else 0.9)
    assert unsteady.patience(False) > 2 * steady.patience(False)


def test_a_rate_is_believed_for_a_while() -> None:
    """A share that was slow once is tried again; a new sample makes the rate known again."""
    share = ShareEstimates()
    share.received(MIB, 1.0, now=10.0)
    assert share.rate(10.0 + BELIEVED_FOR) == MIB
    assert share.rate(10.1 + BELIEVED_FOR) is None
    share.received(MIB, 1.0, now=100.0)
    assert share.rate(100.0) == MIB
    assert share.statistics().bytes_per_second == MIB


def test_a_short_body_says_nothing_of_the_rate() -> None:
    """It measures the latency only."""
    share = ShareEstimates()
    share.received(LEAST_SAMPLE - 1, 0.1, now=0.0)
    share.received(0, 9.0, now=0.0)
    assert share.rate(0.0) is None
    share.received(LEAST_SAMPLE, 0.1, now=0.0)
    assert share.rate(0.0) == LEAST_SAMPLE / 0.1


def test_a_short_body_that_took_long_does() -> None:
    """A drip that was given up for a faster share must not pass for one that is not known yet."""
    share = ShareEstimates()
    share.received(100_000, 2.0, now=0.0)
    assert share.rate(0.0) == 50_000


@given(st.integers(0, 2**50), st.floats(0, 1e6))
def test_a_rate_is_something_one_can_divide_by(length: int, seconds: float) -> None:
    """At least a byte a second, however little came in however long a time."""
    share = ShareEstimates()
    share.received(length, seconds, now=0.0)
    rate = share.rate(0.0)
    assert rate is None or rate >= 1.0


def test_a_pause_that_it_came_out_of_is_no_stall() -> None:
    """While it is remembered, and a half more than it took; before the first byte it means nothing."""
    share = ShareEstimates()
    assert share.gap(0.0) == 0.0
    share.paused(0.01, now=0.0)
    share.paused(1.0, now=1.0)
    for _ in range(20):
        share.paused(0.01, now=2.0)
    assert share.gap(2.0) == 1.0
    assert share.patience(True) == LEAST_PATIENCE
    assert share.stalled_after(True, now=2.0) == GAP_MARGIN * 1.0
    assert share.stalled_after(False, now=2.0) == share.patience(False)
    assert share.gap(1.1 + BELIEVED_FOR) == 0.0


def test_no_pause_is_too_long_to_be_a_stall() -> None:
    """Whoever was once away for a minute is not given another one."""
    share = ShareEstimates()
    share.paused(60.0, now=60.0)
    assert share.gap(60.0) == LONGEST_GAP


def test_who_has_stalled_once_may_only_pause() -> None:
    """The first time nothing speaks for it; whoever was just seen to go on need not prove it again."""
    share = ShareEstimates()
    assert not share.may_only_pause(0.0)
    share.stalled(0.0)
    assert share.may_only_pause(1.0)
    share.paused(1.0, now=2.0)
    assert not share.may_only_pause(3.0)
    assert share.may_only_pause(2.1 + GAP_FRESH)
    assert not share.may_only_pause(2.1 + BELIEVED_FOR)
