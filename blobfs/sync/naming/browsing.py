"""A directory as it is walked through: its names now, what each of them means when it is come to.

Nothing here takes long at once: a hundred thousand names are put together and in order with others having
their turn in between, and the records stay packed until they are asked for.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence

import trio

from blobfs.record import GoneRecord, LogRecord
from blobfs.store.names import LocalName
from blobfs.sync.naming.answers import Present
from blobfs.sync.naming.share_listings import Listing
from blobfs.sync.naming.winning import winner
from blobfs.sync.peer import Peer

RUN = 8192
"""Names that are put in order at once: at most some 4 ms."""


class Walk:
    """One walk through a directory. Its names never change; a name that is gone means nothing any more."""

    def __init__(self, here: Mapping[str, LocalName], there: Listing, names: Sequence[str]) -> None:
        self._here = here
        self._there = there
        self.names = names
        """In order, tombstones among them."""

    @classmethod
    async def begin(cls, here: Mapping[str, LocalName], there: Listing) -> "Walk":
        lists = [names for names in (here.keys(), *there.components) if names]
        names = await in_order(lists[0] if len(lists) == 1 else set().union(*lists))
        return cls(here, there, names)

    def meaning(self, component: str) -> Present | None:
        found = meaning_of(self._here.get(component), self._there.records(component))
        return found if isinstance(found, Present) else None


def meaning_of(
    here: LocalName | None, there: Iterable[tuple[LogRecord, Peer]]
) -> Present | GoneRecord | None:
    """What counts of what this node and the shares have; None: nobody has anything."""
    records: list[tuple[LogRecord, Peer | None]] = [*there] if here is None else [(here.record, None), *there]
    if not records:
        return None
    record, peer = winner(records)
    if isinstance(record, GoneRecord):
        return record
    return Present(record, peer, here.loaded if here is not None and peer is None else True)


async def in_order(names: Iterable[str]) -> list[str]:
    """Sorted, a few thousand at a time: in runs, then all runs between points that they share."""
    unsorted = list(names)
    if len(unsorted) <= RUN:
        return sorted(unsorted)
    runs = []
    for start in range(0, len(unsorted), RUN):
        runs.append(sorted(unsorted[start : start + RUN]))
        await trio.lowlevel.checkpoint()
    # Every so many names of all runs together: between two of them lie at most a run's worth, or little more.
    step = RUN // len(runs) or 1
    samples = sorted(name for run in runs for name in run[::step])
    merged: list[str] = []
    begins = [0] * len(runs)
    for point in [*samples[:: len(runs)][1:], None]:
        ends = [len(run) if point is None else bisect_left(run, point) for run in runs]
        merged += sorted(
            name for run, begin, end in zip(runs, begins, ends, strict=True) for name in run[begin:end]
        )
        begins = ends
        await trio.lowlevel.checkpoint()
    return merged
