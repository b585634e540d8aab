"""What keeps a tree from being packed, told one line each, and how paths are written there."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from blobfs.cli.words import printable

MOST_LINES = 20
"""Problems that are named; of a tree with thousands they show what is wrong with it."""


class Problem(NamedTuple):
    path: bytes
    """Below the directory that is packed; ``b""`` is that one itself."""
    reason: str


def describe(problems: Sequence[Problem], directory: bytes) -> Iterator[str]:
    """The first ones in the order of their paths, and how many more there are."""
    for problem in sorted(problems)[:MOST_LINES]:
        path = directory.rstrip(b"/") + b"/" + problem.path if problem.path else directory
        yield f"{shown(path)}: {problem.reason}"
    if len(problems) > MOST_LINES:
        yield f"and {len(problems) - MOST_LINES} more"


def shown(path: bytes) -> str:
    """A path in one line that no terminal obeys."""
    return printable(path.decode("utf-8", "backslashreplace"))
