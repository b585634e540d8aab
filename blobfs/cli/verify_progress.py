"""How far a verification is: what its bar shows (`bars`). It runs in a thread, the main thread waits.

So Ctrl-C meets the main thread: the other one ends at the next stretch it has hashed.
"""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TypeVar

from blobfs.cli.bars import Bar, drawing
from blobfs.cli.words import size
from blobfs.store.verify.findings import Progress

T = TypeVar("T")

TICK = 0.1
"""Seconds between two looks at how far it is."""


def following(progress: Progress, work: Callable[[], T], *, is_shown: bool) -> T:
    """What `work` returns. It is told to stop when this is interrupted."""
    steps = _Steps(progress)
    with (
        ThreadPoolExecutor(1, "verifying") as thread,
        drawing(Bar("verifying", steps, steps.__str__), is_shown) as draw,
    ):
        future: Future[T] = thread.submit(work)
        try:
            while not wait([future], TICK).done:
                draw()
            return future.result()
        except KeyboardInterrupt:
            progress.stopped.set()
            raise


@dataclass(frozen=True, slots=True)
class _Steps:
    """A step for each byte, and then for each blob that is loaded again."""

    progress: Progress

    @property
    def length(self) -> int:
        return self.progress.total_bytes + (self.progress.lost or 0)

    @property
    def position(self) -> int:
        return min(self.progress.bytes_done, self.progress.total_bytes) + self.progress.loaded

    @property
    def moved(self) -> int:
        return self.progress.bytes_done

    def __str__(self) -> str:
        if self.progress.lost is not None:
            return f"loading again: {self.progress.loaded} of {self.progress.lost} blobs"
        return f"{size(self.progress.bytes_done)} of {size(self.progress.total_bytes)}"
