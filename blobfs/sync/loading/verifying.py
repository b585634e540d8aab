"""Verifying chunks of a file that is here: each once, however many readers ask for it at a time.

Whoever asks for much, or for what comes after what is known, reads on: then what follows is verified with it,
for a hop to a thread costs as much as hashing a quarter of a MiB. The bytes stay where they are, in the
kernel's cache, and are read from there.
"""

from dataclasses import dataclass, field

import trio

from blobfs.chunks import chunk_count
from blobfs.model import CHUNK_SIZE
from blobfs.store.hashing import WORTH_IT
from blobfs.store.verified import KnownChunks, OpenBlob, verify
from blobfs.sync.disk import DiskThreads

AHEAD = (4 << 20) // CHUNK_SIZE
"""Chunks that are verified at once: what the kernel reads ahead."""
FIRST_REST, LONGEST_REST = 32, 4096
"""Reads that are left alone when what was verified could not be had."""


@dataclass(eq=False, slots=True)
class _Look:
    first: int
    stop: int
    done: trio.Event = field(default_factory=trio.Event)


class Verifying:
    """Of one file. Mutable, on the event loop: `known`; `_looks`, those under way; `_rest`, how many reads
    are not worth while now, and `_next_rest`, how many will not be if it was no use again."""

    def __init__(self, known: KnownChunks, disk: DiskThreads) -> None:
        self.known = known
        self._disk = disk
        self._looks: list[_Look] = []
        self._rest = self._next_rest = 0

    def __repr__(self) -> str:
        return f"<Verifying {[(look.first, look.stop) for look in self._looks]}>"

    def was_cached(self, it_was: bool) -> None:
        """Whether the bytes could be had after they were verified. If the kernel does not keep them, or does
        not tell, they are to be verified as they are read, for a while."""
        self._next_rest = 0 if it_was else min(2 * self._next_rest + FIRST_REST, LONGEST_REST)
        self._rest = self._next_rest

    async def look_at(self, opened: OpenBlob, offset: int, length: int) -> bool:
        """Looks at these bytes, unless somebody does right now; whether they are right. False where it is not
        worth while."""
        if length < CHUNK_SIZE:
            return False
        if self._rest:
            self._rest -= 1
            return False
        first, stop = offset // CHUNK_SIZE, chunk_count(offset + length)
        has_waited = False
        while (look := self._look_in(first, stop)) is not None:
            await look.done.wait()
            has_waited = True
        if has_waited and self.known.are_right(first, stop):
            return True
        if length >= WORTH_IT or self._follows(first):
            await self._verify(opened, first, self._end_of(first, stop))
            return self.known.are_right(first, stop)
        return False

    def _follows(self, first: int) -> bool:
        """Whether it is read in order, as far as can be told. Where the daemon has no right to have the
        kernel read further ahead, one chunk is asked for at a time."""
        return (
            first == 0
            or self.known.are_right(first - 1, first)
            or self._look_in(first - 1, first) is not None
        )

    def _look_in(self, first: int, stop: int) -> _Look | None:
        return next((look for look in self._looks if look.first < stop and first < look.stop), None)

    def _end_of(self, first: int, stop: int) -> int:
        """Up to what is known, or being looked at, already."""
        end = min(max(stop, first + AHEAD), chunk_count(self.known.version.size))
        while stop < end and not self.known.are_right(stop, stop + 1) and not self._look_in(stop, stop + 1):
            stop += 1
        return stop

    async def _verify(self, opened: OpenBlob, first: int, stop: int) -> None:
        look = _Look(first, stop)
        self._looks.append(look)
        try:
            version = await self._disk.run(verify, opened, self.known, first, stop)
            if version is not None:
                self.known.note(version, first, stop)
        finally:
            self._looks.remove(look)
            look.done.set()
