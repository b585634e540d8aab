"""Directories of this node's names that are in memory: what is used, up to a number of names in all.

A name of a directory that is not in memory is read from its record, which costs a visit to the disk. A
directory that is asked often enough is read whole, from its log: when the visits so far have cost about as
much. So a name costs the same in a store of any size, and a walk through all of it does not fill the memory.
"""

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from blobfs.model import Name, split
from blobfs.record import DirRecord
from blobfs.store.names import LocalName

MAX_NAMES = 100_000
"""Names kept in memory, about 50 MB. A directory counts as a quarter of them at most: it must be possible to
work in three, however large they are."""
LOG_BYTES_A_VISIT = 2048
"""Of a log, that are read and taken apart in the time in which a record is: some nine lines, 0.1 ms."""
MAX_COUNTED = 4096
"""Directories that are not in memory of which it is known how often they were asked."""

Entries = dict[str, LocalName]


@dataclass(slots=True, eq=False)
class Reading:
    """A directory that a thread reads, and what becomes of it meanwhile. Two of them are never the same."""

    changed: Entries = field(default_factory=dict)
    is_gone: bool = False


class LocalDirectories:
    """By name, in the order of their last use. What is in memory mirrors the disk: `remember` every change.

    `_counted` is what they count as together; `_visits` counts for what is not in memory; `_readings` are
    those under way.
    """

    def __init__(self, max_names: int = MAX_NAMES) -> None:
        self._max_names = max_names
        self._kept: OrderedDict[Name, Entries] = OrderedDict()
        self._counted = 0
        self._visits: OrderedDict[Name, int] = OrderedDict()
        self._readings: dict[Name, list[Reading]] = {}

    def statistics(self) -> dict[str, int]:
        return {"directories": len(self._kept), "names": sum(map(len, self._kept.values()))}

    def get(self, directory: Name) -> Entries | None:
        """None: it is not in memory."""
        entries = self._kept.get(directory)
        if entries is not None:
            self._kept.move_to_end(directory)
        return entries

    def is_absent(self, directory: Name) -> bool:
        """Whether it is known not to be here: a directory stands in the one it is in, up to one in memory."""
        while directory:
            directory, component = split(directory)
            entries = self._kept.get(directory)
            if entries is not None:
                entry = entries.get(component)
                return entry is None or not isinstance(entry.record, DirRecord)
        return False

    def visit(self, directory: Name) -> int:
        """Bytes its log may have at most for it to be read whole now."""
        visits = self._visits.pop(directory, 0) + 1
        self._visits[directory] = visits
        if len(self._visits) > MAX_COUNTED:
            self._visits.popitem(last=False)
        return visits * LOG_BYTES_A_VISIT

    @contextmanager
    def reading(self, directory: Name) -> Iterator[Reading]:
        """Around a thread's reading of a directory: what changes meanwhile is noted for `keep`."""
        reading = Reading()
        readings = self._readings.setdefault(directory, [])
        readings.append(reading)
        try:
            yield reading
        finally:
            readings.remove(reading)
            if not readings:
                del self._readings[directory]

    def keep(self, directory: Name, entries: Entries, reading: Reading | None = None) -> Entries:
        """Takes what was read; returns the one copy that counts, the first."""
        kept = self.get(directory)
        if kept is not None:
            return kept
        if reading is not None:
            entries |= reading.changed
            if reading.is_gone:
                return entries
        self._kept[directory] = entries
        self._counted += self._count(entries)
        self._visits.pop(directory, None)
        while self._counted > self._max_names:
            self._counted -= self._count(self._kept.popitem(last=False)[1])
        return entries

    def _count(self, entries: Entries) -> int:
        return min(len(entries), self._max_names // 4)

    def remember(self, directory: Name, component: str, entry: LocalName) -> None:
        """What stands on the disk now."""
        for reading in self._readings.get(directory, ()):
            reading.changed[component] = entry
        entries = self._kept.get(directory)
        if entries is not None:
            self._counted -= self._count(entries)
            entries[component] = entry
            self._counted += self._count(entries)

    def forget(self, directory: Name) -> None:
        """It was removed, or its log is another one now."""
        for reading in self._readings.get(directory, ()):
            reading.is_gone = True
        self._counted -= self._count(self._kept.pop(directory, {}))
