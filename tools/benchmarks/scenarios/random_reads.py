"""A few bytes from the middle of a huge blob that is missing, beside ``curl -r`` for the same.

A reader of blobfs needs the branch of the tree besides; what curl gets, nobody has verified.
"""

import json
import random
from functools import partial
from pathlib import Path

from tools.benchmarks.measuring import SECONDS, Figures, alternate, median, ratio
from tools.benchmarks.reader import BLOCK
from tools.benchmarks.report import Table, say
from tools.benchmarks.running import python, run
from tools.benchmarks.workbench import CONTENT, GIB, Workbench, counted, one_blob, served

COUNTS = (1, 100)


def random_reads(bench: Workbench) -> None:
    size = bench.size(10 * GIB, 2 * GIB)
    say(f"4 KiB at a time, anywhere in {size // GIB} GiB that are missing; {bench.runs} turns")
    table = Table("", "s", "time / curl", "requests", "MB sent")
    with bench.source(one_blob(size, sparse=True)) as share:
        for count in COUNTS:
            curl, blobfs = f"curl -r, {count} of them", f"blobfs, {count} of them"
            ways = {curl: partial(_curl, share, size, count), blobfs: partial(_blobfs, bench, share, count)}
            found = alternate(bench.runs, ways)
            for way, figures in found.items():
                counts = (median(figures, "requests"), median(figures, "MB"))
                table.add(way, median(figures), ratio(figures, found[curl]), *counts)
    say(table)


def _blobfs(bench: Workbench, share: Path, count: int) -> Figures:
    with served(share) as [server], bench.node([server.url]) as node:
        reader = python("reader", "random", node.path(CONTENT), str(count), str(random.randrange(1 << 30)))
        found = json.loads(run(*reader).said)
        if found["errno"] is not None:
            raise RuntimeError(f"read: {found['errno']}")
        return {SECONDS: found["seconds"], **counted(server)}


def _curl(share: Path, size: int, count: int) -> Figures:
    """One process and one connection for all of them."""
    starts = [random.randrange(size // BLOCK) * BLOCK for _ in range(count)]
    with served(share) as [server]:
        arguments = [word for start in starts for word in _part(start, f"{server.url}{CONTENT}")]
        return {SECONDS: run("curl", *arguments[1:]).seconds, **counted(server)}


def _part(start: int, url: str) -> list[str]:
    return ["--next", "-sS", f"-r{start}-{start + BLOCK - 1}", "-o/dev/null", url]
