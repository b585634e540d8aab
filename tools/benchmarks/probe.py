"""How long everyday calls take in a mount, one after the other: a program of its own, for it may get stuck.

usage: probe LOCAL LISTED WRITING COUNT. LOCAL is a directory of small files that are here, ``0``, ``1`` and so
on, twice COUNT of them, each used once and never listed, so that the kernel's caches do not answer; LISTED is
listed; small files are written to WRITING. Prints a line when a call begins, its kind, and one when it is
over, the seconds it took.
"""

import os
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

WRITTEN = b"x" * 4096


def calls(local: Path, listed: Path, writing: Path, count: int) -> Iterator[tuple[str, Callable[[], object]]]:
    for number in range(count):
        yield "stat", (local / str(number)).stat
        yield "ls", partial(os.listdir, listed)
        yield "read", (local / str(count + number)).read_bytes
    for number in range(count):
        yield "write", partial((writing / f"written-{number}").write_bytes, WRITTEN)


def main() -> None:
    local, listed, writing = map(Path, sys.argv[1:4])
    for kind, call in calls(local, listed, writing, int(sys.argv[4])):
        print(kind, flush=True)
        began = time.perf_counter()
        call()
        print(time.perf_counter() - began, flush=True)


def read_probe(said: str, limit: float) -> dict[str, list[float]]:
    """The seconds of every call by its kind; one that never returned has taken `limit`, and is the last."""
    lines = iter(said.splitlines())
    taken: dict[str, list[float]] = {}
    for kind in lines:
        taken.setdefault(kind, []).append(float(next(lines, limit)))
    return taken


if __name__ == "__main__":
    main()
