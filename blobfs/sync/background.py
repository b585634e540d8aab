"""Tasks: work that nobody waits for, and failures that come out of a nursery."""

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TypeVarTuple

import trio

Ts = TypeVarTuple("Ts")

_log = logging.getLogger(__name__)


async def guarded(work: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
    """Runs `work`, whose defects end nothing but itself (P8): they are logged. Cancellation passes."""
    try:
        await work(*args)
    except Exception:
        _log.exception("unexpected, in %s", getattr(work, "__qualname__", work))


@contextmanager
def lone_failure() -> Iterator[None]:
    """Around a nursery: raises the first thing that went wrong, and not a group.

    A cancellation beside it is not lost: its scope raises it again at the next checkpoint.
    """
    try:
        yield
    except BaseExceptionGroup as group:
        _, failures = group.split(trio.Cancelled)
        while isinstance(failures, BaseExceptionGroup):
            failures = failures.exceptions[0]
        if failures is None:
            raise
        raise failures from failures.__cause__
