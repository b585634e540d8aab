"""Two hundred programs that wait for shares which never answer, and what everybody else notices of it.

Once they wait in read, each for a file of its own that is known and never comes; once in the lookup of a
name that the share does not answer for. Beside them one program makes everyday calls on what is here: in a
directory of its own, and (the last lines) writing into the very directory where the others wait.
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
PROBE_LIMIT = 60.0
GATHERING_SECONDS = 10.0
"""For all readers to get stuck; how many did is said."""
OPTIONS = ("fill=never", "lookup_timeout=100", "read_timeout=100", "idle_timeout=100")
LOCAL, LISTED, ELSEWHERE, PLACE = "local", "listed", "elsewhere", "waited-in"
LISTED_FILES = 20
KINDS = ("stat", "ls", "read", "write")


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


WAYS = {
    # The head of the answer, and then hardly anything: the share is there, its content is not.
    "in read": Waiting("read", r"(?!/\.blobfs/names/)", 1 * KIB, f"{PLACE}/missing-{{}}"),
    "in lookup": Waiting("lookup", rf"/\.blobfs/names/{PLACE}/unknown-", 0, f"{PLACE}/unknown-{{}}"),
}
NOBODY = "nobody waits"


def stuck(bench: Workbench) -> None:
    probes = bench.size(200, 50)
    say(f"{READERS} readers, {probes} calls of each kind; {bench.runs} turns; milliseconds")
    with bench.source(_write_missing) as share:
        for title, waiting in WAYS.items():
            for place in (ELSEWHERE, PLACE):
                ways = {
                    NOBODY: partial(_probe, bench, share, waiting, place, probes, readers=0),
                    title: partial(_probe, bench, share, waiting, place, probes, readers=READERS),
                }
                _show(f"{READERS} wait {title}, written {place}", alternate(bench.runs, ways))


def _write_missing(mountpoint: Path) -> None:
    (mountpoint / PLACE).mkdir()
    for number in range(READERS):
        write_noise(mountpoint / PLACE / f"missing-{number}", SIZE, seed=number)


def _probe(
    bench: Workbench, share: Path, waiting: Waiting, place: str, probes: int, *, readers: int
) -> Figures:
    with (
        served(share) as [server],
        Tap(server.port, stall_after=waiting.stall_after, only=waiting.silent) as tap,
        bench.node([tap.url], OPTIONS) as node,
    ):
        _write_local(node, probes)
        with _readers(node, waiting, readers) as (caught, still_waiting):
            probe = python("probe", *map(node.path, (LOCAL, LISTED, place)), str(probes))
            try:
                said, hung = run(*probe, limit=PROBE_LIMIT).said, 0
            except Overdue as overdue:
                said, hung = overdue.said, 1
            figures: Figures = {"caught": caught, "waiting": still_waiting(), "hung": hung}
    for kind, seconds in read_probe(said, PROBE_LIMIT).items():
        for percent in (50, 99):
            figures[f"{kind} {percent}"] = percentile(seconds, percent) * 1000
    return figures


def _write_local(node: MeasuredNode, count: int) -> None:
    """What is here before the others come; a new start, so that the kernel has nothing of it cached."""
    for name, files in {LOCAL: 2 * count, LISTED: LISTED_FILES, ELSEWHERE: 0}.items():
        node.path(name).mkdir()
        for number in range(files):
            node.path(f"{name}/{number}").write_bytes(os.urandom(4 * KIB))
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
    for kind in KINDS:
        cells: list[float | None] = []
        for name in (f"{kind} 50", f"{kind} 99"):
            if all(name in figures for figures in (*alone, *beside)):
                cells += [median(alone, name), median(beside, name), ratio(beside, alone, name)]
            else:
                cells += [None, None, None]
        table.add(kind, *cells)
    say(table)
    caught, waiting = median(beside, "caught"), median(beside, "waiting")
    say(f"{caught:.0f} of {READERS} had come to wait {way}; {waiting:.0f} still ran at the end")
    if hung := sum(figures["hung"] for figures in beside):
        say(f"! a call had not returned after {PROBE_LIMIT:g} s in {hung:.0f} of {len(beside)} runs")
    say()
