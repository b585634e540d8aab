"""Much of the same work, done by a few threads while the main thread shows how far it is.

Two rules make Ctrl-C work. The main thread only waits, so it is the one that is interrupted, at once. And who
works asks between two pieces whether to go on, so that the others end soon after it.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

PIECE = 1 << 20
"""Bytes that are read, hashed or written at once: what one write to a mount carries at most."""

TICK = 0.1
"""Seconds between two looks of the main thread at how far it is."""

END_SECONDS = 5.0
"""For the threads to leave what they are at, when one has failed or the program is to end. Who is stuck in a
read from somewhere is left behind then."""


class Left(Exception):
    """Another thread has failed, or the program is to end: this one's work is not wanted any more."""


@dataclass(frozen=True, slots=True)
class Hand:
    """What one thread works with."""

    buffer: memoryview
    stopped: threading.Event

    def go_on(self) -> None:
        """Raises `Left` when that is in vain."""
        if self.stopped.is_set():
            raise Left


def run_all(
    items: Sequence[T], work: Callable[[T, Hand], None], threads: int, tick: Callable[[], None]
) -> None:
    """Returns when `work` was done on each item, or raises what the first one that failed did."""
    stopped, turn = threading.Event(), threading.Lock()
    failures: list[BaseException] = []
    waiting = iter(items)

    def labour() -> None:
        hand = Hand(memoryview(bytearray(PIECE)), stopped)
        try:
            while not stopped.is_set():
                with turn:
                    item = next(waiting)
                work(item, hand)
        except StopIteration:
            return
        except BaseException as failure:
            failures.append(failure)
            stopped.set()

    crew = [threading.Thread(target=labour, daemon=True) for _ in range(min(threads, len(items)))]
    try:
        for thread in crew:
            thread.start()
        for thread in crew:
            _wait(thread, tick)
    finally:
        stopped.set()
        end = time.monotonic() + END_SECONDS
        for thread in crew:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))
    if failures:
        raise failures[0]


def _wait(thread: threading.Thread, tick: Callable[[], None]) -> None:
    while thread.is_alive():
        thread.join(TICK)
        tick()
    tick()
