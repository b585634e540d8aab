"""A daemon that nobody asks for anything: what it costs, and how long it takes until it can be asked.

All of them stand idle at the same time, so one wait is enough, and the same for all. A node with a million
names in its store is one of them.
"""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tools.benchmarks.node import MeasuredNode
from tools.benchmarks.usage import wait_idle
from tools.benchmarks.workbench import MB, one_blob
from tools.comparing.comparison import Comparison, Noted
from tools.comparing.fleet import Fleet, fleet
from tools.comparing.peers.everyone import LOADING, LOCAL
from tools.comparing.results import Result
from tools.counting.watching import cpu_seconds
from tools.scaling.disk import loop_disk
from tools.scaling.filling import fill

NAME = "idle"
SECONDS, QUICK_SECONDS = 20, 3
NAMES, QUICK_NAMES = 1_000_000, 10_000
TO_REST, QUICK_TO_REST = 12, 2
"""Seconds after the last start: trio's threads that have nothing to do end after ten."""
CPU, SWITCHES, MEMORY, START = "CPU time a second", "context switches a second", "memory", "start to ready"


@dataclass(frozen=True, slots=True)
class Life:
    """What the kernel has counted of some processes so far."""

    cpu: float
    """Seconds."""
    switches: dict[int, int]
    """By thread, wanted and unwanted: each is a wake-up."""
    memory: int
    """Bytes; what is shared with others is divided by their number."""

    @classmethod
    def of(cls, pids: Sequence[int]) -> Self:
        switches = {thread: count for pid in pids for thread, count in _switches(pid)}
        return cls(sum(map(cpu_seconds, pids)), switches, sum(map(_memory, pids)))

    def switches_since(self, before: Self) -> int:
        """Of the threads that are there; one that has ended since woke up once at least."""
        ended = before.switches.keys() - self.switches.keys()
        counts = (count - before.switches.get(thread, 0) for thread, count in self.switches.items())
        return sum(counts) + len(ended)


def idle(comparison: Comparison) -> list[Result]:
    noted = Noted(NAME)
    names = comparison.size(NAMES, QUICK_NAMES)
    with (
        comparison.bench.source(one_blob(1 << 20)) as share,
        _filled(comparison.bench.folder, names) as large,
        fleet(comparison, share, {}, [*LOADING, *LOCAL]) as mounts,
    ):
        for _ in range(comparison.runs):
            _turn(comparison, mounts, large, f"blobfs, {names:,} names", noted)
    return noted.results()


@contextlib.contextmanager
def _filled(folder: Path, names: int) -> Iterator[MeasuredNode]:
    """A node that does not run yet, over a store on a disk of its own."""
    with contextlib.ExitStack() as stack:
        place = folder / "many"
        place.mkdir()
        disk = stack.enter_context(loop_disk(place, names))
        node = MeasuredNode(disk, "many")
        fill(node.store, names)
        yield node


def _turn(comparison: Comparison, mounts: Fleet, large: MeasuredNode, name: str, noted: Noted) -> None:
    pids = {peer: pids for peer in mounts if (pids := _start(mounts, peer, noted))}
    with _started(large, name, noted):
        pids[name] = (large.pid,)
        wait_idle(large.pid)
        time.sleep(comparison.bench.size(TO_REST, QUICK_TO_REST))
        before = {peer: Life.of(each) for peer, each in pids.items()}
        began = time.monotonic()
        time.sleep(comparison.size(SECONDS, QUICK_SECONDS))
        for peer, each in pids.items():
            now, passed = Life.of(each), time.monotonic() - began
            noted.note(CPU, peer, (now.cpu - before[peer].cpu) / passed * 1000, "ms")
            noted.note(SWITCHES, peer, now.switches_since(before[peer]) / passed, "1")
            noted.note(MEMORY, peer, now.memory / MB, "MB")


def _start(mounts: Fleet, peer: str, noted: Noted) -> tuple[int, ...]:
    began = time.perf_counter()
    pids = mounts.fresh(peer).pids
    if pids:
        noted.note(START, peer, time.perf_counter() - began)
    return pids


@contextlib.contextmanager
def _started(node: MeasuredNode, name: str, noted: Noted) -> Iterator[None]:
    began = time.perf_counter()
    with node:
        noted.note(START, name, time.perf_counter() - began)
        yield


def _switches(pid: int) -> Iterator[tuple[int, int]]:
    for status in Path(f"/proc/{pid}/task").glob("*/status"):
        lines = status.read_text("utf-8", "replace").splitlines()
        counts = (int(line.rpartition(":")[2]) for line in lines if "ctxt_switches:" in line)
        yield int(status.parent.name), sum(counts)


def _memory(pid: int) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024
