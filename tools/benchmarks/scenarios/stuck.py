"""Two hundred programs that wait for shares which never answer, and what everybody else notices of it.

They wait in read, each for a file of its own that is known and never comes, once for its bytes and once for
its tree; and in the lookup of names that the share does not answer for. Beside them one program makes
everyday calls on what is here, each kind in a directory of its own, and then writes into the directory where
the others wait.
"""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tools.benchmarks.measuring import Figures, Runs, alternate, median, percentile, ratio
from tools.benchmarks.node import MeasuredNode
from tools.benchmarks.probe import read_probe
from tools.benchmarks.report import Table, say
from tools.benchmarks.running import Overdue, has_ended, python, run
from tools.benchmarks.tap import Tap
from tools.benchmarks.workbench import KIB, Workbench, served, write_noise

READERS = 200
SIZE = 256 * KIB
PROBE_LIMIT = 20.0
GATHERING_SECONDS = 10.0
"""For all readers to get stuck; how many did is said."""
OPTIONS = ("fill=never", "lookup_timeout=100", "read_timeout=100", "idle_timeout=100")
LOCAL, LISTED, ELSEWHERE, PLACE, OURS = "local", "listed", "elsewhere", "waited-in", "asked-in"
"""Directories of the node; `PLACE` is the share's, and what only a dead share lists is not there."""
LISTED_FILES = 20
CALLS = {
    "stat": ("stat", LOCAL),
    "ls": ("ls", LISTED),
    "read": ("read", LOCAL),
    "write": ("write", ELSEWHERE),
    "write where they wait": ("write", ""),
}


@dataclass(frozen=True, slots=True)
class Waiting:
    """Where the readers wait."""

    operation: str
    """What the kernel asks for them and gets no answer to."""
    silent: str
    """The paths the share does not answer for."""
    stall_after: int
    name: str
    """Theirs, with their number."""
    place: str = PLACE
    """Their directory."""


WAYS = {
    # The head of the answer, and then hardly anything: the share is there, its content is not.
    "in read": Waiting("read", r"/\.blobfs/blobs/", 1 * KIB, f"{PLACE}/missing-{{}}"),
    "in read, for the tree": Waiting("read", r"/\.blobfs/trees/", 1 * KIB, f"{PLACE}/missing-{{}}"),
    "in lookup": Waiting("lookup", rf"/\.blobfs/names/{OURS}/unknown-", 0, f"{OURS}/unknown-{{}}", OURS),
}
NOBODY = "nobody waits"


def stuck(bench: Workbench) -> None:
    probes = bench.size(200, 50)
    say(f"{READERS} readers, {probes} calls of each kind; {bench.runs} turns; milliseconds")
    with bench.source(_write_missing) as share:
        for title, waiting in WAYS.items():
            ways = {
                NOBODY: partial(_probe, bench, share, waiting, probes, readers=0),
                title: partial(_probe, bench, share, waiting, probes, readers=READERS),
            }
            _show(f"{READERS} wait {title}", alternate(bench.runs, ways))


def _write_missing(mountpoint: Path) -> None:
    (mountpoint / PLACE).mkdir()
    for number in range(READERS):
        write_noise(mountpoint / PLACE / f"missing-{number}", SIZE, seed=number)


def _probe(bench: Workbench, share: Path, waiting: Waiting, probes: int, *, readers: int) -> Figures:
    with (
        served(share) as [server],
        Tap(server.port, stall_after=waiting.stall_after, only=waiting.silent) as tap,
        bench.node([tap.url], OPTIONS) as node,
    ):
        _write_local(node, probes)
        figures: Figures = {"cut": 0}
        with _readers(node, waiting, readers) as (figures["caught"], still_waiting):
            for call, (kind, directory) in CALLS.items():
                taken, is_cut = _call(kind, node.path(directory or waiting.place), probes)
                figures["cut"] += is_cut
                figures[f"{call} 50"] = percentile(taken, 50) * 1000
                figures[f"{call} 99"] = percentile(taken, 99) * 1000
            figures["waiting"] = still_waiting()
    return figures


def _call(kind: str, directory: Path, count: int) -> tuple[list[float], bool]:
    try:
        said = run(*python("probe", kind, directory, str(count)), limit=PROBE_LIMIT).said
    except Overdue as overdue:
        said = overdue.said
    return read_probe(said)


def _write_local(node: MeasuredNode, count: int) -> None:
    """What is here before the others come; a new start, so that the kernel has nothing of it cached."""
    for directory in (LOCAL, LISTED, ELSEWHERE, OURS):
        node.path(directory).mkdir()
    names = [f"{LOCAL}/{kind}-{number}" for kind in ("stat", "read") for number in range(count)]
    for name in names + [f"{LISTED}/{number}" for number in range(LISTED_FILES)]:
        node.path(name).write_bytes(os.urandom(4 * KIB))
    node.wait_until_sealed()
    node.restart()


@contextmanager
def _readers(node: MeasuredNode, waiting: Waiting, count: int) -> Iterator[tuple[int, Callable[[], int]]]:
    """Yields how many of them the kernel has asked for, and what tells how many still wait."""
    programs = [_cat(node.path(waiting.name.format(number))) for number in range(count)]
    try:
        end = time.monotonic() + GATHERING_SECONDS
        while node.operations(waiting.operation) < count and time.monotonic() < end:
            time.sleep(0.05)
        caught = min(node.operations(waiting.operation), count)
        yield caught, lambda: sum(program.poll() is None for program in programs)
    finally:
        for program in programs:
            program.kill()
        node.kill9()  # frees those that wait in lookup: no signal does
        for program in programs:
            has_ended(program, 10.0)


def _cat(path: Path) -> subprocess.Popen[bytes]:
    quiet = subprocess.DEVNULL
    return subprocess.Popen(["cat", path], stdin=quiet, stdout=quiet, stderr=quiet)


def _show(title: str, found: Runs) -> None:
    (_, alone), (way, beside) = found.items()
    table = Table(title, "p50 alone", "p50 beside", "ratio", "p99 alone", "p99 beside", "ratio")
    for call in CALLS:
        cells: list[float] = []
        for name in (f"{call} 50", f"{call} 99"):
            cells += [median(alone, name), median(beside, name), ratio(beside, alone, name)]
        table.add(call, *cells)
    say(table)
    caught, waiting = median(beside, "caught"), median(beside, "waiting")
    say(f"{caught:.0f} of {READERS} had come to wait {way}; {waiting:.0f} still ran at the end")
    if cut := sum(figures["cut"] for figures in beside):
        say(f"! {cut:.0f} times in {len(beside)} runs the calls were cut short after {PROBE_LIMIT:g} s")
    say()
