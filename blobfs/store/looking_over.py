"""Whether a directory of names is in order, asked while the daemon works: slowly, and changing nothing."""

import contextlib
import threading
import time
from collections.abc import Iterable

from blobfs.model import Name
from blobfs.store.failures import store_errors
from blobfs.store.opening import Store
from blobfs.store.verify.findings import Inspection, Progress
from blobfs.store.verify.names import check_directory

NAMES_AT_A_TIME = 32
"""Between two pauses: some 10 ms of work, during which readers wait longer for the interpreter."""
PAUSE = 3.0
"""How many times as long as the work before it a pause is: a quarter of one core, if nothing else is done."""


class LookBrokenOff(Exception):
    """It was told to end."""


class Pace(Progress):
    """Keeps a look over a directory slow, and ends it from another thread."""

    def __init__(self, pause: float = PAUSE) -> None:
        super().__init__()
        self._pause = pause
        self._ended = threading.Event()
        self._names = 0
        self._began = time.monotonic()

    def end(self) -> None:
        self._ended.set()

    def count(self, what: str, number: int = 1) -> None:
        super().count(what, number)
        self._names += number
        if self._names >= NAMES_AT_A_TIME:
            self._names = 0
            self._ended.wait(self._pause * (time.monotonic() - self._began))
            self._began = time.monotonic()
        if self._ended.is_set():
            raise LookBrokenOff


@store_errors()
def log_bytes(store: Store, directories: Iterable[Name]) -> int:
    """How long the logs of directories are: about how much there is to look over."""
    found = 0
    for directory in directories:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found += store.layout.log(directory).stat().st_size
    return found


@store_errors()
def is_in_order(store: Store, directory: Name, pace: Pace) -> bool:
    """Also False where a name was being changed meanwhile. Raises `LookBrokenOff`."""
    inspection = Inspection(store, mends=False, after_crash=True, progress=pace)
    return next(check_directory(inspection, directory), None) is None
