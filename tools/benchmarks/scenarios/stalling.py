"""A good share beside one that stops after the first megabyte of every body and keeps the connection.

The stalling share is named first, so it is asked first where the order decides.
"""

from functools import partial
from pathlib import Path

from tools.benchmarks.measuring import SECONDS, Figures, Runs, alternate, median, ratio
from tools.benchmarks.report import Table, say
from tools.benchmarks.running import run
from tools.benchmarks.tap import Tap, tapped
from tools.benchmarks.workbench import CONTENT, GIB, MB, MIB, Workbench, counted, one_blob, served

STALL_AFTER = MB
CAPPED = 100 * MB
GOAL = 1.3
ALONE = "the good share alone"
BESIDE = "beside one that stalls"


def stalling(bench: Workbench) -> None:
    size = bench.size(GIB, 256 * MIB)
    say(f"{size // MIB} MiB, cold, cat; {bench.runs} turns")
    with bench.source(one_blob(size)) as share:
        for title, rate in {"no cap": None, f"the good share capped at {CAPPED // MB} MB/s": CAPPED}.items():
            ways = {
                ALONE: partial(_load, bench, share, rate, beside=False),
                BESIDE: partial(_load, bench, share, rate, beside=True),
            }
            _show(title, size, alternate(bench.runs, ways))


def _load(bench: Workbench, share: Path, rate: float | None, *, beside: bool) -> Figures:
    with served(share, 2) as [good, bad], tapped(good.port, rate) as good_url:
        with Tap(bad.port, stall_after=STALL_AFTER) as tap:
            urls = [tap.url, good_url] if beside else [good_url]
            with bench.node(urls) as node:
                seconds = run("cat", node.path(CONTENT), discard=True).seconds
        sent, wasted = counted(good), counted(bad)
    return {
        SECONDS: seconds,
        **sent,
        "stalling requests": wasted["requests"],
        "stalling MB": wasted["MB"],
    }


def _show(title: str, size: int, found: Runs) -> None:
    table = Table(title, "s", "MB/s", "requests", "MB sent", "to the stalling one", "MB sent by it")
    for way, figures in found.items():
        names = ("requests", "MB", "stalling requests", "stalling MB")
        counts = [median(figures, name) for name in names]
        table.add(way, median(figures), size / MB / median(figures), *counts)
    say(table)
    say(f"time against the good share alone: {ratio(found[BESIDE], found[ALONE]):.2f} (goal {GOAL})\n")
