"""How far a load is, and which shares deliver: what its bar shows (`bars`)."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from blobfs.cli.words import printable, rate, size
from blobfs.errors import BlobfsError

_KEYS = ("blobs", "bytes", "total_blobs", "total_bytes", "loaded_bytes")

LOOK_PAUSE = 1.0
"""Seconds between two looks at the shares: each is a question to the node."""
MOST_SHARES = 3


class Totals:
    """Of all names together. Mutable: what the node said last of each."""

    def __init__(self) -> None:
        self._figures: dict[str, dict[str, int]] = {}

    def note(self, name: str, line: dict[str, Any]) -> None:
        """A line of the node's answer."""
        if line["state"] == "done":
            line = {**line, "total_blobs": line["blobs"], "total_bytes": line["bytes"]}
        if line["state"] != "failed":
            self._figures[name] = {key: line[key] for key in _KEYS}

    def __getitem__(self, key: str) -> int:
        return sum(figures[key] for figures in self._figures.values())

    @property
    def length(self) -> int:
        """Steps of the bar: bytes, and one for each blob, because it may be empty. It grows at first."""
        return self["total_blobs"] + self["total_bytes"]

    @property
    def position(self) -> int:
        return min(self["blobs"] + self["bytes"], self.length)

    @property
    def moved(self) -> int:
        return self["loaded_bytes"]

    def __str__(self) -> str:
        blobs = f"{self['blobs']} of {self['total_blobs']} blobs"
        return f"{blobs}, {size(self['bytes'])} of {size(self['total_bytes'])}"


class Deliveries:
    """Which shares the node has bytes from, by what it says of itself. Mutable: the last look."""

    def __init__(
        self, fetch: Callable[[], Mapping[str, Any]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._fetch, self._clock = fetch, clock
        self._looked = -LOOK_PAUSE
        self._received: dict[str, int] = {}
        self._told = ""

    def __str__(self) -> str:
        """The fastest ones first; looks again now and then."""
        now = self._clock()
        if now >= self._looked + LOOK_PAUSE:
            self._look(now)
        return self._told

    def _look(self, now: float) -> None:
        try:
            shares = self._fetch()["shares"]
        except BlobfsError:
            shares = []  # the load itself will tell that the node is gone
        received = {share["url"]: share["received"] for share in shares}
        passed, before = now - self._looked, self._received
        self._looked, self._received = now, received
        came = {url: bytes_ - before[url] for url, bytes_ in received.items() if url in before}
        fastest = sorted((url for url in came if came[url] > 0), key=lambda url: -came[url])
        told = [f"{printable(url)} {rate(came[url] / passed)}" for url in fastest[:MOST_SHARES]]
        if len(fastest) > MOST_SHARES:
            told.append(f"{len(fastest) - MOST_SHARES} more")
        self._told = ", ".join(told)
