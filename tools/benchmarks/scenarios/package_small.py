"""Ten thousand files of 1 KiB in one package: packed, and loaded with and without its bundle.

Without: the share says that it has none, as one that has not got round to it. Beside it tar, here and there.
"""

import random
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tools.benchmarks.measuring import SECONDS, Figures, Runs, alternate, median, ratio, spread
from tools.benchmarks.packing import LOOPBACK, Packed, pack, packed, start_up
from tools.benchmarks.report import Table, say
from tools.benchmarks.running import run
from tools.benchmarks.scenarios.package_whole import load, unpack
from tools.benchmarks.workbench import KIB, MB, Workbench

IN_A_DIRECTORY = 100
NO_BUNDLES = "location /.blobfs/bundles/ { return 404; }"
START, PACK, LOAD = "blobfs load --help", "blobfs pack", "blobfs load"
LOAD_EACH = "blobfs load, no bundle"
TAR, CURL = "tar c", "curl | tar x"
PEERS = {PACK: TAR, LOAD: CURL, LOAD_EACH: CURL}


def package_small(bench: Workbench) -> None:
    files = bench.size(10_000, 500)
    with packed(bench, lambda directory: write_small(directory, files)) as tree:
        say(f"{tree}, {KIB} bytes each; {bench.runs} turns")
        ways: dict[str, Callable[[], Figures]] = {
            START: partial(start_up, bench),
            TAR: partial(_archive, bench, tree),
            PACK: partial(_pack, bench, tree),
            CURL: partial(unpack, bench, tree, LOOPBACK),
            LOAD: partial(load, bench, tree, LOOPBACK),
            LOAD_EACH: partial(load, bench, tree, LOOPBACK, NO_BUNDLES),
        }
        _show(alternate(bench.runs, ways))


def write_small(directory: Path, files: int) -> None:
    chance = random.Random(0)
    for number in range(files):
        path = directory / str(number // IN_A_DIRECTORY) / str(number)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(chance.randbytes(KIB))


def _archive(bench: Workbench, tree: Packed) -> Figures:
    with bench.place() as place:
        return {SECONDS: run("tar", "-cf", place / "archive", "-C", tree.tree, ".").seconds}


def _pack(bench: Workbench, tree: Packed) -> Figures:
    with bench.node([]) as node:
        package, found = pack(bench, node, tree.tree)
        if package != tree.package:
            raise RuntimeError(f"the same tree is {package} now, and {tree.package} before")
        return found


def _show(found: Runs) -> None:
    table = Table(
        "loopback", "s", "least–most", "time / tar", "requests", "MB sent", "daemon CPU s", "peak MB"
    )
    for way, figures in found.items():
        compared = ratio(figures, found[PEERS[way]]) if way in PEERS else None
        counts = [median(figures, name) if name in figures[0] else None for name in ("requests", "MB", "cpu")]
        peak = median(figures, "peak") / MB if "peak" in figures[0] else None
        table.add(way, median(figures), spread(figures), compared, *counts, peak)
    say(table)
