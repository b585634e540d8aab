"""The fill: what was read in part is loaded to its end while the mount is otherwise idle.

So a blob that somebody once wanted becomes whole and is shared in turn. Nobody waits for the fill, so
it gives way: it works in spans, and only when no reader has waited for a share for a while. Without
it, what nobody reads any more is put to sleep.
"""

import logging
import math

import trio

from blobfs import errors
from blobfs.config.settings import Fill, LoadSettings
from blobfs.model import CHUNK_SIZE
from blobfs.shares.choice import Urgency
from blobfs.sync.loading.load import Load
from blobfs.sync.loading.loads import Loads
from blobfs.sync.space import Space

_log = logging.getLogger(__name__)

RETRY = 30.0
"""Seconds until a blob that could not be filled is tried again."""


class Filler:
    """Works off the unfinished loads. `_not_before` holds back those that cannot be helped right now."""

    def __init__(self, loads: Loads, space: Space, settings: LoadSettings) -> None:
        self._loads = loads
        self._space = space
        self._settings = settings
        self._not_before: dict[Load, float] = {}

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fills until it is cancelled."""
        task_status.started()
        while True:
            # No await between the look and the new event: nothing that stirs is missed.
            due, load, key = self._next()
            self._loads.stirred = trio.Event()
            if due > trio.current_time():
                with trio.move_on_at(due):
                    await self._loads.stirred.wait()
                continue
            try:
                await self._turn(load, key)
            except Exception:
                # Nobody waits for the fill: its defects must not cost the mount.
                _log.exception("unexpected, the fill goes on")
                await trio.sleep(RETRY)

    def _next(self) -> tuple[float, Load | None, str]:
        """What is due next, and when: a load, or the key of one that is asleep. Never, for nothing."""
        unfinished = [load for load in self._loads.unfinished() if not load.is_brought]
        self._not_before = {load: until for load, until in self._not_before.items() if load in unfinished}
        last_needed = max((load.last_needed for load in unfinished), default=-math.inf)
        idle = last_needed + self._settings.fill_after
        due: list[tuple[float, Load | None, str]] = [
            (max(idle, self._not_before.get(load, idle)), load, load.key) for load in unfinished
        ]
        if self._settings.fill is Fill.IDLE:
            due += [(max(idle, until), None, key) for key, until in self._loads.asleep()]
        return min(due, key=lambda each: each[0], default=(math.inf, None, ""))

    async def _turn(self, load: Load | None, key: str) -> None:
        if not self._space.has_plenty:
            await self._wait_for_room(load)
        elif load is None:
            await self._loads.wake(key)
        elif self._settings.fill is Fill.IDLE:
            await self._fill(load)
        else:
            await self._rest(load, math.inf, self._settings.fill_after)

    async def _wait_for_room(self, load: Load | None) -> None:
        """What nobody waits for is no reason to evict anything."""
        if load is None:
            await trio.sleep(RETRY)
        else:
            await self._rest(load, trio.current_time() + RETRY, RETRY)

    async def _fill(self, load: Load) -> None:
        """One span of a blob; one that cannot be had rests for a while."""
        most = self._settings.span_size // CHUNK_SIZE
        chunks = load.partial.chunks
        first = load.partial.next_absent(load.swarm.fill_from, chunks)
        if first < 0:
            first = load.partial.next_absent(0, chunks)
        if first < 0:
            return
        stop = min(first + most, load.partial.chunks)
        offset = first * CHUNK_SIZE
        try:
            length = min(stop * CHUNK_SIZE, load.size) - offset
            deadline = trio.current_time() + self._settings.read_timeout
            await load.bring(offset, length, Urgency.FILL, deadline)
        except errors.BlobfsError as error:
            _log.debug("filling %s: %s", load.key, error)
            await self._rest(load, trio.current_time() + RETRY, RETRY)

    async def _rest(self, load: Load, until: float, pause: float) -> None:
        """Puts a load to sleep; one that somebody reads stays, and is left alone for a while."""
        if not await self._loads.put_to_sleep(load, until):
            self._not_before[load] = trio.current_time() + pause
