"""How far a load is, as a bar on a terminal."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from blobfs.cli.words import size

_KEYS = ("blobs", "bytes", "total_blobs", "total_bytes")


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

    def __str__(self) -> str:
        blobs = f"{self['blobs']} of {self['total_blobs']} blobs"
        return f"{blobs}, {size(self['bytes'])} of {size(self['total_bytes'])}"


@contextmanager
def bar(totals: Totals, is_shown: bool) -> Iterator[Callable[[], None]]:
    """Gives what draws it anew, or does nothing where no bar is wanted."""
    if not is_shown:
        yield lambda: None
        return
    steps = range(1)  # of which there are more as soon as it is known
    with click.progressbar(
        steps, label="loading", file=sys.stderr, item_show_func=lambda _: str(totals)
    ) as shown:

        def draw() -> None:
            shown.length = max(totals.length, 1)
            shown.update(totals.position - shown.pos)

        yield draw
