"""A file being written: a plain file in `incoming/`, hashed while it grows.

Leaves are independent of each other, so each keeps its digest until it is written again:

* `_digests` and `_fresh` cover the leaves [0, n) that were hashed once, all of them full. `_fresh` has a
  byte for each: 1 if the digest is that of the leaf's present bytes, 0 if it was written since.
* The leaves from n on were never hashed: there is nothing to mark, however far away one writes.

`hash_some` follows the writer at its contiguous front; what was written again behind it waits for `finish`.
One thread may hash while another writes: a leaf is marked fresh *before* it is read for hashing, a write
marks it stale *after* its bytes are in the file, so a digest of older bytes is never believed. The lock is
held for the marks only, never across I/O or hashing.
"""

import contextlib
import os
import threading
from pathlib import Path
from typing import Self

from blobfs import errors
from blobfs.merkle import DIGEST_SIZE, build_tree, hash_leaves
from blobfs.model import LEAF_SIZE, BlobId, Name
from blobfs.record import BlobRecord, encode_record
from blobfs.store.failures import store_errors
from blobfs.store.files import Buffer, read_at, read_at_nowait, write_all
from blobfs.store.layout import PRIVATE_FILE_MODE
from blobfs.store.marks import NAME, PACKAGE, RECORD, remove_mark, set_mark
from blobfs.store.opening import Store
from blobfs.store.sealed import HASH_STEP, Content

MAX_ISLANDS = 64
"""Pieces remembered that were written ahead of the front; of more, hashing waits for `finish`."""

_STALE, _FRESH = b"\0", b"\1"


