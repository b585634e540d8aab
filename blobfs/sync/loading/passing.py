"""Chunks that there is no room for: verified, held in memory for a moment, given to their readers, forgotten.

All loads share one bounded memory, the longest unused goes first. A chunk that is gone before its reader came
is loaded again.
"""

from collections import Counter, OrderedDict

from blobfs.config.settings import MIB
from blobfs.model import CHUNK_SIZE

MOST_BYTES = 128 * MIB
"""Of memory, for all loads together: what a dozen readers at once have asked for."""
AHEAD = 4 * MIB
"""A sequential reader of what is not kept is not run further ahead of: it would push out its own chunks."""

_Chunk = tuple[str, int]


class Passing:
    """Mutable: the chunks, by load and number, least recently used first; `_held` counts them by load."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self._chunks: OrderedDict[_Chunk, bytes] = OrderedDict()
        self._held: Counter[str] = Counter()
        self.bytes = 0

    def put(self, key: str, first: int, content: memoryview | bytes) -> None:
        """Whole chunks of a load, from `first` on; the blob's last may be short."""
        for start in range(0, len(content), CHUNK_SIZE):
            self._put((key, first + start // CHUNK_SIZE), bytes(content[start : start + CHUNK_SIZE]))
        while self.bytes > self._most and self._chunks:
            self._drop(next(iter(self._chunks)))

    def _put(self, chunk: _Chunk, content: bytes) -> None:
        self._drop(chunk)
        self._chunks[chunk] = content
        self._held[chunk[0]] += 1
        self.bytes += len(content)

    def _drop(self, chunk: _Chunk) -> None:
        content = self._chunks.pop(chunk, None)
        if content is not None:
            self.bytes -= len(content)
            self._held[chunk[0]] -= 1
            if not self._held[chunk[0]]:
                del self._held[chunk[0]]

    def holds(self, key: str) -> bool:
        """Whether anything of a load is here."""
        return key in self._held

    def has(self, key: str, chunk: int) -> bool:
        return (key, chunk) in self._chunks

    def get(self, key: str, chunk: int) -> bytes | None:
        found = self._chunks.get((key, chunk))
        if found is not None:
            self._chunks.move_to_end((key, chunk))
        return found

    def forget(self, key: str) -> None:
        """Nobody reads that blob any more."""
        if not self.holds(key):
            return
        for chunk in [chunk for chunk in self._chunks if chunk[0] == key]:
            self._drop(chunk)
