"""How far something is, as a bar on stderr: one look for all commands (`live_bar`).

    loading ━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━━  66%  29 of 44 blobs, 2.3 of 3.4 MiB
            12.1 MiB/s, 2 min left, from http://a:8001/ 8.0 MiB/s, http://b:8001/ 4.1 MiB/s

Any thread counts; who opened the bar draws it, in his own. Where stderr is no terminal, a line now and then
says the same. What draws on terminals is imported by the first bar: it takes 40 ms.
"""

import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from typing import Protocol

import click

from blobfs.cli.words import duration, percent, rate

SPEED_WINDOW = 10.0
"""Seconds that a rate is the mean of: one that follows every hiccup cannot be read."""
REDRAW = 0.1
"""Seconds between two drawings."""
PLAIN_PAUSE = 5.0
"""Seconds between two lines where there is no terminal."""

Draw = Callable[[], None]


class Steps(Protocol):
    """What is counted. Read whenever the bar is drawn; the length may grow."""

    @property
    def length(self) -> int: ...
    @property
    def position(self) -> int: ...
    @property
    def moved(self) -> int:
        """Bytes that the work has brought: what was there before has taken no time."""


class Speed:
    """The rate of late. Mutable: `_seen`, by `note`."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def note(self, now: float, amount: int) -> None:
        self._seen.append((now, amount))
        while len(self._seen) > 2 and self._seen[1][0] <= now - SPEED_WINDOW:
            self._seen.popleft()

    @property
    def rate(self) -> float | None:
        """Bytes a second; None: it is too early to tell."""
        if len(self._seen) < 2:
            return None
        (start, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - start) if end > start else None


class Bar:
    """What is shown of one piece of work. Mutable: the speed, by `note`, and `has_ended`."""

    def __init__(
        self, label: str, steps: Steps, text: Callable[[], str], sources: Callable[[], str] | None = None
    ) -> None:
        """`text`: what is done, in words. `sources`: where it comes from."""
        self.label, self.steps, self.text = label, steps, text
        self._sources = sources
        self._speed = Speed()
        self.has_ended = False

    def note(self, now: float) -> None:
        self._speed.note(now, self.steps.moved)

    @property
    def percent(self) -> int:
        if not self.steps.length:
            return 100 if self.has_ended else 0  # how much there is to do may not be known yet
        return percent(self.steps.position, self.steps.length)

    def details(self) -> str:
        """How fast it goes; nothing when all is done."""
        left, speed = self.steps.length - self.steps.position, self._speed.rate
        if left <= 0 or speed is None:
            return ""
        told = [rate(speed)]
        if speed > 0:
            told.append(f"{duration(left / speed)} left")
        if self._sources is not None and (sources := self._sources()):
            told.append(f"from {sources}")
        return ", ".join(told)

    def line(self) -> str:
        """All of it, where nothing can be drawn."""
        return ", ".join(filter(None, [f"{self.label} {self.percent}%: {self.text()}", self.details()]))


@contextmanager
def drawing(bar: Bar, is_shown: bool) -> Iterator[Draw]:
    """Gives what draws it anew, as often as one likes, or does nothing where no bar is wanted."""
    if not is_shown:
        yield lambda: None
        return
    surface, pause, first = _surface(bar)
    with surface as put:
        drawn = time.monotonic() - pause + first

        def draw() -> None:
            nonlocal drawn
            now = time.monotonic()
            if now >= drawn + pause:
                drawn = now
                bar.note(now)
                put()

        draw()
        yield draw
        bar.has_ended = True
        put()


def _surface(bar: Bar) -> tuple[AbstractContextManager[Draw], float, float]:
    """Where it is put, the least time between two drawings, and until the first."""
    if sys.stderr.isatty() and os.environ.get("TERM") not in ("dumb", "unknown"):
        return import_module("blobfs.cli.live_bar").live(bar), REDRAW, 0.0
    return nullcontext(lambda: click.echo(bar.line(), err=True)), PLAIN_PAUSE, PLAIN_PAUSE


def wants_bar(asked: bool | None) -> bool:
    """``--progress`` and ``--no-progress`` decide; else there is a bar on a terminal."""
    return sys.stderr.isatty() if asked is None else asked


progress_option = click.option(
    "--progress/--no-progress", "progress", default=None,
    help="Show how far it is; without either, on a terminal only.",
)  # fmt: skip
