"""A share whose packets are lost, beside a good one: how long until the first byte.

Six blobs one after the other, of one node: what the first load learns of the share should serve the others.
By name and by blob id; the bad share is named first.
"""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.servers.nginx import free_port
from tools.benchmarks.measuring import Figures, alternate, median
from tools.benchmarks.node import MeasuredNode
from tools.benchmarks.outages import dropped
from tools.benchmarks.report import Table, say
from tools.benchmarks.running import python, run
from tools.benchmarks.workbench import MIB, Workbench, blob_id, counted, served, write_noise

BLOBS = 6
SIZE = MIB
GOAL = 1.0
FindPath = Callable[[MeasuredNode, int], Path]
"""Where a node has the blob with that number."""
ALONE, BESIDE = "the good share alone", "beside one that drops"


def dropping(bench: Workbench) -> None:
    say(f"{BLOBS} blobs of {SIZE // MIB} MiB; seconds to the first byte; {bench.runs} turns")
    with bench.source(_write) as share:
        paths: dict[str, FindPath] = {"by name": _by_name, "by blob id": partial(_by_id, share)}
        for title, path in paths.items():
            ways = {
                ALONE: partial(_load, bench, share, path, beside=False),
                BESIDE: partial(_load, bench, share, path, beside=True),
            }
            found = alternate(bench.runs, ways)
            table = Table(title, *(f"blob {number + 1}" for number in range(BLOBS)), "requests")
            for way, figures in found.items():
                cells = [median(figures, str(number)) for number in range(BLOBS)]
                table.add(way, *cells, median(figures, "requests"))
            say(table)
            worst = max(figures[str(number)] for figures in found[BESIDE] for number in range(BLOBS))
            say(f"the longest of all: {worst:.2f} s (goal: below {GOAL:g})\n")


def _write(mountpoint: Path) -> None:
    for number in range(BLOBS):
        write_noise(mountpoint / str(number), SIZE, seed=number)


def _by_name(node: MeasuredNode, number: int) -> Path:
    return node.path(str(number))


def _by_id(share: Path, node: MeasuredNode, number: int) -> Path:
    return node.blob(blob_id(share, str(number)))


def _load(bench: Workbench, share: Path, path: FindPath, *, beside: bool) -> Figures:
    with served(share) as [good], dropped(free_port()) as port:
        bad = [f"http://127.0.0.1:{port}/"] if beside else []
        with bench.node([*bad, good.url]) as node:
            seconds = {str(number): _first_byte(path(node, number)) for number in range(BLOBS)}
        return {**seconds, **counted(good)}


def _first_byte(path: Path) -> float:
    found = json.loads(run(*python("reader", "first", path)).said)
    if found["errno"] is not None:
        raise RuntimeError(f"{path}: {found['errno']}")
    return float(found["seconds"])
