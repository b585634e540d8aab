"""How far a verification is, as a bar on a terminal. It runs in a thread, the main thread draws and waits.

So Ctrl-C meets the main thread: the other one ends at the next stretch it has hashed.
"""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

import click

from blobfs.cli.words import size
from blobfs.store.verify.findings import Progress

T = TypeVar("T")

TICK = 0.1
"""Seconds between two looks at how far it is."""


def following(progress: Progress, work: Callable[[], T], *, is_shown: bool) -> T:
    """What `work` returns. It is told to stop when this is interrupted."""
    with (
        ThreadPoolExecutor(1, "verifying") as thread,
        _bar(progress, is_shown and sys.stderr.isatty()) as draw,
    ):
        future: Future[T] = thread.submit(work)
        try:
            while not wait([future], TICK).done:
                draw()
            draw()
            return future.result()
        except KeyboardInterrupt:
            progress.stopped.set()
            raise


@contextmanager
def _bar(progress: Progress, is_shown: bool) -> Iterator[Callable[[], None]]:
    """Gives what draws it anew, or does nothing where no bar is wanted."""
    if not is_shown:
        yield lambda: None
        return

    def text() -> str:
        if progress.lost is not None:
            return f"loading again: {progress.loaded} of {progress.lost} blobs"
        return f"{size(progress.bytes_done)} of {size(progress.total_bytes)}"

    with click.progressbar(
        range(1), label="verifying", file=sys.stderr, item_show_func=lambda _: text()
    ) as shown:

        def draw() -> None:
            # A step for each byte, and one so that there is something to do where there are none.
            shown.length = progress.total_bytes + 1
            shown.update(min(progress.bytes_done, progress.total_bytes) - shown.pos)

        yield draw
