"""Which parts of a bundle are asked for together."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blobfs.bundle import BUNDLED_UP_TO, Member
from blobfs.model import BlobId
from blobfs.sync.bundles.windows import (
    HOLE,
    LARGEST,
    PLACES,
    SCATTERED,
    SCATTERED_MOST,
    WINDOW,
    Windows,
    free_ranges,
    length_of,
    requests,
    spans,
)

SIZES = st.lists(st.integers(1, BUNDLED_UP_TO), min_size=1, max_size=300)


def members(sizes: list[int]) -> list[Member]:
    found, offset = [], 0
    for number, size in enumerate(sizes):
        found.append(Member(BlobId(f"{number:064x}"), offset, size))
        offset += size
    return found


@given(SIZES, st.data())
def test_windows_hold_every_member_once(sizes: list[int], data: st.DataObject) -> None:
    """A miss brings the member's window, at most a member longer than it should be, whoever misses what."""
    made = members(sizes)
    number = data.draw(st.integers(0, len(made) - 1))
    first, stop = Windows(made).take(number)
    assert first <= number < stop
    assert length_of(made, first, stop) < WINDOW + BUNDLED_UP_TO
    assert Windows(made).take(data.draw(st.integers(first, stop - 1))) == (first, stop)


@given(SIZES)
def test_who_goes_on_gets_twice_as_much(sizes: list[int]) -> None:
    """Up to the limit, and all of the bundle comes, without a gap, and nothing twice."""
    made = members(sizes * 3)
    windows, position, lengths = Windows(made), 0, []
    while position < len(made):
        first, stop = windows.take(position)
        assert first == position
        lengths.append(-(-(made[stop - 1].offset + 1 - made[first].offset) // WINDOW))
        position = stop
    assert all(length <= min(2**number, LARGEST // WINDOW) for number, length in enumerate(lengths))
    assert lengths[:-1] == [min(2**number, LARGEST // WINDOW) for number in range(len(lengths) - 1)]


def test_many_readers_go_on_each_for_himself() -> None:
    """As many places as are remembered grow side by side; a miss elsewhere begins with one window."""
    made = members([WINDOW // 2] * 2000)
    windows = Windows(made, scattered=10**6)
    for start in range(0, 100 * PLACES, 100):
        assert windows.take(start) == (start, start + 2)
    for start in range(0, 100 * PLACES, 100):
        assert windows.take(start + 2) == (start + 2, start + 6)
    assert windows.take(51) == (50, 52)


def test_who_reads_here_and_there_gets_more() -> None:
    """After some misses each brings twice as many windows, around it, up to a bound of its own."""
    made = members([WINDOW // 2] * 2000)
    windows, found = Windows(made), []
    for miss in range(4 * SCATTERED):
        number = 1999 - 40 * miss
        first, stop = windows.take(number)
        assert first <= number < stop
        found.append((stop - first) // 2)
    once, more = [1] * SCATTERED, [2] * SCATTERED
    assert found == [*once, *more, *[SCATTERED_MOST // WINDOW] * (2 * SCATTERED)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ([], []),
        ([3], [(3, 4)]),
        ([0, 1, 2], [(0, 3)]),
        ([0, 5], [(0, 6)]),
        ([0, 6], [(0, 1), (6, 7)]),
        ([0, 2, 9, 14], [(0, 3), (9, 15)]),
    ],
)
def test_what_is_here_is_left_out_when_it_is_long(wanted: list[int], expected: list[tuple[int, int]]) -> None:
    """Up to HOLE bytes that are here are loaded again rather than asked around."""
    assert list(requests(members([HOLE // 4] * 20), wanted)) == expected


@given(SIZES, st.data())
def test_requests_hold_all_that_is_wanted(sizes: list[int], data: st.DataObject) -> None:
    """They begin and end with it, ascend, and are apart by more than HOLE."""
    made = members(sizes)
    wanted = sorted(data.draw(st.sets(st.integers(0, len(made) - 1))))
    found = list(requests(made, wanted))
    assert [number for first, stop in found for number in range(first, stop) if number in wanted] == wanted
    assert all(first in wanted and stop - 1 in wanted for first, stop in found)
    gaps = [length_of(made, before[1], after[0]) for before, after in pairwise(found)]
    assert all(gap > HOLE for gap in gaps)


@given(st.sets(st.integers(0, 60)), st.sets(st.integers(0, 60)))
def test_what_is_coming_is_in_nobody_elses_range(wanted: set[int], taken: set[int]) -> None:
    """Ranges hold all that is wanted and nothing that is taken."""
    wanted -= taken
    found = list(free_ranges(sorted(wanted), taken.__contains__))
    inside = [number for first, stop in found for number in range(first, stop)]
    assert wanted <= set(inside)
    assert not taken & set(inside)
    assert inside == sorted(set(inside))


@given(SIZES, st.data())
def test_spans_are_a_few_mebibytes_each(sizes: list[int], data: st.DataObject) -> None:
    """Every wanted member is in one of them, in order."""
    made = members(sizes)
    wanted = sorted(data.draw(st.sets(st.integers(0, len(made) - 1))))
    found = list(spans(made, wanted))
    assert [number for group in found for number in group] == wanted
    for group in found:
        assert length_of(made, group[0], group[-1] + 1) < LARGEST + BUNDLED_UP_TO
