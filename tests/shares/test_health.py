"""When a share is worth asking."""

import pytest

from blobfs.model import Kind
from blobfs.shares.health import ShareHealth


def test_a_new_share_is_up() -> None:
    """Nothing is held against a share nobody asked yet."""
    assert not ShareHealth().is_down(0.0)


def test_backoff_doubles_to_its_limit_and_a_success_ends_it() -> None:
    """0.5 s, 1 s, 2 s ... 30 s between tries; then from the start again."""
    health, now, gaps = ShareHealth(), 100.0, []
    for _ in range(9):
        health.record_failure(Kind.RESET, now)
        until = health.statistics().down_until
        assert until is not None
        gaps.append(until - now)
        assert health.is_down(until - 0.001)
        assert not health.is_down(until)
        now = until
    assert gaps == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    health.record_success(now)
    assert not health.is_down(now)
    health.record_failure(Kind.RESET, now)
    assert health.statistics().down_until == now + 0.5


def test_requests_that_fail_together_are_one_outage() -> None:
    """Eight requests under way when a share dies do not cost thirty seconds."""
    health = ShareHealth()
    for moment in range(8):
        health.record_failure(Kind.RESET, 10.0 + moment / 100)
    assert health.statistics().consecutive_failures == 1
    assert not health.is_down(10.6)


@pytest.mark.parametrize("kind", [Kind.ABSENT, Kind.REFUSED, Kind.WRONG_BYTES, Kind.CHANGED])
def test_an_answer_of_any_kind_proves_the_share_is_there(kind: Kind) -> None:
    """Only failures of the connection make a share down, and an answer makes it up."""
    health = ShareHealth()
    health.record_failure(kind, 1.0)
    assert not health.is_down(1.0)
    health.record_failure(Kind.RESET, 2.0)
    assert health.is_down(2.1)
    health.record_failure(kind, 2.2)
    assert not health.is_down(2.2)
    assert health.statistics().failures == 3


def test_a_busy_share_is_left_alone_as_long_as_it_asks() -> None:
    """Retry-After is heeded, up to the longest backoff."""
    health = ShareHealth()
    health.record_failure(Kind.BUSY, 1.0, retry_after=7.0)
    assert health.is_down(7.9)
    assert not health.is_down(8.0)
    health.record_failure(Kind.BUSY, 8.0, retry_after=3600.0)
    assert not health.is_down(38.0)
    assert health.is_down(37.9)
