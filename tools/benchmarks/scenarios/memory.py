"""A blob larger than the memory of most machines, read through the mount: how much the daemon uses."""

import statistics
import subprocess
from collections.abc import Sequence

from tools.benchmarks.node import MeasuredNode
from tools.benchmarks.report import Table, say
from tools.benchmarks.running import SECONDS, Overdue, has_ended
from tools.benchmarks.workbench import CONTENT, GIB, MB, Workbench, one_blob, served

PARTS = ("first third", "second third", "last third")
GOAL = 200 * MB


def memory(bench: Workbench) -> None:
    size = bench.size(10 * GIB, 2 * GIB)
    say(f"{size // GIB} GiB, cold, cat; resident memory of the daemon, every second; one run")
    with (
        bench.source(one_blob(size, sparse=True)) as share,
        served(share) as [server],
        bench.node([server.url]) as node,
    ):
        before = node.rss()
        watched = _watch(node)
        peak = node.peak_rss()
    table = Table("MB", "median", "most")
    table.add("before", before / MB, before / MB)
    for number, part in enumerate(PARTS):
        third = watched[len(watched) * number // 3 : len(watched) * (number + 1) // 3] or watched[-1:]
        table.add(part, statistics.median(third) / MB, max(third) / MB)
    say(table)
    rate = size / MB / len(watched)
    say(f"peak {peak / MB:.0f} MB (goal: below {GOAL // MB}); {len(watched)} s, {rate:.0f} MB/s")


def _watch(node: MeasuredNode) -> Sequence[int]:
    """Its memory, every second until the blob is read."""
    with subprocess.Popen(["cat", node.path(CONTENT)], stdout=subprocess.DEVNULL) as reader:
        watched: list[int] = []
        while not has_ended(reader, 1.0):
            watched.append(node.rss())
            if len(watched) > SECONDS:
                reader.kill()
                raise Overdue(f"not read after {SECONDS:g} s")
        if reader.returncode:
            raise RuntimeError(f"cat ended with exit code {reader.returncode}")
    return watched or [node.rss()]
