"""A daemon that is killed in the middle of a load, once or three times: what the share sends in all.

The share counts what it hands to its kernel, so what lay in the buffers of a connection that was cut is
counted as sent. That is why there is a second way, behind a tap that holds little.
"""

import random
from functools import partial
from pathlib import Path

from tools.benchmarks.measuring import Figures, alternate, median
from tools.benchmarks.report import Table, say
from tools.benchmarks.running import run
from tools.benchmarks.tap import tapped
from tools.benchmarks.workbench import CONTENT, GIB, MB, MIB, Workbench, counted, one_blob, served, sha256

KILLS = (1, 3)
CAPPED = 100 * MB
GOAL = 1.02


def resume(bench: Workbench) -> None:
    size = bench.size(GIB, 256 * MIB)
    say(f"{size // MIB} MiB; kill -9 at random points, each time started again; {bench.runs} turns")
    with bench.source(one_blob(size)) as share:
        ways = {
            f"{kills} kill{'s' if kills > 1 else ''}, {shown}": partial(_load, bench, share, size, kills, cap)
            for kills in KILLS
            for shown, cap in {"no cap": None, f"{CAPPED // MB} MB/s": CAPPED}.items()
        }
        found = alternate(bench.runs, ways)
    table = Table("", "sent / size", "the most", "requests", "MB sent")
    for way, figures in found.items():
        most = max(each["ratio"] for each in figures)
        table.add(way, *(f"{ratio:.4f}" for ratio in (median(figures, "ratio"), most)),
                  median(figures, "requests"), median(figures, "MB"))  # fmt: skip
    say(table)
    say(f"goal: at most {GOAL} after one kill")


def _load(bench: Workbench, share: Path, size: int, kills: int, rate: float | None) -> Figures:
    with served(share) as [server], tapped(server.port, rate) as url, bench.node([url]) as node:
        points = sorted(random.sample(range(1, size // MIB), kills))
        for point in points:
            run("dd", f"if={node.path(CONTENT)}", "of=/dev/null", "bs=1M", f"count={point}", "status=none")
            node.kill9()
            node.start()
        if run("sha256sum", node.path(CONTENT)).said.split()[0] != sha256(share / CONTENT):
            raise RuntimeError(f"wrong bytes after kills at {points} MiB")
        sent = counted(server)
    return {**sent, "ratio": sent["MB"] * MB / size}
