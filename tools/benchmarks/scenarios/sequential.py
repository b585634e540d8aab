"""A missing blob read from beginning to end, three ways, beside curl and ``rclone mount`` of the same server.

curl is given what blobfs does as well: the file is on the disk afterwards, and somebody has hashed it.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tools.benchmarks.measuring import SECONDS, Figures, Runs, alternate, median, ratio
from tools.benchmarks.rclone import LISTING, PROGRAM, rclone_mount
from tools.benchmarks.report import Table, say
from tools.benchmarks.running import Word, run
from tools.benchmarks.workbench import CONTENT, GIB, MB, MIB, Workbench, counted, one_blob, served

PROGRAMS: dict[str, Callable[[Path], list[Word]]] = {
    "cat": lambda file: ["cat", file],
    "dd bs=1M": lambda file: ["dd", f"if={file}", "of=/dev/null", "bs=1M", "status=none"],
    "sha256sum": lambda file: ["sha256sum", file],
}
CURL = "curl -o"
CURL_HASHED = "curl -o && sha256sum"


def sequential(bench: Workbench) -> None:
    size = bench.size(GIB, 256 * MIB)
    say(f"{size // MIB} MiB, cold store; {bench.runs} turns")
    with bench.source(one_blob(size)) as share:
        ways: dict[str, Callable[[], Figures]] = {
            CURL: partial(_curl, bench, share, hashed=False),
            CURL_HASHED: partial(_curl, bench, share, hashed=True),
        }
        for name, program in PROGRAMS.items():
            ways[f"blobfs: {name}"] = partial(_blobfs, bench, share, program)
            if shutil.which(PROGRAM) is not None:
                ways[f"rclone: {name}"] = partial(_rclone, bench, share, program)
        _show(size, alternate(bench.runs, ways))


def _blobfs(bench: Workbench, share: Path, program: Callable[[Path], list[Word]]) -> Figures:
    with served(share) as [server], bench.node([server.url]) as node:
        seconds = run(*program(node.path(CONTENT)), discard=True).seconds
        return {SECONDS: seconds, "cpu": node.cpu_seconds(), **counted(server)}


def _rclone(bench: Workbench, share: Path, program: Callable[[Path], list[Word]]) -> Figures:
    with (
        served(share, directives=LISTING) as [server],
        bench.place() as place,
        rclone_mount(server.url, place) as mount,
    ):
        seconds = run(*program(mount.path / CONTENT), discard=True).seconds
        return {SECONDS: seconds, **counted(server)}


def _curl(bench: Workbench, share: Path, *, hashed: bool) -> Figures:
    with served(share) as [server], bench.place() as place:
        command = 'curl -sS -o "$1" "$2"' + (' && sha256sum "$1"' if hashed else "")
        seconds = run("sh", "-c", command, "sh", place / "file", f"{server.url}{CONTENT}").seconds
        return {SECONDS: seconds, **counted(server)}


def _show(size: int, found: Runs) -> None:
    table = Table("", "s", "MB/s", f"time / {CURL_HASHED}", "daemon CPU s", "requests", "MB sent")
    for way, figures in found.items():
        cpu = median(figures, "cpu") if "cpu" in figures[0] else None
        rate = size / MB / median(figures)
        counts = (median(figures, "requests"), median(figures, "MB"))
        table.add(way, median(figures), rate, ratio(figures, found[CURL_HASHED]), cpu, *counts)
    say(table)
    for name in PROGRAMS:
        if f"rclone: {name}" in found:
            faster = ratio(found[f"rclone: {name}"], found[f"blobfs: {name}"])
            say(f"{name}: rclone mount takes {faster:.2f} times as long as blobfs")
