"""Who waits for which chunks: woken when they are all here, or when somebody has to see what to do next."""

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from blobfs.store.partial import Partial


class Waiter:
    """Waits for the chunks first to stop."""

    def __init__(self, first: int, stop: int) -> None:
        self.first = first
        self.stop = stop
        self._event = trio.Event()

    def wake(self) -> None:
        self._event.set()

    async def wait(self) -> None:
        """Until the next `wake`."""
        await self._event.wait()
        self._event = trio.Event()


class Waiters:
    """Of one load. A reader far from what has just arrived is left asleep: there are dozens in a sequence."""

    def __init__(self, partial: Partial) -> None:
        self._partial = partial
        self._waiters: list[Waiter] = []

    def __len__(self) -> int:
        return len(self._waiters)

    @contextmanager
    def waiting(self, first: int, stop: int) -> Iterator[Waiter]:
        waiter = Waiter(first, stop)
        self._waiters.append(waiter)
        try:
            yield waiter
        finally:
            self._waiters.remove(waiter)

    def arrived(self, first: int, stop: int) -> None:
        """These chunks are here: wakes whom nothing is missing for any more."""
        for waiter in self._waiters:
            is_near = waiter.first < stop and first < waiter.stop
            if is_near and self._partial.all_present(waiter.first, waiter.stop - waiter.first):
                waiter.wake()

    def changed(self) -> None:
        """A span has ended, well or not: wakes everybody."""
        for waiter in self._waiters:
            waiter.wake()
