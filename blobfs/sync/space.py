"""Room on the disk: how much there is, who gets it, and when something has to go.

1. Loads ask before they keep bytes (`take`). What would exceed the quota, or eat into what is to be left free
   of the partition, they do not keep but pass on to their readers.
2. When room gets scarce the longest unused goes, in the background, until there is plenty: between the two
   marks the store is not looked through again for every blob.
3. If that helps nobody, because all that is here is published, pinned or held, it is left for a while.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import trio

from blobfs import errors
from blobfs.config.settings import MIB, SpaceSettings
from blobfs.store.opening import Store
from blobfs.sync.background import guarded

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

Free = Callable[[Callable[[], int]], Awaitable[int]]
"""Evicts until what its argument says is lacking is there; says how many bytes it freed."""
Measure = Callable[[], Awaitable[object]]

_log = logging.getLogger(__name__)

HEADROOM = 20
"""Eviction begins when less than one part in so many of the quota (or the partition) is left; it ends when
there is twice as much."""
LEAST_HEADROOM, MOST_HEADROOM = MIB, 1024 * MIB
"""The least is what is taken at once."""
ASK_AGAIN = 0.5
"""Seconds for which the file system's answer is believed: other programs write there too."""
MEASURE_EVERY = 300.0
"""Seconds between two measurements, if there is a quota: what was counted meanwhile may be too much."""
LEAST_REST, REST_PER_ROUND = 0.2, 10.0
"""Seconds until eviction is tried again after it could free nothing; and as a multiple of what that took."""
UNCOUNTED = 64
"""One part in so many of the quota, 1 MiB at least, is for what is not counted along: trees, names,
directories."""
ROOMY_BYTES, ROOMY_FILES = 128 * MIB, 100_000
"""Eight times what is ever held in memory, and more files than that are: other programs write there too."""
PATIENCE = 2.0
"""Seconds for which whoever needs room waits for eviction before he goes without."""


