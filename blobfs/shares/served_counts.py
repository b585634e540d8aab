"""What a share server has answered and sent, counted in memory that its daemon reads at any time.

The counts are in a file without a name, which outlives each process that serves: a child that takes the place
of one that died counts on.
"""

import os
import struct
from dataclasses import dataclass

_COUNTS = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class Served:
    """Since the daemon was started."""

    requests: int
    bytes: int
    """Of bodies."""


class ServedCounts:
    """Mutable: what is behind the descriptor; by one process, which counts. Another one looks."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._requests, self._bytes = _COUNTS.unpack(os.pread(descriptor, _COUNTS.size, 0))

    def note(self, requests: int, sent: int) -> None:
        self._requests += requests
        self._bytes += sent
        os.pwrite(self.descriptor, _COUNTS.pack(self._requests, self._bytes), 0)


def new_counts() -> int:
    """A descriptor for `ServedCounts`, at zero."""
    descriptor = os.memfd_create("served", os.MFD_CLOEXEC)
    os.pwrite(descriptor, _COUNTS.pack(0, 0), 0)
    return descriptor


def read_counts(descriptor: int) -> Served:
    return Served(*_COUNTS.unpack(os.pread(descriptor, _COUNTS.size, 0)))
