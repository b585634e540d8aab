"""Which operation of the store fails, how, and for how long.

Operations are counted from 1 in the order in which they are made; only those count that a fault of the kind
can hit. A full disk or one that is read-only refuses what would change something; a broken one refuses
anything, reads too.
"""

import errno
from dataclasses import dataclass
from enum import Enum


class Fault(Enum):
    """What the disk answers."""

    ENOSPC = errno.ENOSPC
    EIO = errno.EIO
    EDQUOT = errno.EDQUOT
    EROFS = errno.EROFS
    SHORT = -errno.ENOSPC
    """A write takes half of what it was given and says so; the next one is ENOSPC."""

    @property
    def errno(self) -> int:
        """What the caller may be told."""
        return abs(self.value)

    def concerns(self, operation: "Operation") -> bool:
        """Whether it can hit this one."""
        if self is Fault.SHORT:
            return operation.is_write
        return operation.changes or self is Fault.EIO


@dataclass(frozen=True, slots=True)
class Operation:
    """One call that touches the store."""

    call: str
    path: str
    """Relative to the store."""
    changes: bool

    @property
    def is_write(self) -> bool:
        return self.call in {"write", "pwrite"}

    def __str__(self) -> str:
        return f"{self.call} {self.path}"


@dataclass(frozen=True, slots=True)
class Plan:
    """The `at`-th operation that `fault` concerns fails; all after it too, if it is `lasting`."""

    fault: Fault
    at: int
    lasting: bool

    def __str__(self) -> str:
        return f"{self.fault.name} {'from' if self.lasting else 'at'} {self.at}"
