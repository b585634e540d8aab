"""How much of the disk the store takes, and how much it may take: the quota.

It is measured now and then (`blobfs.store.survey`) and counted along in between. What is counted may be a
little too much, never noticeably too little: whoever meets the limit has it measured before he believes it.
Counted are the bytes of blobs, their trees, partial blobs and files being written; not the names.
"""

import threading

from blobfs import errors


class Usage:
    """Thread-safe. Mutable: `quota`, bytes, None for no limit; `blobs`, their number when it was measured."""

    def __init__(self) -> None:
        self.quota: int | None = None
        self._lock = threading.Lock()
        self._measured: int | None = None
        self.blobs: int | None = None
        self._added = 0
        self._expected = 0

    def __repr__(self) -> str:
        return f"Usage(used={self.used}, quota={self.quota}, measured={self.is_measured})"

    @property
    def is_measured(self) -> bool:
        """Before the first measurement `used` is only what was added since the start."""
        return self._measured is not None

    @property
    def used(self) -> int:
        """Bytes."""
        with self._lock:
            return max((self._measured or 0) + self._added + self._expected, 0)

    def add(self, amount: int) -> None:
        """So many bytes came to the store; negative: went."""
        with self._lock:
            self._added += amount

    def expect(self, amount: int) -> None:
        """So many bytes will come, and count already; negative: they will not."""
        with self._lock:
            self._expected += amount

    def arrived(self, amount: int) -> None:
        """So many bytes that were expected have been written."""
        with self._lock:
            self._expected -= amount
            self._added += amount

    def demand(self, amount: int) -> None:
        """Raises `QuotaExceeded` where so many bytes more would be too many."""
        if self.quota is not None and self.used + amount > self.quota:
            raise errors.QuotaExceeded(f"the store may take {self.quota} bytes, and takes {self.used}")

    def begin_measuring(self) -> int:
        """What to give `measured` at the end: what is added meanwhile may be in the measurement or not."""
        with self._lock:
            return self._added

    def measured(self, found: int, begun: int, blobs: int) -> None:
        """Takes what was added meanwhile for missing in the measurement."""
        self.blobs = blobs
        with self._lock:
            self._measured = found
            self._added -= begun
