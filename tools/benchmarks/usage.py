"""What a process has used so far, with the processes it has started, as /proc tells."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tools.benchmarks.measuring import SECONDS, Figures
from tools.benchmarks.running import Word, run

IDLE_SECONDS = 0.3
"""Without a tick of CPU time for so long, what was caused is over."""
IDLE_LIMIT = 10.0
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    cpu: float
    """Seconds, user and system."""
    peak: int
    """Bytes of memory it ever held; of the processes it has started, the same."""

    @classmethod
    def of(cls, pid: int) -> Self:
        family = list(_family(pid))
        return cls(sum(map(_cpu, family)), sum(map(_peak, family)))


def run_beside(pid: int, *command: Word, discard: bool = False) -> Figures:
    """How long the command takes, and what it makes a daemon use, until that has nothing to do any more."""
    before = Usage.of(pid)
    seconds = run(*command, discard=discard).seconds
    after = wait_idle(pid)
    return {SECONDS: seconds, "cpu": after.cpu - before.cpu, "peak": after.peak}


def wait_idle(pid: int) -> Usage:
    """What it has used when it has come to rest."""
    limit = time.monotonic() + IDLE_LIMIT
    usage = Usage.of(pid)
    since = time.monotonic()
    while time.monotonic() < min(since + IDLE_SECONDS, limit):
        time.sleep(0.02)
        now = Usage.of(pid)
        if now.cpu > usage.cpu:
            usage, since = now, time.monotonic()
    return Usage.of(pid)


def _family(pid: int) -> Iterator[Path]:
    process = Path(f"/proc/{pid}")
    yield process
    for children in process.glob("task/*/children"):
        for child in children.read_text("ascii").split():
            yield from _family(int(child))


def _cpu(process: Path) -> float:
    after_name = (process / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    user, system = after_name[11:13]
    return (int(user) + int(system)) / TICKS


def _peak(process: Path) -> int:
    lines = (process / "status").read_text("utf-8", "replace").splitlines()
    line = next(line for line in lines if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024
