"""What a node costs over a store of some size: starts, lookups, reads, listings, memory.

Every figure is taken with the real command and a real mount, on this machine as it is: `drop_caches` before a
cold start also drops Python's own files, which are read again before the clock runs.
"""

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from tests.structure import ROOT
from tools.benchmarks.node import MeasuredNode
from tools.scaling.disk import drop_caches, forget_names
from tools.scaling.filling import BLOB_SIZE, blob_of, directory_of, name_of

LOOKUPS = 500
"""Twice that is what the smallest store has. Each name is looked up once: then the kernel knows it."""
READS = 1000
LISTINGS = 20
TOUCHED = 100_000
"""Names that are looked up before the memory is looked at."""
AFTER_KILL_SECONDS = 5.0
MIB = 1 << 20


@dataclass(slots=True)
class Figures:
    """Of one store. The names are those of the JSON; the text of a field says what it is, for people."""

    blobs: int
    ready: float = 0.0
    "start after a clean end, s"
    ready_cpu: float = 0.0
    "CPU time of it, s"
    ready_cold: float = 0.0
    "start, nothing cached, s"
    ready_killed: float = 0.0
    "start after kill -9, s"
    ready_killed_cpu: float = 0.0
    "CPU time of that, s"
    killed_stat_ms: float = 0.0
    "stat in the 5 s after it, p99, ms"
    rss: float = 0.0
    "memory after a start, MiB"
    stat_cold_ms: float = 0.0
    "stat of a name, its record on the disk, p50, ms"
    stat_ms: float = 0.0
    "stat of a name, its record in the page cache, p50, ms"
    missing_ms: float = 0.0
    "stat of a name that is not there, p50, ms"
    by_id_ms: float = 0.0
    "stat of a blob by its id, p50, ms"
    read_ms: float = 0.0
    "open, read, close, p50, ms"
    create_ms: float = 0.0
    "make and close a file, p50, ms"
    list_ms: float = 0.0
    "ls of 1,000 names, p50, ms"
    rss_touched: float = 0.0
    "memory after 100,000 lookups, MiB"
    rss_touched_again: float = 0.0
    "the same, and 100,000 more when the kernel had forgotten them, MiB"


def described() -> dict[str, str]:
    """What each field but `blobs` is."""
    source = Path(__file__).read_text("utf-8").split("class Figures:")[1]
    lines = [line.strip() for line in source.splitlines()]
    return {
        each.name: lines[lines.index(f"{each.name}: float = 0.0") + 1].strip('"')
        for each in fields(Figures)
        if each.name != "blobs"
    }


def timed(call: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def ms_of(calls: Iterable[Callable[[], object]], of: Callable[[list[float]], float]) -> float:
    return of([timed(call) for call in calls]) * 1000


def p99(values: list[float]) -> float:
    return sorted(values)[len(values) * 99 // 100]


class Measured:
    """One node over a store that was filled with `blobs` names; every method adds to `figures`."""

    def __init__(self, node: MeasuredNode, blobs: int) -> None:
        self.node = node
        self.figures = Figures(blobs)
        self._random = random.Random(blobs)

    def _any(self) -> int:
        return self._random.randrange(self.figures.blobs)

    def _stat(self, name: str) -> Callable[[], object]:
        def call() -> None:
            with suppress(FileNotFoundError):
                os.stat(self.node.path(name))

        return call

    def _known(self, count: int) -> Iterable[Callable[[], object]]:
        return (self._stat(name_of(self._any())) for _ in range(count))

    def _stat_in_memory(self, number: int) -> Callable[[], object]:
        """Of a name whose record is in the page cache."""
        (self.node.share / ".blobfs" / "names" / name_of(number)).read_bytes()
        return self._stat(name_of(number))

    def run(self) -> Figures:
        self.starts()
        self.lookups()
        self.memory()
        self.after_kill()
        return self.figures

    def starts(self) -> None:
        figures = self.figures
        self.node.start()
        self.node.stop()
        drop_caches()
        subprocess.run([sys.executable, "-c", "import blobfs.cli.mount"], cwd=ROOT, check=True, timeout=60)
        figures.ready_cold = timed(self.node.start)
        self.node.stop()
        figures.ready = timed(self.node.start)
        figures.ready_cpu, figures.rss = self.node.cpu_seconds(), self.node.rss() / MIB

    def lookups(self) -> None:
        figures, mount = self.figures, self.node.mountpoint
        drop_caches()
        each_once = self._random.sample(range(figures.blobs), min(2 * LOOKUPS, figures.blobs))
        cold = [self._stat(name_of(number)) for number in each_once[::2]]
        figures.stat_cold_ms = ms_of(cold, statistics.median)
        warm = [self._stat_in_memory(number) for number in each_once[1::2]]
        figures.stat_ms = ms_of(warm, statistics.median)
        missing = (f"{directory_of(self._any())}/missing{number}" for number in range(LOOKUPS))
        figures.missing_ms = ms_of((self._stat(name) for name in missing), statistics.median)
        ids = (mount / ".blobfs" / "blobs" / blob_of(self._any()) for _ in range(READS))
        figures.by_id_ms = ms_of((path.stat for path in ids), statistics.median)
        names = (self.node.path(name_of(self._any())) for _ in range(READS))
        figures.read_ms = ms_of((path.read_bytes for path in names), statistics.median)
        made = (self.node.path(f"{directory_of(self._any())}/made{number}") for number in range(100))
        figures.create_ms = ms_of((path.touch for path in made), statistics.median)
        self.node.wait_until_sealed()
        listed = (mount / directory_of(self._any()) for _ in range(LISTINGS))
        figures.list_ms = ms_of((_lister(path) for path in listed), statistics.median)

    def memory(self) -> None:
        self.figures.rss_touched = self._touched()
        forget_names()
        time.sleep(1)  # the kernel says so, one inode after the other
        self.figures.rss_touched_again = self._touched()

    def _touched(self) -> float:
        self.node.prolong()
        for call in self._known(TOUCHED):
            call()
        return self.node.rss() / MIB

    def after_kill(self) -> None:
        """As it was at work: what was made just now is not settled."""
        self.node.path(f"{directory_of(0)}/last").write_bytes(bytes(BLOB_SIZE))
        self.node.wait_until_sealed()
        self.node.kill9()
        self.figures.ready_killed = timed(self.node.start)
        self.figures.ready_killed_cpu = self.node.cpu_seconds()
        end, found = time.monotonic() + AFTER_KILL_SECONDS, []
        while time.monotonic() < end:
            found.append(timed(self._stat(name_of(self._any()))))
        self.figures.killed_stat_ms = p99(found) * 1000
        self.node.stop()


def _lister(path: Path) -> Callable[[], object]:
    return lambda: os.listdir(path)
