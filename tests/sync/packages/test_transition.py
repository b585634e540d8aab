"""The table of a transaction: it has no holes, and no way leads where none may lead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs import errors
from blobfs.sync.packages.transition import ENDS, TABLE, Event, Rule, State, step

MOVES = [(state, event, rule.state) for (state, event), rule in TABLE.items() if rule.state is not state]
"""The transitions that lead somewhere else."""

STATUSES = {
    "OK": None,
    "NOT_FOUND": errors.NameMissing,
    "ALREADY_EXISTS": errors.NameExists,
    "BAD_STATE": errors.WrongState,
    "UNOPENED_BLOB": errors.NameMissing,
    "NOT_WRITTEN": errors.WrongContent,
    "CANCELED": errors.StaleHandle,
}
"""The protocol's words, each with what the caller gets."""


def test_every_event_has_an_answer_in_every_state() -> None:
    """The table has no holes."""
    assert set(TABLE) == {(state, event) for state in State for event in Event}
    assert len(TABLE) == len(State) * len(Event) == 78


def test_the_moves_are_these() -> None:
    """Sixteen of the 78 transitions lead to another state: no more ways, and no fewer."""
    m, b, f = State.NEED_META, State.NEED_BLOBS, State.FAILED
    assert set(MOVES) == {
        (State.ABSENT, Event.OPEN, m),
        (State.ABORTED, Event.OPEN, m),
        (m, Event.WRITTEN, b),
        (m, Event.APPEARED, b),
        *((state, event, State.COMPLETE) for state in (m, b) for event in LAST),
        *((state, Event.UNUSABLE, f) for state in (m, b)),
        *((state, event, State.ABORTED) for state in (m, b, f) for event in ENDING),
    }
    assert len(MOVES) == 16


LAST = (Event.WRITTEN_LAST, Event.APPEARED_LAST)
ENDING = (Event.ABORT, Event.EXPIRE)


@pytest.mark.parametrize("rule", TABLE.values())
def test_a_status_is_one_error(rule: Rule) -> None:
    """The word of the protocol and the errno say the same; success is OK."""
    assert STATUSES[rule.status] is rule.error


@pytest.mark.parametrize(("state", "event"), TABLE)
def test_what_is_refused_changes_nothing(state: State, event: Event) -> None:
    """A call at the wrong time fails alone. Only a meta blob that nobody can use is refused for good."""
    rule = step(state, event)
    if rule.error is not None and event is not Event.UNUSABLE:
        assert rule.state is state


def test_complete_is_the_end() -> None:
    """Nothing leads out of it."""
    assert {step(State.COMPLETE, event).state for event in Event} == {State.COMPLETE}


def test_what_was_aborted_can_be_opened_anew_and_nothing_else() -> None:
    """Whoever had something of it open finds it stale; what arrives for it is nobody's business."""
    for event in Event:
        rule = step(State.ABORTED, event)
        if event is Event.OPEN:
            assert rule == Rule(State.NEED_META)
        else:
            assert rule.state is State.ABORTED
    assert {State.COMPLETE, State.ABORTED} == ENDS


@pytest.mark.parametrize("state", [State.NEED_META, State.NEED_BLOBS, State.FAILED, State.COMPLETE])
def test_a_package_has_one_transaction_and_is_made_once(state: State) -> None:
    """ALREADY_EXISTS, whether it is open, failed or complete."""
    assert step(state, Event.OPEN) == Rule(state, errors.NameExists, "ALREADY_EXISTS")


@pytest.mark.parametrize("state", State)
def test_looking_at_it_changes_nothing(state: State) -> None:
    """In no state, so that `ls` and `find` poison nothing."""
    for event in (Event.LIST, Event.OPEN_NEEDED, Event.OPEN_OTHER, Event.OPEN_META):
        assert step(state, event).state is state


@given(st.lists(st.sampled_from(Event)))
def test_no_way_leads_out_of_the_table(events: list[Event]) -> None:
    """Whatever happens in whatever order: an end is left by opening what was aborted, and not otherwise;
    a package that failed was never complete, and is never complete without being opened anew.
    """
    state = State.ABSENT
    for event in events:
        before, state = state, step(state, event).state
        if before in ENDS and state is not before:
            assert (before, event, state) == (State.ABORTED, Event.OPEN, State.NEED_META)
        if before is State.FAILED:
            assert state in (State.FAILED, State.ABORTED)
        if state is State.COMPLETE:
            assert before in (State.NEED_META, State.NEED_BLOBS, State.COMPLETE)
