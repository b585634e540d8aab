"""What follows from each kind of failure, and the pauses between rounds."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.model import Kind, Outcome
from blobfs.shares.retry_rules import (
    LONGEST_PAUSE,
    RULES,
    Again,
    failed_attempt,
    is_worth_asking_again,
    pause,
)
from tests.structure import ROOT

SECONDS = st.floats(0, 1e6)
JITTER = st.floats(0, 1)
TURNS = st.integers(0, 10**9)


def test_every_kind_has_its_rule() -> None:
    """No kind is forgotten, and none is a success."""
    assert RULES.keys() == set(Kind)
    assert Outcome.OK not in {rule.outcome for rule in RULES.values()}
    assert {rule.outcome for rule in RULES.values()} == set(Outcome) - {Outcome.OK}


def test_what_a_share_says_of_the_blob_it_will_say_again() -> None:
    """Absent, refused, wrong, changed: asking for the same again is in vain. Busy will pass."""
    final = {Outcome.ABSENT, Outcome.REFUSED, Outcome.WRONG, Outcome.CHANGED}
    for rule in RULES.values():
        assert rule.outcome not in final or rule.ask_again is Again.NEVER
    assert is_worth_asking_again(Kind.BUSY)
    assert not is_worth_asking_again(Kind.NO_RANGES)


def test_only_what_is_slow_or_in_vain_counts_against_a_share() -> None:
    """Nothing that a share says of one blob makes it suspect for others; neither does our own trouble."""
    counted = {kind for kind, rule in RULES.items() if rule.counts_against_share}
    assert {RULES[kind].outcome for kind in counted} == {Outcome.UNREACHABLE, Outcome.BUSY}
    assert counted.isdisjoint({Kind.NOT_ASKED, Kind.LOCAL, Kind.BAD_STATUS, Kind.WRONG_BYTES})


def test_attempts_have_one_maker() -> None:
    """An outcome that is not its kind's cannot be made by mistake."""
    makers = [
        path.name
        for path in (ROOT / "blobfs").rglob("*.py")
        if re.search(r"(?<!\w)Attempt\(", path.read_text(encoding="utf-8"))
    ]
    assert makers == ["retry_rules.py"]


@pytest.mark.parametrize("kind", Kind)
def test_an_attempt_has_the_outcome_of_its_kind(kind: Kind) -> None:
    """Nobody else decides on it."""
    attempt = failed_attempt("http://a/", "blob", kind, "words", 206, 7, 12)
    assert (attempt.kind, attempt.outcome) == (kind, RULES[kind].outcome)
    assert (attempt.share, attempt.phase, attempt.detail) == ("http://a/", "blob", "words")
    assert (attempt.status, attempt.received, attempt.ms) == (206, 7, 12)


def test_pauses_double_up_to_a_limit() -> None:
    """The longest pause of each round, with a base of 0.3 s."""
    pauses = [pause(turn, 0.3, 1.0, None, math.inf) for turn in range(9)]
    assert pauses == pytest.approx([0.3, 0.6, 1.2, 2.4, 4.8, 9.6, 19.2, 30.0, 30.0])


@given(TURNS, SECONDS, JITTER)
def test_no_pause_is_longer_than_its_round_allows(turn: int, base: float, jitter: float) -> None:
    """Full jitter: anything from nothing to all of the backoff, at most 30 s, whatever the turn."""
    seconds = pause(turn, base, jitter, None, math.inf)
    assert seconds is not None
    assert 0 <= seconds <= LONGEST_PAUSE
    assert turn > 20 or seconds <= base * 2**turn


@given(TURNS, SECONDS, JITTER, st.floats(0, 3600))
def test_what_the_share_asked_for_is_the_least(
    turn: int, base: float, jitter: float, retry_after: float
) -> None:
    """Retry-After is a floor, also where it is longer than any backoff."""
    seconds = pause(turn, base, jitter, retry_after, math.inf)
    assert seconds == max(retry_after, pause(turn, base, jitter, None, math.inf) or 0.0)


@given(TURNS, SECONDS, JITTER, st.none() | st.floats(0, 3600), st.floats(-100, 1e6))
def test_a_pause_leaves_time_to_ask(
    turn: int, base: float, jitter: float, retry_after: float | None, left: float
) -> None:
    """One that ends at the deadline or behind it is not begun."""
    unbounded = pause(turn, base, jitter, retry_after, math.inf)
    assert unbounded is not None
    assert pause(turn, base, jitter, retry_after, left) == (unbounded if unbounded < left else None)
