"""Work that nobody waits for: its defects are logged, and end nothing but itself (P8)."""

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVarTuple

Ts = TypeVarTuple("Ts")

_log = logging.getLogger(__name__)


async def guarded(work: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> None:
    """Runs `work`; what it raises goes into the log with its traceback. Cancellation passes."""
    try:
        await work(*args)
    except Exception:
        _log.exception("unexpected, in %s", getattr(work, "__qualname__", work))
