"""How long one kind of everyday call takes in a mount: a program of its own, for it may get stuck.

usage: probe KIND DIRECTORY COUNT. Makes the call COUNT times, one after the other. Prints a line with the
time when it begins one, and the seconds it took when it is over. What is looked at by `stat` and `read` is
used once and never listed, so that the kernel's caches do not answer.
"""

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

WRITTEN = b"x" * 4096
BEGUN = "begun"

CALLS: dict[str, Callable[[Path, int], Callable[[], object]]] = {
    "stat": lambda directory, number: (directory / f"stat-{number}").stat,
    "ls": lambda directory, number: partial(os.listdir, directory),
    "read": lambda directory, number: (directory / f"read-{number}").read_bytes,
    "write": lambda directory, number: partial((directory / f"write-{number}").write_bytes, WRITTEN),
}


def main() -> None:
    kind, directory, count = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    for number in range(count):
        call = CALLS[kind](directory, number)
        began = time.monotonic()
        print(BEGUN, began, flush=True)
        call()
        print(time.monotonic() - began, flush=True)


def read_probe(said: str) -> tuple[list[float], bool]:
    """The seconds of every call, and whether the last one is not over yet (it counts as it stands now)."""
    *over, last = said.splitlines()
    taken = [float(line) for line in [*over, last] if not line.startswith(BEGUN)]
    if not last.startswith(BEGUN):
        return taken, False
    return [*taken, time.monotonic() - float(last.split()[1])], True


if __name__ == "__main__":
    main()
