"""Two thousand small files in one directory, none of them here, copied out; beside curl and ``rclone mount``.

curl is told all the names and has one connection and one process for them: the floor.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tools.benchmarks.measuring import SECONDS, Figures, Runs, alternate, median, ratio
from tools.benchmarks.rclone import LISTING, PROGRAM, rclone_mount
from tools.benchmarks.report import Table, say
from tools.benchmarks.running import run
from tools.benchmarks.workbench import KIB, Workbench, counted, served, write_noise

SIZE = 4 * KIB
DIRECTORY = "small"
BLOBFS, CURL, RCLONE = "blobfs: cp -r", "curl, one connection", "rclone: cp -r"


def small(bench: Workbench) -> None:
    files = bench.size(2000, 400)
    say(f"{files} files of {SIZE // KIB} KiB; {bench.runs} turns")
    with bench.source(lambda mountpoint: _write(mountpoint, files)) as share:
        ways: dict[str, Callable[[], Figures]] = {
            CURL: partial(_curl, bench, share, files),
            BLOBFS: partial(_blobfs, bench, share),
        }
        if shutil.which(PROGRAM) is not None:
            ways[RCLONE] = partial(_rclone, bench, share)
        _show(files, alternate(bench.runs, ways))


def _write(mountpoint: Path, files: int) -> None:
    (mountpoint / DIRECTORY).mkdir()
    for number in range(files):
        write_noise(mountpoint / DIRECTORY / str(number), SIZE, seed=number)


def _blobfs(bench: Workbench, share: Path) -> Figures:
    with bench.place() as place, served(share) as [server], bench.node([server.url]) as node:
        seconds = run("cp", "-r", node.path(DIRECTORY), place / "out").seconds
        _compare(share, place / "out")
        return {SECONDS: seconds, "cpu": node.cpu_seconds(), **counted(server)}


def _rclone(bench: Workbench, share: Path) -> Figures:
    with (
        bench.place() as place,
        served(share, directives=LISTING) as [server],
        rclone_mount(server.url, place) as mount,
    ):
        seconds = run("cp", "-r", mount.path / DIRECTORY, place / "out").seconds
        return {SECONDS: seconds, **counted(server)}


def _curl(bench: Workbench, share: Path, files: int) -> Figures:
    with bench.place() as place, served(share) as [server]:
        (place / "out").mkdir()
        names = f"{server.url}{DIRECTORY}/[0-{files - 1}]"
        seconds = run("curl", "-sS", "-o", place / "out" / "#1", names).seconds
        _compare(share, place / "out")
        return {SECONDS: seconds, **counted(server)}


def _compare(share: Path, copy: Path) -> None:
    run("diff", "-rq", "--exclude=.blobfs*", share / DIRECTORY, copy)


def _show(files: int, found: Runs) -> None:
    table = Table("", "s", "files/s", "time / curl", "daemon CPU s", "requests/file", "MB sent")
    for way, figures in found.items():
        cpu = median(figures, "cpu") if "cpu" in figures[0] else None
        requests = median(figures, "requests") / files
        table.add(way, median(figures), files / median(figures), ratio(figures, found[CURL]), cpu,
                  f"{requests:.2f}", median(figures, "MB"))  # fmt: skip
    say(table)
    if RCLONE in found:
        say(f"rclone mount takes {ratio(found[RCLONE], found[BLOBFS]):.2f} times as long as blobfs")
