"""A package brought whole: ``blobfs load``, or out of the mount; beside rclone and an archive.

Near and far, because loopback is nobody's network. What is copied is compared with the tree; what was loaded
is compared while no server runs.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tools.benchmarks.measuring import SECONDS, Figures, Runs, alternate, median, ratio, spread
from tools.benchmarks.node import MeasuredNode
from tools.benchmarks.packing import (
    ARCHIVE,
    CAPPED,
    FAR,
    LOOPBACK,
    TREE,
    Network,
    Packed,
    blobfs,
    compare_trees,
    start_up,
)
from tools.benchmarks.rclone import LISTING, PROGRAM, rclone_copy, rclone_mount
from tools.benchmarks.report import Table, say
from tools.benchmarks.running import Word, run
from tools.benchmarks.usage import run_beside
from tools.benchmarks.workbench import MB, Workbench, counted

LOAD, COPY_OUT, TAR_OUT = "blobfs load", "blobfs: cp -r", "blobfs: tar c"
RCLONE_COPY, RCLONE_COPY_OUT = "rclone copy", "rclone mount: cp -r"
CURL, CURL_SYNC = "curl | tar x", "curl | tar x; sync -f"
START = "blobfs load --help"

Reading = Callable[[Path, Path], tuple[list[Word], Path]]
"""From a mounted package and a place to work in: the command, and the tree it leaves."""


def package_whole(bench: Workbench, library: Packed) -> None:
    say(f"{library} brought whole; {bench.runs} turns")
    for network in (LOOPBACK,) if bench.quick else (LOOPBACK, CAPPED, FAR):
        _show(network.title, alternate(bench.runs, _ways(bench, library, network)))


def _ways(bench: Workbench, library: Packed, network: Network) -> dict[str, Callable[[], Figures]]:
    ways: dict[str, Callable[[], Figures]] = {
        START: partial(start_up, bench),
        CURL: partial(unpack, bench, library, network),
        CURL_SYNC: partial(unpack, bench, library, network, then='; sync -f "$2"'),
        LOAD: partial(load, bench, library, network),
        COPY_OUT: partial(_read, bench, library, network, copy_out),
        TAR_OUT: partial(_read, bench, library, network, tar_out),
    }
    if shutil.which(PROGRAM) is not None:
        ways[RCLONE_COPY] = partial(_rclone_copy, bench, library, network)
        ways[RCLONE_COPY_OUT] = partial(_rclone_mount, bench, library, network)
    return ways


def load(bench: Workbench, tree: Packed, network: Network, directives: str = "") -> Figures:
    """All of it is here when the command is back: that is compared without the share."""
    with network.serve(tree.share, directives) as (server, url), bench.node([url]) as node:
        found = run_beside(node.pid, *blobfs(bench, "load", node.mountpoint, tree.package))
        found |= counted(server)
        server.stop()
        compare_trees(_package(node, tree), tree.tree)
        return found


def _read(bench: Workbench, tree: Packed, network: Network, reading: Reading) -> Figures:
    with bench.place() as place, network.serve(tree.share) as (server, url), bench.node([url]) as node:
        command, result = reading(_package(node, tree), place)
        found = run_beside(node.pid, *command) | counted(server)
        _unpacked(result)
        compare_trees(result, tree.tree)
        return found


def _package(node: MeasuredNode, tree: Packed) -> Path:
    return node.path(f".blobfs/packages/{tree.package}")


def copy_out(package: Path, place: Path) -> tuple[list[Word], Path]:
    return ["cp", "-r", package, place / "out"], place / "out"


def tar_out(package: Path, place: Path) -> tuple[list[Word], Path]:
    """Into a file: what tar writes to /dev/null it does not read."""
    (place / "out").mkdir()
    return ["tar", "-cf", place / "out" / ARCHIVE, "-C", package, "."], place / "out"


def _unpacked(result: Path) -> None:
    archive = result / ARCHIVE
    if archive.exists():
        run("tar", "-xf", archive, "-C", result)
        archive.unlink()


def unpack(bench: Workbench, tree: Packed, network: Network, then: str = "") -> Figures:
    with bench.place() as place, network.serve(tree.plain) as (server, url):
        command = 'curl -sS "$1" | tar -xf - -C "$2"' + then
        seconds = run("sh", "-c", command, "sh", f"{url}{ARCHIVE}", place).seconds
        compare_trees(place, tree.tree)
        return {SECONDS: seconds, **counted(server)}


def _rclone_copy(bench: Workbench, tree: Packed, network: Network) -> Figures:
    with bench.place() as place, network.serve(tree.plain, LISTING) as (server, url):
        seconds = run(*rclone_copy(f"{url}{TREE}/", place)).seconds
        compare_trees(place, tree.tree)
        return {SECONDS: seconds, **counted(server)}


def _rclone_mount(bench: Workbench, tree: Packed, network: Network) -> Figures:
    with (
        bench.place() as place,
        network.serve(tree.plain, LISTING) as (server, url),
        rclone_mount(url, place) as mount,
    ):
        found = run_beside(mount.pid, "cp", "-r", mount.path / TREE, place / "out") | counted(server)
        compare_trees(place / "out", tree.tree)
        return found


def _show(title: str, found: Runs) -> None:
    table = Table(
        title, "s", "least–most", f"time / {CURL}", "requests", "MB sent", "daemon CPU s", "peak MB"
    )
    for way, figures in found.items():
        compared = None if way == START else ratio(figures, found[CURL])
        counts = [median(figures, name) if name in figures[0] else None for name in ("requests", "MB", "cpu")]
        peak = median(figures, "peak") / MB if "peak" in figures[0] else None
        table.add(way, median(figures), spread(figures), compared, *counts, peak)
    say(table)
    say()
