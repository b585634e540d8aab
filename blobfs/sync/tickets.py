"""What a program in another thread gets for a command: a ticket to wait with, and calls back.

Calls back come from one thread of their own, in the order in which commands end: first `on_success` or
`on_error`, then `on_complete`, each once. What they raise is logged. One that takes long delays the others
and nothing else: the loop goes on, and so does whoever waits with a ticket.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from blobfs.sync.commands import Done, Ending

_log = logging.getLogger(__name__)

T = TypeVar("T")


class Ticket(Generic[T]):
    """For one command. Any thread may use it."""

    def __init__(self, future: Future[T], cancel: Callable[[], None]) -> None:
        self._future = future
        self._cancel = cancel

    def __repr__(self) -> str:
        return f"<Ticket {'ended' if self.is_ended else 'open'}>"

    @property
    def is_ended(self) -> bool:
        return self._future.done()

    def result(self, timeout: float | None = None) -> T:
        """Waits for the end; raises what the command raised, `TimeoutError` after `timeout` seconds."""
        return self._future.result(timeout)

    def cancel(self) -> None:
        """Asks for its end, and returns at once: `CommandCancelled`, unless it ends by itself before."""
        self._cancel()


def end(future: Future[Any], ending: Ending) -> None:
    """Whoever waits with a ticket goes on."""
    if isinstance(ending, Done):
        future.set_result(ending.value)
    else:
        future.set_exception(ending)


@dataclass(frozen=True, slots=True)
class Callbacks:
    """What a program wants to be told."""

    on_success: Callable[[Any], object] | None = None
    on_error: Callable[[Exception], object] | None = None
    on_complete: Callable[[], object] | None = None

    def call(self, ending: Ending) -> None:
        if isinstance(ending, Done):
            if self.on_success is not None:
                _guarded(self.on_success, ending.value)
        elif self.on_error is not None:
            _guarded(self.on_error, ending)
        if self.on_complete is not None:
            _guarded(self.on_complete)


def _guarded(callback: Callable[..., object], *args: object) -> None:
    try:
        callback(*args)
    except BaseException:  # also SystemExit: it would end the thread, and with it all later calls
        _log.exception("unexpected, in a callback")


class CallbackThread:
    """Calls back, until it is told that nothing more comes."""

    def __init__(self) -> None:
        self._endings: SimpleQueue[tuple[Callbacks, Ending] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="blobfs callbacks", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def report(self, callbacks: Callbacks, ending: Ending) -> None:
        """Returns at once."""
        self._endings.put((callbacks, ending))

    def join(self, timeout: float) -> bool:
        """Once nothing more is reported. Whether all calls have been made, as far as the caller can know."""
        self._endings.put(None)
        if threading.current_thread() is self._thread:
            return True  # it is asked by one of its own calls, and goes on after it
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (ended := self._endings.get()) is not None:
            callbacks, ending = ended
            callbacks.call(ending)
