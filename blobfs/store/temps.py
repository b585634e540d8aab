"""Temps whose making failed: they go at once, or, where the disk refuses that too, later.

What cannot be removed is remembered until `remove_litter`. A temp may be one more link to a blob, and as long
as it is there the blob counts as held. The next start removes what is left (`store.opening`).
"""

import contextlib
import logging
import os
import shutil
import threading
from pathlib import Path

from blobfs.store.layout import Layout

_log = logging.getLogger(__name__)

_lock = threading.Lock()
_litter: set[str] = set()
"""Of all stores of this process."""


def remove_temp(temp: Path | str) -> None:
    """Removes a file or a directory in `incoming/`. Never raises: what led here is what counts."""
    try:
        _remove(temp)
    except OSError as failure:
        _log.debug("%s stays for now: %s", temp, failure)
        with _lock:
            _litter.add(os.fspath(temp))


def remove_litter(layout: Layout) -> None:
    """What could not be removed before. Raises OSError."""
    below = f"{layout.incoming}/"
    with _lock:
        found = [temp for temp in _litter if temp.startswith(below)]
    for temp in found:
        _remove(temp)
        with _lock:
            _litter.discard(temp)


def _remove(temp: Path | str) -> None:
    with contextlib.suppress(FileNotFoundError):
        if os.path.isdir(temp) and not os.path.islink(temp):
            shutil.rmtree(temp)
        else:
            os.unlink(temp)
