"""What somebody at a terminal can do to a program that draws on all of it: keys, signals, a new size.

The terminal gives single keys meanwhile, and is as it was afterwards, also when the program is stopped with
Ctrl-Z. Python runs signal handlers between two steps of its main thread; here they come as bytes through a
pipe that the main thread waits on, together with the keys.
"""

import os
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum

_ENDING = (signal.SIGINT, signal.SIGTERM)
_NEWS = 0
"""No signal has this number: the other thread writes it."""
_QUIT_KEYS = frozenset(b"qQ\x03\x04")
"""q, and what Ctrl-C and Ctrl-D send where the terminal makes no signal of them."""


class Event(Enum):
    NEWS = "something is to be drawn"
    QUIT = "somebody has seen enough"
    STOP = "Ctrl-Z"


class Keys:
    """Open while it is used. Gives events to one thread; any thread may tell that there is news."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        self._keyboard = sys.stdin.fileno() if sys.stdin is not None and sys.stdin.isatty() else None

    def tell_news(self) -> None:
        try:
            os.write(self._writing, bytes([_NEWS]))
        except BlockingIOError:
            return  # it is full of news already

    @contextmanager
    def listening(self) -> Iterator[None]:
        """The terminal gives keys, and signals are events."""
        numbers = (*_ENDING, signal.SIGWINCH, signal.SIGTSTP)
        before = {number: signal.signal(number, lambda *_: None) for number in numbers}
        old_pipe = signal.set_wakeup_fd(self._writing, warn_on_full_buffer=False)
        try:
            with _single_keys(self._keyboard):
                yield
        finally:
            signal.set_wakeup_fd(old_pipe)
            for number, handling in before.items():
                signal.signal(number, handling)

    def wait(self, seconds: float) -> Event:
        """The next event, or news when the time is over: what is shown may be growing old."""
        sources = [self._reading] if self._keyboard is None else [self._reading, self._keyboard]
        ready, _, _ = select.select(sources, [], [], seconds)
        if self._keyboard in ready and self._keyboard is not None:
            typed = os.read(self._keyboard, 64)
            if not typed or _QUIT_KEYS & set(typed):
                return Event.QUIT
        told = os.read(self._reading, 512) if self._reading in ready else b""
        if set(_ENDING) & set(told):
            return Event.QUIT
        return Event.STOP if signal.SIGTSTP in told else Event.NEWS


@contextmanager
def _single_keys(keyboard: int | None) -> Iterator[None]:
    if keyboard is None:
        yield
        return
    before = termios.tcgetattr(keyboard)
    try:
        tty.setcbreak(keyboard, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)
