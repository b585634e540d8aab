"""What a load may come to, and what is a failure. Pure.

1. A byte that differs, an end that comes too early: always (P1).
2. An errno that is not one of those a load may have (docs/semantics.md), or that this load gave no cause for.
3. A call that takes longer than its deadline and some slack; a reader that does not die of its signal (P3).
"""

import errno
from dataclasses import dataclass, field
from typing import Any

from blobfs.model import CHUNK_SIZE
from tests.faults.orders import Order

LOOKUP_TIMEOUT = 2.0
READ_TIMEOUT = 5.0
OPTIONS = (
    f"lookup_timeout={LOOKUP_TIMEOUT:g}",
    f"read_timeout={READ_TIMEOUT:g}",
    "idle_timeout=1",
    "first_byte_timeout=1",
    "connect_timeout=1",
    "nonblock_wait=1",
    "fill_after=1",
)
"""Of the mounts here: patience that a campaign of minutes can wait for."""

SLACK = 10.0
"""Seconds: two cores, a dozen processes."""

LOAD_ERRNOS = frozenset(
    {errno.ENOENT, errno.EHOSTUNREACH, errno.ETIMEDOUT, errno.EACCES, errno.EAGAIN, errno.EBADMSG}
)
GONE_ERRNOS = frozenset({errno.ENOTCONN, errno.ECONNABORTED, errno.EIO, errno.ENODEV})
"""What a mount says whose daemon was killed."""


@dataclass(frozen=True, slots=True)
class Result:
    """What came of one order."""

    number: int
    ended: str
    """done; killed (by the signal of its order); SIGBUS (how a mapping tells an error); hung; died."""
    stage: str = ""
    errno: int = 0
    wrong: str = ""
    seconds: float = 0.0
    slowest: float = 0.0
    calls: list[tuple[str, int, int, float]] = field(default_factory=list)
    compared: int = 0
    claimed: int = 0
    """The size that fstat told."""
    enough: bool = False
    note: str = ""

    @classmethod
    def of(cls, found: dict[str, Any]) -> "Result":
        return cls(ended="done", **found)

    @property
    def word(self) -> str:
        """For the histogram."""
        if self.wrong:
            return "WRONG"
        if self.ended != "done":
            return self.ended
        return f"{self.stage} {errno.errorcode.get(self.errno, str(self.errno))}" if self.errno else "right"


def deadline(order: Order, what: str, offset: int, length: int) -> float:
    """Seconds that one call may take, without slack: each part has a deadline of its own."""
    lookups = LOOKUP_TIMEOUT * order.lookups
    chunks = max(1, (offset + max(length, 1) - 1) // CHUNK_SIZE - offset // CHUNK_SIZE + 1)
    match what:
        case "read":
            return READ_TIMEOUT * chunks
        case "open" | "fstat":
            return lookups
        case _:  # a program, which does all of that
            return 2 * lookups + READ_TIMEOUT * chunks


def complaints(order: Order, result: Result, *, killed_daemon: bool = False) -> list[str]:
    """What is wrong with a result; nothing, mostly. `killed_daemon`: while it was under way."""
    found = []
    if result.wrong:
        found.append(f"wrong bytes: {result.wrong}")
    if result.ended in ("hung", "died"):
        found.append(f"{result.ended}: {result.note}")
    if killed_daemon:
        return found
    if result.errno and result.errno not in LOAD_ERRNOS:
        found.append(f"{result.word} is no errno of a load {result.note}")
    for what, offset, length, seconds in result.calls:
        limit = deadline(order, what, offset, length)
        if seconds > limit + SLACK:
            found.append(
                f"{what} of {length} bytes at {offset} took {seconds:.1f} s, its deadline is {limit:g} s"
            )
    return found
