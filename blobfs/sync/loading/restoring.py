"""What was whole and was found wrong is made whole again, whatever the fill is set to.

One blob at a time: what is right of it is found right, the rest is loaded, as nobody waits for it. One that
cannot be had now is tried again after a while, and after longer each time.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from blobfs import errors
from blobfs.model import BlobId

_log = logging.getLogger(__name__)

FIRST_PAUSE = 10.0
LONGEST_PAUSE = 3600.0
"""Seconds between two tries to get a blob that nobody has."""

Bring = Callable[[BlobId, int], Awaitable[None]]
"""Until a blob of that size is here, all of it. Raises `LoadFailed`, `StoreError`."""


@dataclass(eq=False)
class _Wrong:
    size: int
    due: float
    pause: float = FIRST_PAUSE


class Restoring:
    """Mutable, on the event loop: `_wrong`, what is left to do."""

    def __init__(self, bring: Bring) -> None:
        self._bring = bring
        self._wrong: dict[BlobId, _Wrong] = {}
        self._stirred = trio.Event()

    def __len__(self) -> int:
        return len(self._wrong)

    def __contains__(self, blob: BlobId) -> bool:
        return blob in self._wrong

    def add(self, blob: BlobId, size: int) -> None:
        self._wrong[blob] = _Wrong(size, trio.current_time())
        self._stirred.set()

    def forget(self, blob: BlobId) -> None:
        """It is here, in whichever way."""
        self._wrong.pop(blob, None)

    async def run(self) -> None:
        """Works until it is cancelled."""
        while True:
            due = min((each.due for each in self._wrong.values()), default=math.inf)
            self._stirred = trio.Event()
            if due > trio.current_time():
                with trio.move_on_at(due):
                    await self._stirred.wait()
                continue
            await self._try(next(blob for blob, each in self._wrong.items() if each.due == due))

    async def _try(self, blob: BlobId) -> None:
        wrong = self._wrong[blob]
        try:
            await self._bring(blob, wrong.size)
            self._wrong.pop(blob, None)
        except errors.BlobfsError as failure:
            _log.debug("%s cannot be restored now: %s", blob, failure)
            wrong.due = trio.current_time() + wrong.pause
            wrong.pause = min(2 * wrong.pause, LONGEST_PAUSE)
