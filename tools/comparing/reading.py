"""Runs the programs of readers/, each in a process of its own and never without a limit."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tools.benchmarks.running import Word, run

SECONDS = 60.0
"""No read takes longer unless it hangs: a GiB in a minute is slower than any peer that is worth a name."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a reader says."""

    seconds: float
    digest: str
    """Empty unless it was asked for."""


def read(kind: str, *arguments: Word, digest: bool = False, limit: float = SECONDS) -> Reading:
    """Raises Failed and Overdue. `digest`: of all that was read, taken while no clock runs."""
    options = ["--digest"] if digest else []
    ended = run(*program("reader", kind, *options, *arguments), limit=limit)
    return Reading(**json.loads(ended.said))


def program(module: str, *arguments: Word) -> list[Word]:
    """The command that runs one of readers/, none of which imports anything heavy."""
    return [sys.executable, "-P", "-S", "-m", f"tools.comparing.readers.{module}", *arguments]


def drop(*paths: Path) -> None:
    """Nothing of the files below stays in the kernel's memory, but for what is not on the disk yet."""
    read("dropped", *paths)


def flush_and_drop(*paths: Path) -> None:
    """Nothing of the files below stays in memory; for files of a disk, not of a mount."""
    read("flushed", *paths)
