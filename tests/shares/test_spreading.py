"""Which chunks are asked of whom, where nodes have parts of a blob."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.shares.choice import ShareView
from blobfs.shares.health import Circuit
from blobfs.shares.spreading import between, is_preferred, next_place, next_run

SOURCE = ShareView(rate=100.0)

CHUNKS = st.sets(st.integers(0, 300), min_size=1).map(lambda chunks: sum(1 << chunk for chunk in chunks))


@pytest.mark.parametrize(
    ("part", "whole", "is_it"),
    [
        (ShareView(), [SOURCE], True),
        (ShareView(), [], True),
        (ShareView(in_flight=9, room=0), [SOURCE], True),
        (ShareView(rate=25.0), [SOURCE], True),
        (ShareView(rate=24.0), [SOURCE], False),
        (ShareView(rate=1.0), [ShareView()], True),
        (ShareView(rate=24.0), [ShareView(rate=100.0, group=2)], True),
        (ShareView(group=2), [SOURCE], False),
        (ShareView(group=2), [ShareView(circuit=Circuit.OPEN)], True),
        (ShareView(circuit=Circuit.OPEN), [SOURCE], False),
        (ShareView(circuit=Circuit.HALF_OPEN), [], False),
        (ShareView(is_struck=True), [], False),
    ],
)
def test_who_has_a_part_goes_before_who_has_all(part: ShareView, whole: list[ShareView], is_it: bool) -> None:
    """Unless he is down, has lied, is further away, or four times slower than the one who has all."""
    assert is_preferred(part, whole) is is_it


@given(CHUNKS, st.integers(0, 310), st.integers(1, 64))
def test_a_run_is_of_these_chunks_and_as_long_as_it_may_be(chunks: int, start: int, most: int) -> None:
    """It begins at the place, or at the next chunk after it, or else at the very first one."""
    first, stop = next_run(chunks, start, most)
    assert 0 < stop - first <= most
    assert chunks & between(first, stop) == between(first, stop)
    assert stop - first == most or not chunks >> stop & 1
    assert not chunks & between(start, first) if first >= start else not chunks >> start
    assert first >= start or not chunks & between(0, first)


@given(CHUNKS, st.integers(0, 310), st.data())
def test_it_goes_on_where_it_was_or_anywhere(chunks: int, place: int, drawn: st.DataObject) -> None:
    """Every chunk that is left can be the next place; while what follows is left, that is."""
    number = drawn.draw(st.integers(0, chunks.bit_count() - 1))
    found = next_place(chunks, place, lambda count: number)
    if chunks >> place & 1:
        assert found == place
    else:
        assert chunks >> found & 1
        assert (chunks & between(0, found)).bit_count() == number
