"""What comes from the shares for one transfer: how much from each, and how fast of late.

A transfer may be part of a larger one: a blob of a package. What comes for it comes for that one, too.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from blobfs.sync.recent import Rate


class Flow:
    """Mutable: `from_shares` and `rate`, by `came` and `begin`; `_larger`, the flows this one is part of."""

    def __init__(self) -> None:
        self.from_shares: Counter[str] = Counter()
        """Bytes that were right, by the share's URL as it is shown."""
        self.rate = Rate()
        self._larger: list[Flow] = []

    def came(self, share: str, length: int, now: float) -> None:
        """Called for a batch of chunks, not for each."""
        self.from_shares[share] += length
        self.rate.add(length, now)
        for flow in self._larger:
            flow.came(share, length, now)

    def begin(self) -> None:
        """What came so far was for something else."""
        self.from_shares.clear()
        self.rate = Rate()

    @contextmanager
    def feeding(self, larger: "Flow") -> Iterator[None]:
        """Meanwhile what comes is for that one, too."""
        self._larger.append(larger)
        try:
            yield
        finally:
            self._larger.remove(larger)
