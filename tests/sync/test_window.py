"""The reading window, and how what is missing is cut into requests."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from blobfs.model import CHUNK_SIZE
from blobfs.sync.loading.window import FIRST_WINDOW, SLACK, ReadWindow, chunk_range, runs

LARGEST = 16 * FIRST_WINDOW
STEP = CHUNK_SIZE


def test_the_first_read_loads_nothing_ahead() -> None:
    """Many files are opened to look at their first bytes."""
    assert ReadWindow(LARGEST).advance(0, STEP) == 0


def test_a_sequential_reader_gets_a_window_that_doubles_up_to_its_limit() -> None:
    """Each read that goes on where the last one stopped doubles what is loaded ahead."""
    window = ReadWindow(LARGEST)
    ahead = [window.advance(number * STEP, STEP) for number in range(8)]
    assert ahead == [0, *(min(FIRST_WINDOW << turn, LARGEST) for turn in range(7))]


def test_reads_out_of_order_within_the_kernels_read_ahead_stay_sequential() -> None:
    """Once the window is open, neighbouring requests may swap places; no byte is asked for twice."""
    window = ReadWindow(LARGEST)
    window.advance(0, STEP)
    window.advance(STEP, STEP)
    window.advance(3 * STEP, STEP)
    furthest = 4 * STEP
    ahead = window.advance(2 * STEP, STEP)
    assert ahead == furthest + 4 * FIRST_WINDOW - 3 * STEP


def test_a_jump_does_not_open_the_window() -> None:
    """A few reads close to each other are no sequential reader."""
    window = ReadWindow(LARGEST)
    assert [window.advance(number * STEP, STEP) for number in (0, 2, 5, 3)] == [0, 0, 0, 0]


def test_a_read_far_away_closes_the_window() -> None:
    """Random reads load nothing but what they asked for, forwards and backwards."""
    window = ReadWindow(LARGEST)
    for number in range(6):
        window.advance(number * STEP, STEP)
    assert window.advance(6 * STEP + SLACK + 1, STEP) == 0
    assert window.advance(1, STEP) == 0
    assert window.advance(1 + STEP, STEP) == FIRST_WINDOW


@given(st.lists(st.tuples(st.integers(0, 1 << 40), st.integers(1, 1 << 20)), max_size=30))
def test_a_window_never_exceeds_its_limit(reads: list[tuple[int, int]]) -> None:
    """Whatever is read: never less than nothing, never more than the limit and the slack ahead."""
    window = ReadWindow(LARGEST)
    for offset, length in reads:
        assert 0 <= window.advance(offset, length) <= LARGEST + SLACK + (1 << 20)


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40))
def test_a_chunk_range_is_every_chunk_that_is_touched(offset: int, length: int, size: int) -> None:
    """Against the naive set of chunks of each byte, in units that hit and miss the borders."""
    unit = CHUNK_SIZE // 4
    offset, length, size = offset * unit + offset, length * unit, size * unit
    first, stop = chunk_range(offset, length, size)
    touched = {byte // CHUNK_SIZE for byte in range(offset, min(offset + length, size), unit)}
    if offset < min(offset + length, size):
        touched.add((min(offset + length, size) - 1) // CHUNK_SIZE)
    assert set(range(first, stop)) == touched


@given(st.sets(st.integers(0, 30)), st.integers(0, 30), st.integers(0, 30), st.integers(1, 8))
def test_runs_are_the_wanted_chunks_in_order(wanted: set[int], first: int, stop: int, most: int) -> None:
    """Together the runs are exactly what is wanted; each is as long as it can be, up to the limit."""
    found = list(runs(first, stop, wanted.__contains__, most))
    assert [chunk for start, end in found for chunk in range(start, end)] == sorted(
        wanted & set(range(first, stop))
    )
    assert all(0 < end - start <= most for start, end in found)
    for (start, end), (following, _) in pairwise(found):
        assert end < following or end - start == most
