"""How far ahead of its reader a load runs, and how what is missing is cut into requests. Pure."""

from collections.abc import Callable, Iterator

from blobfs.model import CHUNK_SIZE

FIRST_WINDOW = 4 * CHUNK_SIZE
"""Bytes asked for ahead, at least, once a reader has gone on where it had stopped; doubled with each read."""
SLACK = 64 * CHUNK_SIZE
"""A sequential reader's requests arrive out of order by up to twice the kernel's read-ahead, 4 MiB."""
LEAST_SPAN = 4
"""Chunks that are asked for together at least, when nobody waits for less."""
WHOLE_BELOW = 8 * CHUNK_SIZE
"""A blob of up to so many bytes is asked for in one request, whatever part of it is read."""


class ReadWindow:
    """One open file's reading position.

    `_next` is the end of the furthest sequential read, `_window` how many bytes beyond it are worth
    having. Going on right there opens the window; once it is open, requests may overtake each other
    by the slack. Reading somewhere else closes it.
    """

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._next = 0
        self._window = 0

    def __repr__(self) -> str:
        return f"<ReadWindow next={self._next} window={self._window}>"

    def advance(self, offset: int, length: int) -> int:
        """Notes a read and returns how many bytes after it to load ahead."""
        end = offset + length
        if self._next == 0 and offset == 0:
            self._next = end
        elif offset == self._next or (self._window and abs(offset - self._next) <= SLACK):
            self._window = min(max(self._window * 2, FIRST_WINDOW), self._largest)
            self._next = max(self._next, end)
        else:
            self._window = 0
            self._next = end
        return max(self._next + self._window - end, 0)


def chunk_range(offset: int, length: int, size: int) -> tuple[int, int]:
    """The chunks, first and stop, that `length` bytes at `offset` of a blob of `size` bytes touch."""
    end = min(offset + length, size)
    if end <= offset:
        return 0, 0
    return offset // CHUNK_SIZE, -(-end // CHUNK_SIZE)


def runs(first: int, stop: int, is_wanted: Callable[[int], bool], most: int) -> Iterator[tuple[int, int]]:
    """The maximal runs, first and stop, of wanted chunks in a range, none longer than `most`."""
    start = first
    for chunk in range(first, stop):
        if not is_wanted(chunk):
            if chunk > start:
                yield start, chunk
            start = chunk + 1
        elif chunk + 1 - start == most:
            yield start, chunk + 1
            start = chunk + 1
    if stop > start:
        yield start, stop
