"""Which part of a bundle is worth asking for together. Pure.

Members are meant by their numbers; a range of them is first and stop, as everywhere.
"""

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence

from blobfs.bundle import Member
from blobfs.model import CHUNK_SIZE

WINDOW = 2 * CHUNK_SIZE
"""Bytes that come with the first member that is read: a dozen small files, which on a gigabit line take 2 ms,
about as long as asking takes. Every window has a member of its own, for none is larger than half of it."""
SMALL_WINDOW = CHUNK_SIZE // 2
"""The same of a directory's bundle, 64 KiB, where nobody says that the rest is wanted."""
LARGEST = 32 * CHUNK_SIZE
"""Bytes, 4 MiB: the most that one reader's miss brings, and what is asked for at a time when all is wanted.
From there on the way to the share and back is nothing beside the bytes."""
HOLE = CHUNK_SIZE
"""Bytes in the middle that are here already, up to which they are loaded again: another request costs a
millisecond on the nearest line, in which so many come."""
SCATTERED = 8
"""Misses anywhere in a bundle after which each brings twice as much: who has read in so many places will read
in more, and far from a share it is the asking that takes the time."""
SMALL_SCATTERED = 2
"""The same in a directory's bundle, whose windows are small."""
SCATTERED_MOST = 4 * WINDOW
"""Bytes that a miss brings for that reason alone: what does not come in order may not be wanted."""
PLACES = 16
"""Readers that go on where a fetch ended and are told apart; each keeps a number."""


def length_of(members: Sequence[Member], first: int, stop: int) -> int:
    """Bytes from the beginning of a range to its end."""
    if first >= stop:
        return 0
    last = members[stop - 1]
    return last.offset + last.size - members[first].offset


def requests(members: Sequence[Member], wanted: Iterable[int]) -> Iterator[tuple[int, int]]:
    """The ranges that hold all of `wanted`, which ascend: one, but for what is worth being left out."""
    return _runs(wanted, lambda last, number: length_of(members, last + 1, number) > HOLE)


def free_ranges(wanted: Iterable[int], is_taken: Callable[[int], bool]) -> Iterator[tuple[int, int]]:
    """The ranges that hold all of `wanted`, which ascend, and nothing that is somebody else's."""
    return _runs(wanted, lambda last, number: any(map(is_taken, range(last + 1, number))))


def _runs(wanted: Iterable[int], is_cut: Callable[[int, int], bool]) -> Iterator[tuple[int, int]]:
    start = last = -1
    for number in wanted:
        if start >= 0 and is_cut(last, number):
            yield start, last + 1
            start = -1
        start, last = (number if start < 0 else start), number
    if start >= 0:
        yield start, last + 1


def spans(members: Sequence[Member], wanted: Iterable[int]) -> Iterator[list[int]]:
    """Wanted members, which ascend, in groups of at most about LARGEST bytes of the bundle."""
    group: list[int] = []
    for number in wanted:
        if group and members[number].offset // LARGEST != members[group[0]].offset // LARGEST:
            yield group
            group = []
        group.append(number)
    if group:
        yield group


class Windows:
    """A bundle's windows: a member is in the one it begins in, so they are the same for every reader.

    `_ends` holds how many windows were fetched up to a place, for who goes on there: he gets twice as many.
    `_misses` counts.
    """

    def __init__(self, members: Sequence[Member], scattered: int = SCATTERED, window: int = WINDOW) -> None:
        self._members = members
        self._window = window
        self._scattered = scattered
        self._ends: OrderedDict[int, int] = OrderedDict()
        self._misses = 0

    def __repr__(self) -> str:
        return f"<Windows {dict(self._ends)}>"

    def take(self, number: int) -> tuple[int, int]:
        """The members to fetch when this one is read and is not here."""
        window = self._members[number].offset // self._window
        scattered = min(1 << min(self._misses // self._scattered, 8), SCATTERED_MOST // self._window)
        self._misses += 1
        count = min(max(2 * self._ends.pop(window, 0), 1), LARGEST // self._window)
        if scattered > count:
            count = scattered
            window -= window % count
        self._ends[window + count] = count
        if len(self._ends) > PLACES:
            self._ends.popitem(last=False)
        return self._first(window), self._first(window + count)

    def _first(self, window: int) -> int:
        return bisect_left(self._members, window * self._window, key=lambda member: member.offset)