class Incoming:
    """One file being written.

    Mutable: `size`; the marks above; `_front`, up to which the file was written without a gap, and
    `_islands` beyond it (start to end). All under `_lock`. `_cuts` counts truncations, so that a piece
    that was being hashed during one is not believed. `_hashing` admits one hashing thread at a time.
    """

    def __init__(self, store: Store, path: Path, fd: int, size: int = 0) -> None:
        self.path = path
        self.fd = fd
        self.size = size
        self._workers = store.hashing
        self._usage = store.usage
        self._charged = size
        self._lock = threading.Lock()
        self._hashing = threading.Lock()
        self._digests = bytearray()
        self._fresh = bytearray()
        self._front = 0
        self._islands: dict[int, int] = {}
        self._cuts = 0

    @property
    def front(self) -> int:
        """Up to here it was written without a gap."""
        return self._front

    @classmethod
    def create(cls, store: Store) -> Self:
        """Makes an empty file in `incoming/`."""
        path = store.layout.new_incoming()
        with store_errors():
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE_MODE)
        return cls(store, path, fd)

    @classmethod
    def adopt(cls, store: Store, path: Path, size: int) -> Self:
        """Takes over a file in `incoming/` of so many bytes, which count already. It is not written to."""
        with store_errors():
            return cls(store, path, os.open(path, os.O_RDONLY | os.O_CLOEXEC), size)

    def __repr__(self) -> str:
        stale = self._fresh.count(_STALE)
        return (
            f"Incoming({self.path.name}, size={self.size}, hashed={len(self._fresh)}, stale={stale}, "
            f"islands={len(self._islands)})"
        )

    @store_errors()
    def write(self, offset: int, content: Buffer) -> None:
        """Past the end the gap reads as zeros. If it fails, a part may have been written.

        Raises `QuotaExceeded`; `StoreFull` and the like.
        """
        self._usage.demand(len(content))
        end = offset + len(content)
        try:
            write_all(self.fd, content, offset)
        except OSError:
            end = max(offset, min(end, os.fstat(self.fd).st_size))
            raise
        finally:
            self._note_written(offset, end)

    def _note_written(self, start: int, end: int) -> None:
        if start == end:
            return
        self._usage.add(end - start)
        with self._lock:
            self._charged += end - start
            self.size = max(self.size, end)
            first, last = start // LEAF_SIZE, min(-(-end // LEAF_SIZE), len(self._fresh))
            if first < last:
                self._fresh[first:last] = bytes(last - first)
            self._advance_front(start, end)

    def _advance_front(self, start: int, end: int) -> None:
        if start > self._front:
            if len(self._islands) < MAX_ISLANDS or start in self._islands:
                self._islands[start] = max(end, self._islands.get(start, 0))
            return
        self._front = max(self._front, end)
        for island in sorted(self._islands):
            if island > self._front:
                break
            self._front = max(self._front, self._islands.pop(island))

    @store_errors()
    def truncate(self, size: int) -> None:
        os.ftruncate(self.fd, size)
        with self._lock:
            self._cuts += 1
            self.size = size
            self._front = min(self._front, size)
            self._islands = {start: min(end, size) for start, end in self._islands.items() if start < size}
            full = size // LEAF_SIZE
            del self._fresh[full:]
            del self._digests[full * DIGEST_SIZE :]

    def read(self, offset: int, length: int) -> bytes:
        return read_at(self.fd, offset, length)

    def read_nowait(self, offset: int, length: int) -> Buffer | None:
        """None: not in the page cache, `read` would block."""
        return read_at_nowait(self.fd, offset, length)

    def hash_some(self, limit: int = HASH_STEP) -> bool:
        """Hashes up to `limit` bytes (at least a leaf) behind the front; whether there is more.

        The leaf at the front is left alone: it is likely to be written to next.
        """
        with self._hashing:
            with self._lock:
                first = len(self._fresh)
                behind_front = self._front // LEAF_SIZE
                end = min(behind_front, first + max(1, limit // LEAF_SIZE))
            if end > first:
                self._hash(first, end)
            return end < behind_front

    def finish(self) -> Content:
        """Hashes what is left. Nobody writes any more."""
        with self._hashing:
            self._hash_stale()
            full = self.size // LEAF_SIZE
            step = HASH_STEP // LEAF_SIZE
            for first in range(len(self._fresh), full, step):
                self._hash(first, min(first + step, full))
            tail = self.read(full * LEAF_SIZE, self.size % LEAF_SIZE)
            if _STALE in self._fresh or len(tail) < self.size % LEAF_SIZE:
                raise errors.StoreBroken(f"{self.path} is shorter than what was written to it")
            blob, tree = build_tree(self._digests + hash_leaves(tail, full), self.size)
            return Content(blob, self.size, tree)

    def _hash_stale(self) -> None:
        position = 0
        while (first := self._fresh.find(_STALE, position)) >= 0:
            limit = min(first + HASH_STEP // LEAF_SIZE, len(self._fresh))
            end = self._fresh.find(_FRESH, first, limit)
            position = limit if end < 0 else end
            self._hash(first, position)

    def _hash(self, first: int, end: int) -> None:
        """Hashes full leaves; those from the end of `_digests` on are added to it."""
        with self._lock:
            cuts = self._cuts
            end = min(end, self.size // LEAF_SIZE)  # it may have been cut since the leaves were chosen
            if end <= first:
                return
            grown = end - len(self._fresh)
            if grown > 0:
                self._fresh += bytes(grown)
                self._digests += bytes(grown * DIGEST_SIZE)
            self._fresh[first:end] = _FRESH * (end - first)
        believed = False
        try:
            digests = self.hash_leaves(first, end)
            with self._lock:
                # Fewer digests: a truncation that has not counted itself yet, or somebody else's.
                if self._cuts == cuts and len(digests) == (end - first) * DIGEST_SIZE:
                    self._digests[first * DIGEST_SIZE : end * DIGEST_SIZE] = digests
                    believed = True
        finally:
            if not believed:
                self._mark_stale(first, end)

    def hash_leaves(self, first: int, end: int) -> bytes:
        """The digests of what the full leaves hold now; of fewer where the file ends before."""
        return self._workers.hash_file(self.fd, first * LEAF_SIZE, (end - first) * LEAF_SIZE)

    def _mark_stale(self, first: int, end: int) -> None:
        with self._lock:
            last = min(end, len(self._fresh))
            if first < last:
                self._fresh[first:last] = bytes(last - first)

    @store_errors()
    def set_intent(self, name: Name | None, record: BlobRecord, package: BlobId | None = None) -> None:
        """The redo mark: from the next flush on, a restart puts this content where `record` says.

        `package`: it was written for the transaction of that package, which holds it again if it is still
        open then. Neither `name` nor `package`: it is kept by its id. May be set again when something has
        changed.
        """
        # The record makes it a mark, so what stands beside it is right before it is there.
        for key, text in ((NAME, name), (PACKAGE, package)):
            if text is None:
                remove_mark(self.fd, key)
            else:
                set_mark(self.fd, key, text.encode())
        set_mark(self.fd, RECORD, encode_record(record).rstrip(b"\n"))

    @store_errors()
    def clear_intent(self) -> None:
        remove_mark(self.fd, RECORD)
        remove_mark(self.fd, NAME)
        remove_mark(self.fd, PACKAGE)

    def dup(self) -> int:
        """A descriptor of the caller's own. Raises `StaleHandle` when it is closed, by whichever thread."""
        with self._lock:
            if self.fd < 0:
                raise errors.StaleHandle("it was removed before it was sealed")
            return os.dup(self.fd)

    def close_fd(self) -> None:
        """Closes the descriptor; also a second time."""
        with self._lock:  # nobody may duplicate what its number means next
            fd, self.fd = self.fd, -1
            if fd >= 0:
                with contextlib.suppress(OSError):  # the bytes' fate is decided by a flush, not by close
                    os.close(fd)

    @store_errors()
    def discard(self) -> None:
        """Removes the file from `incoming/`; content that was placed stays where it was linked to."""
        if self.fd >= 0 and os.fstat(self.fd).st_nlink <= 1:  # else its bytes stay, as a blob
            self._usage.add(-self._charged)
            self._charged = 0
        self.path.unlink(missing_ok=True)
        self.close_fd()
