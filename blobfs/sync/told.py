"""What readers and others were told could not be had or kept, for whoever looks at the node: the last of it.

Noted where errors leave the node, by whom knows the name. A caller's own mistakes are no failures, nor is
that a name is nowhere. The kernel asks again for a READ that failed, many read the same, and `find` over
shares that are away asks for thousands of names: what is told again counts up, and stands first again.
"""

import errno
import logging
import math
import time
from collections import OrderedDict
from dataclasses import dataclass

import trio

from blobfs import errors
from blobfs.model import Attempt
from blobfs.requests import current_request

KEPT = 50
"""Failures; what is older is in the log."""
SAID_AT_MOST = 20
SAID_WITHIN = 10.0
"""Lines of the log, and seconds."""

_log = logging.getLogger(__name__)

_NO_FAILURES = (errors.WouldBlock, errors.Interrupted)


@dataclass(frozen=True, slots=True)
class Told:
    """One failure, and how often it was told."""

    operation: str
    """read, lookup, open, ...: as the kernel calls it; load, seal, keep: of this node's own."""
    what: str
    """A name, a blob or a package as a path in the mount; of lookups the last one."""
    errno: int
    message: str
    attempts: tuple[Attempt, ...]
    time: int
    """Unix seconds when it was told last, for people."""
    at: float
    """The same on trio's clock."""
    count: int
    request: str | None
    """The last one that was told so, as the log calls it."""


class ToldFailures:
    """Mutable, by `note` only: `_told`, the oldest first; how much was said in the log of late."""

    def __init__(self, most: int = KEPT) -> None:
        self._most = most
        self._told: OrderedDict[tuple[str, str, str], Told] = OrderedDict()
        self._quiet_until = -math.inf
        self._said = 0

    def __len__(self) -> int:
        return len(self._told)

    def note(
        self,
        operation: str,
        what: str,
        error: errors.BlobfsError,
        *,
        answer: type[errors.BlobfsError] | None = None,
    ) -> None:
        """Somebody was told this, or was answered something else because of it.

        Does nothing for what is no failure of this node or its shares.
        """
        if not is_failure(error):
            return
        key = (operation, "" if operation == "lookup" else what, type(error).__name__)
        before = self._told.pop(key, None)
        self._told[key] = told = Told(
            operation,
            what,
            (answer or error).errno,
            str(error),
            error.attempts if isinstance(error, errors.LoadFailed) else (),
            int(time.time()),
            trio.current_time(),
            1 if before is None else before.count + 1,
            current_request(),
        )
        if len(self._told) > self._most:
            self._told.popitem(last=False)
        self._say(told)

    def _say(self, told: Told) -> None:
        """For who looks for a reason. In bounds: `grep -r` over dead shares fails for each file."""
        if told.at > self._quiet_until:
            self._quiet_until, self._said = told.at + SAID_WITHIN, 0
        if self._said < SAID_AT_MOST:
            self._said += 1
            times = f" ({told.count} times)" if told.count > 1 else ""
            _log.info("%s %s: %s: %s%s", told.operation, told.what, errno_name(told), told.message, times)

    def latest(self) -> list[Told]:
        """The newest first."""
        return list(reversed(self._told.values()))


def is_failure(error: errors.BlobfsError) -> bool:
    """Whether it says something of this node, its disk or its shares, and not of who asked."""
    return isinstance(error, errors.LoadFailed | errors.StoreError) and not isinstance(error, _NO_FAILURES)


def errno_name(told: Told) -> str:
    return errno.errorcode.get(told.errno, str(told.errno))
