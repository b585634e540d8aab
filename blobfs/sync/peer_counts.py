"""What has come of the requests to one share, beyond what its own exchange can count."""

from collections import Counter
from dataclasses import dataclass, field

from blobfs.model import Kind


@dataclass(eq=False, slots=True)
class PeerCounts:
    """Of one share. Mutable: all of it only grows."""

    failures: Counter[Kind] = field(default_factory=Counter)
    """Of requests, questions that were given up included."""
    wrong: int = 0
    """Answers whose bytes were not those of their blob."""
    kept: int = 0
    """Bytes of blobs and bundles that were of use."""
    wasted: int = 0
    """Bytes that came in and were thrown away: wrong ones, or another share was faster."""
    hedged: int = 0
    """Requests that were sent elsewhere as well, because this share was silent."""
    moved: int = 0
    """Requests that were taken away, because this share was slow."""
