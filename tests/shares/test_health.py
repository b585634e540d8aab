"""When a share is worth asking."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.model import Kind
from blobfs.shares.health import (
    FIRST_BACKOFF,
    LONGEST_BACKOFF,
    OUTAGE_FROM,
    PROVE_NOTHING,
    Circuit,
    ShareHealth,
)
from blobfs.shares.retry_rules import RULES

COUNTED = [kind for kind, rule in RULES.items() if rule.counts_against_share]
STEPS = st.tuples(st.none() | st.sampled_from(Kind), st.floats(0, 60), st.none() | st.floats(0, 1e5))
"""A success or a failure, seconds since the last step, what the share asked for."""


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


def test_a_circuit_opens_half_opens_and_closes() -> None:
    """Open for its backoff; then one answer closes it, one failure opens it for twice as long."""
    health = ShareHealth()
    assert health.circuit(0.0) is Circuit.CLOSED
    health.record_failure(Kind.STALLED, 0.0)
    assert health.circuit(0.49) is Circuit.OPEN
    assert health.circuit(0.5) is Circuit.HALF_OPEN
    health.record_failure(Kind.STALLED, 0.5)
    assert health.circuit(1.49) is Circuit.OPEN
    assert health.circuit(1.5) is Circuit.HALF_OPEN
    health.record_success(1.5)
    assert health.circuit(1.5) is Circuit.CLOSED


def test_an_answer_during_the_outage_ends_it() -> None:
    """A request that was sent before, or because nobody else was left: it is there, so it is asked again."""
    health = ShareHealth()
    health.record_failure(Kind.RESET, 1.0)
    health.record_success(1.1)
    assert health.circuit(1.1) is Circuit.CLOSED


@pytest.mark.parametrize("kind", sorted(PROVE_NOTHING))
def test_what_the_share_had_no_part_in_changes_nothing(kind: Kind) -> None:
    """Neither is it held against it, nor does it prove that it is there."""
    health = ShareHealth()
    health.record_failure(kind, 1.0)
    assert health.circuit(1.0) is Circuit.CLOSED
    health.record_failure(Kind.RESET, 2.0)
    before = health.statistics()
    health.record_failure(kind, 2.1)
    assert health.circuit(2.1) is Circuit.OPEN
    assert health.statistics() == before


def test_a_404_is_knowledge_and_no_failure_of_the_share() -> None:
    """However many: the circuit stays closed, and none of them is a step towards an outage."""
    health = ShareHealth()
    for moment in range(100):
        health.record_failure(Kind.ABSENT, float(moment))
        assert health.circuit(float(moment)) is Circuit.CLOSED
    assert (health.statistics().consecutive_failures, health.is_outage) == (0, False)


def test_an_outage_takes_several_failures_each_after_its_pause() -> None:
    """What fails at the same moment is one accident."""
    health = ShareHealth()
    for _ in range(10):
        health.record_failure(Kind.RESET, 0.0)
    assert not health.is_outage
    for moment in range(1, OUTAGE_FROM):
        assert not health.is_outage
        health.record_failure(Kind.RESET, moment * 100.0)
    assert health.is_outage
    health.record_success(1000.0)
    assert not health.is_outage


@pytest.mark.parametrize("kind", COUNTED)
def test_every_kind_that_counts_opens_the_circuit(kind: Kind) -> None:
    """For half a second at first."""
    health = ShareHealth()
    health.record_failure(kind, 5.0)
    assert health.statistics().down_until == 5.0 + FIRST_BACKOFF


@given(st.lists(STEPS, max_size=40))
def test_no_share_is_left_alone_for_longer_than_the_longest_backoff(
    steps: list[tuple[Kind | None, float, float | None]],
) -> None:
    """Whatever it did and asked for; and the three states of the circuit are what `is_down` says."""
    health, now = ShareHealth(), 0.0
    for kind, seconds, retry_after in steps:
        now += seconds
        if kind is None:
            health.record_success(now)
        else:
            health.record_failure(kind, now, retry_after)
        assert not health.is_down(now + LONGEST_BACKOFF)
        assert health.is_down(now) == (health.circuit(now) is Circuit.OPEN)
        streak = health.statistics().consecutive_failures
        assert (streak == 0) == (health.circuit(now) is Circuit.CLOSED)


def test_a_share_that_is_asked_all_the_time_gets_to_its_outage() -> None:
    """Failures while the circuit is open put nothing off: after each backoff the next one counts."""
    health = ShareHealth()
    for step in range(200):
        health.record_failure(Kind.CONNECT_TIMEOUT, step / 20)
    assert health.is_outage
    assert health.statistics().consecutive_failures == 5  # at 0, 0.5, 1.5, 3.5 and 7.5 s
