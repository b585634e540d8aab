"""What a share's statistics are made from; changed by its exchange, its transport and its answers."""

from collections import Counter
from dataclasses import dataclass, field

from blobfs.model import Kind


@dataclass(slots=True)
class Counters:
    """Counts since the share was made, but for `in_flight`."""

    requests: Counter[str] = field(default_factory=Counter)
    failures: Counter[Kind] = field(default_factory=Counter)
    received: int = 0
    in_flight: int = 0
    connections: int = 0
    """Made so far."""
