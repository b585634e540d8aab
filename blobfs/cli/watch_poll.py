"""What the nodes say, once a second: asked by a thread of its own, so that keys work while a node hangs.

A node that ends stays in view, with what it said last, until it is back: whoever watches a restart wants to
see it end.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from blobfs.cli.targets import find_stores
from blobfs.control.client import fetch_status
from blobfs.errors import BlobfsError

PAUSE = 1.0
"""Seconds between two questions to a node."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One node, as far as it is known."""

    mountpoint: str
    status: Mapping[str, Any] | None = None
    """What it said last; None: it has never answered."""
    answered: float = 0.0
    """When that was, on the monotonic clock."""
    trouble: str | None = None
    """Why it does not answer now."""

    def fields(self) -> Mapping[str, Any] | None:
        """As it stands in JSON."""
        return self.status if self.trouble is None else {"mountpoint": self.mountpoint, "error": self.trouble}


def look(mountpoint: str | None, before: Mapping[str, Seen]) -> dict[str, Seen]:
    """Asks all that are mounted, or the one on `mountpoint`. Who is not there any more is in trouble.

    Raises `StartRefused` if nothing has ever been mounted on `mountpoint`.
    """
    try:
        stores = dict(find_stores(mountpoint))
    except BlobfsError:
        if not before:
            raise
        stores = {}
    answers = _ask_all(stores, before)
    gone = {place: replace(seen, trouble="it is not mounted") for place, seen in before.items()}
    return {place: answers.get(place, gone.get(place, Seen(place))) for place in {**before, **answers}}


def _ask_all(stores: Mapping[str, Path], before: Mapping[str, Seen]) -> dict[str, Seen]:
    """All at once: one that hangs takes seconds. The end of the program does not wait for it."""
    answers: dict[str, Seen] = {}

    def ask(place: str) -> None:
        answers[place] = _ask(place, stores[place], before.get(place))

    threads = [threading.Thread(target=ask, args=(place,), daemon=True) for place in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _ask(mountpoint: str, store: Path, before: Seen | None) -> Seen:
    try:
        return Seen(mountpoint, fetch_status(store), time.monotonic())
    except BlobfsError as failure:
        return replace(before or Seen(mountpoint, answered=time.monotonic()), trouble=str(failure))


class Poll:
    """Mutable: `latest`, replaced as a whole by the thread. It ends with the program."""

    def __init__(self, mountpoint: str | None, on_news: Callable[[], None]) -> None:
        """Raises `StartRefused` if nothing is mounted on `mountpoint`."""
        self._mountpoint, self._on_news = mountpoint, on_news
        self.latest = look(mountpoint, {})

    def start(self) -> None:
        threading.Thread(target=self._run, name="asking", daemon=True).start()

    def _run(self) -> None:
        while True:
            time.sleep(PAUSE)
            self.latest = look(self._mountpoint, self.latest)
            self._on_news()
