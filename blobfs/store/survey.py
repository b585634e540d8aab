"""One walk over what the store holds: how much that is, and what of it has not been used for longest.

It reads no file's bytes and keeps only the candidates in memory, so it can be run over a million blobs while
the node works. It is a worker thread's.
"""

import contextlib
import heapq
import os
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from blobfs import merkle
from blobfs.store.failures import store_errors
from blobfs.store.loaded_names import may_go
from blobfs.store.opening import Store

BLOCK = 512
"""Bytes of a block as stat(2) counts them."""

PAGE = 4096
"""Bytes in which file systems hand out their room."""


@dataclass(frozen=True, slots=True, order=True)
class Candidate:
    """Something that may be evicted, as far as a look at it can tell. Ordered by its last use."""

    used_ns: int
    key: str
    """A blob id; of a partial blob its key in `partial/`."""
    bytes: int
    """On the disk."""
    is_partial: bool


@dataclass(frozen=True, slots=True)
class Survey:
    used: int
    """Bytes on the disk."""
    candidates: tuple[Candidate, ...]
    """The longest unused first; together at least as much as was wanted, if there is so much."""


@store_errors()
def survey(store: Store, wanted: int, busy: Container[str] = frozenset()) -> Survey:
    """Measures the store and finds `wanted` bytes that may go. What is `busy` is no candidate."""
    begun = store.usage.begin_measuring()
    oldest = _Oldest(wanted)
    used = blobs = 0
    for directory in (store.layout.incoming, store.layout.bundles):
        # Of what is placed already the blob is counted.
        used += sum(found.st_blocks * BLOCK for _, found in _files(directory) if found.st_nlink == 1)
    partial = set()
    for entry, found in _files(store.layout.partial):
        used += found.st_blocks * BLOCK
        partial.add(found.st_ino)
        if "." not in entry.name and entry.name not in busy:
            candidate = Candidate(found.st_mtime_ns, entry.name, found.st_blocks * BLOCK, True)
            oldest.offer(entry, found, candidate)
    # After partial/: what becomes whole meanwhile is met twice, and not missed.
    for entry, found in _files(store.layout.blobs):
        if found.st_ino in partial:
            continue
        blobs += 1
        tree = merkle.Geometry(found.st_size).tree_size
        taken = found.st_blocks * BLOCK + -(-tree // PAGE) * PAGE
        used += taken
        if entry.name not in busy:
            oldest.offer(entry, found, Candidate(found.st_atime_ns, entry.name, taken, False))
    store.usage.measured(used, begun, blobs)
    return Survey(used, oldest.found())


class _Oldest:
    """Keeps the longest unused of what it is offered: as few as make up what is wanted."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._bytes = 0
        self._youngest_first: list[tuple[int, Candidate]] = []

    def offer(self, entry: os.DirEntry[str], found: os.stat_result, candidate: Candidate) -> None:
        if self._bytes >= self._wanted and self._is_younger(candidate):
            return
        with contextlib.suppress(FileNotFoundError):
            if not may_go(Path(entry.path), found.st_nlink):
                return
            heapq.heappush(self._youngest_first, (-candidate.used_ns, candidate))
            self._bytes += candidate.bytes
        while self._youngest_first and self._bytes - self._youngest_first[0][1].bytes >= self._wanted:
            self._bytes -= heapq.heappop(self._youngest_first)[1].bytes

    def _is_younger(self, candidate: Candidate) -> bool:
        return not self._youngest_first or candidate.used_ns >= self._youngest_first[0][1].used_ns

    def found(self) -> tuple[Candidate, ...]:
        return tuple(sorted(candidate for _, candidate in self._youngest_first))


def _files(directory: Path) -> Iterator[tuple[os.DirEntry[str], os.stat_result]]:
    with os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # gone meanwhile
                if entry.is_file(follow_symlinks=False):
                    yield entry, entry.stat(follow_symlinks=False)