class Space:
    """Of one store. Mutable: what the file system said last, whether eviction is worth a try, the limits."""

    def __init__(self, store: Store, settings: SpaceSettings) -> None:
        found = store.space()
        self._store = store
        self._partition = found.f_blocks * found.f_frsize
        self._free = 0
        self._free_files: int | None = None
        self._asked = -math.inf
        self._rests_until = -math.inf
        self._pressed = trio.Event()
        self._round_ended = trio.Event()
        self._takes_long = False
        """The round that is under way: nobody waits for it again."""
        self.rounds = 0
        self.passed_bytes = 0
        """Bytes that readers got and that were not kept."""
        self._limit(settings)

    def limit(self, settings: SpaceSettings) -> None:
        """These are the limits from now on; what is too much is evicted in the background."""
        if (self._store.usage.quota, self._reserve) == (settings.quota, settings.reserve_of(self._partition)):
            return
        self._limit(settings)
        self._rests_until = -math.inf
        self._pressed.set()  # also measures, which a store without a quota never was

    def _limit(self, settings: SpaceSettings) -> None:
        self._reserve = settings.reserve_of(self._partition)
        self._store.usage.quota = settings.quota

    def statistics(self) -> dict[str, int | None]:
        usage = self._store.usage
        return {
            "used": usage.used if usage.is_measured else None,
            "quota": usage.quota,
            "partition": self._partition,
            "free": self._free_now(),
            "reserve": self._reserve,
            "room": self.room,
            "rounds": self.rounds,
            "passed_bytes": self.passed_bytes,
        }

    @property
    def room(self) -> int:
        """Bytes that may still be kept of what is loaded; negative when it is too much already."""
        left = self._free_now() - self._reserve
        quota = self._store.usage.quota
        if quota is None:
            return left
        if not self._store.usage.is_measured:  # just started: what may be kept is not known yet
            return 0
        return min(left, quota - max(quota // UNCOUNTED, MIB) - self._store.usage.used)

    @property
    def has_plenty(self) -> bool:
        """Whether there is room for what nobody asked for yet."""
        return self._lacking(1) <= 0

    @property
    def is_roomy(self) -> bool:
        """Whether the disk is far from full: what is held in memory for a moment will find room."""
        free = self._free_now()
        return free >= ROOMY_BYTES and (self._free_files is None or self._free_files >= ROOMY_FILES)

    def take(self, amount: int) -> bool:
        """Whether so many bytes of a load may be kept; then they are taken."""
        if self._lacking(1) > 0:
            self.press()
        if self.room < amount:
            return False
        self._free -= amount
        self._store.usage.expect(amount)
        return True

    def used(self, amount: int) -> None:
        """They were taken, and are written."""
        self._store.usage.arrived(amount)

    def give_back(self, amount: int) -> None:
        """They were taken, and could not be written."""
        self._store.usage.expect(-amount)

    def press(self) -> None:
        """Has room made in the background."""
        if trio.current_time() >= self._rests_until:
            self._pressed.set()

    def refusal(self) -> errors.StoreError:
        """Why there is no room for more."""
        usage = self._store.usage
        if usage.quota is not None and usage.quota - usage.used <= self._free_now() - self._reserve:
            return errors.QuotaExceeded(f"the store takes {usage.used} bytes of its quota of {usage.quota}")
        return errors.StoreFull(
            f"{self._free} bytes are free on the partition of the store, {self._reserve} are to stay free"
        )

    async def obtain(self, amount: int) -> bool:
        """As `take`, after a while if something can be evicted."""
        return self.take(amount) or await self._make_room(amount)

    async def _make_room(self, amount: int) -> bool:
        """Waits a little until there is room for so many bytes, and takes them; whether it could."""
        self._asked = -math.inf  # somebody else may have made room
        with trio.move_on_after(PATIENCE) as waiting:
            while self.room < amount and not self._takes_long and trio.current_time() >= self._rests_until:
                self._pressed.set()
                await self._round_ended.wait()
        self._takes_long |= waiting.cancelled_caught
        return self.take(amount)

    async def writing(self, write: Callable[[*Ts], Awaitable[T]], *args: *Ts) -> T:
        """Calls what writes to the store; once more after eviction, where the disk or the quota refuses."""
        try:
            return await write(*args)
        except (errors.StoreFull, errors.QuotaExceeded):
            if not await self._relieve():
                raise
        return await write(*args)

    async def _relieve(self) -> bool:
        """Waits while something is evicted, and all is measured.

        False: that is no use.
        """
        if trio.current_time() < self._rests_until:
            return False
        self._pressed.set()
        with trio.move_on_after(PATIENCE):
            await self._round_ended.wait()
            return True
        return False

    async def run(
        self, free: Free, measure: Measure, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Makes room whenever it gets scarce, until it is cancelled."""
        task_status.started()
        if self._store.usage.quota is not None:
            await guarded(measure)
            self._end_round()
            if self._lacking(1) > 0:  # the quota is lower than it was
                self._pressed.set()
        while True:
            with trio.move_on_after(math.inf if self._store.usage.quota is None else MEASURE_EVERY):
                await self._pressed.wait()
            await guarded(self._round, free)
            self._pressed = trio.Event()
            self._end_round()

    def _end_round(self) -> None:
        self._takes_long = False
        ended, self._round_ended = self._round_ended, trio.Event()
        ended.set()

    async def _round(self, free: Free) -> None:
        """Looks through the store, and evicts if that is still needed then."""
        self.rounds += 1
        begin = trio.current_time()
        try:
            freed = await free(lambda: self._lacking(2))
        except errors.StoreError as failure:
            _log.warning("no room could be made on the disk: %s", failure)
            freed = 0
        self._asked = -math.inf
        if not freed and self._lacking(1) > 0:
            now = trio.current_time()
            self._rests_until = now + max(LEAST_REST, REST_PER_ROUND * (now - begin))

    def _lacking(self, times: int) -> int:
        """Bytes that are missing from so many times the headroom."""
        wanted = max(min(self._partition // HEADROOM, MOST_HEADROOM, self._reserve), LEAST_HEADROOM)
        lacking = times * wanted + self._reserve - self._free_now()
        quota = self._store.usage.quota
        if quota is not None:
            wanted = max(min(quota // HEADROOM, MOST_HEADROOM), 2 * LEAST_HEADROOM)
            lacking = max(lacking, times * wanted + self._store.usage.used - quota)
        return lacking

    def _free_now(self) -> int:
        now = trio.current_time()
        if now >= self._asked + ASK_AGAIN:
            found = self._store.space()
            self._free, self._asked = found.f_bavail * found.f_frsize, now
            self._free_files = found.f_favail if found.f_files else None  # Btrfs has no limit
        return self._free
