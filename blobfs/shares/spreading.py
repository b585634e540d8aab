"""Which chunks of a blob to ask of whom, where other nodes load it too and have parts of it. Pure.

A set of chunks is a number here: bit c is chunk c.

1. What somebody has who has a part is asked of him: who has all of it is the last resort, since he is asked
   by everybody else as well. Unless the other one is down, further away, or much slower.
2. What only he has who has all of it is asked in short runs, each node's beginning somewhere else: at a place
   drawn by lot, on from there until somebody else turns out to have what follows, then at another one. So
   nodes that begin at the same time fetch different parts, and have something for each other.
"""

from collections.abc import Callable, Sequence

from blobfs.shares.choice import SLOW_FACTOR, ShareView, rank
from blobfs.shares.health import Circuit

Chunks = int


def is_preferred(part: ShareView, whole: Sequence[ShareView]) -> bool:
    """Whether who has a part is asked for it, and waited for, rather than those who have all of it."""
    if part.is_struck or part.circuit is not Circuit.CLOSED:
        return False
    best = min((rank(view) for view in whole), default=None)
    if best is None:
        return True
    rates = [view.rate for view in whole if rank(view) == best and view.rate is not None]
    is_slow = part.rate is not None and any(part.rate * SLOW_FACTOR < rate for rate in rates)
    return rank(part) < best or (rank(part) == best and not is_slow)


def next_run(chunks: Chunks, start: int, most: int) -> tuple[int, int]:
    """First and stop of the run of chunks, `most` at most, that begins at `start` or is the next one after
    it, round the end; there is one."""
    onward = chunks >> start
    first = start + _lowest(onward) if onward else _lowest(chunks)
    return first, min(first + _lowest(~(chunks >> first)), first + most)


def next_place(chunks: Chunks, place: int, draw: Callable[[int], int]) -> int:
    """Where to go on with what only one has: there, or elsewhere. `draw(n)` gives one of 0 to n - 1."""
    return place if chunks >> place & 1 else _nth(chunks, draw(chunks.bit_count()))


def between(first: int, stop: int) -> Chunks:
    """All of a range."""
    return (1 << stop) - (1 << first)


def _lowest(chunks: Chunks) -> int:
    return (chunks & -chunks).bit_length() - 1


def _nth(chunks: Chunks, number: int) -> int:
    """That one of them, counted from 0 at the lowest."""
    low, high = 0, chunks.bit_length()
    while high - low > 1:
        middle = (low + high) // 2
        if (chunks & between(0, middle)).bit_count() > number:
            high = middle
        else:
            low = middle
    return low
